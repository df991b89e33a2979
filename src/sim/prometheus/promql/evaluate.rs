//! The value of an expression at a time.

use std::collections::BTreeMap;

use super::aggregate::{aggregate, of_numbers};
use super::binary::binary;
use super::expression::{Condition, Expression, Function, Milliseconds, OverTime, Selector};
use super::labels::{Labels, NAME, Text};
use super::quantile::{Bucket, bucket_quantile};
use super::rate::{Range, delta, increase, irate, rate};
use super::{EvaluationError, Point, Sample, Series, Value};

/// The label of a bucket's upper bound.
const UPPER_BOUND: &str = "le";

/// Where samples come from.
pub trait Samples {
    /// The newest sample of each selected series that is not stale at this time. Offsets are already taken away.
    fn newest(&self, selector: &Selector, at_milliseconds: i64) -> Vec<Sample>;

    /// The samples of each selected series after the one time and not after the other, without series that have none.
    fn within(&self, selector: &Selector, after_milliseconds: i64, until_milliseconds: i64) -> Vec<Series>;
}

/// Evaluates a query at a time since 1970.
pub fn evaluate(
    expression: &Expression,
    at_milliseconds: i64,
    samples: &dyn Samples,
) -> Result<Value, EvaluationError> {
    Evaluation { at_milliseconds, samples }.value(expression)
}

struct Evaluation<'a> {
    at_milliseconds: i64,
    samples: &'a dyn Samples,
}

type Evaluated<T> = Result<T, EvaluationError>;

impl Evaluation<'_> {
    fn value(&self, expression: &Expression) -> Evaluated<Value> {
        match expression {
            Expression::Number(number) => Ok(Value::Scalar(*number)),
            Expression::Text(text) => Ok(Value::Text(text.clone())),
            Expression::Newest(selector) => {
                Ok(Value::Instant(self.samples.newest(selector, self.at_milliseconds - selector.offset)))
            }
            Expression::Within(selector, range) => Ok(Value::Range(self.within(selector, *range).0)),
            Expression::Negated(operand) => match self.value(operand)? {
                Value::Scalar(number) => Ok(Value::Scalar(-number)),
                Value::Instant(samples) => mapped(samples, |value| -value).map(Value::Instant),
                other => Ok(other),
            },
            Expression::Call(function, arguments) => self.call(*function, arguments),
            Expression::Aggregation(aggregation) => {
                let samples = self.instant(&aggregation.operand)?;
                Ok(Value::Instant(aggregate(aggregation.operator, &aggregation.grouping, samples)))
            }
            Expression::Binary(operation) => {
                binary(operation, self.value(&operation.left)?, self.value(&operation.right)?)
            }
        }
    }

    fn instant(&self, expression: &Expression) -> Evaluated<Vec<Sample>> {
        match self.value(expression)? {
            Value::Instant(samples) => Ok(samples),
            // The parser admits no other.
            _ => Ok(Vec::new()),
        }
    }

    fn scalar(&self, expression: &Expression) -> Evaluated<f64> {
        match self.value(expression)? {
            Value::Scalar(number) => Ok(number),
            // The parser admits no other.
            _ => Ok(f64::NAN),
        }
    }

    fn within(&self, selector: &Selector, range: Milliseconds) -> (Vec<Series>, Range) {
        let range = Range::before(self.at_milliseconds - selector.offset, range);
        (self.samples.within(selector, range.start_milliseconds, range.end_milliseconds), range)
    }

    fn call(&self, function: Function, arguments: &[Expression]) -> Evaluated<Value> {
        let [first, rest @ ..] = arguments else {
            // Only time() has no arguments.
            return Ok(Value::Scalar(self.at_milliseconds as f64 / 1000.0));
        };
        if let Expression::Within(selector, range) = first {
            return self.of_range(function, selector, *range).map(Value::Instant);
        }
        let second = rest.first();
        match function {
            Function::Vector => {
                Ok(Value::Instant(vec![Sample { labels: Labels::default(), value: self.scalar(first)? }]))
            }
            Function::Scalar => Ok(Value::Scalar(match self.instant(first)?.as_slice() {
                [sample] => sample.value,
                _ => f64::NAN,
            })),
            Function::HistogramQuantile => {
                let samples = second.map_or(Ok(Vec::new()), |samples| self.instant(samples))?;
                Ok(Value::Instant(histogram_quantile(self.scalar(first)?, samples)))
            }
            Function::Absent => Ok(Value::Instant(absent(first, &self.instant(first)?))),
            _ => {
                let bound = second.map_or(Ok(f64::NAN), |bound| self.scalar(bound))?;
                mapped(self.instant(first)?, |value| of_number(function, value, bound)).map(Value::Instant)
            }
        }
    }

    /// A function of the samples of a range.
    fn of_range(&self, function: Function, selector: &Selector, range: Milliseconds) -> Evaluated<Vec<Sample>> {
        let (series, range) = self.within(selector, range);
        let results = series.into_iter().filter_map(|series| {
            let value = of_points(function, &series.points, range)?;
            Some(Sample { labels: series.labels, value })
        });
        let results = results.collect();
        // Only this function tells of the very sample.
        if function == Function::OverTime(OverTime::Last) { Ok(results) } else { mapped(results, |value| value) }
    }
}

fn of_points(function: Function, points: &[Point], range: Range) -> Option<f64> {
    match function {
        Function::Rate => rate(points, range),
        Function::Increase => increase(points, range),
        Function::Delta => delta(points, range),
        Function::Irate => irate(points),
        Function::OverTime(OverTime::Last) => points.last().map(|point| point.value),
        Function::OverTime(OverTime::Aggregate(operator)) if !points.is_empty() => {
            let values: Vec<f64> = points.iter().map(|point| point.value).collect();
            Some(of_numbers(operator, &values))
        }
        _ => None,
    }
}

fn of_number(function: Function, value: f64, bound: f64) -> f64 {
    match function {
        Function::Abs => value.abs(),
        Function::Ceil => value.ceil(),
        Function::Floor => value.floor(),
        Function::ClampMin | Function::ClampMax if value.is_nan() || bound.is_nan() => f64::NAN,
        Function::ClampMin => value.max(bound),
        Function::ClampMax => value.min(bound),
        _ => value,
    }
}

/// Each number changed, and the metric's name dropped, as it is no longer that metric.
fn mapped(samples: Vec<Sample>, change: impl Fn(f64) -> f64) -> Evaluated<Vec<Sample>> {
    let is_one_metric = samples.windows(2).all(|pair| match pair {
        [left, right] => left.labels.get(NAME) == right.labels.get(NAME),
        _ => true,
    });
    let change = |sample: Sample| Sample { labels: sample.labels.without_name(), value: change(sample.value) };
    let mut samples: Vec<Sample> = samples.into_iter().map(change).collect();
    if !is_one_metric {
        samples.sort_by(|left, right| left.labels.cmp(&right.labels));
        if samples.windows(2).any(|pair| matches!(pair, [left, right] if left.labels == right.labels)) {
            return Err(EvaluationError::SameLabels);
        }
    }
    Ok(samples)
}

fn histogram_quantile(quantile: f64, samples: Vec<Sample>) -> Vec<Sample> {
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    let bound = [UPPER_BOUND.to_owned()];
    for sample in samples {
        // What has no bound is no bucket.
        let Ok(upper_bound) = sample.labels.get(UPPER_BOUND).parse() else { continue };
        let bucket = Bucket { upper_bound, count: sample.value };
        histograms.entry(sample.labels.without(&bound)).or_default().push(bucket);
    }
    let quantiles =
        histograms.into_iter().map(|(labels, buckets)| Sample { labels, value: bucket_quantile(quantile, buckets) });
    quantiles.collect()
}

/// `absent()`: 1 if there is nothing, with the labels that the selector says.
fn absent(argument: &Expression, samples: &[Sample]) -> Vec<Sample> {
    if !samples.is_empty() {
        return Vec::new();
    }
    let Expression::Newest(selector) = argument else {
        return vec![Sample { labels: Labels::default(), value: 1.0 }];
    };
    let pairs = selector.matchers.iter().filter_map(|matcher| match &matcher.condition {
        Condition::Equal(value) if matcher.label != NAME => {
            Some((Text::from(matcher.label.clone()), Text::from(value.clone())))
        }
        _ => None,
    });
    vec![Sample { labels: Labels::new(pairs.collect()), value: 1.0 }]
}
