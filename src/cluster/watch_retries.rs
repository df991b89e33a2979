//! How long a watch that failed is left alone.

use std::time::Duration;

use kube::runtime::utils::{Backoff, ResetTimerBackoff};

/// Pause after the first failure.
const FIRST: Duration = Duration::from_millis(800);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// After this time without a failure it starts over.
const QUIET: Duration = Duration::from_secs(120);

/// Pauses between the tries of one watch: 0.8 s, doubling, at most 30 s, as in client-go's reflector. Unlike there, and in
/// kube's default, nothing is random in them: one process of a cluster watches, so there is no herd to spread.
pub fn pauses() -> impl Backoff {
    ResetTimerBackoff::new(Pauses { next: FIRST }, QUIET)
}

struct Pauses {
    next: Duration,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_half_a_minute_and_start_over_after_two_quiet_ones() {
        let mut pauses = pauses();
        for milliseconds in [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let pause = pauses.next().unwrap();
            assert_eq!(pause, Duration::from_millis(milliseconds));
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep(Duration::from_secs(91)).await;
        assert_eq!(pauses.next(), Some(FIRST));
    }
}
