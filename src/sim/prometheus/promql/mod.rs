//! The part of `PromQL` that canary checks are written in, with the answers that Prometheus gives (facts from its
//! `promql` package, version 3).
//!
//! Understood are selectors with all matchers, ranges and `offset`; `rate`, `increase`, `delta`, `irate`,
//! `*_over_time`, `histogram_quantile` of classic histograms, `vector`, `scalar`, `time`, `absent` and simple functions
//! of numbers; `sum`, `avg`, `min`, `max` and `count` with `by` and `without`; all operators with `bool`, `on` and
//! `ignoring`. Not understood, and refused as a bad query: subqueries, `@`, `group_left`, native histograms, and other
//! functions.

mod aggregate;
mod binary;
mod evaluate;
mod expression;
mod labels;
mod lexer;
mod parser;
mod quantile;
mod rate;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use evaluate::{Samples, evaluate};
pub use expression::{Expression, Matcher, Milliseconds, Selector};
pub use labels::{Labels, NAME, Text};
pub use lexer::duration;
pub use parser::parse;

/// A query that can't be read, in Prometheus' form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{line}:{column}: parse error: {message}")]
pub struct ParseError {
    line: usize,
    column: usize,
    message: String,
}

impl ParseError {
    fn at(text: &str, position: usize, message: impl Into<String>) -> Self {
        let before = text.get(..position).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before.len() - line_start + 1, message: message.into() }
    }
}

/// A query that can be read and not be answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EvaluationError {
    /// Two series of one side of an operator have the same labels.
    #[error(
        "found duplicate series for the match group on the {0} hand-side of the operation;many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany(&'static str),
    /// Two series of the left side belong to one of the right.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Without their metric's name, two series are the same.
    #[error("vector cannot contain metrics with the same labelset")]
    SameLabels,
}

/// A sample of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was scraped, since 1970.
    pub at_milliseconds: i64,
    /// Its value.
    pub value: f64,
}

/// A number of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which series.
    pub labels: Labels,
    /// The number.
    pub value: f64,
}

/// Samples of a series, in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Which series.
    pub labels: Labels,
    /// Its samples.
    pub points: Vec<Point>,
}

/// What a query is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A number of each series.
    Instant(Vec<Sample>),
    /// Samples of each series.
    Range(Vec<Series>),
    /// A string.
    Text(String),
}
