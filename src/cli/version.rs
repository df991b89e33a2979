//! `serin version`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::LazyLock;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let libc = match () {
        () if cfg!(target_env = "musl") => " (musl)",
        () if cfg!(target_feature = "crt-static") => " (static)",
        () => "",
    };
    format!("{} {}/{}{libc}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
});

/// Version and platform.
pub fn text() -> &'static str {
    &TEXT
}

/// Prints them.
pub fn run() -> ExitCode {
    match writeln!(std::io::stdout(), "serin {}", text()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}
