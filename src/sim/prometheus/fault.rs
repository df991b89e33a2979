//! What can be wrong with the answers of a Prometheus.

use std::time::Duration;

use super::promql::{Labels, Sample, Value};
use super::reply::{Answer, Outcome, Reply};

/// How Prometheus, or what is in front of it, answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// As it should.
    #[default]
    None,
    /// Not at all: connections are refused.
    Refuses,
    /// After this time. A query with a shorter `timeout` gets an error then.
    Slow(Duration),
    /// Never, with the connection open.
    Hangs,
    /// With this status and Prometheus' envelope of an error, for example 500 or 503.
    Status(u16),
    /// With 422: the query can be read and not be answered.
    Unprocessable,
    /// With this status and a web page instead of JSON.
    Html(u16),
    /// Without any series.
    Empty,
    /// With one number that is none.
    NotANumber,
    /// With two series.
    TwoSeries,
    /// With the value, and a warning that a part of the data is missing.
    Partial,
}

impl Fault {
    /// The reply where nothing is evaluated.
    pub(super) fn reply(self, timeout: Option<Duration>) -> Option<Reply> {
        let outcome = match self {
            Self::Refuses => Outcome::ConnectionRefused,
            Self::Hangs => Outcome::Never,
            Self::Slow(after) => {
                let timeout = timeout.filter(|timeout| *timeout < after)?;
                let message = "query timed out in expression evaluation";
                return Some(Reply {
                    after: timeout,
                    outcome: Outcome::Answer(Answer::error(503, "timeout", message)),
                });
            }
            Self::Status(status) => Outcome::Answer(Answer::error(status, "internal", "the storage is not available")),
            Self::Unprocessable => {
                let message = "query processing would load too many samples into memory in query execution";
                Outcome::Answer(Answer::error(422, "execution", message))
            }
            Self::Html(status) => Outcome::Answer(Answer::html(status)),
            Self::None | Self::Empty | Self::NotANumber | Self::TwoSeries | Self::Partial => return None,
        };
        Some(Reply { after: Duration::ZERO, outcome })
    }

    /// How long a reply takes that is a value.
    pub(super) fn delay(self) -> Duration {
        if let Self::Slow(after) = self { after } else { Duration::ZERO }
    }

    /// The value that is answered instead of the right one.
    pub(super) fn falsify(self, value: Value) -> Value {
        let of = |instance: &'static str, value| {
            let pairs = if instance.is_empty() { Vec::new() } else { vec![("instance".into(), instance.into())] };
            Sample { labels: Labels::new(pairs), value }
        };
        match self {
            Self::Empty => Value::Instant(Vec::new()),
            Self::NotANumber => Value::Instant(vec![of("", f64::NAN)]),
            Self::TwoSeries => Value::Instant(vec![of("a", 1.0), of("b", 2.0)]),
            _ => value,
        }
    }

    /// The warnings of a reply.
    pub(super) fn warnings(self) -> &'static [&'static str] {
        if self == Self::Partial { &["fetch series for store-1:10901: connection refused"] } else { &[] }
    }
}
