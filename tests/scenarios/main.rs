//! What must be seen working, on the real components: each trial is a scenario in a namespace of its own, with a
//! controller of its own that runs as the shipped ServiceAccount.
//!
//! `cargo test --test scenarios` runs them all; a word after `--` filters.

#![allow(clippy::disallowed_methods, reason = "what users see happens in real time")]
#![allow(clippy::print_stderr, reason = "a test tells why it could not run")]
#![allow(clippy::unchecked_time_subtraction, reason = "the machine has been up for longer than any of these")]

mod autoscaling;
mod bad_input;
mod conditions;
mod configs;
mod crashes;
mod drift;
mod leaders;
mod outages;
mod privileges;
mod readiness;
mod scene;
mod strategies;
mod weighted;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use serin_testbed::{Options, Testbed};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        let mut all = trials(None);
        all.push(privileges::trial(&Scenarios { shared: None }, false));
        return libtest_mimic::run(&arguments, all).exit_code();
    }
    serin_testbed::enter();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the scenarios could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A running testbed and the runtime that everything shares.
#[derive(Clone)]
struct Shared {
    runtime: Arc<Runtime>,
    testbed: Arc<Testbed>,
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    rustls_provider();
    let runtime = Arc::new(Runtime::new().context("an async runtime")?);
    let testbed = runtime.block_on(async {
        let testbed = Testbed::start(Options::default()).await?;
        install(&testbed).await?;
        Ok::<_, anyhow::Error>(Arc::new(testbed))
    })?;
    let shared = Shared { runtime, testbed };
    let conclusion = libtest_mimic::run(arguments, trials(Some(&shared)));
    // Alone and last: it looks back at what all of the others did.
    let after_all_others = conclusion.num_filtered_out == 0 && conclusion.num_ignored == 0;
    let last = privileges::trial(&Scenarios { shared: Some(shared) }, after_all_others);
    let verdict = libtest_mimic::run(arguments, vec![last]);
    Ok(if conclusion.has_failed() { conclusion.exit_code() } else { verdict.exit_code() })
}

fn rustls_provider() {
    // It may be installed already; all of this process uses the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Installs what `kubectl apply -k deploy/base` does, but for the controller itself: each scenario starts its own.
async fn install(testbed: &Testbed) -> Result<()> {
    let root = env!("CARGO_MANIFEST_DIR");
    let rendered = testbed.kubectl(&["kustomize", &format!("{root}/deploy/base")]).await?;
    let manifests: Vec<&str> =
        rendered.split("\n---\n").filter(|manifest| !manifest.contains("kind: Deployment\n")).collect();
    testbed.kubectl_with_input(&["apply", "--server-side", "--filename=-"], &manifests.join("\n---\n")).await?;
    testbed.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all"]).await?;
    Ok(())
}

fn trials(shared: Option<&Shared>) -> Vec<Trial> {
    let scenario = Scenarios { shared: shared.cloned() };
    let mut trials = Vec::new();
    weighted::register(&scenario, &mut trials);
    configs::register(&scenario, &mut trials);
    outages::register(&scenario, &mut trials);
    crashes::register(&scenario, &mut trials);
    readiness::register(&scenario, &mut trials);
    leaders::register(&scenario, &mut trials);
    autoscaling::register(&scenario, &mut trials);
    drift::register(&scenario, &mut trials);
    conditions::register(&scenario, &mut trials);
    strategies::register(&scenario, &mut trials);
    bad_input::register(&scenario, &mut trials);
    trials
}

/// Turns async functions into trials.
struct Scenarios {
    shared: Option<Shared>,
}

impl Scenarios {
    /// A trial that gets the testbed.
    fn trial<Run, Running>(&self, name: &str, run: Run) -> Trial
    where
        Run: FnOnce(Arc<Testbed>) -> Running + Send + 'static,
        Running: Future<Output = Result<()>>,
    {
        let shared = self.shared.clone();
        Trial::test(name.to_owned(), move || {
            let Some(shared) = shared else { return Err(Failed::from("there is no testbed")) };
            let testbed = Arc::clone(&shared.testbed);
            shared.runtime.block_on(run(testbed)).map_err(|error| Failed::from(format!("{error:#}")))
        })
    }
}
