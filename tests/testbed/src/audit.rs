//! The API server's own account of who asked it what.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// What is written down: every request once; changes of routes with what was asked for, everything else without bodies.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "Request", "verbs": ["create", "update", "patch"],
     "resources": [{"group": "gateway.networking.k8s.io", "resources": ["httproutes"]}]},
    {"level": "Metadata"}
  ]
}"#;

/// One request to the API server. A watch counts once, when it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// get, list, watch, create, update, patch, delete or deletecollection.
    pub verb: String,
    /// The resource's plural name; empty for requests that are not about one (`/readyz`, discovery).
    pub resource: String,
    /// status, scale, token, ...; empty for the resource itself.
    pub subresource: String,
    /// The resource's namespace; empty for cluster-wide requests.
    pub namespace: String,
    /// The resource's name; empty for lists.
    pub name: String,
    /// Who asked, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// Which of the user's credentials: for a `ServiceAccount` the id of the token (`JTI=...`), else empty.
    pub credential: String,
    /// The HTTP status that the server answered; 0 when it did not.
    pub code: u16,
    /// The path and the query.
    pub uri: String,
    /// When the request arrived.
    pub time: SystemTime,
    /// When it was answered.
    pub answered: SystemTime,
    /// What was sent, for changes of `HTTPRoutes`; null otherwise.
    pub body: Value,
}

impl AuditEntry {
    /// Whether this request may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    fn parse(event: &Value) -> Option<Self> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let verb = text("/verb");
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or(0) as u16;
        // A watch that is refused never starts.
        let wanted_stage = if verb == "watch" && code < 400 { "ResponseStarted" } else { "ResponseComplete" };
        if text("/stage") != wanted_stage {
            return None;
        }
        let time = |pointer: &str| -> Option<SystemTime> { Some(text(pointer).parse::<Timestamp>().ok()?.into()) };
        Some(Self {
            verb,
            resource: text("/objectRef/resource"),
            subresource: text("/objectRef/subresource"),
            namespace: text("/objectRef/namespace"),
            name: text("/objectRef/name"),
            user: text("/user/username"),
            credential: text("/user/extra/authentication.kubernetes.io~1credential-id/0"),
            code,
            uri: text("/requestURI"),
            time: time("/requestReceivedTimestamp")?,
            answered: time("/stageTimestamp")?,
            body: event.get("requestObject").cloned().unwrap_or_default(),
        })
    }
}

/// Reads the requests of `user` (of everybody, if `None`) that arrived at `since` or later.
pub(crate) fn read(log: &Path, user: Option<&str>, since: SystemTime) -> Result<Vec<AuditEntry>> {
    let text = fs::read_to_string(log).with_context(|| format!("reading the audit log {}", log.display()))?;
    Ok(text
        .lines()
        // The last line may be half written.
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|event| AuditEntry::parse(&event))
        .filter(|entry| entry.time >= since && user.is_none_or(|user| entry.user == user))
        .collect())
}
