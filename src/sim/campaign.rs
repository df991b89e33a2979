//! Many worlds, on all cores: which promises do they break, and what is the smallest world that still does?

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::promises::Broken;
use super::world::{Outcome, Plan, Runner};

/// A world that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The world as it was made.
    pub plan: Plan,
    /// Which of its happenings are not needed to break a promise, by their place in the plan.
    pub needless: Vec<usize>,
    /// What the smallest world breaks.
    pub broken: Vec<Broken>,
}

impl Failure {
    /// The command that runs the smallest world again.
    pub fn replay(&self) -> String {
        let places: Vec<String> = self.needless.iter().map(ToString::to_string).collect();
        let without = if places.is_empty() { String::new() } else { format!(" --without {}", places.join(",")) };
        format!("serin sim --seed {}{without}", self.plan.seed)
    }
}

/// What became of many worlds.
#[derive(Debug, Default)]
pub struct Report {
    /// Worlds that were run.
    pub worlds: u64,
    /// Committed writes in all of them.
    pub writes: u64,
    /// Processes of the controller that died in them.
    pub deaths: u64,
    /// Those that broke a promise, by seed; at most [`FAILURES_MAX`].
    pub failures: Vec<Failure>,
}

/// After so many failures a campaign ends.
pub const FAILURES_MAX: usize = 10;

/// Plans that a thread takes at a time.
const BATCH: usize = Plan::FAMILY as usize;

/// Runs the worlds of these plans on so many threads.
pub fn run<P>(plans: P, threads: usize) -> Report
where
    P: Iterator<Item = Plan> + Send,
{
    let plans = Mutex::new(plans);
    let failures = Mutex::new(Vec::new());
    let [worlds, writes, deaths] = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut runner = Runner::default();
                let mut batch = Vec::new().into_iter();
                let mut next = || {
                    if batch.as_slice().is_empty() {
                        batch = next_batch(&plans).into_iter();
                    }
                    batch.next().filter(|_| lock(&failures).len() < FAILURES_MAX)
                };
                while let Some(plan) = next() {
                    let outcome = run_safely(&mut runner, &plan);
                    worlds.fetch_add(1, Ordering::Relaxed);
                    writes.fetch_add(outcome.writes, Ordering::Relaxed);
                    deaths.fetch_add(outcome.deaths, Ordering::Relaxed);
                    if !outcome.broken.is_empty() {
                        let failure = shrink(&mut runner, plan, outcome);
                        lock(&failures).push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.plan.seed);
    let [worlds, writes, deaths] = [worlds, writes, deaths].map(AtomicU64::into_inner);
    Report { worlds, writes, deaths, failures }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Worlds of one shape, most of the time: they run on one thread, since they share what they begin with.
fn next_batch<P: Iterator>(plans: &Mutex<P>) -> Vec<P::Item> {
    lock(plans).by_ref().take(BATCH).collect()
}

/// Runs a world. A panic is one of the models' or the checks': the controller's own are caught in its passes.
fn run_safely(runner: &mut Runner, plan: &Plan) -> Outcome {
    std::panic::catch_unwind(AssertUnwindSafe(|| runner.run(plan))).unwrap_or_else(|_| Outcome::panicked())
}

/// Leaves out one happening after the other, as long as a promise is still broken that was broken before.
fn shrink(runner: &mut Runner, plan: Plan, outcome: Outcome) -> Failure {
    let promises: Vec<_> = outcome.broken.iter().map(|broken| broken.promise).collect();
    let mut failure = Failure { plan, needless: Vec::new(), broken: outcome.broken };
    for index in (0..failure.plan.happenings.len()).rev() {
        let mut needless = failure.needless.clone();
        needless.push(index);
        let outcome = run_safely(runner, &failure.plan.without(&needless));
        if outcome.broken.iter().any(|broken| promises.contains(&broken.promise)) {
            failure.needless = needless;
            failure.broken = outcome.broken;
        }
    }
    failure.needless.sort_unstable();
    failure
}
