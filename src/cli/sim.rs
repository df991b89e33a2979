//! `serin sim`: simulated worlds, for contributors. `CONTRIBUTING.md` says how to use it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
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
    /// Begin no more worlds after so many seconds: some may not be run then, and the report says so.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["world", "save", "trace", "without"])]
    within: Option<u64>,
    /// Leave out these happenings of the world, by their places.
    #[arg(long, value_delimiter = ',', value_name = "PLACE")]
    without: Vec<usize>,
    /// Run the world of this file instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "count"])]
    world: Option<PathBuf>,
    /// Write the world into a file, to be kept, instead of running it.
    #[arg(long, value_name = "FILE", conflicts_with = "count")]
    save: Option<PathBuf>,
    /// Tell everything that happens, of one world.
    #[arg(long)]
    trace: bool,
    /// Log what the controller says, of one world.
    #[arg(long)]
    log: bool,
    /// Run every crash point of every strategy instead of random worlds.
    #[arg(long, conflicts_with_all = ["seed", "count", "without", "world", "save", "trace"])]
    crash_points: bool,
    /// Run the worlds that other controllers did not pass.
    #[arg(long, conflicts_with_all = ["seed", "count", "without", "world", "save", "trace", "crash_points"])]
    regressions: bool,
    /// Threads to run worlds on; all cores by default.
    #[arg(long)]
    threads: Option<usize>,
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{} holds no world: {source}; make one with serin sim --seed N --save FILE", file.display())]
    NoWorld { file: PathBuf, source: Box<serde_saphyr::Error> },
    #[error("writing {}: {source}", file.display())]
    Unwritable { file: PathBuf, source: io::Error },
    #[error("telling what became of the worlds: {0}")]
    Told(io::Error),
}

/// Runs the worlds and tells what they broke: 0 if nothing, 1 if a promise was broken, 2 if nobody could be told.
pub fn run(arguments: &SimArgs, out: &mut impl Write) -> ExitCode {
    if arguments.log {
        // It fails only where there is a log already.
        let _ = logs::install(LogLevel::Trace, LogFormat::Text);
    }
    let is_one = arguments.trace || arguments.save.is_some() || arguments.world.is_some();
    let told = if arguments.regressions {
        bugs_of_others(out).map_err(Error::Told)
    } else if is_one || !arguments.without.is_empty() {
        one(arguments, out)
    } else {
        many(arguments, out).map_err(Error::Told)
    };
    told.unwrap_or_else(|error| {
        // Nothing is left to be told to whoever closed standard error too.
        let _ = writeln!(io::stderr(), "serin sim: {error}");
        ExitCode::from(2)
    })
}

fn one(arguments: &SimArgs, out: &mut impl Write) -> Result<ExitCode, Error> {
    let plan = match &arguments.world {
        Some(file) => read(file)?,
        None => Plan::generate(arguments.seed),
    };
    let plan = plan.without(&arguments.without);
    match &arguments.save {
        Some(file) => save(&plan, file).map(|()| ExitCode::SUCCESS),
        None => show(&plan, out).map_err(Error::Told),
    }
}

fn read(file: &Path) -> Result<Plan, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Unreadable { file: file.to_owned(), source })?;
    Plan::from_yaml(&text).map_err(|source| Error::NoWorld { file: file.to_owned(), source: Box::new(source) })
}

fn save(plan: &Plan, file: &Path) -> Result<(), Error> {
    let text = plan.to_yaml().map_err(|error| io::Error::other(error.to_string()));
    let saved = text.and_then(|text| std::fs::write(file, text));
    saved.map_err(|source| Error::Unwritable { file: file.to_owned(), source })
}

fn show(plan: &Plan, out: &mut impl Write) -> io::Result<ExitCode> {
    writeln!(out, "{plan:#?}")?;
    let outcome = world::run_traced(plan);
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
    let has_time = |_: &Plan| arguments.within.is_none_or(|seconds| start.elapsed().as_secs() < seconds);
    let report = if arguments.crash_points {
        campaign::run(crash_points::plans().take_while(has_time), threads)
    } else {
        let seeds = arguments.seed..arguments.seed.saturating_add(arguments.count);
        campaign::run(seeds.map(Plan::generate).take_while(has_time), threads)
    };
    tell(&report, start.elapsed().as_secs_f64(), out)?;
    let is_cut_short = !arguments.crash_points && report.failures.is_empty() && report.worlds < arguments.count;
    if is_cut_short {
        writeln!(out, "{} worlds were not begun: the time was up", arguments.count - report.worlds)?;
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(report: &Report, seconds: f64, out: &mut impl Write) -> io::Result<()> {
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
    )
}
