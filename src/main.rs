//! The `serin` binary.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Most of the work is on small JSON values, which glibc's allocator is slow at: ARCHITECTURE.md D12.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Fails only where a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    serin::cli::run(std::env::args_os())
}
