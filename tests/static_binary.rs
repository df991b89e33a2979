//! The binary of the container image: alone in an empty, read-only root directory, as an unprivileged user, it works.
//! This is what `Dockerfile` builds and what the Deployment's security context asks for, without needing Docker.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A root directory with nothing in it but one program.
struct EmptyRoot {
    folder: TempDir,
}

impl EmptyRoot {
    fn with(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(program, folder.path().join("serin")).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
        Self { folder }
    }

    /// Runs the program as user 65532, which has no right to anything.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("unshare")
            .args(["--user", "--map-user=65532", "--map-group=65532", "--wd=/"])
            .arg(format!("--root={}", self.folder.path().display()))
            .arg("/serin")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .output()
            .expect("unshare is missing: install util-linux")
    }
}

impl Drop for EmptyRoot {
    fn drop(&mut self) {
        // Or its content could not be removed.
        fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn the_static_binary_needs_nothing_around_it() {
    require_user_namespaces();
    let root = EmptyRoot::with(&static_binary());

    let version = root.run(&["version"]);
    let expected = format!("exit status: 0\nserin {} ", env!("CARGO_PKG_VERSION"));
    assert!(describe(&version).starts_with(&expected), "{}", describe(&version));

    let crds = root.run(&["crd"]);
    let text = String::from_utf8_lossy(&crds.stdout);
    assert!(crds.status.success(), "{}", describe(&crds));
    for name in ["canaries.flagger.app", "metrictemplates.flagger.app", "alertproviders.flagger.app"] {
        assert!(text.contains(name), "serin crd does not print {name}");
    }
}

#[test]
fn a_binary_that_needs_libraries_does_not_start_there() {
    require_user_namespaces();
    let ordinary = Path::new(env!("CARGO_BIN_EXE_serin"));
    assert!(Command::new(ordinary).arg("version").output().unwrap().status.success(), "it works outside");
    let inside = EmptyRoot::with(ordinary).run(&["version"]);
    assert!(!inside.status.success(), "the root directory is not empty: {}", describe(&inside));
}

/// Builds the binary as `Dockerfile` does, but in the profile and the target folder of `make worlds`, which runs it too:
/// other flags in the same folder would rebuild every dependency each time. With `--target`, the flags do not reach build
/// scripts and procedural macros, which cannot be static.
fn static_binary() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("static");
    let host = host();
    let mut cargo = Command::new(env!("CARGO"));
    // Cargo tells a test about its package. Build scripts look at such variables (ring's does), and would run again.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|told| is_prefix(told, name))) {
        cargo.env_remove(name);
    }
    let build = cargo
        .args(["build", "--locked", "--package=serin", "--bin=serin", "--profile=worlds"])
        .arg(format!("--target={host}"))
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .output()
        .unwrap();
    assert!(build.status.success(), "the static build failed:\n{}", describe(&build));
    folder.join(host).join("worlds/serin")
}

fn is_prefix(prefix: &str, name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(prefix))
}

/// The triple of this machine, as `rustc` names it.
fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn require_user_namespaces() {
    let probe = Command::new("unshare").args(["--user", "--map-user=65532", "true"]).output();
    let works = probe.as_ref().is_ok_and(|output| output.status.success());
    assert!(
        works,
        "user namespaces are not allowed here: set kernel.unprivileged_userns_clone=1 and \
         kernel.apparmor_restrict_unprivileged_userns=0 with sysctl, or run the container with --privileged ({probe:?})"
    );
}

fn describe(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
