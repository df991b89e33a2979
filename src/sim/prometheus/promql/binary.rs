//! Operators between numbers and series.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{Binary, Matching, Operator};
use super::labels::Labels;
use super::{EvaluationError, Sample, Value};

type Evaluated<T> = Result<T, EvaluationError>;

/// Applies an operator to its operands.
pub fn binary(binary: &Binary, left: Value, right: Value) -> Evaluated<Value> {
    use Value::{Instant, Scalar};
    let operator = binary.operator;
    match (left, right) {
        (Scalar(left), Scalar(right)) => Ok(Scalar(of_numbers(operator, left, right))),
        (Instant(left), Scalar(right)) => Ok(Instant(with_number(binary, left, |value| (value, right)))),
        (Scalar(left), Instant(right)) => Ok(Instant(with_number(binary, right, |value| (left, value)))),
        (Instant(left), Instant(right)) => match operator {
            Operator::Or => Ok(Instant(or(binary, left, right))),
            Operator::And => Ok(Instant(found_in(binary, left, &right, true))),
            Operator::Unless => Ok(Instant(found_in(binary, left, &right, false))),
            _ => with_vector(binary, left, right).map(Instant),
        },
        // The parser admits numbers and series alone.
        (other, _) => Ok(other),
    }
}

/// Each series with a number. `operands` puts the two in their order.
fn with_number(binary: &Binary, samples: Vec<Sample>, operands: impl Fn(f64) -> (f64, f64)) -> Vec<Sample> {
    let operator = binary.operator;
    let results = samples.into_iter().filter_map(|sample| {
        let (left, right) = operands(sample.value);
        let result = of_numbers(operator, left, right);
        if operator.is_comparison() && !binary.is_bool {
            return is_true(result).then_some(sample);
        }
        Some(Sample { labels: sample.labels.without_name(), value: result })
    });
    results.collect()
}

/// Each series of the left with the one of the right that has equal labels.
fn with_vector(binary: &Binary, left: Vec<Sample>, right: Vec<Sample>) -> Evaluated<Vec<Sample>> {
    // Without one side nothing is compared, and so nothing is found twice.
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    let mut partners = BTreeMap::new();
    for sample in right {
        if partners.insert(signature(binary, &sample.labels), sample.value).is_some() {
            return Err(EvaluationError::ManyToMany("right"));
        }
    }
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for sample in left {
        let signature = signature(binary, &sample.labels);
        let Some(partner) = partners.get(&signature) else { continue };
        let result = of_numbers(binary.operator, sample.value, *partner);
        if !seen.insert(signature) {
            return Err(EvaluationError::ManyToOne);
        }
        let chooses = binary.operator.is_comparison() && !binary.is_bool;
        if chooses && !is_true(result) {
            continue;
        }
        let labels = match &binary.matching {
            Matching::On(names) => sample.labels.only(names),
            Matching::Ignoring(names) => sample.labels.named_without(names),
        };
        let sample = if chooses {
            Sample { labels, value: sample.value }
        } else {
            Sample { labels: labels.without_name(), value: result }
        };
        results.push(sample);
    }
    Ok(results)
}

/// The left series, and those of the right without an equal among them.
fn or(binary: &Binary, mut left: Vec<Sample>, right: Vec<Sample>) -> Vec<Sample> {
    let known: BTreeSet<Labels> = left.iter().map(|sample| signature(binary, &sample.labels)).collect();
    left.extend(right.into_iter().filter(|sample| !known.contains(&signature(binary, &sample.labels))));
    left
}

/// The left series that have an equal on the right, or have none.
fn found_in(binary: &Binary, mut left: Vec<Sample>, right: &[Sample], wanted: bool) -> Vec<Sample> {
    let known: BTreeSet<Labels> = right.iter().map(|sample| signature(binary, &sample.labels)).collect();
    left.retain(|sample| known.contains(&signature(binary, &sample.labels)) == wanted);
    left
}

/// The labels that must be equal.
fn signature(binary: &Binary, labels: &Labels) -> Labels {
    match &binary.matching {
        Matching::On(names) => labels.only(names),
        Matching::Ignoring(names) => labels.without(names),
    }
}

/// What a comparison gave.
fn is_true(result: f64) -> bool {
    result > 0.0
}

/// The operator between two numbers; comparisons give 0 or 1. Divisions by zero are as IEEE 754 has them.
#[allow(clippy::float_cmp, reason = "PromQL compares exactly")]
fn of_numbers(operator: Operator, left: f64, right: f64) -> f64 {
    let truth = |is_true: bool| f64::from(u8::from(is_true));
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => left % right,
        Operator::Power => left.powf(right),
        Operator::Equal => truth(left == right),
        Operator::NotEqual => truth(left != right),
        Operator::Less => truth(left < right),
        Operator::LessOrEqual => truth(left <= right),
        Operator::Greater => truth(left > right),
        Operator::GreaterOrEqual => truth(left >= right),
        // Sets are of series, and never get here.
        Operator::Or | Operator::And | Operator::Unless => f64::NAN,
    }
}
