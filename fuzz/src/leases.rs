//! A Lease that somebody else wrote.

use std::time::Duration;

use serin::cluster::lease::{LeaseView, Observation, Step, evaluate};
use tokio::time::Instant;

const ME: &str = "serin-0";
const OWN_DURATION: Duration = Duration::from_secs(15);

/// Judges a Lease at the moment when it is first seen, and long after.
pub fn run(bytes: &[u8]) {
    let Ok(lease) = serde_json::from_slice(bytes) else { return };
    let lease = LeaseView::of(&lease);
    let now = Instant::now();
    let mut observed = Observation::new(now);
    observed.see(Some(&lease), ME, now);
    let is_free = lease.holder.is_empty();
    match evaluate(Some(&lease), ME, &observed, OWN_DURATION, now) {
        Step::Renew => assert_eq!(lease.holder, ME),
        Step::TakeOver => assert!(is_free, "taken from {} at first sight", lease.holder),
        Step::Wait { until } => assert!((OWN_DURATION..=Duration::from_secs(3600)).contains(&(until - now))),
        Step::Create => panic!("it is there"),
    }
    let later = now + Duration::from_secs(3601);
    let step = evaluate(Some(&lease), ME, &observed, OWN_DURATION, later);
    assert!(matches!(step, Step::Renew | Step::TakeOver), "{step:?} after an hour without a change");
}
