//! What happened in a world, a line for each.

use std::fmt::Write as _;

use serde_json::Value;
use tokio::time::Instant;

use crate::rollout::object::{integer, items, text};
use crate::sim::api_server::WriteRecord;

/// What happened so far.
pub struct Trace {
    start: Instant,
    is_kept: bool,
    lines: Vec<String>,
    /// Committed writes, counted whether or not they are kept.
    writes: u64,
}

impl Trace {
    /// Nothing happened yet. Without `is_kept` only writes are counted.
    pub fn new(is_kept: bool) -> Self {
        Self { start: Instant::now(), is_kept, lines: Vec::new(), writes: 0 }
    }

    /// Something happened.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if self.is_kept {
            let line = format!("{:9.3} {}", self.start.elapsed().as_secs_f64(), what());
            self.lines.push(line);
        }
    }

    /// A write was committed.
    pub fn wrote(&mut self, record: &WriteRecord) {
        self.writes += 1;
        self.note(|| {
            let subresource = record.subresource.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            let id = &record.id;
            let gist = record.after.as_deref().map_or_else(|| "gone".to_owned(), |after| gist(&id.kind, after));
            format!("{:<10} {:<6} {}{subresource} {} {gist}", record.user, record.verb, id.kind, id.key.name)
        });
    }

    /// The lines and the number of writes.
    pub fn into_parts(self) -> (Vec<String>, u64) {
        (self.lines, self.writes)
    }
}

/// What matters of an object.
fn gist(kind: &str, object: &Value) -> String {
    let mut gist = format!("rv={}", text(object, "/metadata/resourceVersion").unwrap_or_default());
    match kind {
        "Canary" => {
            let status = &object["status"];
            let _ = write!(
                gist,
                " {} {}% step {} failed {} pinned {} promoted {} next {} | {}",
                text(status, "/phase").unwrap_or("-"),
                integer(status, "/canaryWeight").unwrap_or(0),
                integer(status, "/step").unwrap_or(0),
                integer(status, "/failedChecks").unwrap_or(0),
                text(status, "/revisions/pinned").unwrap_or("-"),
                text(status, "/revisions/promoted").unwrap_or("-"),
                text(status, "/nextCheckTime").unwrap_or("-"),
                text(status, "/conditions/0/message").unwrap_or("-"),
            );
        }
        "Deployment" => {
            let _ = write!(
                gist,
                " {} replicas {:?} available {:?}",
                text(object, "/spec/template/spec/containers/0/image").unwrap_or_default(),
                integer(object, "/spec/replicas"),
                integer(object, "/status/availableReplicas"),
            );
        }
        "HTTPRoute" => {
            for backend in items(object, "/spec/rules/0/backendRefs") {
                let weight = integer(backend, "/weight").unwrap_or(1);
                let _ = write!(gist, " {}={weight}", text(backend, "/name").unwrap_or_default());
            }
        }
        "Event" => {
            let (reason, note) = (text(object, "/reason"), text(object, "/note"));
            let _ = write!(gist, " {}: {}", reason.unwrap_or_default(), note.unwrap_or_default());
        }
        _ => {}
    }
    gist
}
