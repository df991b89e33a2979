//! Watches: what happened since a version, as it happens, through the hands of an interposer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::stream;
use kube::core::Status;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::interposer::{Delivery, Interposer};
use super::representation::Representation;
use super::request::{Query, is_set};
use super::resources;
use super::selectors::Selector;
use super::store::{Event, State};
use super::stored::Stored;
use super::{ApiServer, ChangeKind, errors};

/// Time between two bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say how long.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// A watch that is going on.
pub struct Watch {
    server: ApiServer,
    /// The index of the resource that was asked for, and of the one whose objects these are.
    asked: usize,
    resource: usize,
    namespace: Option<String>,
    selector: Selector,
    representation: Representation,
    interposer: Option<Arc<dyn Interposer>>,
    signal: watch::Receiver<u64>,
    /// The number of the next event to look at.
    sequence: u64,
    /// How often all watches had been ended when this one began.
    ends_before: u64,
    ready: VecDeque<Bytes>,
    /// Nothing is sent before this time: an event that is late holds up the others.
    not_before: Instant,
    next_bookmark: Option<Instant>,
    ends: Instant,
    is_over: bool,
}

impl Watch {
    /// Begins a watch.
    ///
    /// # Errors
    /// The version to begin from is no version.
    pub fn begin(
        server: &ApiServer,
        state: &State,
        (asked, namespace): (usize, Option<String>),
        query: &Query,
        selector: Selector,
        representation: Representation,
        interposer: Option<Arc<dyn Interposer>>,
    ) -> Result<Self, Status> {
        let resource = resources::all()[asked].storage;
        let table = state.table(resource);
        let now = Instant::now();
        let lasts = query.timeout_seconds.map_or(LONGEST, Duration::from_secs);
        let mut watch = Self {
            server: server.clone(),
            asked,
            resource,
            namespace,
            selector,
            representation,
            interposer,
            signal: table.subscribe(),
            sequence: table.next_sequence(),
            ends_before: state.watch_ends,
            ready: VecDeque::new(),
            not_before: now,
            next_bookmark: is_set(query.allow_watch_bookmarks.as_ref()).then_some(now + BOOKMARK_INTERVAL),
            ends: now + lasts,
            is_over: false,
        };
        let is_streaming_list = is_set(query.send_initial_events.as_ref());
        if is_streaming_list || matches!(query.resource_version.as_str(), "" | "0") {
            let found = table.objects(watch.namespace.as_deref());
            let selected: Vec<Stored> = found.filter(|stored| watch.selector.selects(&stored.value)).cloned().collect();
            for object in selected {
                let line = watch.line("ADDED", &object);
                watch.ready.push_back(line);
            }
            if is_streaming_list {
                let bookmark = watch.bookmark(state.version, true);
                watch.ready.push_back(bookmark);
            }
            return Ok(watch);
        }
        let version: u64 = query.resource_version.parse().map_err(|_| {
            errors::bad_request(format!("Invalid value: {:?}: resource version is no number", query.resource_version))
        })?;
        match table.sequence_after(version) {
            Ok(sequence) => watch.sequence = sequence,
            Err(oldest) => watch.give_up(&format!("too old resource version: {version} ({oldest})")),
        }
        Ok(watch)
    }

    /// The answer: a line of JSON for each event.
    pub fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok::<_, Infallible>(line), watch))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.not_before > Instant::now() {
                sleep_until(self.not_before).await;
            }
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.is_over || Instant::now() >= self.ends {
                return None;
            }
            self.signal.mark_unchanged();
            if !self.advance() {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let until = self.next_bookmark.map_or(self.ends, |bookmark| bookmark.min(self.ends));
        tokio::select! {
            biased;
            changed = self.signal.changed() => {
                if changed.is_err() {
                    self.is_over = true;
                }
            }
            () = sleep_until(until) => {
                if let Some(bookmark) = self.next_bookmark.filter(|bookmark| *bookmark <= Instant::now()) {
                    self.next_bookmark = Some(bookmark + BOOKMARK_INTERVAL);
                    let version = self.server.version();
                    let line = self.bookmark(version, false);
                    self.ready.push_back(line);
                }
            }
        }
    }

    /// Looks at the next event; false if there is none yet.
    fn advance(&mut self) -> bool {
        let server = self.server.clone();
        let state = server.state();
        if state.watch_ends != self.ends_before {
            drop(state);
            self.give_up("The resourceVersion for the provided watch is too old.");
            return true;
        }
        let event = match state.table(self.resource).event(self.sequence) {
            Ok(event) => event.cloned(),
            Err(oldest) => {
                drop(state);
                self.give_up(&format!("too old resource version: {} ({oldest})", self.sequence));
                return true;
            }
        };
        drop(state);
        let Some(event) = event else { return false };
        self.sequence += 1;
        match self.seen(&event) {
            None => {}
            // It is no longer selected.
            Some("DELETED") if event.kind != ChangeKind::Deleted => {
                let last = event.previous.as_ref().unwrap_or(&event.object).at_version(event.version);
                self.deliver("DELETED", &last, event.at);
            }
            Some(kind) => self.deliver(kind, &event.object, event.at),
        }
        true
    }

    /// What the selector makes of an event: an object that begins to be selected is new, one that ceases to be is gone.
    fn seen(&self, event: &Event) -> Option<&'static str> {
        let is_here = |object: &Stored| {
            self.namespace.as_ref().is_none_or(|namespace| object.value["metadata"]["namespace"] == **namespace)
                && self.selector.selects(&object.value)
        };
        let was = event.previous.as_ref().is_some_and(is_here);
        let is = event.kind != ChangeKind::Deleted && is_here(&event.object);
        match (was, is) {
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
            (false, false) => None,
        }
    }

    fn deliver(&mut self, kind: &str, object: &Stored, at: Instant) {
        let delivery = match &self.interposer {
            Some(interposer) => interposer.watch_event(resources::all()[self.resource].kind, &object.value),
            None => Delivery::Now,
        };
        // Also of an event that is lost: a Table has its headers once.
        let line = self.line(kind, object);
        match delivery {
            Delivery::Now => self.ready.push_back(line),
            Delivery::After(delay) => {
                self.not_before = self.not_before.max(at + delay);
                self.ready.push_back(line);
            }
            Delivery::Drop => {}
            Delivery::Twice => self.ready.extend([line.clone(), line]),
            Delivery::Gone410 => self.give_up("The resourceVersion for the provided watch is too old."),
        }
    }

    fn give_up(&mut self, message: &str) {
        let error = errors::body(&errors::expired(message));
        self.ready.push_back(line("ERROR", error.to_string().as_bytes()));
        self.is_over = true;
    }

    fn bookmark(&mut self, version: u64, ends_list: bool) -> Bytes {
        let resource = &resources::all()[self.asked];
        let mut object = json!({
            "kind": resource.kind,
            "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        });
        if ends_list {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.line("BOOKMARK", &Stored::unowned(object))
    }

    fn line(&mut self, kind: &str, object: &Stored) -> Bytes {
        let shown = self.representation.of(&resources::all()[self.asked], object);
        self.representation = self.representation.without_headers();
        line(kind, &shown)
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    // The type first, as the real server writes it: who knows it reads the object without keeping it aside.
    let parts = [b"{\"type\":\"", kind.as_bytes(), b"\",\"object\":", object, b"}\n"];
    parts.concat().into()
}
