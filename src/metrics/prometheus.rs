//! Prometheus, and what speaks its HTTP API (Thanos, Mimir, `VictoriaMetrics`).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::backend::{Auth, Backend};
use crate::analysis::Answer;
use crate::outbound::{Limits, Request, Route, Transport, TransportError, Trust, exchange};

/// The name in `spec.provider.type`.
pub(super) const KIND: &str = "prometheus";

const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer; one number needs a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Longest query that is sent by GET, as Flagger does; longer ones would break limits of addresses on the way.
const GET_QUERY_BYTES_MAX: usize = 2048;
/// How much of a foreign text goes into an error.
const SHOWN_CHARACTERS: usize = 300;

/// The Prometheus backend.
pub(super) struct Prometheus {
    transport: Arc<dyn Transport>,
    timeout: Duration,
}

impl Prometheus {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self::with_timeout(transport, TIMEOUT)
    }

    /// With this time for a whole answer.
    pub(super) fn with_timeout(transport: Arc<dyn Transport>, timeout: Duration) -> Self {
        Self { transport, timeout }
    }

    async fn ask(&self, backend: &Backend, query: &str) -> Result<Answer, String> {
        let request = request(backend, query, self.timeout)?;
        let limits = Limits { time: self.timeout, body_bytes: ANSWER_BYTES_MAX };
        let explain = |error: &TransportError| explain(error, &backend.trust);
        let response = exchange(self.transport.as_ref(), request, limits).await.map_err(|error| explain(&error))?;
        if response.status.is_redirection() {
            return Err(format!("HTTP {}: redirects are not followed; give the final address", response.status));
        }
        if let Some(error) = &response.cut_off {
            return Err(explain(error));
        }
        let media_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        interpret(response.status, media_type, &response.body)
    }
}

/// An instant query, as `/api/v1/query` takes it.
fn request(backend: &Backend, query: &str, timeout: Duration) -> Result<Request, String> {
    let mut url = backend.address.clone();
    url.set_path(&format!("{}/api/v1/query", url.path().trim_end_matches('/')));
    let mut headers = request_headers(backend)?;
    let timeout = format!("{}ms", timeout.as_millis());
    let parameters = [("query", query), ("timeout", &timeout)];
    let (method, body) = if query.len() <= GET_QUERY_BYTES_MAX {
        url.query_pairs_mut().extend_pairs(parameters);
        (Method::GET, Vec::new())
    } else {
        // A form is written as the query of an address is.
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(parameters);
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
        (Method::POST, form.query().unwrap_or_default().as_bytes().to_vec())
    };
    Ok(Request { method, url, headers, body, route: Route { trust: backend.trust.clone(), proxy: None } })
}

/// Why there is no answer, and the mend.
fn explain(error: &TransportError, trust: &Trust) -> String {
    let mend = match error {
        TransportError::Authorities => return "`ca.crt` of the secret has no certificate in PEM format".to_owned(),
        TransportError::Tls { .. } if *trust == Trust::System => {
            "; does the image have certificates of authorities? Else give `ca.crt` in the secret"
        }
        TransportError::Connect { cause } | TransportError::Broken { cause } if cause.contains("certificate") => {
            "; put the authority into the secret's `ca.crt`, or set spec.provider.insecureSkipVerify"
        }
        TransportError::TooLarge { .. } => "; aggregate in the query",
        _ => "",
    };
    format!("{}{mend}", shorten(&error.to_string()))
}

impl super::MetricsProvider for Prometheus {
    fn query<'a>(&'a self, backend: &'a Backend, query: &'a str) -> BoxFuture<'a, Answer> {
        async move {
            self.ask(backend, query).await.unwrap_or_else(|problem| {
                Answer::Error(format!("{KIND} at {}: {problem} (query: {})", backend.shown(), shorten(query)))
            })
        }
        .boxed()
    }
}

/// The user's headers, and credentials, which come first.
fn request_headers(backend: &Backend) -> Result<HeaderMap, String> {
    let mut headers = backend.headers.clone();
    let credentials = match &backend.auth {
        Auth::None => return Ok(headers),
        Auth::Bearer(token) => format!("Bearer {token}"),
        Auth::Basic { username, password } => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}")))
        }
    };
    let mut value =
        HeaderValue::from_str(&credentials).map_err(|_| "the secret can't be sent as a header".to_owned())?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}

/// What an answer says, by its status, its content type and its body.
pub(super) fn interpret(status: StatusCode, media_type: Option<&str>, body: &[u8]) -> Result<Answer, String> {
    let media_type = shorten(media_type.unwrap_or("something without a content type"));
    match serde_json::from_slice::<Envelope>(body) {
        Ok(envelope) if status.is_success() && envelope.status == "success" => envelope.answer(),
        Ok(Envelope { error: Some(error), error_type, .. }) => {
            let kind = error_type.unwrap_or_else(|| "error".to_owned());
            Err(shorten(&format!("HTTP {status}: {kind}: {error}{}", mend(status.as_u16()))))
        }
        Ok(_) => Err(format!("HTTP {status} without a result{}", mend(status.as_u16()))),
        Err(_) if status.is_success() && media_type.contains("json") => {
            Err(format!("HTTP {status} with JSON that is not an answer of Prometheus"))
        }
        Err(_) => Err(format!("HTTP {status} with {media_type} instead of JSON{}", mend(status.as_u16()))),
    }
}

/// What helps against a status code.
fn mend(status: u16) -> &'static str {
    match status {
        400 | 422 => "; correct the query",
        401 | 403 => "; check the credentials in spec.provider.secretRef",
        404 | 405 => "; does the address lead to Prometheus?",
        _ => "",
    }
}

/// The beginning of a text, on one line.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Prometheus' answer to an instant query. By warnings Thanos and others tell that a part of the data is missing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

#[derive(Debug, Deserialize)]
struct Series {
    value: Option<Value>,
}

impl Envelope {
    fn answer(self) -> Result<Answer, String> {
        if let Some(warning) = self.warnings.first() {
            return Err(format!("partial response: {}", shorten(warning)));
        }
        let data = self.data.ok_or("the answer has no data")?;
        match data.result_type.as_str() {
            "scalar" => number(&data.result),
            "vector" => {
                let series: Vec<Series> = serde_json::from_value(data.result)
                    .map_err(|_| "the answer has series in an unknown form".to_owned())?;
                match series.as_slice() {
                    [] => Ok(Answer::NoData("the answer is empty".to_owned())),
                    [Series { value: Some(sample) }] => number(sample),
                    [_] => {
                        Err("the answer is a histogram, not a number; use histogram_quantile() or the like".to_owned())
                    }
                    many => Err(format!(
                        "the answer has {} series instead of one; aggregate them, for example with sum()",
                        many.len()
                    )),
                }
            }
            "matrix" => {
                Err("the answer is a range of values, not a number; aggregate it, for example with rate()".to_owned())
            }
            other => Err(format!("the answer is a {}, not a number", shorten(other))),
        }
    }
}

/// The number of a sample `[TIME, "NUMBER"]`.
fn number(sample: &Value) -> Result<Answer, String> {
    let text = sample.get(1).and_then(Value::as_str);
    match text.and_then(|text| text.parse::<f64>().ok()) {
        Some(number) if number.is_nan() => Ok(Answer::NoData("the value is not a number".to_owned())),
        Some(number) => Ok(Answer::Value(number)),
        None => Err("the answer has a value in an unknown form".to_owned()),
    }
}
