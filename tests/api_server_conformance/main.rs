//! The in-memory API server against the real one: the same sequences of operations, the same answers.
//!
//! `cargo test --test conformance`; `SERIN_CONFORMANCE_SEED=7` runs one sequence, `SERIN_CONFORMANCE_SECONDS` says for
//! how long sequences are run (default 45), and `SERIN_CONFORMANCE_FIRST_SEED` with which one they begin (default 1).

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a test tells what it did")]
#![allow(clippy::disallowed_methods, reason = "it runs against a real server in real time")]
#![allow(missing_docs, reason = "a test")]
#![allow(clippy::expect_used, reason = "a test may panic")]

mod compare;
mod garbage;
mod objects;
mod random;
mod roles;
mod run;
mod sequence;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{FuturesUnordered, StreamExt};
use libtest_mimic::{Arguments, Failed, Trial};
use serin::sim::api_server::{ApiServer, Caller};
use serin_testbed::{Options, Testbed};
use tokio::runtime::Runtime;

use crate::run::Runner;

/// Sequences that run at the same time.
const PARALLEL: usize = 12;
/// Differences that are shown.
const SHOWN: usize = 14;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    serin_testbed::enter();
    match prepare() {
        Ok(shared) => libtest_mimic::run(&arguments, trials(Some(&shared))).exit_code(),
        Err(error) => {
            eprintln!("the conformance test could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone)]
struct Shared {
    runtime: Arc<Runtime>,
    testbed: Arc<Testbed>,
}

fn prepare() -> Result<Shared> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Arc::new(Runtime::new().context("an async runtime")?);
    let testbed = runtime.block_on(async {
        let testbed = Testbed::start(Options::default()).await?;
        let root = env!("CARGO_MANIFEST_DIR");
        testbed.kubectl(&["create", "--filename", &format!("{root}/crds/canaries.yaml")]).await?;
        roles::install(&testbed).await?;
        testbed.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all"]).await?;
        garbage::prepare(&testbed).await?;
        // Nobody else writes to what the sequences are about.
        for name in ["kube-controller-manager", "kube-scheduler", "node", "contour"] {
            testbed.with_component(name, |process| process.pause())??;
        }
        Ok::<_, anyhow::Error>(Arc::new(testbed))
    })?;
    Ok(Shared { runtime, testbed })
}

fn trials(shared: Option<&Shared>) -> Vec<Trial> {
    fn trial<Run, Running>(shared: Option<&Shared>, name: &str, run: Run) -> Trial
    where
        Run: FnOnce(Arc<Testbed>) -> Running + Send + 'static,
        Running: Future<Output = Result<()>>,
    {
        let shared = shared.cloned();
        Trial::test(name, move || {
            let Some(shared) = shared else { return Err(Failed::from("there is no testbed")) };
            let run = run(shared.testbed.clone());
            shared.runtime.block_on(run).map_err(|error| Failed::from(format!("{error:#}")))
        })
    }
    vec![
        trial(shared, "generated_sequences_have_the_same_answers", async |testbed| sequences(&testbed).await),
        trial(shared, "refusals_of_the_shipped_role_are_the_same", async |testbed| roles::refusals(&testbed).await),
        trial(shared, "garbage_is_collected_the_same", async |testbed| garbage::collection(&testbed).await),
    ]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

async fn sequences(testbed: &Testbed) -> Result<()> {
    let only = number("SERIN_CONFORMANCE_SEED");
    let end = Instant::now() + Duration::from_secs(number("SERIN_CONFORMANCE_SECONDS").unwrap_or(45));
    let first = only.or(number("SERIN_CONFORMANCE_FIRST_SEED")).unwrap_or(1);
    let next = AtomicU64::new(first);
    let started = || next.load(Ordering::Relaxed) - first;
    let mut running = FuturesUnordered::new();
    let (mut agreed, mut steps, mut differences) = (0, 0, Vec::new());
    loop {
        while running.len() < PARALLEL && Instant::now() < end && (only.is_none() || started() == 0) {
            running.push(one(testbed, next.fetch_add(1, Ordering::Relaxed)));
        }
        let Some((seed, result)) = running.next().await else { break };
        match result.with_context(|| format!("seed {seed}"))? {
            (count, None) => {
                agreed += 1;
                steps += count;
            }
            (_, Some(difference)) => differences.push(format!("seed {seed}: {difference}")),
        }
    }
    for wanted in compare::WANTED {
        println!("wanted difference: {}", wanted.reason);
    }
    println!("{agreed} sequences with {steps} answers and events agree, {} differ", differences.len());
    let shown: Vec<String> = differences.iter().take(SHOWN).cloned().collect();
    anyhow::ensure!(differences.is_empty(), "{} sequences differ:\n{}", differences.len(), shown.join("\n"));
    anyhow::ensure!(agreed > 0, "no sequence ran");
    Ok(())
}

async fn one(testbed: &Testbed, seed: u64) -> (u64, Result<(usize, Option<String>)>) {
    let result = async {
        let steps = sequence::generate(seed);
        // Namespaces need not exist for the in-memory server, but for the real one.
        let namespace = format!("sequence-{seed}");
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        let request = http::Request::post("/api/v1/namespaces").body(body.to_string().into_bytes())?;
        testbed.client().request_text(request).await?;
        // Pods need an account, and nobody is there to make it; the volume of a token has a name that nobody can know.
        let account = serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}, "automountServiceAccountToken": false});
        let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/serviceaccounts"))
            .body(account.to_string().into_bytes())?;
        testbed.client().request_text(request).await?;
        let real = Runner::new(testbed.client(), &namespace).run(&steps, &[]).await.context("the real server")?;
        if number("SERIN_CONFORMANCE_SEED").is_some() {
            for (index, seen) in real.iter().enumerate() {
                println!("step {index}: {} {}\n   {}", seen.what, seen.outcome, seen.body);
            }
        }
        let server = ApiServer::new();
        let client = server.client(Caller { user: "admin".to_owned(), ..Caller::default() });
        let simulated = Runner::new(client, &namespace).run(&steps, &real).await.context("the in-memory server")?;
        Ok((real.len(), compare::difference(&real, &simulated)))
    };
    (seed, result.await)
}
