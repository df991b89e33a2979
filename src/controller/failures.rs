//! How long an object that failed is left alone.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::checked::ObjectKey;
use crate::rollout::Repair;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, by object that was looked at.
#[derive(Debug, Default)]
pub struct Failures {
    failing: Mutex<HashMap<ObjectKey, Failing>>,
}

#[derive(Debug, Default)]
struct Failing {
    count: u32,
    /// What a person has to mend, if that is what it takes.
    problem: Option<String>,
    /// What was refused to be repaired, if everything else was done.
    repair: Option<Repair>,
}

impl Failures {
    /// Counts a failure and says how long to wait before the next try. `problem` is what a person has to mend; where a
    /// failure has none, that of the one before is kept.
    pub fn failed(&self, key: &ObjectKey, problem: Option<String>) -> Duration {
        self.count(key, problem, None)
    }

    /// Counts a refused repair, beside which everything else was done, and says how long to wait before the next try.
    pub fn impeded(&self, key: &ObjectKey, repair: Repair, problem: Option<String>) -> Duration {
        self.count(key, problem, Some(repair))
    }

    fn count(&self, key: &ObjectKey, problem: Option<String>, repair: Option<Repair>) -> Duration {
        let mut failing = self.failing();
        let failing = failing.entry(key.clone()).or_default();
        failing.count = failing.count.saturating_add(1);
        if problem.is_some() {
            failing.problem = problem;
            failing.repair = repair;
        }
        delay(key, failing.count)
    }

    /// The repair that was refused when the object was last looked at.
    pub fn repair(&self, key: &ObjectKey) -> Option<Repair> {
        self.failing().get(key).and_then(|failing| failing.repair)
    }

    /// What a person has to mend before the object's next pass can succeed, as far as is known. Of an object that this
    /// process never looked at it is what people were told by the one before. What that was about is not known, and each
    /// pass that repairs anything begins with the Services.
    pub fn problem(&self, key: &ObjectKey, told: Option<&str>) -> Option<String> {
        let mut failing = self.failing();
        if !failing.contains_key(key) {
            let repair = told.map(|_| Repair::Services);
            failing.insert(key.clone(), Failing { count: 0, problem: told.map(str::to_owned), repair });
        }
        failing.get(key).and_then(|failing| failing.problem.clone())
    }

    /// An object succeeded. Says whether a person was told about failures.
    pub fn clear(&self, key: &ObjectKey) -> bool {
        self.failing().get_mut(key).is_some_and(|failing| std::mem::take(failing).problem.is_some())
    }

    /// An object was deleted.
    pub fn forget(&self, key: &ObjectKey) {
        self.failing().remove(key);
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<ObjectKey, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
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
            let seconds = failures.failed(&key, None).as_secs_f64();
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
        let first = failures.failed(&key, None);
        assert!(failures.failed(&key, None) > first);
        failures.clear(&key);
        assert_eq!(failures.failed(&key, None), first);
    }

    #[test]
    fn what_a_person_has_to_mend_is_known_until_a_success() {
        let key = ObjectKey::new("default", "frontend");
        let failures = Failures::default();
        failures.failed(&key, None);
        assert_eq!(failures.problem(&key, None), None);
        failures.failed(&key, Some("no quota".to_owned()));
        failures.failed(&key, None);
        assert_eq!(failures.problem(&key, None).as_deref(), Some("no quota"));
        assert!(failures.clear(&key));
        assert_eq!((failures.problem(&key, None), failures.clear(&key)), (None, false));
    }

    #[test]
    fn a_refused_repair_is_known_until_something_else_is_to_be_mended() {
        let key = ObjectKey::new("default", "frontend");
        let failures = Failures::default();
        let some = |problem: &str| Some(problem.to_owned());
        let known = |failures: &Failures| (failures.problem(&key, None), failures.repair(&key));
        failures.impeded(&key, Repair::Services, some("a policy"));
        assert_eq!(known(&failures), (some("a policy"), Some(Repair::Services)));
        failures.failed(&key, None);
        assert_eq!(known(&failures), (some("a policy"), Some(Repair::Services)));
        failures.failed(&key, some("no quota"));
        assert_eq!(known(&failures), (some("no quota"), None));
        failures.impeded(&key, Repair::Autoscaler, some("a policy"));
        assert!(failures.clear(&key));
        assert_eq!(known(&failures), (None, None));
    }

    #[test]
    fn what_another_process_told_is_known_until_a_success() {
        let key = ObjectKey::new("default", "frontend");
        let failures = Failures::default();
        let told = || failures.problem(&key, Some("no quota"));
        assert_eq!((told().as_deref(), failures.repair(&key)), (Some("no quota"), Some(Repair::Services)));
        assert!(failures.clear(&key));
        assert_eq!((told(), failures.repair(&key)), (None, None));
        failures.forget(&key);
        assert_eq!(told().as_deref(), Some("no quota"));
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
