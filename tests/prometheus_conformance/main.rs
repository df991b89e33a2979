//! The simulated Prometheus against the real one: the same samples, the same queries at the same times, the same
//! answers. The built-in queries are those that Serin sends.
//!
//! `cargo test --test prometheus_conformance`; `SERIN_PROMETHEUS` names a binary of Prometheus to be used instead of
//! the testbed's.

#![allow(clippy::print_stdout, reason = "a test tells what it did")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(missing_docs, reason = "a test")]

mod compare;
mod queries;
mod real;
mod world;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// Differences that are shown.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trial = Trial::test("all_queries_have_the_same_answers", || {
        let runtime = Runtime::new()?;
        runtime.block_on(same_answers()).map_err(|error| Failed::from(format!("{error:#}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

async fn same_answers() -> Result<()> {
    let built_in = queries::built_in().await?;
    println!("{} built-in queries, {} others", built_in.len(), queries::OTHERS.len());
    let mut simulated = world::run();
    let real = real::Prometheus::start().await?;
    real.write(&world::samples(&mut simulated)?).await?;
    let (mut agreed, mut numbers, mut differences) = (0, 0, Vec::new());
    let others = queries::OTHERS.iter().map(ToString::to_string);
    for query in built_in.into_iter().chain(others) {
        for seconds in world::MOMENTS {
            let at = world::at(*seconds);
            let expected = real.query(&query, at).await?;
            let found = world::query(&mut simulated, &query, at)?;
            match compare::difference(&expected, &found) {
                None => agreed += 1,
                Some(difference) => differences.push(format!("{query} at {seconds}: {difference}")),
            }
            numbers += compare::numbers(&expected);
        }
    }
    println!("{agreed} answers with {numbers} numbers agree, {} differ", differences.len());
    ensure!(numbers > 1000, "only {numbers} numbers were compared");
    let shown: Vec<String> = differences.iter().take(SHOWN).cloned().collect();
    ensure!(differences.is_empty(), "{} answers differ:\n{}", differences.len(), shown.join("\n"));
    Ok(())
}
