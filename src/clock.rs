//! The only place that reads the time. Everything else is given it.

use chrono::{DateTime, SubsecRound, Utc};

/// The wall clock, truncated to milliseconds: fine enough that no check comes early, coarse enough to compare equal
/// after a way through JSON.
#[allow(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}
