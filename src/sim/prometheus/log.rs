//! What was asked and answered, for whoever judges what was made of it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::fault::Fault;
use super::promql::Value;

/// Most answers that are remembered; older ones are forgotten first.
const ANSWERS_MAX: usize = 4096;

/// A query and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// When it was asked. The answer comes later, where [`Fault::Slow`] says so.
    pub at: DateTime<Utc>,
    /// The text of the query.
    pub query: String,
    /// What was wrong then.
    pub fault: Fault,
    /// What was answered.
    pub with: With,
}

/// What a query was answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum With {
    /// One number, which may be infinite.
    Number(f64),
    /// Nothing, or NaN.
    Nothing,
    /// So many series, a range or a string: nothing that a check can be made of.
    Other(usize),
    /// An error, or no answer.
    Error,
}

impl With {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Scalar(number) if number.is_nan() => Self::Nothing,
            Value::Scalar(number) => Self::Number(*number),
            Value::Instant(samples) => match samples.as_slice() {
                [] => Self::Nothing,
                [sample] if sample.value.is_nan() => Self::Nothing,
                [sample] => Self::Number(sample.value),
                many => Self::Other(many.len()),
            },
            Value::Range(series) => Self::Other(series.len()),
            Value::Text(_) => Self::Other(1),
        }
    }
}

/// The newest answers.
#[derive(Debug, Default)]
pub(super) struct Log {
    answers: VecDeque<Answered>,
}

impl Log {
    pub(super) fn add(&mut self, answered: Answered) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answered);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Answered> {
        self.answers.iter()
    }
}
