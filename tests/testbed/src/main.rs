//! `testbed`: a Kubernetes cluster of real components, by hand.

mod check;
mod demo;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serin_testbed::{Options, Testbed};

/// A Kubernetes cluster of real components, without containers and without root.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Starts a testbed and keeps it until Ctrl-C.
    Up(StateOptions),
    /// Starts a testbed, runs a command inside, and ends with the command's exit code.
    Run {
        #[command(flatten)]
        state: StateOptions,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Starts a testbed and checks that its parts do what the tests rely on.
    Check(StateOptions),
    /// Shows a release that is promoted and one that is taken back, with real traffic.
    Demo(demo::DemoOptions),
    /// Runs the test application, as its environment says (see the README).
    App,
    /// Runs the node against an API server.
    Node {
        /// How to reach the API server.
        #[arg(long)]
        kubeconfig: PathBuf,
        /// Where to write the pods' logs and the list of pods for Prometheus.
        #[arg(long)]
        state_dir: PathBuf,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct StateOptions {
    /// Where to keep logs, keys and data [default: a new folder among the temporary files].
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Leave these files there at the end.
    #[arg(long)]
    keep_state: bool,
}

impl From<StateOptions> for Options {
    fn from(options: StateOptions) -> Self {
        Self { state_dir: options.state_dir, keep_state: options.keep_state }
    }
}

fn main() -> ExitCode {
    // The node and its pods are this executable without arguments.
    if serin_testbed::is_own_program() {
        serin_testbed::enter();
    }
    let arguments = Arguments::parse();
    if matches!(arguments.task, Task::Up(_) | Task::Run { .. } | Task::Check(_) | Task::Demo(_)) {
        serin_testbed::enter();
    }
    match perform(arguments.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up(options) => block_on(up(options.into())),
        Task::Run { state, command } => block_on(run(state.into(), command)),
        Task::Check(options) => block_on(async {
            check::run(&Testbed::start(options.into()).await?).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Task::Demo(options) => block_on(demo::run(options)),
        Task::App => serin_testbed::run_app().map(|()| ExitCode::SUCCESS),
        Task::Node { kubeconfig, state_dir } => {
            serin_testbed::run_node(&kubeconfig, state_dir).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn block_on<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Runtime::new().context("starting the runtime")?.block_on(task)
}

async fn up(options: Options) -> Result<ExitCode> {
    let testbed = Testbed::start(options).await?;
    let enter = testbed.enter_script_path();
    println!("The testbed is up; Ctrl-C ends it. All addresses are inside its own network:");
    println!("  kubeconfig  {}", testbed.kubeconfig_path().display());
    println!("  API server  {}", testbed.api_server_url());
    println!("  gateway     http://{}", testbed.gateway_address());
    println!("  Prometheus  {}", testbed.prometheus_url());
    println!("  logs        {}", testbed.state_dir().display());
    println!("From another shell:");
    println!("  {} kubectl get pods -A", enter.display());
    println!("  {} curl -H 'Host: app.example.com' http://{}/", enter.display(), testbed.gateway_address());
    std::future::pending().await
}

async fn run(options: Options, command: Vec<String>) -> Result<ExitCode> {
    let testbed = Testbed::start(options).await?;
    let (program, arguments) = command.split_first().context("no command")?;
    let environment = testbed.environment()?;
    let status = Command::new(program)
        .args(arguments)
        .envs(environment)
        .status()
        .with_context(|| format!("running {program}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
