//! Replies of the HTTP API.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::promql::{Labels, Point, Sample, Series, Value};

/// What a request is answered with, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// How long after the request.
    pub after: Duration,
    /// What comes then.
    pub outcome: Outcome,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// An answer.
    Answer(Answer),
    /// Nobody listens.
    ConnectionRefused,
    /// Nothing, ever; the connection stays open.
    Never,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Plain text.
    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.to_owned() }
    }

    /// A web page, as proxies answer.
    pub(super) fn html(status: u16) -> Self {
        let body = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n".to_owned();
        Self { status, content_type: "text/html; charset=utf-8", body }
    }

    /// Prometheus' envelope of an error.
    pub(super) fn error(status: u16, kind: &str, message: &str) -> Self {
        Self::json(status, &json!({"status": "error", "errorType": kind, "error": message}))
    }

    /// Prometheus' envelope of a value at a time.
    pub(super) fn value(value: &Value, at_milliseconds: i64, warnings: &[&str]) -> Self {
        let (kind, result) = match value {
            Value::Scalar(number) => ("scalar", point(at_milliseconds, *number)),
            Value::Text(text) => ("string", json!([time(at_milliseconds), text])),
            Value::Instant(samples) => {
                ("vector", samples.iter().map(|sample| of_sample(sample, at_milliseconds)).collect())
            }
            Value::Range(series) => ("matrix", series.iter().map(of_series).collect()),
        };
        let mut envelope = json!({"status": "success", "data": {"resultType": kind, "result": result}});
        if !warnings.is_empty() {
            envelope["warnings"] = json!(warnings);
        }
        Self::json(200, &envelope)
    }

    fn json(status: u16, body: &Json) -> Self {
        Self { status, content_type: "application/json", body: body.to_string() }
    }
}

fn of_sample(sample: &Sample, at_milliseconds: i64) -> Json {
    json!({"metric": metric(&sample.labels), "value": point(at_milliseconds, sample.value)})
}

fn of_series(series: &Series) -> Json {
    let of_point = |sample: &Point| point(sample.at_milliseconds, sample.value);
    json!({"metric": metric(&series.labels), "values": series.points.iter().map(of_point).collect::<Json>()})
}

fn metric(labels: &Labels) -> Json {
    let pairs = labels.iter().map(|(name, value)| (name.to_owned(), Json::from(value)));
    Json::Object(pairs.collect())
}

fn point(at_milliseconds: i64, value: f64) -> Json {
    json!([time(at_milliseconds), number(value)])
}

/// Seconds, with a fraction where there is one.
fn time(milliseconds: i64) -> Json {
    if milliseconds % 1000 == 0 { Json::from(milliseconds / 1000) } else { Json::from(milliseconds as f64 / 1000.0) }
}

/// A number as Go writes it: never with an exponent.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}
