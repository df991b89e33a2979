//! What Prometheus answered, as the checks of a Canary understand it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::{Moment, Promises};

/// Which check a query belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `request-success-rate`.
    SuccessRate,
    /// `request-duration`.
    Duration,
    /// The `MetricTemplate`.
    Template,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// A number.
    Value(f64),
    /// Nothing, or no number.
    NoData,
    /// Something that is no answer, or none in time.
    Error,
}

/// What an answer means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    NotKnown,
}

#[derive(Default)]
pub(super) struct Books {
    /// When each check passed last.
    passed: BTreeMap<Question, Instant>,
    /// When each check last did not.
    not_passed: BTreeMap<Question, Instant>,
    /// Failing answers of this run.
    pub(super) fails: u32,
    /// When the run was last known to do well or badly.
    pub(super) known: Option<Moment>,
    /// The same, as of when the status was written last: what a pass learnt that could not write it is lost with it.
    pub(super) recorded: Option<Moment>,
}

impl Books {
    /// A new run begins.
    pub(super) fn start_over(&mut self) {
        *self = Self::default();
    }

    /// When a pass that decides now knows the run to have done well or badly: from the pass itself, or from the status.
    pub(super) fn last_known(&self) -> Option<Moment> {
        let just_now = |known: &Moment| known.age() <= TimeDelta::seconds(1);
        self.known.filter(just_now).or(self.recorded)
    }

    /// Whether each of these checks passed after this time, for a decision that may be so old: what came since then was
    /// not known to it.
    pub(super) fn all_passed_since(&self, questions: &[Question], since: Option<Instant>, age: Duration) -> bool {
        questions.iter().all(|question| {
            let Some(passed) = self.passed.get(question) else { return false };
            let outdated = self.not_passed.get(question).is_some_and(|other| other > passed && other.elapsed() >= age);
            !outdated && since.is_none_or(|since| *passed > since)
        })
    }
}

/// The bounds of the worlds' manifests: at least 99 % succeed, the 99th percentile is at most 500 ms, and the template's
/// share of errors is at most 1 %.
fn passes(question: Question, value: f64) -> bool {
    match question {
        Question::SuccessRate => value >= 99.0,
        Question::Duration => value <= 500.0,
        Question::Template => value <= 1.0,
    }
}

impl Promises {
    /// Looks at an answer that the controller got.
    pub fn answered(&mut self, question: Question, answer: Answer) {
        let (on_no_data, on_error) = (self.status.on_no_data.as_str(), self.status.on_error.as_str());
        let verdict = match answer {
            Answer::Value(value) if passes(question, value) => Verdict::Pass,
            Answer::Value(_) => Verdict::Fail,
            Answer::NoData => match on_no_data {
                "Pass" => Verdict::Pass,
                "Hold" => Verdict::NotKnown,
                _ => Verdict::Fail,
            },
            Answer::Error if on_error == "Fail" => Verdict::Fail,
            Answer::Error => Verdict::NotKnown,
        };
        let now = Instant::now();
        match verdict {
            Verdict::Pass => {
                self.answers.passed.insert(question, now);
                self.answers.known = Some(Moment::current());
            }
            Verdict::Fail => {
                self.answers.not_passed.insert(question, now);
                self.answers.fails += 1;
                self.answers.known = Some(Moment::current());
            }
            Verdict::NotKnown => {
                self.answers.not_passed.insert(question, now);
            }
        }
    }
}
