//! One world: the real controller in a cluster in memory, on virtual time, while things happen to it. The same plan
//! always makes the same world.

mod backends;
mod generate;
mod git;
mod life;
mod manifests;
pub mod plan;
mod process;
mod trace;
mod weather;
mod wire;

use std::time::Duration;

pub use self::plan::Plan;
use super::promises::{Broken, Promise};

/// What became of a world.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Promises that were broken.
    pub broken: Vec<Broken>,
    /// Committed writes.
    pub writes: u64,
    /// Writes that the controller sent, but for the Lease.
    pub controller_writes: u64,
    /// Processes that died or were stopped.
    pub deaths: u64,
    /// What happened, a line for each; empty unless it was asked for.
    pub trace: Vec<String>,
}

impl Outcome {
    /// Of a world whose thread panicked.
    pub(super) fn panicked() -> Self {
        let what = "a panic, see the lines above".to_owned();
        let broken = Broken { promise: Promise::SettledMeansSettled, at: Duration::ZERO, what };
        Self { broken: vec![broken], ..Self::default() }
    }
}

/// Runs a world.
pub fn run(plan: &Plan) -> Outcome {
    life::run(plan, false)
}

/// Runs a world and tells what happened in it.
pub fn run_traced(plan: &Plan) -> Outcome {
    life::run(plan, true)
}
