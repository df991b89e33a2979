//! Requests of the HTTP API.

use std::time::Duration;

use chrono::DateTime;
use http::Method;
use reqwest::Url;

use super::promql::duration;

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// `/api/v1/query`
    Query(Query),
    /// `/-/ready` and `/-/healthy`
    Ready,
    /// Not allowed with this method.
    WrongMethod,
    /// Anywhere else.
    Unknown,
}

/// An instant query. Parameters are still as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) text: String,
    time: Option<String>,
    timeout: Option<String>,
}

impl Request {
    /// Reads a request. A form in the body counts before the parameters of the address.
    pub(super) fn read(method: &Method, path_and_query: &str, body: &[u8]) -> Self {
        let address = Url::parse("http://prometheus/").and_then(|root| root.join(path_and_query));
        let Ok(address) = address else { return Self::Unknown };
        match address.path() {
            "/-/ready" | "/-/healthy" => return Self::Ready,
            "/api/v1/query" => {}
            _ => return Self::Unknown,
        }
        if method != Method::GET && method != Method::POST {
            return Self::WrongMethod;
        }
        let mut form = address.clone();
        form.set_query((method == Method::POST).then(|| String::from_utf8_lossy(body)).as_deref());
        let mut query = Query::default();
        for (name, value) in address.query_pairs().chain(form.query_pairs()) {
            match &*name {
                "query" => query.text = value.into_owned(),
                "time" => query.time = Some(value.into_owned()),
                "timeout" => query.timeout = Some(value.into_owned()),
                _ => {}
            }
        }
        Self::Query(query)
    }
}

impl Query {
    /// The time of evaluation since 1970, where one was given: seconds, or RFC 3339.
    pub(super) fn time_milliseconds(&self) -> Result<Option<i64>, String> {
        let Some(text) = self.time.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        let parsed = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
        let milliseconds = seconds.map(|seconds| (seconds * 1000.0).round() as i64).or(parsed);
        let wrong = || {
            format!(
                "invalid parameter \"time\": invalid time value for 'time': cannot parse {text:?} to a valid timestamp"
            )
        };
        milliseconds.map(Some).ok_or_else(wrong)
    }

    /// How long the evaluation may take, where that was given: seconds, or a duration such as `5s`.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, String> {
        let Some(text) = self.timeout.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let seconds = text.parse().ok().and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
        let parsed =
            duration(text).and_then(|milliseconds| u64::try_from(milliseconds).ok()).map(Duration::from_millis);
        let wrong = || format!("invalid parameter \"timeout\": cannot parse {text:?} to a valid duration");
        seconds.or(parsed).map(Some).ok_or_else(wrong)
    }
}
