//! The controller is killed at random moments: no early step, no lost run, the same end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use serin::api::status::{CanaryStatus, Outcome, Phase};
use serin_testbed::{Process, Testbed};

use crate::Scenarios;
use crate::scene::{HEALTHY, Scene};

/// Environment variable with the seed of a run that is to be seen again.
const SEED: &str = "SERIN_CRASH_SEED";
/// Kills of the controller, over all runs.
const KILLS: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(2);
/// How far the checks of [`Scene::canary`] look back.
const METRICS_WINDOW: Duration = Duration::from_secs(5);
/// Longest time that the controller lives between two kills: a whole interval and a half, so that runs get on.
const LONGEST_LIFE_MILLISECONDS: u64 = 3000;

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("a_controller_killed_20_times_takes_no_early_step_and_loses_no_run", killed));
}

async fn killed(testbed: Arc<Testbed>) -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().context(SEED)?,
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as u64,
    };
    eprintln!("{SEED}={seed}");
    killed_by(testbed, seed).await.with_context(|| format!("with {SEED}={seed}"))
}

async fn killed_by(testbed: Arc<Testbed>, seed: u64) -> Result<()> {
    let scene = Scene::new(&testbed, "crashes").await?;
    let mut assassin = Assassin { controller: scene.start_controller().await?, random: Random(seed), kills: 0 };
    scene.initialize(&scene.canary(&json!({"threshold": 4}))).await?;
    let _users = scene.users().await?;
    let since = SystemTime::now();

    // A release is promoted, one is taken back, and so on until there were enough kills.
    let mut runs = Vec::new();
    while assassin.kills < KILLS || runs.len() < 2 {
        let good = runs.len() % 2 == 0;
        let version = format!("1.{}.0", runs.len() + 1);
        scene.release(&version, if good { HEALTHY } else { &[("ERROR_RATE", "0.5")] }).await?;
        let first_seen = Instant::now();
        let status = assassin.haunt(&scene, runs.len() + 1).await?;
        runs.push(good);
        assert_end(&scene, &status, good, &version, runs.len()).await?;
        let weights = weights_since(&scene, first_seen);
        assert_plan(&weights, good).with_context(|| format!("run {} of {version}", runs.len()))?;
        // The next run is not to be judged by the requests of this one.
        tokio::time::sleep(METRICS_WINDOW).await;
    }
    // After the last one nothing moves any more, restarted or not.
    let settled = Instant::now();
    assassin.strike().await?;
    tokio::time::sleep(2 * INTERVAL).await;
    ensure!(scene.closed_since(settled), "the weight rose after the last run: {:?}", scene.weights());
    ensure!(scene.status().await?.history.len() == runs.len(), "a run began by itself");

    assert_no_early_step(&scene, since)?;
    assert_alerts_once(&scene)
}

/// Kills the controller at random moments, and starts it again after a random while.
struct Assassin {
    controller: Process,
    random: Random,
    kills: u32,
}

impl Assassin {
    /// Strikes until so many runs have ended (or there were enough kills), then waits for that end.
    async fn haunt(&mut self, scene: &Scene, runs: usize) -> Result<CanaryStatus> {
        while self.kills < KILLS && scene.status().await?.history.len() < runs {
            let life = Duration::from_millis(self.random.below(LONGEST_LIFE_MILLISECONDS));
            tokio::time::sleep(life).await;
            self.strike().await?;
        }
        scene.ended(runs).await
    }

    async fn strike(&mut self) -> Result<()> {
        ensure!(self.controller.is_running(), "the controller ended by itself; see its log");
        self.controller.kill();
        tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
        self.controller.restart()?;
        self.kills += 1;
        Ok(())
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The run ended as it would have without a crash, and only once.
async fn assert_end(scene: &Scene, status: &CanaryStatus, good: bool, version: &str, runs: usize) -> Result<()> {
    let (phase, outcome) =
        if good { (Phase::Succeeded, Outcome::Promoted) } else { (Phase::Failed, Outcome::RolledBack) };
    ensure!(status.history.len() == runs, "{} runs of {runs} releases: {:?}", status.history.len(), status.history);
    let run = status.history.first().context("no history")?;
    ensure!(status.phase == phase && run.outcome == outcome, "{version} ended as {phase:?}, {run:?}");
    let image = scene.image_of("frontend-primary").await?;
    let is_promoted = image == format!("testbed-app:{version}");
    ensure!(is_promoted == good, "the primary runs {image} after {version}");
    Ok(())
}

fn weights_since(scene: &Scene, since: Instant) -> Vec<i32> {
    let mut weights = vec![0];
    weights.extend(scene.timed_weights().into_iter().filter(|(at, _)| *at >= since).map(|(_, weight)| weight));
    weights.dedup();
    weights
}

/// Up by one step of ten at a time, and down only to zero, once.
fn assert_plan(weights: &[i32], good: bool) -> Result<()> {
    let plan = [0, 10, 20, 30, 40, 50];
    let Some((last, rises)) = weights.split_last() else { return Ok(()) };
    ensure!(*last == 0 && plan.starts_with(rises), "the route went {weights:?}");
    ensure!(rises.len() == plan.len() || !good, "it was promoted after {weights:?}");
    Ok(())
}

/// Between two rises of the weight there is an interval at least, by the API server's own account. A request takes
/// effect between its arrival and its answer, so from the arrival of one to the answer of the next there must be one.
fn assert_no_early_step(scene: &Scene, since: SystemTime) -> Result<()> {
    let mut writes: Vec<_> = scene
        .testbed
        .audit_requests(None, since)?
        .into_iter()
        .filter(|request| request.resource == "httproutes" && request.subresource.is_empty())
        .filter(|request| request.namespace == scene.namespace && request.code == 200)
        .filter_map(|request| Some((request.time, request.answered, weight_in(&request.body)?)))
        .collect();
    writes.sort();
    let rises: Vec<_> = writes.iter().filter(|(_, _, weight)| *weight > 0).collect();
    ensure!(rises.len() >= 6, "the audit log has only {} rises of the weight", rises.len());
    let mut last: Option<(SystemTime, i64)> = None;
    for (time, answered, weight) in &writes {
        if let Some((before, lower)) = last
            && *weight > lower
            && lower > 0
        {
            let gap = answered.duration_since(before).unwrap_or_default();
            ensure!(gap >= INTERVAL, "from {lower} to {weight} % after {gap:?}: {writes:?}");
        }
        // A repetition of the same weight does not put the rise off.
        if last.is_none_or(|(_, lower)| lower != *weight) {
            last = Some((*time, *weight));
        }
    }
    Ok(())
}

/// The canary's weight in a change of a route, if it says one.
fn weight_in(body: &serde_json::Value) -> Option<i64> {
    let backends = body.pointer("/spec/rules/0/backendRefs")?.as_array()?;
    backends.iter().find(|backend| backend["name"] == "frontend-canary")?["weight"].as_i64()
}

/// Each decision is told once at most: by its message and the revision that it is about.
fn assert_alerts_once(scene: &Scene) -> Result<()> {
    let mut told: BTreeMap<(String, String), u32> = BTreeMap::new();
    for alert in scene.sink.received() {
        let text = |pointer: &str| alert.body.pointer(pointer).map(ToString::to_string).unwrap_or_default();
        *told.entry((text("/message"), text("/fields/Revision"))).or_default() += 1;
    }
    ensure!(!told.is_empty(), "nothing was told at all");
    let twice: Vec<_> = told.iter().filter(|(_, count)| **count > 1).collect();
    ensure!(twice.is_empty(), "told more than once: {twice:?}");
    let ends = told.keys().filter(|(message, _)| message.contains("rolled back")).map(|(_, revision)| revision);
    let mut ends: Vec<_> = ends.collect();
    let all = ends.len();
    ends.dedup();
    ensure!(ends.len() == all, "one rollback was told in several ways: {told:?}");
    Ok(())
}
