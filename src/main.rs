//! The `serin` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    serin::cli::run(std::env::args_os())
}
