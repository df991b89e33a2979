//! Events about a Canary, each with its own text. (kube's recorder keeps the first text of a series and counts.)

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::Instant;

use crate::api::checked::ObjectKey;
use crate::clock;
use crate::rollout::{Notice, NoticeKind};

/// `reportingController`, and what `kubectl get events` shows as the source.
const CONTROLLER: &str = "serin";
/// `action`: the API wants one; what happened is in `reason` and `note`.
const ACTION: &str = "Rollout";
/// Longest note that the API takes, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Longest `reportingInstance` that the API takes, in bytes.
const LONGEST_INSTANCE: usize = 128;
/// Longest object name, less a dot and 16 hexadecimal digits.
const LONGEST_NAME_PREFIX: usize = 253 - 17;
/// Events of one Canary that may come at once.
const BURST: u32 = 25;
/// Time in which one more may come.
const REFILL: Duration = Duration::from_secs(5);
/// Canaries to keep count of before those that are quiet again are dropped.
const MANY: usize = 1024;

/// The Canary that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryReference {
    /// Where it is.
    pub key: ObjectKey,
    /// Its `metadata.uid`.
    pub uid: String,
}

/// Writes Events, and the same to the log.
pub struct Recorder {
    client: Client,
    instance: String,
    last_micros: AtomicI64,
    allowances: Mutex<HashMap<String, Allowance>>,
}

impl Recorder {
    /// A recorder for the process named `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let instance = shorten(instance, LONGEST_INSTANCE).to_owned();
        Self { client, instance, last_micros: AtomicI64::new(0), allowances: Mutex::default() }
    }

    /// Logs a notice, and makes the Event to [send](Self::send), where the Canary has not had too many of late.
    pub fn note(&self, canary: &CanaryReference, notice: &Notice) -> Option<Event> {
        let key = &canary.key;
        match notice.kind {
            NoticeKind::Normal => tracing::info!(canary = %key, reason = notice.reason, "{}", notice.message),
            NoticeKind::Warning => tracing::warn!(canary = %key, reason = notice.reason, "{}", notice.message),
        }
        if !self.is_allowed(&canary.uid, Instant::now()) {
            tracing::debug!(canary = %key, "event not recorded: there were too many");
            return None;
        }
        Some(event(canary, notice, &self.instance, self.next_micros()))
    }

    /// Records an Event. Never fails: what goes wrong is logged.
    pub async fn send(&self, event: Event) {
        let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            let name = event.metadata.name.as_deref().unwrap_or_default();
            let reason = event.reason.as_deref().unwrap_or_default();
            tracing::warn!(reason, "cannot record Event {namespace}/{name}: {error}");
        }
    }

    /// The time in microseconds, later than any before: names are made from it.
    fn next_micros(&self) -> i64 {
        let now = clock::precise_now().timestamp_micros();
        let advance = |last: i64| Some(now.max(last.saturating_add(1)));
        let last = self.last_micros.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
        now.max(last.unwrap_or_default().saturating_add(1))
    }

    fn is_allowed(&self, uid: &str, now: Instant) -> bool {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if allowances.len() >= MANY {
            allowances.retain(|_, allowance| !allowance.is_full(now));
        }
        allowances.entry(uid.to_owned()).or_insert_with(|| Allowance::new(now)).take(now)
    }
}

/// A token bucket: `BURST` at once, then one per `REFILL`. Kept as the time at which it is full again.
#[derive(Debug)]
struct Allowance {
    full_at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + REFILL;
        let allowed = full_at - now <= REFILL * BURST;
        if allowed {
            self.full_at = full_at;
        }
        allowed
    }
}

fn event(canary: &CanaryReference, notice: &Notice, instance: &str, micros: i64) -> Event {
    let ObjectKey { namespace, name } = &canary.key;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{micros:x}", shorten(name, LONGEST_NAME_PREFIX))),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::from_microsecond(micros).unwrap_or_default())),
        type_: Some(
            match notice.kind {
                NoticeKind::Normal => "Normal",
                NoticeKind::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(notice.reason.to_owned()),
        action: Some(ACTION.to_owned()),
        note: Some(note(&notice.message)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("flagger.app/v1beta1".to_owned()),
            kind: Some("Canary".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(canary.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}

fn note(message: &str) -> String {
    if message.len() <= LONGEST_NOTE {
        return message.to_owned();
    }
    format!("{}…", shorten(message, LONGEST_NOTE - '…'.len_utf8()))
}

/// The longest beginning of a text that has at most so many bytes.
fn shorten(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn canary() -> CanaryReference {
        CanaryReference { key: ObjectKey::new("default", "frontend"), uid: "1234".to_owned() }
    }

    fn notice(message: &str) -> Notice {
        Notice { kind: NoticeKind::Warning, reason: "Synced", message: message.to_owned() }
    }

    #[test]
    fn an_event_names_the_canary_the_reason_and_the_text() {
        let event = event(&canary(), &notice("Halt advancement"), "serin-0_1", 1_700_000_000_123_456);
        assert_eq!(
            serde_json::to_value(event).unwrap(),
            json!({
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": {"name": "frontend.60a2418202240", "namespace": "default"},
                "eventTime": "2023-11-14T22:13:20.123456Z",
                "type": "Warning",
                "reason": "Synced",
                "action": "Rollout",
                "note": "Halt advancement",
                "reportingController": "serin",
                "reportingInstance": "serin-0_1",
                "regarding": {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "namespace": "default",
                              "name": "frontend", "uid": "1234"},
            })
        );
    }

    #[test]
    fn notes_and_names_fit_the_api() {
        for (message, bytes) in [("é".repeat(512), 1024), ("é".repeat(513), 1023), ("a".repeat(1025), 1024)] {
            let note = note(&message);
            assert_eq!(note.len(), bytes);
            assert_eq!(note.ends_with('…'), message.len() > 1024);
        }
        let mut canary = canary();
        canary.key.name = "x".repeat(253);
        let name = event(&canary, &notice(""), "serin-0", i64::MAX).metadata.name.unwrap();
        assert!(name.len() <= 253, "{}", name.len());
    }

    /// A recorder whose API server answers with this status, and the notes that reach it.
    fn recorder(status: u16) -> (Recorder, Arc<Mutex<Vec<Value>>>) {
        let received = Arc::new(Mutex::new(Vec::new()));
        let sink = received.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let sink = sink.clone();
            async move {
                let body = request.into_body().collect_bytes().await?;
                sink.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                Ok::<_, tower::BoxError>(Response::builder().status(status).body(Body::from(body)).unwrap())
            }
        });
        (Recorder::new(Client::new(service, "default"), "serin-0"), received)
    }

    async fn publish(recorder: &Recorder, canary: &CanaryReference, message: &str) {
        if let Some(event) = recorder.note(canary, &notice(message)) {
            recorder.send(event).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_cut_off_after_25_and_lets_one_through_every_5_s() {
        let (recorder, received) = recorder(201);
        let mut other = canary();
        other.uid = "5678".to_owned();
        for (seconds, published, expected) in [(0, 100, 25), (4, 10, 25), (1, 10, 26), (10, 10, 28), (1000, 100, 53)] {
            tokio::time::advance(Duration::from_secs(seconds)).await;
            for _ in 0..published {
                publish(&recorder, &canary(), "again").await;
            }
            assert_eq!(received.lock().unwrap().len(), expected, "{seconds} s later");
        }
        publish(&recorder, &other, "another Canary").await;
        assert_eq!(received.lock().unwrap().len(), 54);
        let names: std::collections::HashSet<String> =
            received.lock().unwrap().iter().map(|event| event["metadata"]["name"].to_string()).collect();
        assert_eq!(names.len(), 54, "names repeat");
    }

    #[tokio::test]
    async fn an_event_that_is_refused_fails_nothing() {
        let (recorder, received) = recorder(403);
        publish(&recorder, &canary(), "unheard").await;
        assert_eq!(received.lock().unwrap().len(), 1);
    }

    #[test]
    fn quiet_canaries_are_forgotten() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert!(allowance.take(now));
        assert!(!allowance.is_full(now));
        assert!(allowance.is_full(now + REFILL));
    }
}
