//! `serin demo`: rollouts to watch. The real controller, in a cluster that is only in this process's memory.

mod access;
mod pace;
mod panel;
mod rollout;
mod scenario;
mod screen;
mod show;
mod summary;
mod tally;
#[cfg(test)]
mod tests;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use tokio::signal::unix::{SignalKind, signal};

use self::access::{Access, AccessError};
use self::pace::Pace;
use self::scenario::{SCENARIOS, Scenario};
use self::screen::{Look, Screen, Tone};
use self::show::{Show, ShowError};
use crate::clock::{self, SimulatedClock};

/// Exit code of a process that was told to stop, as shells count it for SIGINT.
const STOPPED: u8 = 130;
/// The image of the demo's applications.
const IMAGE: &str = "ghcr.io/serin-dev/testbed-app";
/// How long is "until somebody ends it".
const EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Command line of `serin demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// What to show; --list says what there is
    #[arg(long, value_name = "NAME", default_value = SCENARIOS[0].name,
          value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name)), hide_possible_values = true)]
    scenario: String,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// How many times as fast as real time, 0.1 to 100
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Serve the Kubernetes API on this machine, and write a kubeconfig for kubectl; goes on until Ctrl-C
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
    /// With --kubeconfig-out: end by itself so many seconds after the scenario
    #[arg(long, value_name = "SECONDS", requires = "kubeconfig_out")]
    stay: Option<u32>,
    /// How this program was called.
    #[arg(skip = program())]
    program: String,
}

fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "serin".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| (0.1..=100.0).contains(speed));
    speed.ok_or_else(|| "give a number from 0.1 to 100".to_owned())
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Show(#[from] ShowError),
    #[error("cannot run: {0}")]
    Runtime(#[source] io::Error),
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Show(ShowError::Output(error))
    }
}

/// Shows a scenario: 0 if it ended as it should, 1 if not, 2 if it could not be shown, 130 if it was stopped.
pub fn run(arguments: &DemoArgs, out: &mut impl Write) -> ExitCode {
    match told(arguments, out) {
        Ok(code) => code,
        // Whoever looked has seen enough.
        Err(DemoError::Show(ShowError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(if matches!(error, DemoError::Show(_)) { 1 } else { 2 })
        }
    }
}

fn told(arguments: &DemoArgs, out: &mut impl Write) -> Result<ExitCode, DemoError> {
    if arguments.list {
        for scenario in SCENARIOS {
            writeln!(out, "{:<18} {}", scenario.name, scenario.shows)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let scenario = scenario::find(&arguments.scenario).unwrap_or(&SCENARIOS[0]);
    let screen = Screen::new(out, Look::of_stdout());
    pace::run(Pace::Real(arguments.speed), attended(arguments, scenario, screen)).map_err(DemoError::Runtime)?
}

/// The demo, until it is over or somebody ends it.
async fn attended<W: Write>(
    arguments: &DemoArgs,
    scenario: &'static Scenario,
    screen: Screen<W>,
) -> Result<ExitCode, DemoError> {
    // What the libraries leave to chance: the jitter of back-offs.
    fastrand::seed(0);
    let _clock = SimulatedClock::start(clock::now());
    let mut show = Show::new(scenario, screen, arguments.speed);
    let access = match &arguments.kubeconfig_out {
        Some(path) => Some(Access::open(show.server(), path).await?),
        None => None,
    };
    let stopped = tokio::select! {
        biased;
        () = stop() => true,
        played = played(arguments, scenario, &mut show) => { played?; false }
    };
    drop(access);
    show.screen().show(Vec::new())?;
    if !stopped {
        return Ok(ExitCode::SUCCESS);
    }
    show.screen().say(Tone::Plain, "Stopped; nothing is left behind.")?;
    Ok(if show.is_over() { ExitCode::SUCCESS } else { ExitCode::from(STOPPED) })
}

/// Waits for SIGINT or SIGTERM; where the system has no signals, for ever.
async fn stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn played<W: Write>(
    arguments: &DemoArgs,
    scenario: &'static Scenario,
    show: &mut Show<W>,
) -> Result<(), DemoError> {
    begin(arguments, scenario, show)?;
    show.play().await?;
    let as_promised = show.check(scenario);
    show.summarize()?;
    next(arguments, scenario, show)?;
    let Some(path) = &arguments.kubeconfig_out else { return Ok(as_promised?) };
    // Whoever has kubectl may have made it end in another way.
    let until = arguments.stay.map_or("Ctrl-C".to_owned(), |seconds| format!("{seconds} s from now"));
    let text = format!("\nThe cluster of {} stays until {until}; what happens in it is told here.", path.display());
    show.screen().say(Tone::Heading, &text)?;
    let time = arguments.stay.map_or(EVER, |seconds| Duration::from_secs(seconds.into()).mul_f64(arguments.speed));
    Ok(show.stay(time).await?)
}

fn begin<W: Write>(arguments: &DemoArgs, scenario: &Scenario, show: &mut Show<W>) -> io::Result<()> {
    let screen = show.screen();
    screen.say(Tone::Heading, &format!("Serin: {}", scenario.shows))?;
    let about = "The controller is the real one. The cluster, its users and its Prometheus are in this process.";
    let is_sped_up = (arguments.speed - 1.0).abs() > f64::EPSILON;
    let speed = if is_sped_up { format!(" Time goes {} times as fast.", arguments.speed) } else { String::new() };
    screen.say(Tone::Faint, &format!("{about}{speed}"))?;
    if let Some(path) = &arguments.kubeconfig_out {
        let path = path.display();
        screen.say(Tone::Plain, &format!("In another terminal: kubectl --kubeconfig {path} get canaries -w"))?;
    }
    screen.say(Tone::Plain, "")
}

/// What to try after this: commands, and why.
fn next<W: Write>(arguments: &DemoArgs, scenario: &Scenario, show: &mut Show<W>) -> io::Result<()> {
    let program = &arguments.program;
    let mut ideas: Vec<(String, &str)> = match &arguments.kubeconfig_out {
        Some(path) => {
            let kubectl = format!("kubectl --kubeconfig {}", path.display());
            let application = scenario.endings.first().map_or("frontend", |(application, ..)| application);
            let image = format!("app={IMAGE}:9.0.0");
            vec![
                (format!("{kubectl} describe canary {application}"), "what it says of the last run"),
                (format!("{kubectl} set image deployment/{application} {image}"), "ship a release"),
                (format!("{kubectl} set env deployment/{application} ERROR_RATE=0.2"), "ship a bad one"),
            ]
        }
        None => {
            vec![(format!("{program} demo --kubeconfig-out demo.yaml"), "the same, with a cluster for your kubectl")]
        }
    };
    ideas.extend([
        (format!("{program} demo --list"), "an outage of Prometheus, a killed controller, and more"),
        ("examples/frontend".to_owned(), "a first canary for your own cluster; README.md says how"),
        ("make demo".to_owned(), "the same on a real API server, Envoy and Prometheus, from a clone of Serin"),
    ]);
    let screen = show.screen();
    screen.say(Tone::Heading, "\nWhat to try next")?;
    for (what, why) in ideas {
        screen.say(Tone::Plain, &format!("  {what}"))?;
        screen.say(Tone::Faint, &format!("      {why}"))?;
    }
    Ok(())
}
