//! A Kubernetes API server in memory: the kinds that Serin touches, with the semantics of the real one, which
//! `tests/api_server_conformance.rs` holds it against.
//!
//! No sockets, no randomness (uids and generated names come from counters), and no clock but `crate::clock` and tokio's.

mod interposer;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use kube::core::Status;
use serde_json::Value;
use tokio::sync::broadcast;

pub use self::interposer::{Delivery, Interposer, Plan, RequestInfo};
use crate::rollout::ResourceId;

/// An API server. Clones share the same objects.
#[derive(Clone)]
pub struct ApiServer {
    changes: broadcast::Sender<Change>,
}

/// Who sends requests.
#[derive(Clone, Default)]
pub struct Caller {
    /// The name in refusals, and the field manager of requests that name none.
    pub user: String,
    /// What it may do; everything if `None`.
    pub rules: Option<Vec<PolicyRule>>,
    /// Who stands between it and the server.
    pub interposer: Option<Arc<dyn Interposer>>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// A committed change.
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The object as it is now; for a deleted one, as it was at last.
    pub object: Arc<Value>,
}

/// A committed write, for checks.
#[derive(Clone, Debug)]
pub struct WriteRecord {
    /// Who wrote: a [`Caller::user`], `admin` for the direct forms, or `garbage-collector`.
    pub user: String,
    /// `create`, `update`, `patch`, `apply` or `delete`.
    pub verb: &'static str,
    /// What was written.
    pub id: ResourceId,
    /// For example `status`.
    pub subresource: Option<String>,
    /// As it was; `None` if it is new.
    pub before: Option<Arc<Value>>,
    /// As it is; `None` if it is gone.
    pub after: Option<Arc<Value>>,
    /// Which committed write of this server it is, from 0.
    pub index: u64,
}

/// Looks at each committed write.
pub type WriteCheck = Arc<dyn Fn(&WriteRecord) + Send + Sync>;

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiServer {
    /// A server without objects.
    pub fn new() -> Self {
        Self { changes: broadcast::channel(4096).0 }
    }

    /// A client of this caller.
    pub fn client(&self, caller: Caller) -> Client {
        let _ = caller;
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Ok::<_, tower::BoxError>(http::Response::new(axum::body::Body::empty()))
        });
        Client::new(service, "default")
    }

    /// An object as it is now.
    pub fn get(&self, id: &ResourceId) -> Option<Value> {
        let _ = id;
        None
    }

    /// All objects of a kind in all namespaces, by namespace and name.
    pub fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let _ = (api_version, kind);
        Vec::new()
    }

    /// Creates an object; `metadata.generateName` is served too.
    pub fn create(&self, object: Value) -> Result<Value, Status> {
        Ok(object)
    }

    /// Server-side apply.
    pub fn apply(&self, manager: &str, force: bool, object: Value) -> Result<Value, Status> {
        let _ = (manager, force);
        Ok(object)
    }

    /// A merge patch.
    pub fn patch(&self, id: &ResourceId, body: &Value) -> Result<Value, Status> {
        let _ = id;
        Ok(body.clone())
    }

    /// A merge patch of the status subresource. The body is the whole object's: `{"status": {...}}`.
    pub fn patch_status(&self, id: &ResourceId, body: &Value) -> Result<Value, Status> {
        let _ = id;
        Ok(body.clone())
    }

    /// Deletes an object, and what it alone owns.
    pub fn delete(&self, id: &ResourceId) -> Result<(), Status> {
        let _ = id;
        Ok(())
    }

    /// Every committed change from now on, in order. A receiver that is more than 4096 behind loses the oldest.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Has a check look at each committed write from now on: after it is committed and before it is answered, with no
    /// lock held, so that it may read the server.
    pub fn on_write(&self, check: WriteCheck) {
        let _ = check;
    }
}
