//! Where faults come from: somebody who stands between a client and the server.

use std::time::Duration;

use serde_json::Value;

/// Stands between one client and the server. Everything passes through it: unary requests before they are sent, and the
/// events of watches before they arrive.
pub trait Interposer: Send + Sync {
    /// What becomes of a request. The requests that open a watch come here too, with the verb `watch`.
    fn request(&self, request: &RequestInfo) -> Plan;

    /// When the event of a watch about an object of this kind arrives.
    fn watch_event(&self, kind: &str, object: &Value) -> Delivery;
}

/// A request, in the words of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`; empty for discovery.
    pub kind: String,
    /// The namespace, if the request is about one.
    pub namespace: Option<String>,
    /// The object, if the request is about one.
    pub name: Option<String>,
    /// For example `status`.
    pub subresource: Option<String>,
    /// Which request of this caller it is, from 0. Clones of a client, and clients of the same [`super::Caller`], count
    /// on their own.
    pub index: u64,
    /// Whether it changes something.
    pub is_write: bool,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is done and answered.
    Pass,
    /// It arrives later, and is done even if nobody waits for the answer any more.
    Delay(Duration),
    /// It is not done, and answered with this HTTP status: 409, 410, 429, 500, 503 or 504.
    Fail(u16),
    /// It is not done: the connection broke.
    NotSent,
    /// It is done, and the connection broke before the answer.
    Lost,
    /// It is not done, and nobody answers.
    Hang,
}

/// When the event of a watch arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    Now,
    /// This long after the change, and what comes after it not before it.
    After(Duration),
    /// Never on this watch: it takes a new list to see what happened.
    Drop,
    /// Two times.
    Twice,
    /// Instead of it comes the error that the history is gone, and the watch ends.
    Gone410,
}
