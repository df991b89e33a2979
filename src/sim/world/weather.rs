//! The faults that are on in a world, and for how long. What is left to chance is drawn from the plan's seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::plan::{Crash, Outage, What};
use crate::sim::api_server::{Delivery, Plan, RequestInfo};

/// The faults that are on. Clones share them.
#[derive(Clone)]
pub struct Weather(Arc<Mutex<State>>);

struct State {
    chance: Rng,
    /// Faults of the API server and of watches, until when.
    faults: Vec<(What, Instant)>,
    prometheus: Option<(Outage, Instant)>,
    receivers: Option<(Outage, Instant)>,
    /// Faults at the n-th write from now: how many are still to come.
    at_writes: Vec<(u32, AtWrite)>,
    /// Until when a view of the world may be so old.
    blurs: VecDeque<(Duration, Instant)>,
    /// How long writes may be on their way that were held up, or may be yet: nobody knows when they come.
    late_writes: Vec<Duration>,
    /// When the last request arrives that was held up.
    last_arrival: Option<Instant>,
    /// Answers, Events or alerts may have been lost at some time.
    has_failed: bool,
    /// Processes that died.
    deaths: u64,
    /// Writes that were sent, but for the Lease.
    writes: u64,
}

#[derive(Clone, Copy)]
enum AtWrite {
    Crash(Crash),
    Late(Duration),
}

/// What becomes of a request, and of the process that sends it.
pub enum Fate {
    /// The request alone.
    Request(Plan),
    /// The process dies as well.
    Dies(Plan),
}

/// Longest that a call takes whose answer nobody waits for any more.
const CALL_LIMIT: Duration = Duration::from_secs(10);

impl Weather {
    /// Fine weather.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance: Rng::with_seed(seed),
            faults: Vec::new(),
            prometheus: None,
            receivers: None,
            at_writes: Vec::new(),
            blurs: VecDeque::new(),
            late_writes: Vec::new(),
            last_arrival: None,
            has_failed: false,
            deaths: 0,
            writes: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A fault begins. What is none of the API server's, of a watch's or of a backend's is ignored.
    pub fn begins(&self, what: &What) {
        let now = Instant::now();
        let until = now + what.lasts();
        let mut state = self.state();
        match what {
            What::Prometheus(outage, _) => state.prometheus = Some((*outage, until)),
            What::Receivers(outage, _) => state.receivers = Some((*outage, until)),
            What::CrashAtWrite(count, crash) => state.at_writes.push((*count, AtWrite::Crash(*crash))),
            What::LateWrite(count, by) => {
                state.at_writes.push((*count, AtWrite::Late(*by)));
                state.late_writes.push(*by);
            }
            _ => state.faults.push((what.clone(), until)),
        }
        if let Some(by) = blur(what) {
            state.blurs.push_back((by, until + by));
        }
        state.has_failed |= keeps_from_telling(what);
    }

    /// Everything that lasts is over. A fault at a write comes with that write, however late.
    pub fn clears_up(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.prometheus = None;
        state.receivers = None;
    }

    /// Whether anything ever failed that may keep people from being told.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// A process died or was stopped: what it had to tell may be lost.
    pub fn note_death(&self) {
        let mut state = self.state();
        state.has_failed = true;
        state.deaths += 1;
    }

    /// Processes that died or were stopped.
    pub fn deaths(&self) -> u64 {
        self.state().deaths
    }

    /// Writes that the controller sent, but for the Lease.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// How old a view of the world may be now.
    pub fn view_lag(&self) -> Duration {
        let now = Instant::now();
        let state = self.state();
        let on_its_way = state.late_writes.iter().max().copied().unwrap_or_default();
        // What is on its way since then was decided from a view that was blurred then.
        let seen = state.blurs.iter().filter(|(_, until)| *until + on_its_way >= now).map(|(by, _)| *by).max();
        seen.unwrap_or_default() + on_its_way
    }

    /// A request was held up, and arrives after this time.
    pub fn holds_up(&self, time: Duration) {
        let mut state = self.state();
        state.last_arrival = state.last_arrival.max(Some(Instant::now() + time));
    }

    /// Whether a request that was held up is still on its way.
    pub fn is_anything_on_its_way(&self) -> bool {
        self.state().last_arrival.is_some_and(|arrival| arrival > Instant::now())
    }

    /// How Prometheus fails now, if it does.
    pub fn prometheus(&self) -> Option<Outage> {
        self.state().prometheus.filter(|(_, until)| *until > Instant::now()).map(|(outage, _)| outage)
    }

    /// How the receivers of alerts fail now, if they do.
    pub fn receivers(&self) -> Option<Outage> {
        self.state().receivers.filter(|(_, until)| *until > Instant::now()).map(|(outage, _)| outage)
    }

    /// What becomes of a request.
    pub fn request(&self, request: &RequestInfo) -> Fate {
        let mut state = self.state();
        if request.is_write && request.kind != "Lease" {
            match state.next_write() {
                Some(AtWrite::Crash(Crash::Before)) => return Fate::Dies(Plan::NotSent),
                Some(AtWrite::Crash(Crash::Unanswered)) => return Fate::Dies(Plan::Lost),
                Some(AtWrite::Crash(Crash::After)) => return Fate::Dies(Plan::Pass),
                Some(AtWrite::Late(by)) => return Fate::Request(Plan::Delay(by)),
                None => {}
            }
        }
        Fate::Request(state.plan(request))
    }

    /// When the event of a watch arrives.
    pub fn watch_event(&self) -> Delivery {
        let state = self.state();
        let now = Instant::now();
        for (what, _) in state.faults.iter().filter(|(_, until)| *until > now) {
            match what {
                What::WatchesLose(_) => return Delivery::Drop,
                What::WatchesRepeat(_) => return Delivery::Twice,
                What::WatchesLag(by, _) => return Delivery::After(*by),
                _ => {}
            }
        }
        Delivery::Now
    }
}

impl State {
    /// Counts a write; says what happens at it.
    fn next_write(&mut self) -> Option<AtWrite> {
        self.writes += 1;
        for (count, _) in &mut self.at_writes {
            *count = count.saturating_sub(1);
        }
        let index = self.at_writes.iter().position(|(count, _)| *count == 0)?;
        Some(self.at_writes.remove(index).1)
    }

    fn plan(&mut self, request: &RequestInfo) -> Plan {
        let now = Instant::now();
        for (what, until) in &self.faults {
            if *until <= now {
                continue;
            }
            let plan = match what {
                What::ApiAnswers(status, share, _) => (*share, Plan::Fail(*status)),
                What::ServicesRefused(_) if request.is_write && request.kind == "Service" => (1, Plan::Fail(422)),
                What::ApiBreaks(share, _) => (*share, Plan::NotSent),
                What::ApiLosesAnswers(share, _) => (*share, Plan::Lost),
                What::ApiSlow(by, _) => (1, Plan::Delay(*by)),
                _ => continue,
            };
            if self.chance.u32(0..plan.0.max(1)) == 0 {
                return plan.1;
            }
        }
        Plan::Pass
    }
}

/// Whether something may keep people from being told: what people do to the pair does not, nor what befalls pods, the data
/// plane or Prometheus.
fn keeps_from_telling(what: &What) -> bool {
    !matches!(
        what,
        What::Release(..)
            | What::Configure(_)
            | What::Edit(_)
            | What::EditRoute(_)
            | What::DeleteRoute
            | What::DeletePrimary
            | What::ScaleTarget(_)
            | What::EditService
            | What::ServicesRefused(_)
            | What::CrashPods(..)
            | What::Prometheus(..)
            | What::GatewayStops(_)
            | What::ControllerManagerStops(_)
    )
}

/// By how much a fault may make a view older than the world.
fn blur(what: &What) -> Option<Duration> {
    match what {
        What::WatchesLag(by, _) => Some(*by),
        What::ApiSlow(by, _) => Some(*by + CALL_LIMIT),
        What::WatchesLose(lasts) | What::Freeze(lasts) => Some(*lasts + CALL_LIMIT),
        What::ApiAnswers(_, _, lasts) | What::ApiBreaks(_, lasts) | What::ApiLosesAnswers(_, lasts) => {
            Some(*lasts + CALL_LIMIT)
        }
        // Nobody says in any status what happened meanwhile.
        What::ControllerManagerStops(lasts) => Some(*lasts + Duration::from_secs(1)),
        What::Compaction => Some(CALL_LIMIT),
        _ => None,
    }
}
