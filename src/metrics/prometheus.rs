//! Prometheus, and what speaks its HTTP API (Thanos, Mimir, `VictoriaMetrics`).

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use prometheus_http_query as client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Response, StatusCode, redirect};
use serde::Deserialize;
use serde_json::Value;

use super::backend::{Auth, Backend, Trust};
use crate::analysis::Answer;

/// The name in `spec.provider.type`.
pub(super) const KIND: &str = "prometheus";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer; one number needs a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Longest query that is sent by GET, as Flagger does; longer ones would break limits of addresses on the way.
const GET_QUERY_BYTES_MAX: usize = 2048;
/// Most kept connection pools, one for each way to trust a server.
const CLIENTS_MAX: usize = 32;
/// How much of a foreign text goes into an error.
const SHOWN_CHARACTERS: usize = 300;

/// The Prometheus backend with its connections.
pub(super) struct Prometheus {
    clients: Mutex<HashMap<Trust, reqwest::Client>>,
    timeout: Duration,
}

impl Prometheus {
    pub(super) fn new() -> Self {
        Self::with_timeout(TIMEOUT)
    }

    /// With this time for a whole answer.
    pub(super) fn with_timeout(timeout: Duration) -> Self {
        Self { clients: Mutex::default(), timeout }
    }

    async fn ask(&self, backend: &Backend, query: &str) -> Result<Answer, String> {
        let http = self.client(&backend.trust)?;
        let prometheus = client::Client::from(http, backend.address.as_str()).map_err(|error| error.to_string())?;
        let timeout = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let mut request = prometheus.query(query).timeout(timeout);
        for (name, value) in &request_headers(backend)? {
            request = request.header(name.clone(), value.clone());
        }
        let sent = if query.len() <= GET_QUERY_BYTES_MAX { request.get_raw().await } else { request.post_raw().await };
        let response = sent.map_err(|error| self.explain(&error))?;
        self.read(response).await
    }

    /// The connection pool for this way to trust a server.
    fn client(&self, trust: &Trust) -> Result<reqwest::Client, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(trust) {
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let client = build_client(trust, self.timeout)?;
        clients.insert(trust.clone(), client.clone());
        Ok(client)
    }

    async fn read(&self, response: Response) -> Result<Answer, String> {
        let status = response.status();
        if status.is_redirection() {
            return Err(format!("HTTP {status}: redirects are not followed; give the final address"));
        }
        let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        interpret(status, media_type.as_deref(), &self.body(response).await?)
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.explain_transport(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes; aggregate in the query"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn explain(&self, error: &client::Error) -> String {
        match error.source().and_then(|source| source.downcast_ref::<reqwest::Error>()) {
            Some(transport) => self.explain_transport(transport),
            None => shorten(&error.to_string()),
        }
    }

    /// What went wrong on the way, without the address, which may hold credentials.
    fn explain_transport(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() && !error.is_connect() {
            return format!("no answer within {:?}", self.timeout);
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let cause = if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() };
        let certificate = if cause.contains("certificate") {
            "; put the authority into the secret's `ca.crt`, or set spec.provider.insecureSkipVerify"
        } else {
            ""
        };
        let doing = if error.is_connect() { "can't connect: " } else { "" };
        format!("{doing}{}{certificate}", shorten(&cause))
    }
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

fn build_client(trust: &Trust, timeout: Duration) -> Result<reqwest::Client, String> {
    // reqwest panics without a process-wide provider. Where `main` has set one, this does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .redirect(redirect::Policy::none());
    let (builder, mend) = match trust {
        // No authorities: an image without any must still reach a Prometheus by plain HTTP.
        Trust::Plain => (builder.tls_certs_only([]), ""),
        Trust::Anything => (builder.tls_danger_accept_invalid_certs(true), ""),
        Trust::System => {
            (builder, "; does the image have certificates of authorities? Else give `ca.crt` in the secret")
        }
        Trust::Authorities(pem) => match Certificate::from_pem_bundle(pem) {
            Ok(authorities) if !authorities.is_empty() => (builder.tls_certs_only(authorities), ""),
            _ => return Err("`ca.crt` of the secret has no certificate in PEM format".to_owned()),
        },
    };
    builder.build().map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        format!("can't set up TLS: {cause}{mend}")
    })
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

/// Prometheus' answer to an instant query. An own type, because that of the client library drops the warnings by
/// which Thanos and others tell that a part of the data is missing.
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
