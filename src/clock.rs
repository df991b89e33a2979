//! The only place that reads the time. Everything else is given it.

use chrono::{DateTime, SubsecRound, Utc};

/// The wall clock, truncated to whole seconds: Kubernetes stores no finer time in a `Time` field, and a status with
/// a finer one would never compare equal to what the API server gives back.
#[allow(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn now() -> DateTime<Utc> {
    precise_now().trunc_subsecs(0)
}

/// The wall clock in full resolution, for durations that are only measured and reported.
#[allow(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn precise_now() -> DateTime<Utc> {
    Utc::now()
}
