//! A Kubernetes API server in memory: the kinds that Serin touches, with the semantics of the real one, which
//! `tests/api_server_conformance.rs` holds it against.
//!
//! No sockets, no randomness (uids and generated names come from counters), and no clock but `crate::clock` and tokio's.

#![allow(clippy::result_large_err, reason = "a refusal is what the API server answers, and it is rare")]

mod core_events;
mod decode;
mod discovery;
mod errors;
mod field_validation;
mod fields;
mod interposer;
mod openapi;
mod patch;
mod place;
mod rbac;
mod representation;
mod request;
mod resources;
mod scale;
mod schema;
mod selectors;
mod service;
mod store;
mod stored;
mod strategy;
mod table;
#[cfg(test)]
mod tests;
mod verbs;
mod watches;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::SecondsFormat;
use http::Response;
use http_body_util::BodyExt;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use kube::client::DynBody;
use kube::core::Status;
use serde_json::Value;
use tokio::sync::broadcast;
use tower::{BoxError, Service};

pub use self::interposer::{Delivery, Interposer, Plan, RequestInfo};
use self::patch::Patch;
pub use self::service::{Connection, ConnectionReset};
use self::store::{Key, State};
use self::stored::Stored;
use self::strategy::Part;
use self::verbs::{Context, DeleteOptions};
use crate::clock;
use crate::rollout::ResourceId;

/// Who the direct forms of the verbs are, in records and in `managedFields`.
const ADMIN: &str = "admin";

/// An API server. Clones share the same objects.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    checks: Arc<Mutex<Vec<WriteCheck>>>,
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
    /// The object as it is now, without `metadata.managedFields`; for a deleted one, as it was at last.
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
    /// As it was, without `metadata.managedFields`; `None` if it is new.
    pub before: Option<Arc<Value>>,
    /// As it is, without `metadata.managedFields`; `None` if it is gone.
    pub after: Option<Arc<Value>>,
    /// Which committed write of this server it is, from 0.
    pub index: u64,
}

impl WriteRecord {
    /// As if somebody had just created this object.
    pub fn added(id: ResourceId, object: Arc<Value>) -> Self {
        let user = ADMIN.to_owned();
        Self { user, verb: "create", id, subresource: None, before: None, after: Some(object), index: 0 }
    }
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
        Self { state: Arc::new(Mutex::new(State::new())), checks: Arc::default() }
    }

    /// Another server that begins with the objects of this one, and goes its own way. It has neither checks nor history.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().fork())), checks: Arc::default() }
    }

    /// Whether nobody else has this server.
    #[cfg(test)]
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.state) == 1
    }

    /// A client of this caller that sends each request once.
    pub fn client(&self, caller: Caller) -> Client {
        Client::new(self.service(caller), "default")
    }

    /// The connection of this caller as a client takes it, for [`crate::cluster::client::over`].
    pub fn service(
        &self,
        caller: Caller,
    ) -> impl Service<
        http::Request<kube::client::Body>,
        Response = Response<Box<DynBody>>,
        Error = BoxError,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let connection = self.connection(caller);
        tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let connection = connection.clone();
            async move {
                let (parts, body) = request.into_parts();
                let answer = connection.answer(parts, body.collect_bytes().await?).await?;
                Ok(answer.map(|body| -> Box<DynBody> { Box::new(body.map_err(BoxError::from)) }))
            }
        })
    }

    /// The same as a client, for whoever has HTTP requests.
    pub fn connection(&self, caller: Caller) -> Connection {
        Connection::new(self.clone(), caller)
    }

    /// An object as it is now.
    pub fn get(&self, id: &ResourceId) -> Option<Value> {
        let key = key(id).ok()?;
        self.state().get(&key).map(Stored::shown)
    }

    /// The same without a copy, and without `metadata.managedFields`.
    pub fn peek(&self, id: &ResourceId) -> Option<Arc<Value>> {
        let key = key(id).ok()?;
        self.state().get(&key).map(|stored| stored.value.clone())
    }

    /// All objects of a kind in all namespaces, by namespace and name.
    pub fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let Some(resource) = resources::by_kind(api_version, kind) else { return Vec::new() };
        self.state().table(resource).objects(None).map(Stored::shown).collect()
    }

    /// The same without copying them, and without `metadata.managedFields`.
    pub fn shared(&self, api_version: &str, kind: &str) -> Vec<Arc<Value>> {
        let Some(resource) = resources::by_kind(api_version, kind) else { return Vec::new() };
        self.state().table(resource).objects(None).map(|stored| stored.value.clone()).collect()
    }

    /// Creates an object, in the namespace `default` if it names none; `metadata.generateName` is served too.
    ///
    /// # Errors
    /// It is there already, or not right.
    pub fn create(&self, object: Value) -> Result<Arc<Value>, Status> {
        let key = key_of(&object)?;
        let written = self.write_as_admin(ADMIN, "create", Part::Object, |state, context| {
            state.create(context, key.resource, &key.namespace, object)
        })?;
        Ok(written.object.value)
    }

    /// Server-side apply.
    ///
    /// # Errors
    /// Others own fields that would change, or the result is not right.
    pub fn apply(&self, manager: &str, force: bool, object: Value) -> Result<Arc<Value>, Status> {
        let key = key_of(&object)?;
        self.write_patch(manager, Part::Object, &key, &Patch::Apply { configuration: object, force })
    }

    /// A merge patch.
    ///
    /// # Errors
    /// The object is not there, or the result is not right.
    pub fn patch(&self, id: &ResourceId, body: &Value) -> Result<Arc<Value>, Status> {
        self.write_patch(ADMIN, Part::Object, &key(id)?, &Patch::Merge(body.clone()))
    }

    /// A merge patch of the status subresource. The body is the whole object's: `{"status": {...}}`.
    ///
    /// # Errors
    /// The object is not there, or the result is not right.
    pub fn patch_status(&self, id: &ResourceId, body: &Value) -> Result<Arc<Value>, Status> {
        self.write_patch(ADMIN, Part::Status, &key(id)?, &Patch::Merge(body.clone()))
    }

    /// Deletes an object, and what it alone owns. With finalizers it is only marked.
    ///
    /// # Errors
    /// The object is not there.
    pub fn delete(&self, id: &ResourceId) -> Result<(), Status> {
        let (key, options) = (key(id)?, DeleteOptions::default());
        self.write_as_admin(ADMIN, "delete", Part::Object, |state, context| state.delete(context, &key, &options))?;
        Ok(())
    }

    /// Deletes what is owned by nobody who is there: after a deletion that happens by itself, but not to an object
    /// that named an absent owner from the beginning.
    pub fn collect_garbage(&self) {
        let collected: Result<(), Status> = self.write_as_admin(ADMIN, "delete", Part::Object, |state, _| {
            let missing = state.missing_owners();
            state.bereaved.extend(missing);
            Ok(())
        });
        // Nothing in it fails.
        let _ = collected;
    }

    /// Forgets the history: watches that go on from before are told 410, and so are lists that go on.
    pub fn compact(&self) {
        self.state().compact();
    }

    /// Ends every watch with the error that its history is gone, as when an API server restarts with an empty watch cache.
    pub fn end_watches(&self) {
        self.state().end_watches();
    }

    /// Every committed change from now on, in order. A receiver that is more than 4096 behind loses the oldest.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.state().changes.subscribe()
    }

    /// Has a check look at each committed write from now on: after it is committed and before it is answered, with no
    /// lock held, so that it may read the server. It must not write.
    pub fn on_write(&self, check: WriteCheck) {
        self.state().is_recording = true;
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    fn write_patch(&self, manager: &str, part: Part, key: &Key, patch: &Patch) -> Result<Arc<Value>, Status> {
        let written =
            self.write_as_admin(manager, patch.verb(), part, |state, context| state.patch(context, key, patch))?;
        Ok(written.object.value)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.state().version
    }

    fn write_as_admin<T>(
        &self,
        manager: &str,
        verb: &'static str,
        part: Part,
        run: impl FnOnce(&mut State, &Context<'_>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.write((ADMIN, manager), verb, part, false, run)
    }

    /// Runs a write and what follows from it, and shows the checks what was committed.
    fn write<T>(
        &self,
        (user, manager): (&str, &str),
        verb: &'static str,
        part: Part,
        is_dry_run: bool,
        run: impl FnOnce(&mut State, &Context<'_>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let time = clock::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let context = Context { user, verb, manager, part, time: &time, is_dry_run };
        let (result, records) = {
            let mut state = self.state();
            let result = run(&mut state, &context);
            state.collect_bereaved(&time);
            (result, std::mem::take(&mut state.records))
        };
        if !records.is_empty() {
            let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for record in &records {
                for check in &checks {
                    check(record);
                }
            }
        }
        result
    }
}

fn key(id: &ResourceId) -> Result<Key, Status> {
    let resource = resources::by_kind(&id.api_version, &id.kind).ok_or_else(errors::no_resource)?;
    let namespace = if resources::all()[resource].is_namespaced { id.key.namespace.clone() } else { String::new() };
    Ok(Key { resource, namespace, name: id.key.name.clone() })
}

fn key_of(object: &Value) -> Result<Key, Status> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let resource = resources::by_kind(text("/apiVersion"), text("/kind")).ok_or_else(errors::no_resource)?;
    let namespace = match text("/metadata/namespace") {
        _ if !resources::all()[resource].is_namespaced => "",
        "" => "default",
        namespace => namespace,
    };
    Ok(Key { resource, namespace: namespace.to_owned(), name: text("/metadata/name").to_owned() })
}
