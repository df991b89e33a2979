//! The only place that reads the time. Everything else is given it.

use chrono::{DateTime, SubsecRound, Utc};

/// The wall clock, truncated to milliseconds: fine enough that no check comes early, coarse enough to compare equal
/// after a way through JSON.
pub fn now() -> DateTime<Utc> {
    precise_now().trunc_subsecs(3)
}

/// The wall clock in full resolution, for names and stamps that must differ.
#[allow(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn precise_now() -> DateTime<Utc> {
    Utc::now()
}
