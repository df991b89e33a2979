//! Everybody whom the controller speaks to beside Kubernetes: Prometheus, and the receiver of alerts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::time::sleep;

use super::manifests::RECEIVER;
use super::plan::Outage;
use super::process::Network;
use super::wire::Wire;
use crate::outbound::{self, Request, Transport, TransportError};
use crate::rollout::object::text;
use crate::sim::prometheus::{Answer, Fault, Outcome, Reply, delivery};
use crate::sim::promises::{self, Question};

/// What one process can reach.
pub struct Backends {
    network: Network,
    wire: Arc<Wire>,
}

impl Backends {
    /// By this wire.
    pub fn new(network: &Network, wire: Arc<Wire>) -> Self {
        Self { network: network.clone(), wire }
    }

    async fn answer(&self, request: Request) -> Result<outbound::Reply, TransportError> {
        if let Some(time) = self.wire.frozen_for() {
            if time >= PATIENCE
                && let Some(question) = asked(&request)
            {
                lock(&self.network.promises).answered(question, promises::Answer::Error);
            }
            sleep(time).await;
        }
        if self.wire.is_cut() {
            return std::future::pending().await;
        }
        if request.url.host_str() == Some(RECEIVER) { self.receive(&request).await } else { self.query(&request).await }
    }

    async fn query(&self, request: &Request) -> Result<outbound::Reply, TransportError> {
        lock(&self.network.promises).requested();
        let path = delivery::path_and_query(request);
        let (reply, question) = {
            let now = self.network.time.now();
            let mut prometheus = lock(&self.network.prometheus);
            prometheus.set_fault(self.network.weather.prometheus().map_or(Fault::None, fault));
            let reply = prometheus.answer(&request.method, &path, &request.body, now);
            (reply, prometheus.answers().next_back().and_then(|answered| question(&answered.query)))
        };
        sleep(reply.after).await;
        if let Some(question) = question {
            let answer = understood(&reply.outcome, reply.after);
            lock(&self.network.trace).note(|| format!("Prometheus answers {question:?}: {answer:?}"));
            lock(&self.network.promises).answered(question, answer);
        }
        delivery::deliver(Reply { after: Duration::ZERO, ..reply }).await
    }

    async fn receive(&self, request: &Request) -> Result<outbound::Reply, TransportError> {
        let status = match self.network.weather.receivers() {
            Some(Outage::Refused) => return Err(delivery::refused()),
            Some(Outage::Hangs) => return std::future::pending().await,
            Some(Outage::Slow(seconds)) => {
                sleep(Duration::from_secs(u64::from(seconds))).await;
                200
            }
            Some(Outage::Status(status)) => status,
            _ => 200,
        };
        if status == 200 {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let of = |field: &str| text(&body, field).unwrap_or_default().to_owned();
            let (message, time) = (of("/message"), of("/time"));
            lock(&self.network.trace).note(|| format!("told: {message}"));
            lock(&self.network.promises).alerted(&message, &time);
        }
        Ok(delivery::answered(Answer { status, content_type: "text/plain", body: String::new() }))
    }
}

impl Transport for Backends {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<outbound::Reply, TransportError>> {
        self.answer(request).boxed()
    }
}

fn fault(outage: Outage) -> Fault {
    match outage {
        Outage::Refused => Fault::Refuses,
        Outage::Hangs => Fault::Hangs,
        Outage::Slow(seconds) => Fault::Slow(Duration::from_secs(u64::from(seconds))),
        Outage::Status(422) => Fault::Unprocessable,
        Outage::Status(status) => Fault::Status(status),
        Outage::Page => Fault::Html(200),
        Outage::Empty => Fault::Empty,
        Outage::NotANumber => Fault::NotANumber,
        Outage::TwoSeries => Fault::TwoSeries,
        Outage::Partial => Fault::Partial,
        Outage::Unscraped => Fault::None,
    }
}

/// Which check a request is for, if any.
fn asked(request: &Request) -> Option<Question> {
    let (_, query) = request.url.query_pairs().find(|(name, _)| name == "query")?;
    question(&query)
}

/// Which check a query is for. The number of requests is asked beside the built-in checks, and decides nothing.
fn question(query: &str) -> Option<Question> {
    if query.starts_with("sum(increase(") {
        None
    } else if query.starts_with("histogram_quantile(") {
        Some(Question::Duration)
    } else if query.starts_with("100 - ") {
        Some(Question::Template)
    } else {
        Some(Question::SuccessRate)
    }
}

/// The longest that the controller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a careful reader makes of an outcome.
fn understood(outcome: &Outcome, after: Duration) -> promises::Answer {
    use promises::Answer::{Error, NoData};
    let Outcome::Answer(Answer { status: 200, body, .. }) = outcome else { return Error };
    let Ok(body) = serde_json::from_str::<Value>(body) else { return Error };
    if after >= PATIENCE || body.get("warnings").is_some() {
        return Error;
    }
    let result = &body["data"]["result"];
    let sample = match result.as_array().map(Vec::as_slice) {
        Some([]) => return NoData,
        Some([series]) if series.get("value").is_some() => &series["value"][1],
        Some([_, value]) if value.is_string() => value,
        _ => return Error,
    };
    match sample.as_str().and_then(|text| text.parse::<f64>().ok()) {
        Some(value) if value.is_nan() => NoData,
        Some(value) => promises::Answer::Value(value),
        None => Error,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
