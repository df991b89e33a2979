//! The only place that reads the time. Everything else is given it.

use std::cell::Cell;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::time::Instant;

thread_local! {
    static SIMULATED: Cell<Option<Simulated>> = const { Cell::new(None) };
}

/// The wall clock, truncated to milliseconds: fine enough that no check comes early, coarse enough to compare equal
/// after a way through JSON.
pub fn now() -> DateTime<Utc> {
    precise_now().trunc_subsecs(3)
}

/// The wall clock in full resolution, for names and stamps that must differ.
#[allow(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn precise_now() -> DateTime<Utc> {
    SIMULATED.get().map_or_else(Utc::now, Simulated::now)
}

/// Where the wall clock of a simulation stood, and when.
#[derive(Clone, Copy)]
struct Simulated {
    start: DateTime<Utc>,
    since: Instant,
}

impl Simulated {
    fn now(self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.since.elapsed()).unwrap_or(TimeDelta::MAX)
    }
}

/// While it lives, the wall clock of this thread follows tokio's clock, which may be paused. For the simulation: a
/// world runs on one thread.
pub struct SimulatedClock(());

impl SimulatedClock {
    /// Sets this thread's wall clock to `start`. To be called within the runtime whose clock is to be followed.
    pub fn start(start: DateTime<Utc>) -> Self {
        SIMULATED.set(Some(Simulated { start, since: Instant::now() }));
        Self(())
    }

    /// The wall clock jumps, as when it is set by hand or by NTP; timers don't notice.
    pub fn jump(&self, by: TimeDelta) {
        SIMULATED.set(SIMULATED.get().map(|simulated| Simulated { start: simulated.start + by, ..simulated }));
    }
}

impl Drop for SimulatedClock {
    fn drop(&mut self) {
        SIMULATED.set(None);
    }
}

/// Measures real time, whatever clocks are paused or simulated: for whoever lets simulated time go.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts one.
    #[allow(clippy::disallowed_methods, reason = "this is the one reader of the real monotonic clock")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long ago it was started.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_goes_as_tokios_does_and_jumps_when_it_is_told_to() {
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let clock = SimulatedClock::start(start);
        assert_eq!(now(), start);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(now(), start + TimeDelta::milliseconds(1500));
        clock.jump(TimeDelta::seconds(-60));
        assert_eq!(now(), start - TimeDelta::milliseconds(58_500));
        drop(clock);
        assert!(now() > start + TimeDelta::days(300), "the real clock is back");
    }
}
