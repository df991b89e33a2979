//! HTTP: a request in, an answer out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use http::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use kube::core::Status;
use serde_json::{Value, json};
use tower::BoxError;

use super::interposer::Plan;
use super::patch::Patch;
use super::representation::Representation;
use super::request::{Query, Request, Target, is_set};
use super::selectors::Selector;
use super::store::{Key, OpenList, State};
use super::strategy::Part;
use super::verbs::{Context, DeleteOptions, Deletion, Written};
use super::watches::Watch;
use super::{ApiServer, Caller, discovery, errors, rbac, resources};

/// The connection of one caller.
#[derive(Clone)]
pub struct Connection {
    server: ApiServer,
    caller: Arc<Caller>,
    requests: Arc<AtomicU64>,
}

/// The connection broke.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by peer")]
pub struct ConnectionReset;

impl Connection {
    /// A connection of this caller.
    pub fn new(server: ApiServer, caller: Caller) -> Self {
        Self { server, caller: Arc::new(caller), requests: Arc::new(AtomicU64::new(0)) }
    }

    /// Answers a request, as far as the caller's interposer lets it.
    ///
    /// # Errors
    /// The interposer breaks the connection.
    pub async fn answer(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, BoxError> {
        let Some(request) = Request::read(&parts) else { return Ok(refusal(&errors::no_resource())) };
        let index = self.requests.fetch_add(1, Ordering::Relaxed);
        let plan = match &self.caller.interposer {
            Some(interposer) => interposer.request(&request.info(index)),
            None => Plan::Pass,
        };
        match plan {
            Plan::Pass => Ok(self.execute(&request, &body)),
            Plan::Delay(delay) => {
                // A task of its own: what is on its way arrives, whether or not anybody still waits for the answer.
                let connection = self.clone();
                let arrival = tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    connection.execute(&request, &body)
                });
                Ok(arrival.await?)
            }
            Plan::Fail(code) => Ok(refusal(&errors::fault(code))),
            Plan::NotSent => Err(ConnectionReset.into()),
            Plan::Lost => {
                self.execute(&request, &body);
                Err(ConnectionReset.into())
            }
            Plan::Hang => std::future::pending().await,
        }
    }

    fn execute(&self, request: &Request, body: &[u8]) -> Response<Body> {
        self.served(request, body).unwrap_or_else(|status| refusal(&status))
    }

    fn served(&self, request: &Request, body: &[u8]) -> Result<Response<Body>, Status> {
        rbac::check(&self.caller.user, self.caller.rules.as_deref(), request)?;
        let Target::Objects { resource, namespace, subresource, .. } = &request.target else {
            return Ok(json_response(200, &discovery::document(&request.path)?));
        };
        let kind = &resources::all()[*resource];
        let part = match subresource.as_deref() {
            None => Part::Object,
            Some("status") if kind.has_status => Part::Status,
            Some(_) => return Err(errors::no_resource()),
        };
        let representation = if request.is_partial { Representation::Metadata } else { Representation::Full };
        match (request.verb, request.target.key()) {
            ("get", Some(key)) => {
                let state = self.server.state();
                let found = state.get(&key).ok_or_else(|| errors::not_found(kind, &key.name))?;
                Ok(json_response(200, &representation.of(&found.value)))
            }
            ("list", _) => self.list((*resource, namespace.as_deref()), &request.query, representation),
            ("watch", _) => {
                let selector = Selector::read(kind, &request.query.label_selector, &request.query.field_selector)?;
                let interposer = self.caller.interposer.clone();
                let place = (*resource, namespace.clone());
                let state = self.server.state();
                let watch =
                    Watch::begin(&self.server, &state, place, &request.query, selector, representation, interposer)?;
                Ok(response(200, watch.into_body()))
            }
            ("deletecollection", _) => self.delete_all((*resource, namespace.as_deref()), request, representation),
            ("delete", Some(key)) => self.delete(&key, request, body),
            (_, key) => self.write(request, part, (*resource, namespace.as_deref(), key), body, representation),
        }
    }

    fn write(
        &self,
        request: &Request,
        part: Part,
        (resource, namespace, key): (usize, Option<&str>, Option<Key>),
        body: &[u8],
        representation: Representation,
    ) -> Result<Response<Body>, Status> {
        let object = || {
            serde_json::from_slice::<Value>(body)
                .map_err(|error| errors::bad_request(format!("the object provided is unrecognized: {error}")))
        };
        let written: Written = match (request.verb, key) {
            ("create", None) => {
                let object = object()?;
                let run = |state: &mut State, context: &Context<'_>| {
                    state.create(context, resource, namespace.unwrap_or_default(), object)
                };
                self.with_context(request, "create", part, run)?
            }
            ("update", Some(key)) => {
                let object = object()?;
                self.with_context(request, "update", part, |state, context| state.update(context, &key, object))?
            }
            ("patch", Some(key)) => {
                let patch = Patch::read(&request.media_type, body, is_set(request.query.force.as_ref()))?;
                if matches!(patch, Patch::Apply { .. }) && request.query.field_manager.is_empty() {
                    let problem = errors::FieldError::required("fieldManager", "is required for apply patch");
                    return Err(errors::invalid("meta.k8s.io", "PatchOptions", "", &[problem]));
                }
                self.with_context(request, patch.verb(), part, |state, context| state.patch(context, &key, &patch))?
            }
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(errors::failure(405, "MethodNotAllowed", message));
            }
        };
        let code = if written.is_new { 201 } else { 200 };
        Ok(json_response(code, &representation.of(&written.object)))
    }

    fn with_context<T>(
        &self,
        request: &Request,
        verb: &'static str,
        part: Part,
        run: impl FnOnce(&mut State, &Context<'_>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let manager = match (request.query.field_manager.as_str(), request.agent.as_str()) {
            ("", "") => self.caller.user.as_str(),
            ("", agent) => agent,
            (manager, _) => manager,
        };
        self.server.write(&self.caller.user, manager, verb, part, run)
    }

    fn delete(&self, key: &Key, request: &Request, body: &[u8]) -> Result<Response<Body>, Status> {
        let options = delete_options(&request.query, body)?;
        let kind = key.resource();
        let deletion =
            self.with_context(request, "delete", Part::Object, |state, context| state.delete(context, key, &options))?;
        let answer = match deletion {
            Deletion::Marked(object) => (*object).clone(),
            Deletion::Gone(object) if kind.answers_with_deleted() => (*object).clone(),
            Deletion::Gone(object) => {
                let mut details = json!({"name": key.name, "kind": kind.plural, "uid": object["metadata"]["uid"]});
                if !kind.group.is_empty() {
                    details["group"] = json!(kind.group);
                }
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
            }
        };
        Ok(json_response(200, &answer))
    }

    fn delete_all(
        &self,
        (resource, namespace): (usize, Option<&str>),
        request: &Request,
        representation: Representation,
    ) -> Result<Response<Body>, Status> {
        let kind = &resources::all()[resource];
        let selector = Selector::read(kind, &request.query.label_selector, &request.query.field_selector)?;
        let found: Vec<Arc<Value>> = {
            let state = self.server.state();
            let found = state.table(resource).objects(namespace).map(|stored| stored.value.clone());
            found.filter(|object| selector.selects(object)).collect()
        };
        for object in &found {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = Key { resource, namespace: text("namespace"), name: text("name") };
            let options = DeleteOptions::default();
            self.with_context(request, "delete", Part::Object, |state, context| state.delete(context, &key, &options))?;
        }
        Ok(json_response(200, &list_body(resource, representation, found.iter(), self.server.version())))
    }

    fn list(
        &self,
        (resource, namespace): (usize, Option<&str>),
        query: &Query,
        representation: Representation,
    ) -> Result<Response<Body>, Status> {
        let kind = &resources::all()[resource];
        let selector = Selector::read(kind, &query.label_selector, &query.field_selector)?;
        let mut state = self.server.state();
        let mut list = if query.token.is_empty() {
            let found = state.table(resource).objects(namespace).map(|stored| stored.value.clone());
            let is_looked_at =
                |object: &Arc<Value>| selector.only_name().is_none_or(|name| object["metadata"]["name"] == *name);
            OpenList { version: state.version, rest: found.filter(is_looked_at).collect() }
        } else {
            let token = query.token.parse().ok();
            token.and_then(|token| state.take_list(token)).ok_or_else(|| {
                errors::expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a \
                     new list without the continue parameter.",
                )
            })?
        };
        // A list that may be as old as it likes comes from the cache of the real server, which has no parts.
        let limit = query.limit.filter(|limit| *limit > 0 && query.resource_version != "0");
        let count = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        // There is more as long as there are objects, whether or not any of them is selected.
        let mut part = Vec::new();
        while part.len() < count
            && let Some(object) = list.rest.pop_front()
        {
            if selector.selects(&object) {
                part.push(object);
            }
        }
        let mut body = list_body(resource, representation, part.iter(), list.version);
        if !list.rest.is_empty() {
            if selector.is_empty() {
                body["metadata"]["remainingItemCount"] = json!(list.rest.len());
            }
            body["metadata"]["continue"] = json!(state.open_list(list).to_string());
        }
        Ok(json_response(200, &body))
    }
}

fn list_body<'a>(
    resource: usize,
    representation: Representation,
    objects: impl Iterator<Item = &'a Arc<Value>>,
    version: u64,
) -> Value {
    let resource = &resources::all()[resource];
    let (kind, api_version) = representation.list_type(resource);
    let items: Vec<Value> = objects.map(|object| representation.of_item(resource, object)).collect();
    // A list of metadata without entries is null in the real server.
    let is_null = items.is_empty() && representation == Representation::Metadata;
    json!({
        "kind": kind,
        "apiVersion": api_version,
        "metadata": {"resourceVersion": version.to_string()},
        "items": if is_null { Value::Null } else { Value::Array(items) },
    })
}

fn delete_options(query: &Query, body: &[u8]) -> Result<DeleteOptions, Status> {
    let body: Value = match body {
        [] => Value::Null,
        body => serde_json::from_slice(body)
            .map_err(|error| errors::bad_request(format!("the options of the deletion are unreadable: {error}")))?,
    };
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let policy = body["propagationPolicy"].as_str().unwrap_or(&query.propagation_policy);
    Ok(DeleteOptions {
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
        orphans_dependents: policy == "Orphan",
    })
}

fn refusal(status: &Status) -> Response<Body> {
    let mut response = json_response(status.code, &errors::body(status));
    if status.code == 429 {
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("1"));
    }
    response
}

fn json_response(code: u16, body: &Value) -> Response<Body> {
    response(code, Body::from(body.to_string()))
}

fn response(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
