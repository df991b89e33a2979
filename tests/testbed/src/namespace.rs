//! The room that a testbed lives in: a user, network and process namespace of its own.
//!
//! Any port is free there, testbeds run side by side, and the end of one process is the end of all.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::{process, thread};

use anyhow::{Context, Error, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::components::Components;
use crate::{app, node, state};

/// Says that this process is one of the testbed's own programs.
pub(crate) const PROGRAM_VARIABLE: &str = "SERIN_TESTBED_PROGRAM";
/// The process id, seen from outside, whose child the namespace's first process is; set means: inside.
const ROOM_VARIABLE: &str = "SERIN_TESTBED_ROOM";
/// Makes the pods' range local, so that each pod has an address of its own.
const PREPARE_NETWORK: &str = r#"
PATH="$PATH:/usr/sbin:/sbin"
ip link set lo up && ip route add local 10.244.0.0/16 dev lo && exec "$0" "$@"
"#;
/// A proxy of the machine's would be asked for addresses that only exist in here.
const PROXY_VARIABLES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What the executable that holds this library runs as, besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    App,
    Node,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Node => "node",
        }
    }
}

/// Moves this process into a namespace of its own. Call it first thing in `main`, before any thread is started.
///
/// The first call builds what is missing and starts the executable again, with the same arguments, inside; it returns
/// only there. The exit code is that of the inner process. The executable also serves as the testbed's own programs (the
/// node and the application); as one of those this does not return either.
pub fn enter() {
    if let Err(error) = try_enter() {
        eprintln!("testbed: {error:#}");
        process::exit(1);
    }
}

/// Whether this process was started as one of the testbed's own programs, whatever its arguments say.
pub fn is_own_program() -> bool {
    env::var_os(PROGRAM_VARIABLE).is_some()
}

fn try_enter() -> Result<()> {
    // Before anything speaks TLS; that it is installed already is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Ok(program) = env::var(PROGRAM_VARIABLE) {
        run_program(&program)?;
        process::exit(0);
    }
    if env::var_os(ROOM_VARIABLE).is_none() {
        return Err(start_again_inside());
    }
    thread::spawn(end_on_signal);
    Ok(())
}

fn run_program(program: &str) -> Result<()> {
    if program == Program::App.name() {
        return app::run();
    }
    if program == Program::Node.name() {
        let path = |name: &str| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set"));
        return node::run(&path("KUBECONFIG")?, path(state::STATE_VARIABLE)?);
    }
    bail!("{PROGRAM_VARIABLE} names no program: {program}")
}

/// Replaces this process by itself in a new namespace; returns only if that fails.
fn start_again_inside() -> Error {
    let inside = || {
        let components = Components::build()?;
        let executable = env::current_exe().context("the path of this program")?;
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-c", PREPARE_NETWORK])
            .arg(executable)
            .args(env::args_os().skip(1))
            .env(ROOM_VARIABLE, process::id().to_string());
        for name in PROXY_VARIABLES {
            command.env_remove(name);
        }
        components.hand_down(&mut command);
        Ok(command)
    };
    match inside() {
        Ok(mut command) => Error::from(command.exec()).context("starting unshare"),
        Err(error) => error,
    }
}

/// The first process of a process namespace ignores signals that it does not handle. This one ends, and with it all others.
fn end_on_signal() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else { return };
        let code = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        };
        state::remove_all();
        process::exit(code);
    });
}

/// A shell script that runs a command in this namespace from another shell.
pub(crate) fn enter_script(environment: &[(&str, String)]) -> Result<String> {
    let room = env::var(ROOM_VARIABLE).context("not inside a testbed: call serin_testbed::enter() first")?;
    let variables: Vec<String> = environment.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
    Ok(format!(
        "#!/bin/sh\n\
         # Runs a command inside the testbed: its network, its kubeconfig, its kubectl.\n\
         target=$(cat /proc/{room}/task/{room}/children) || exit 1\n\
         exec nsenter --target ${{target%% *}} --user --net --preserve-credentials env {} \"$@\"\n",
        variables.join(" ")
    ))
}
