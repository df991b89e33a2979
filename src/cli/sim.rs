//! `serin sim`: simulated worlds, for contributors. `CONTRIBUTING.md` says how to use it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use tokio::time::Instant;

use crate::controller::logs::{self, LogFormat, LogLevel};
use crate::sim::campaign::{self, Report};
use crate::sim::world::{self, Plan};
use crate::sim::{crash_points, regressions};

/// Command line of `serin sim`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct SimArgs {
    /// Seed of the first world.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number of worlds.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Leave out these happenings of the world, by their places.
    #[arg(long, value_delimiter = ',', value_name = "PLACE")]
    without: Vec<usize>,
    /// Tell everything that happens, of one world.
    #[arg(long)]
    trace: bool,
    /// Log what the controller says, of one world.
    #[arg(long)]
    log: bool,
    /// Run every crash point of every strategy instead of random worlds.
    #[arg(long, conflicts_with_all = ["seed", "count", "without", "trace"])]
    crash_points: bool,
    /// Run the worlds that other controllers did not pass.
    #[arg(long, conflicts_with_all = ["seed", "count", "without", "trace", "crash_points"])]
    regressions: bool,
    /// Threads to run worlds on; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the worlds and tells what they broke: 0 if nothing, 1 if a promise was broken, 2 if nobody could be told.
pub fn run(arguments: &SimArgs, out: &mut impl Write) -> ExitCode {
    if arguments.log {
        // It fails only where there is a log already.
        let _ = logs::install(LogLevel::Trace, LogFormat::Text);
    }
    let told = if arguments.regressions {
        bugs_of_others(out)
    } else if arguments.trace || !arguments.without.is_empty() {
        one(arguments, out)
    } else {
        many(arguments, out)
    };
    told.unwrap_or(ExitCode::from(2))
}

fn one(arguments: &SimArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let plan = Plan::generate(arguments.seed).without(&arguments.without);
    writeln!(out, "{plan:#?}")?;
    let outcome = world::run_traced(&plan);
    for line in &outcome.trace {
        writeln!(out, "{line}")?;
    }
    for broken in &outcome.broken {
        writeln!(out, "broken: {broken}")?;
    }
    Ok(if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bugs_of_others(out: &mut impl Write) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for world in regressions::all() {
        let wrong = world.run();
        writeln!(out, "{} {} ({})", if wrong.is_empty() { "ok    " } else { "FAILED" }, world.name, world.origin)?;
        for what in &wrong {
            writeln!(out, "  {what}")?;
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn many(arguments: &SimArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    let start = Instant::now();
    let report = if arguments.crash_points {
        campaign::run(crash_points::plans(), threads)
    } else {
        let seeds = arguments.seed..arguments.seed.saturating_add(arguments.count);
        campaign::run(seeds.map(Plan::generate), threads)
    };
    tell(&report, start.elapsed().as_secs_f64(), out)
}

fn tell(report: &Report, seconds: f64, out: &mut impl Write) -> io::Result<ExitCode> {
    for failure in &report.failures {
        writeln!(out, "{:?}", failure.plan.shape)?;
        for (place, happening) in failure.plan.happenings.iter().enumerate() {
            let mark = if failure.needless.contains(&place) { "  (not needed)" } else { "" };
            writeln!(out, "  {place}: {:7.3} s {:?}{mark}", happening.at.as_secs_f64(), happening.what)?;
        }
        for broken in &failure.broken {
            writeln!(out, "  broken: {broken}")?;
        }
        writeln!(out, "  again: {}", failure.replay())?;
    }
    let Report { worlds, writes, deaths, failures } = report;
    let rate = *worlds as f64 / seconds.max(0.001);
    writeln!(
        out,
        "{worlds} worlds with {writes} writes and {deaths} deaths of a process in {seconds:.1} s ({rate:.0} in a second): {} \
         broke a promise",
        failures.len()
    )?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
