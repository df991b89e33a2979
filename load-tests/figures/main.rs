//! What Serin costs and how fast it is, in figures: `cargo bench --bench figures`. See `load-tests/README.md`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to whoever runs it")]
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

mod bed;
mod binary;
mod fleet;
mod report;
mod safety;
mod steps;

use std::process::ExitCode;

use anyhow::{Context, Result};

use bed::Bed;
use report::Report;

/// What can be measured, in order: what a cold cluster is needed for comes first.
const PARTS: [&str; 5] = ["size", "start", "steps", "safety", "fleet"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs benchmarks without this; this one takes too long for that.
    if !serin_testbed::is_own_program() && !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing measured: run `cargo bench --bench figures`");
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|word| !PARTS.contains(word)) {
        eprintln!("there is no figure {unknown}; there are {}", PARTS.join(", "));
        return ExitCode::from(2);
    }
    serin_testbed::enter();
    let parts = if wanted.is_empty() { PARTS.to_vec() } else { wanted };
    match measure(&parts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(parts: &[&str]) -> Result<()> {
    let mut report = Report::new();
    let runtime = tokio::runtime::Runtime::new().context("an async runtime")?;
    runtime.block_on(async {
        if parts.contains(&"size") {
            binary::size(&mut report)?;
        }
        if parts.iter().all(|part| *part == "size") {
            return Ok(());
        }
        let bed = Bed::start().await?;
        for part in PARTS.into_iter().filter(|part| parts.contains(part)) {
            match part {
                "start" => binary::start(&bed, &mut report).await?,
                "steps" => steps::measure(&bed, &mut report).await?,
                "safety" => safety::measure(&bed, &mut report).await?,
                "fleet" => fleet::measure(&bed, &mut report).await?,
                _ => {}
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    report.finish()
}
