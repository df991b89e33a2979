//! Posting a message, again where that can help.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Proxy, Response, StatusCode, Url, redirect};
use serde_json::Value;

use super::{AlertError, Destination, Message};

/// Longest time for one attempt, as in Flagger.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts for one message.
const ATTEMPTS_MAX: u32 = 5;
/// Longest wait that a receiver can ask for by `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Most kept connection pools, one for each proxy.
const CLIENTS_MAX: usize = 32;

/// Sends alerts, and keeps connections. One for the whole process.
pub struct Alerts {
    clients: Mutex<HashMap<Route, reqwest::Client>>,
    /// Wait after the first failed attempt; it doubles with each one.
    first_wait: Duration,
    timeout: Duration,
}

/// What needs a connection pool of its own: with TLS or without, and the proxy.
type Route = (bool, Option<Url>);

/// An attempt that failed.
struct Failure {
    problem: String,
    /// Whether another attempt can help, and how long the receiver wants to be left alone at least.
    retry: Option<Duration>,
}

impl Failure {
    fn last(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), retry: None }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self::new()
    }
}

impl Alerts {
    /// Without connections yet.
    pub fn new() -> Self {
        Self::with_times(Duration::from_secs(1), TIMEOUT)
    }

    /// With this first wait and this time for an attempt.
    pub(super) fn with_times(first_wait: Duration, timeout: Duration) -> Self {
        Self { clients: Mutex::default(), first_wait, timeout }
    }

    /// Posts a message. Tries again, after 1, 2, 4 and 8 seconds or as long as `Retry-After` says (at most 60 seconds),
    /// where the receiver surely did not take it: it could not be reached, or answered 429 or 5xx. A receiver that was
    /// reached and does not answer is not tried again, so that nobody is told twice. Takes four and a half minutes at
    /// the very most; call it where nothing waits for it.
    pub async fn send(&self, destination: &Destination, message: &Message<'_>) -> Result<(), AlertError> {
        let body = destination.sink.payload(message);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Err(failure) = self.attempt(destination, &body).await else { return Ok(()) };
            match failure.retry {
                Some(at_least) if attempts < ATTEMPTS_MAX => {
                    tokio::time::sleep(wait(self.first_wait, attempts, at_least)).await;
                }
                _ => {
                    return Err(AlertError::Delivery {
                        kind: destination.kind,
                        host: destination.host().to_owned(),
                        problem: failure.problem,
                        attempts,
                    });
                }
            }
        }
    }

    async fn attempt(&self, destination: &Destination, body: &Value) -> Result<(), Failure> {
        let client = self.client(destination)?;
        let mut request = client.post(destination.endpoint.clone()).json(body);
        if let Some(authorization) = &destination.authorization {
            request = request.header("authorization", authorization);
        }
        let response = request.send().await.map_err(|error| self.explain(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        if status.is_success() {
            return match destination.sink.objection(&read(response).await) {
                Some(problem) => Err(Failure::last(problem)),
                None => Ok(()),
            };
        }
        let mend = match status.as_u16() {
            300..=399 => "; redirects are not followed, give the final address",
            401 | 403 => "; check the token and the address",
            404 | 410 => "; check the address, the webhook may have been deleted",
            _ => "",
        };
        let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        Err(Failure { problem: format!("HTTP {status}{mend}"), retry: again.then_some(retry_after) })
    }

    fn client(&self, destination: &Destination) -> Result<reqwest::Client, Failure> {
        let secure = [Some(&destination.endpoint), destination.proxy.as_ref()];
        let secure = secure.into_iter().flatten().any(|address| address.scheme() == "https");
        let route = (secure, destination.proxy.clone());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&route) {
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        let client = build_client(&route, self.timeout)?;
        clients.insert(route, client.clone());
        Ok(client)
    }

    /// What went wrong on the way, without the address.
    fn explain(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            return Failure { problem: format!("can't connect: {}", root_cause(error)), retry: Some(Duration::ZERO) };
        }
        if error.is_timeout() {
            return Failure::last(format!("no answer within {:?}; it may have been delivered", self.timeout));
        }
        Failure::last(root_cause(error))
    }
}

fn build_client((secure, proxy): &Route, timeout: Duration) -> Result<reqwest::Client, Failure> {
    // reqwest panics without a process-wide provider. Where `main` has set one, this does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .redirect(redirect::Policy::none());
    if !secure {
        // An image without certificates of authorities must still reach a receiver in the cluster.
        builder = builder.tls_certs_only([]);
    }
    if let Some(proxy) = proxy {
        let proxy = Proxy::all(proxy.clone()).map_err(|_| Failure::last("spec.proxy can't be used as a proxy"))?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| {
        Failure::last(format!(
            "can't set up TLS: {}; does the image have certificates of authorities?",
            root_cause(&error)
        ))
    })
}

/// How long to wait after this many failed attempts.
pub(super) fn wait(first: Duration, attempts: u32, at_least: Duration) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    doubled.max(at_least.min(RETRY_AFTER_MAX))
}

/// `Retry-After` in seconds; the form with a date is rare and not read.
fn retry_after(response: &Response) -> Duration {
    let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The beginning of a body. One that can't be read is as good as none: the message was taken.
async fn read(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() }
}
