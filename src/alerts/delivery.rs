//! Posting a message, again where that can help.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};

use super::{AlertError, Destination, Message};
use crate::outbound::{Limits, Request, Route, Transport, TransportError, Trust, exchange};

/// Longest time for one attempt, as in Flagger.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts for one message.
const ATTEMPTS_MAX: u32 = 5;
/// Longest wait that a receiver can ask for by `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Sends alerts. One for the whole process.
pub struct Alerts {
    transport: Arc<dyn Transport>,
    /// Wait after the first failed attempt; it doubles with each one.
    first_wait: Duration,
    timeout: Duration,
}

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

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            // It surely was not delivered.
            TransportError::Connect { .. } => Self { problem: error.to_string(), retry: Some(Duration::ZERO) },
            TransportError::Late { .. } => Self::last(format!("{error}; it may have been delivered")),
            TransportError::Proxy => Self::last("spec.proxy can't be used as a proxy"),
            TransportError::Tls { .. } => {
                Self::last(format!("{error}; does the image have certificates of authorities?"))
            }
            error => Self::last(error.to_string()),
        }
    }
}

impl Alerts {
    /// Posts by this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self::with_times(transport, Duration::from_secs(1), TIMEOUT)
    }

    /// With this first wait and this time for an attempt.
    pub(super) fn with_times(transport: Arc<dyn Transport>, first_wait: Duration, timeout: Duration) -> Self {
        Self { transport, first_wait, timeout }
    }

    /// Posts a message. Tries again, after 1, 2, 4 and 8 seconds or as long as `Retry-After` says (at most 60 seconds),
    /// where the receiver surely did not take it: it could not be reached, or answered 429 or 5xx. A receiver that was
    /// reached and does not answer is not tried again, so that nobody is told twice. Takes four and a half minutes at
    /// the very most; call it where nothing waits for it.
    pub async fn send(&self, destination: &Destination, message: &Message<'_>) -> Result<(), AlertError> {
        let body = destination.sink.payload(message).to_string();
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

    async fn attempt(&self, destination: &Destination, body: &str) -> Result<(), Failure> {
        let limits = Limits { time: self.timeout, body_bytes: ANSWER_BYTES_MAX };
        let response = exchange(self.transport.as_ref(), request(destination, body), limits).await?;
        let status = response.status;
        if status.is_success() {
            // A body that can't be read whole is as good as none: the message was taken.
            return match destination.sink.objection(&String::from_utf8_lossy(&response.body)) {
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
        let retry = again.then(|| retry_after(&response.headers));
        Err(Failure { problem: format!("HTTP {status}{mend}"), retry })
    }
}

fn request(destination: &Destination, body: &str) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(authorization) = &destination.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    Request {
        method: Method::POST,
        url: destination.endpoint.clone(),
        headers,
        body: body.as_bytes().to_vec(),
        route: route(destination),
    }
}

fn route(destination: &Destination) -> Route {
    let proxy = destination.proxy.clone();
    let is_secure =
        [Some(&destination.endpoint), proxy.as_ref()].into_iter().flatten().any(|to| to.scheme() == "https");
    Route { trust: if is_secure { Trust::System } else { Trust::Plain }, proxy }
}

/// How long to wait after this many failed attempts.
pub(super) fn wait(first: Duration, attempts: u32, at_least: Duration) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    doubled.max(at_least.min(RETRY_AFTER_MAX))
}

/// `Retry-After` in seconds; the form with a date is rare and not read.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}
