//! One file per subcommand. Only this room prints.

mod arguments;
pub mod controller;
pub mod crd;
mod demo;
pub mod lint;
mod sim;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Progressive delivery for Kubernetes, for Canaries as Flagger reads them.
#[derive(Debug, Parser)]
#[command(name = "serin", version = version::text())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller.
    Controller(Box<controller::ControllerArgs>),
    /// Print the custom resource definitions, or write them into a directory.
    Crd(crd::CrdArgs),
    /// Watch a good release being promoted and a bad one taken back, without a cluster.
    ///
    /// Exit code 0: the runs ended as they should. 1: they did not. 2: nothing could be shown. 130: it was stopped.
    Demo(demo::DemoArgs),
    /// Check manifests without a cluster.
    ///
    /// Exit code 0: nothing to mend. 1: something in the files is wrong. 2: the command itself could not run.
    Lint(lint::LintArgs),
    /// Run simulated worlds, for contributors.
    ///
    /// Exit code 0: every promise was kept. 1: some were broken.
    #[command(hide = true)]
    Sim(sim::SimArgs),
    /// Print version and platform.
    Version,
}

/// Runs the command line: 0 when all is well, 1 when the work failed, 2 when the command itself could not run.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments::with_two_dashes(arguments)) {
        Ok(cli) => match cli.command {
            Command::Controller(arguments) => controller::run(*arguments),
            Command::Crd(arguments) => crd::run(arguments, &mut std::io::stdout()),
            Command::Demo(arguments) => demo::run(&arguments, &mut std::io::stdout()),
            Command::Lint(arguments) => lint::run(arguments, &mut std::io::stdout()),
            Command::Sim(arguments) => sim::run(&arguments, &mut std::io::stdout()),
            Command::Version => version::run(),
        },
        Err(error) => {
            // Help and version are "errors" to clap, with exit code 0. A closed output is nobody's loss.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
