//! What is wrong with an object, by field.

use std::fmt;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, such as `spec.analysis.metrics[0].thresholdRange`; empty for the object as a whole.
    pub field: String,
    /// What is wrong, and the mend.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            out.write_str(&self.message)
        } else {
            write!(out, "{}: {}", self.field, self.message)
        }
    }
}

/// Everything that is wrong with an object, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", joined(.problems))]
pub struct Invalid {
    /// What is wrong, in the order of the manifest's topics; never empty.
    pub problems: Vec<Problem>,
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Collects what is wrong while an object is read.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that something is wrong with a field.
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { field: field.into(), message: message.into() });
    }

    /// Adds what a later check found, without what only follows from problems that are known already.
    pub(super) fn extend_uncovered(&mut self, later: Self) {
        let known = self.0.clone();
        let follows = |problem: &Problem| known.iter().any(|known| is_within(&problem.field, &known.field));
        self.0.extend(later.0.into_iter().filter(|problem| !follows(problem)));
    }

    /// `value` if nothing was found wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Invalid> {
        if self.0.is_empty() { Ok(value) } else { Err(Invalid { problems: self.0 }) }
    }
}

/// Whether a field is another one, or part of it.
fn is_within(field: &str, whole: &str) -> bool {
    field.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
