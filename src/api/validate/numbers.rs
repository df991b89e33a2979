//! Numbers of a manifest, which the schema takes as they come, as Flagger's does.

use std::ops::RangeInclusive;

use serde_json::Number;

use crate::api::problem::Problems;

/// The number, if it is there, whole and in the range; otherwise `None`, and a problem if it is there.
pub(super) fn whole(
    number: Option<&Number>,
    field: &str,
    range: RangeInclusive<i32>,
    problems: &mut Problems,
) -> Option<i32> {
    let number = number?;
    let value = number.as_f64().unwrap_or(f64::NAN);
    let (first, last) = (f64::from(*range.start()), f64::from(*range.end()));
    if value.fract() == 0.0 && value >= first && value <= last {
        return Some(value as i32);
    }
    let range =
        if *range.end() == i32::MAX { format!("of at least {first}") } else { format!("from {first} to {last}") };
    problems.add(field, format!("{number} must be a whole number {range}: change it"));
    None
}
