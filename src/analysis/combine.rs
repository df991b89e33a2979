//! How the checks of one pass combine.

use crate::api::status::{CheckReport, Verdict};

/// What follows from all checks of one pass together.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion<'a> {
    /// Every decisive check passed.
    Pass,
    /// At least one decisive check failed; the first one in the order of the manifest.
    Fail(&'a CheckReport),
    /// None failed, at least one is not known; the first such one.
    Inconclusive(&'a CheckReport),
}

/// Combines reports: a failure beats not knowing, not knowing beats a pass, and dry runs never decide.
pub fn conclude(reports: &[CheckReport]) -> Conclusion<'_> {
    let first = |verdict| reports.iter().find(|report| !report.dry_run && report.verdict == verdict);
    if let Some(report) = first(Verdict::Fail) {
        return Conclusion::Fail(report);
    }
    first(Verdict::Inconclusive).map_or(Conclusion::Pass, Conclusion::Inconclusive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_beats_not_knowing_beats_pass_and_dry_runs_never_decide() {
        use Verdict::{Fail, Inconclusive, Pass};
        let cases: [(&[(Verdict, bool)], &str); 6] = [
            (&[], "pass"),
            (&[(Pass, false), (Pass, false)], "pass"),
            (&[(Inconclusive, false), (Fail, false)], "fail 1"),
            (&[(Pass, false), (Inconclusive, false)], "hold 1"),
            (&[(Fail, true), (Pass, false)], "pass"),
            (&[(Fail, true), (Inconclusive, false)], "hold 1"),
        ];
        for (given, expected) in cases {
            let reports: Vec<CheckReport> = given
                .iter()
                .enumerate()
                .map(|(index, (verdict, dry_run))| CheckReport {
                    name: index.to_string(),
                    value: None,
                    min: None,
                    max: None,
                    verdict: *verdict,
                    reason: String::new(),
                    sample_size: None,
                    dry_run: *dry_run,
                    time: chrono::DateTime::UNIX_EPOCH,
                })
                .collect();
            let got = match conclude(&reports) {
                Conclusion::Pass => "pass".to_owned(),
                Conclusion::Fail(report) => format!("fail {}", report.name),
                Conclusion::Inconclusive(report) => format!("hold {}", report.name),
            };
            assert_eq!(got, expected, "{given:?}");
        }
    }
}
