//! One world: the real controller in a cluster in memory, on virtual time, while things happen to it. The same plan
//! always makes the same world.

mod backends;
mod beginning;
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

use self::beginning::Initialized;
use self::plan::Begins;
pub use self::plan::Plan;
use super::api_server::ApiServer;
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

/// Runs worlds one after the other, and keeps what the next of the same shape may begin with.
#[derive(Default)]
pub struct Runner {
    initialized: Option<Initialized>,
}

impl Runner {
    /// Runs a world.
    pub fn run(&mut self, plan: &Plan) -> Outcome {
        self.run_with(plan, false)
    }

    /// Runs a world and tells what happened in it.
    pub fn run_traced(&mut self, plan: &Plan) -> Outcome {
        self.run_with(plan, true)
    }

    fn run_with(&mut self, plan: &Plan, is_traced: bool) -> Outcome {
        match self.server(plan) {
            Ok(server) => life::run(plan, server, is_traced),
            Err(broken) => Outcome { broken, ..Outcome::default() },
        }
    }

    /// What this world begins with.
    fn server(&mut self, plan: &Plan) -> Result<ApiServer, Vec<Broken>> {
        match plan.begins {
            Begins::Empty => Ok(ApiServer::new()),
            Begins::Initialized => {
                let kept = self.initialized.take().filter(|kept| kept.is_of(&plan.shape));
                self.initialized.insert(kept.unwrap_or_else(|| Initialized::new(&plan.shape))).server()
            }
        }
    }
}

/// Runs a world.
pub fn run(plan: &Plan) -> Outcome {
    Runner::default().run(plan)
}

/// Runs a world and tells what happened in it.
pub fn run_traced(plan: &Plan) -> Outcome {
    Runner::default().run_traced(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_world_outlives_it() {
        let server = ApiServer::new();
        life::run(&Plan::generate(0), server.clone(), false);
        assert!(server.is_alone());
    }
}
