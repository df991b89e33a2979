//! How long an object that failed is left alone.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::checked::ObjectKey;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, by object.
#[derive(Debug, Default)]
pub struct Failures {
    counts: Mutex<HashMap<ObjectKey, u32>>,
}

impl Failures {
    /// Counts a failure and says how long to wait before the next try.
    pub fn failed(&self, key: &ObjectKey) -> Duration {
        let mut counts = self.counts();
        let count = counts.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        delay(key, *count)
    }

    /// Forgets the failures of an object that succeeded or was deleted.
    pub fn clear(&self, key: &ObjectKey) {
        self.counts().remove(key);
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ObjectKey, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delay after `count` failures in a row: 1 s, doubling, at most 5 min; shortened by up to a fifth, by an amount of
/// the object's own, so that objects which failed together don't come back together.
fn delay(key: &ObjectKey, count: u32) -> Duration {
    let doublings = count.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    full.saturating_sub(full / 5 * spread_per_mille(key) / 1000)
}

/// A number from 0 to 999 that an object keeps.
fn spread_per_mille(key: &ObjectKey) -> u32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % 1000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_five_minutes_less_at_most_a_fifth() {
        let key = ObjectKey::new("default", "frontend");
        let failures = Failures::default();
        for full_seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0] {
            let seconds = failures.failed(&key).as_secs_f64();
            assert!(
                seconds >= full_seconds * 0.8 && seconds <= full_seconds,
                "{seconds} s where {full_seconds} s was due"
            );
        }
    }

    #[test]
    fn a_success_starts_over() {
        let key = ObjectKey::new("default", "frontend");
        let failures = Failures::default();
        let first = failures.failed(&key);
        assert!(failures.failed(&key) > first);
        failures.clear(&key);
        assert_eq!(failures.failed(&key), first);
    }

    #[test]
    fn any_number_of_failures_has_a_delay() {
        let key = ObjectKey::new("default", "frontend");
        assert!(delay(&key, u32::MAX) <= LONGEST);
        assert!(delay(&key, 0) <= FIRST);
    }

    #[test]
    fn objects_that_fail_together_come_back_apart() {
        let delays: std::collections::HashSet<Duration> =
            (0..50).map(|n| delay(&ObjectKey::new("default", format!("canary-{n}")), 9)).collect();
        assert!(delays.len() > 40, "{delays:?}");
    }
}
