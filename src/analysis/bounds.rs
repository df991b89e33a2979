//! One check against its bounds.

use chrono::{DateTime, Utc};

use super::{Answer, Measurement};
use crate::api::checked::{Check, OnError, OnNoData};
use crate::api::status::{CheckReport, Verdict};

/// Judges one measurement at the time `now`. Both bounds are inclusive, as in Flagger; an infinite value is compared
/// as it is. No measurement at all counts as a failed query.
pub fn judge(check: &Check, measurement: Option<&Measurement>, now: DateTime<Utc>) -> CheckReport {
    let unanswered = Answer::Error("the query was not answered".to_owned());
    let answer = measurement.map_or(&unanswered, |measurement| &measurement.answer);
    let (value, verdict, reason) = match answer {
        Answer::Value(value) => {
            let (verdict, reason) = compare(check, *value);
            (Some(*value), verdict, reason)
        }
        Answer::NoData(found) => (None, no_data_verdict(check.on_no_data), format!("no data: {found}")),
        Answer::Error(error) => (None, error_verdict(check.on_error), format!("query failed: {error}")),
    };
    CheckReport {
        name: check.name.clone(),
        // JSON has no infinity; the reason still carries it.
        value: value.filter(|value| value.is_finite()),
        min: check.min,
        max: check.max,
        verdict,
        reason,
        sample_size: measurement.and_then(|measurement| measurement.sample_size),
        dry_run: check.dry_run,
        time: now,
    }
}

fn compare(check: &Check, value: f64) -> (Verdict, String) {
    let shown = display_beside(value, [check.min, check.max]);
    if value.is_nan() {
        return (no_data_verdict(check.on_no_data), "no data: the value is not a number".to_owned());
    }
    match (check.min, check.max) {
        (Some(min), _) if value < min => (Verdict::Fail, format!("{shown} < {}", display(min))),
        (_, Some(max)) if value > max => (Verdict::Fail, format!("{shown} > {}", display(max))),
        (Some(min), Some(max)) => (Verdict::Pass, format!("{} <= {shown} <= {}", display(min), display(max))),
        (Some(min), None) => (Verdict::Pass, format!("{shown} >= {}", display(min))),
        (None, Some(max)) => (Verdict::Pass, format!("{shown} <= {}", display(max))),
        (None, None) => (Verdict::Pass, format!("{shown}, without bounds")),
    }
}

fn no_data_verdict(policy: OnNoData) -> Verdict {
    match policy {
        OnNoData::Fail => Verdict::Fail,
        OnNoData::Hold => Verdict::Inconclusive,
        OnNoData::Pass => Verdict::Pass,
    }
}

fn error_verdict(policy: OnError) -> Verdict {
    match policy {
        OnError::Fail => Verdict::Fail,
        OnError::Hold => Verdict::Inconclusive,
    }
}

/// Two decimals at most, without trailing zeros: `99`, `98.69`.
pub(crate) fn display(value: f64) -> String {
    let text = format!("{value:.2}");
    if !value.is_finite() || !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The same, or in full where rounding would make a value look like the bound that it missed: `98.999 < 99`.
fn display_beside(value: f64, bounds: [Option<f64>; 2]) -> String {
    let text = display(value);
    let hides = |bound: f64| bound.total_cmp(&value).is_ne() && display(bound) == text;
    if bounds.into_iter().flatten().any(hides) { value.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::checked::CheckSource;

    fn check(min: Option<f64>, max: Option<f64>, on_no_data: OnNoData, on_error: OnError) -> Check {
        Check {
            name: "m".into(),
            source: CheckSource::RequestSuccessRate,
            window: "1m".into(),
            min,
            max,
            on_no_data,
            on_error,
            dry_run: false,
        }
    }

    #[test]
    fn every_answer_has_a_defined_verdict() {
        use Answer::{Error, NoData, Value};
        use OnError as E;
        use OnNoData as N;
        use Verdict::{Fail, Inconclusive, Pass};
        let cases = [
            // min, max, no-data policy, error policy, answer, verdict, reason
            (Some(99.0), None, N::Fail, E::Hold, Value(99.0), Pass, "99 >= 99"),
            (Some(99.0), None, N::Fail, E::Hold, Value(98.694), Fail, "98.69 < 99"),
            (Some(99.0), None, N::Fail, E::Hold, Value(98.999), Fail, "98.999 < 99"),
            (None, Some(500.0), N::Fail, E::Hold, Value(500.0), Pass, "500 <= 500"),
            (None, Some(500.0), N::Fail, E::Hold, Value(f64::INFINITY), Fail, "inf > 500"),
            (Some(1.0), Some(2.0), N::Fail, E::Hold, Value(1.5), Pass, "1 <= 1.5 <= 2"),
            (Some(1.0), Some(2.0), N::Fail, E::Hold, Value(2.5), Fail, "2.5 > 2"),
            (None, None, N::Fail, E::Hold, Value(-3.0), Pass, "-3, without bounds"),
            (Some(1.0), None, N::Fail, E::Hold, Value(f64::NAN), Fail, "no data: the value is not a number"),
            (Some(1.0), None, N::Fail, E::Hold, NoData("empty".into()), Fail, "no data: empty"),
            (Some(1.0), None, N::Hold, E::Hold, NoData("empty".into()), Inconclusive, "no data: empty"),
            (Some(1.0), None, N::Pass, E::Hold, NoData("empty".into()), Pass, "no data: empty"),
            (Some(1.0), None, N::Fail, E::Hold, Error("refused".into()), Inconclusive, "query failed: refused"),
            (Some(1.0), None, N::Fail, E::Fail, Error("refused".into()), Fail, "query failed: refused"),
        ];
        for (min, max, no_data, error, answer, verdict, reason) in cases {
            let measurement = Measurement { check: "m".into(), answer: answer.clone(), sample_size: None };
            let report = judge(&check(min, max, no_data, error), Some(&measurement), DateTime::UNIX_EPOCH);
            assert_eq!((report.verdict, report.reason.as_str()), (verdict, reason), "{answer:?} in {min:?}..{max:?}");
        }
    }

    #[test]
    fn a_missing_measurement_is_a_failed_query() {
        let report = judge(&check(Some(1.0), None, OnNoData::Fail, OnError::Hold), None, DateTime::UNIX_EPOCH);
        assert_eq!(report.verdict, Verdict::Inconclusive);
    }
}
