//! HTTP: a request in, an answer out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use http::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WARNING};
use http::request::Parts;
use kube::core::Status;
use serde_json::{Value, json};
use tower::BoxError;

use super::interposer::Plan;
use super::patch::Patch;
use super::representation::Representation;
use super::request::{Form, Query, Request, Target, is_set};
use super::resources::{Family, Resource};
use super::scale::{ScaleChange, scale_of};
use super::selectors::Selector;
use super::store::{Key, OpenList, State};
use super::stored::Stored;
use super::strategy::Part;
use super::table::Included;
use super::verbs::{Context, DeleteOptions, Deletion};
use super::watches::Watch;
use super::{ApiServer, Caller, discovery, errors, field_validation, rbac, resources};

const JSON: &str = "application/json";

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
            let document = discovery::document(&request.path, request.form == Form::Aggregated)?;
            return Ok(response(200, document.media_type, Body::from(document.body)));
        };
        let kind = &resources::all()[*resource];
        let part = part(kind, subresource.as_deref())?;
        let representation = representation(request)?;
        match (request.verb, request.target.key()) {
            ("get", Some(key)) => {
                let found = self.server.state().get(&key).cloned();
                let found = found.ok_or_else(|| errors::not_found(kind, &key.name))?;
                if part == Part::Scale {
                    return Ok(json_response(200, &scale_of(&found.value)));
                }
                Ok(response(200, JSON, Body::from(representation.of(kind, &found))))
            }
            ("list", _) => self.list((*resource, namespace.as_deref()), &request.query, representation),
            ("watch", _) => {
                let selector = Selector::read(kind, &request.query.label_selector, &request.query.field_selector)?;
                let interposer = self.caller.interposer.clone();
                let place = (*resource, namespace.clone());
                let state = self.server.state();
                let watch =
                    Watch::begin(&self.server, &state, place, &request.query, selector, representation, interposer)?;
                Ok(response(200, JSON, watch.into_body()))
            }
            ("deletecollection", _) => self.delete_all((*resource, namespace.as_deref()), request, representation),
            ("delete", Some(key)) if part == Part::Object => self.delete(&key, request, body),
            _ if kind.is_view() => Err(errors::not_allowed("Events are written by events.k8s.io/v1, not by v1")),
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
        let kind = &resources::all()[resource];
        if request.media_type == "application/vnd.kubernetes.protobuf" {
            let message =
                "this simulated server does not read protobuf: write the object as a manifest, and apply that";
            return Err(errors::failure(415, "UnsupportedMediaType", message));
        }
        if part == Part::Scale {
            return self.write_scale(request, key, body);
        }
        let check = |object: &Value| field_validation::check(&request.query.field_validation, kind, object);
        let (written, warnings) = match (request.verb, key) {
            ("create", None) => {
                let object = object(body)?;
                let warnings = check(&object)?;
                let run = |state: &mut State, context: &Context<'_>| {
                    state.create(context, resource, namespace.unwrap_or_default(), object)
                };
                (self.with_context(request, "create", part, run)?, warnings)
            }
            ("update", Some(key)) => {
                let object = object(body)?;
                let warnings = check(&object)?;
                let run = |state: &mut State, context: &Context<'_>| state.update(context, &key, object);
                (self.with_context(request, "update", part, run)?, warnings)
            }
            ("patch", Some(key)) => {
                let patch = self::patch(kind, request, body)?;
                let warnings = patch.changes().map(check).transpose()?.unwrap_or_default();
                let run = |state: &mut State, context: &Context<'_>| state.patch(context, &key, &patch);
                (self.with_context(request, patch.verb(), part, run)?, warnings)
            }
            _ => return Err(errors::not_allowed("the server does not allow this method on the requested resource")),
        };
        let code = if written.is_new { 201 } else { 200 };
        let mut response = response(code, JSON, Body::from(representation.of(kind, &written.object)));
        for warning in warnings {
            if let Ok(value) = http::HeaderValue::from_str(&format!("299 - {warning:?}")) {
                response.headers_mut().append(WARNING, value);
            }
        }
        Ok(response)
    }

    fn write_scale(&self, request: &Request, key: Option<Key>, body: &[u8]) -> Result<Response<Body>, Status> {
        let (verb, change, key) = match (request.verb, key) {
            ("update", Some(key)) => ("update", ScaleChange::Replacement(object(body)?), key),
            ("patch", Some(key)) => {
                let patch = patch(key.resource(), request, body)?;
                (patch.verb(), ScaleChange::Patch(patch), key)
            }
            _ => return Err(errors::not_allowed("the scale of a workload can be read, replaced and patched")),
        };
        let written =
            self.with_context(request, verb, Part::Scale, |state, context| state.write_scale(context, &key, &change))?;
        Ok(json_response(200, &scale_of(&written.object.value)))
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
        let is_dry_run = request.query.dry_run == "All";
        self.server.write((&self.caller.user, manager), verb, part, is_dry_run, run)
    }

    fn delete(&self, key: &Key, request: &Request, body: &[u8]) -> Result<Response<Body>, Status> {
        let options = delete_options(&request.query, body)?;
        let kind = key.resource();
        let deletion =
            self.with_context(request, "delete", Part::Object, |state, context| state.delete(context, key, &options))?;
        let answer = match deletion {
            Deletion::Marked(object) => object.shown(),
            Deletion::Gone(object) if kind.answers_with_deleted() => object.shown(),
            Deletion::Gone(object) => {
                let uid = &object.value["metadata"]["uid"];
                let mut details = json!({"name": key.name, "kind": kind.plural, "uid": uid});
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
        let found: Vec<Stored> = {
            let state = self.server.state();
            let found = state.table(kind.storage).objects(namespace);
            found.filter(|stored| selector.selects(&stored.value)).cloned().collect()
        };
        for object in &found {
            let text = |field: &str| object.value["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = Key { resource: kind.storage, namespace: text("namespace"), name: text("name") };
            let options = DeleteOptions::default();
            self.with_context(request, "delete", Part::Object, |state, context| state.delete(context, &key, &options))?;
        }
        let metadata = json!({"resourceVersion": self.server.version().to_string()});
        Ok(response(200, JSON, Body::from(representation.list(kind, &found, &metadata))))
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
            let found = state.table(kind.storage).objects(namespace);
            let is_looked_at =
                |stored: &&Stored| selector.only_name().is_none_or(|name| stored.value["metadata"]["name"] == *name);
            OpenList { version: state.version, rest: found.filter(is_looked_at).cloned().collect() }
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
            if selector.selects(&object.value) {
                part.push(object);
            }
        }
        let mut metadata = json!({"resourceVersion": list.version.to_string()});
        if !list.rest.is_empty() {
            if selector.is_empty() {
                metadata["remainingItemCount"] = json!(list.rest.len());
            }
            metadata["continue"] = json!(state.open_list(list).to_string());
        }
        drop(state);
        Ok(response(200, JSON, Body::from(representation.list(kind, &part, &metadata))))
    }
}

fn part(kind: &Resource, subresource: Option<&str>) -> Result<Part, Status> {
    match subresource {
        None => Ok(Part::Object),
        Some("status") if kind.has_status => Ok(Part::Status),
        Some("scale") if kind.has_scale() => Ok(Part::Scale),
        Some("log" | "exec" | "attach" | "portforward") if kind.family == Family::Pod => Err(errors::failure(
            404,
            "NotFound",
            "pods of the simulated cluster run no program: there is nothing to see",
        )),
        Some(_) => Err(errors::no_resource()),
    }
}

fn representation(request: &Request) -> Result<Representation, Status> {
    match request.form {
        Form::Table => {
            let included = Included::read(&request.query.include_object)?;
            Ok(Representation::Table { included, has_headers: true })
        }
        Form::Metadata => Ok(Representation::Metadata),
        Form::Whole | Form::Aggregated => Ok(Representation::Full),
    }
}

fn object(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body)
        .map_err(|error| errors::bad_request(format!("the object provided is unrecognized: {error}")))
}

fn patch(kind: &Resource, request: &Request, body: &[u8]) -> Result<Patch, Status> {
    let patch = Patch::read(kind, &request.media_type, body, is_set(request.query.force.as_ref()))?;
    if matches!(patch, Patch::Apply { .. }) && request.query.field_manager.is_empty() {
        let problem = errors::FieldError::required("fieldManager", "is required for apply patch");
        return Err(errors::invalid("meta.k8s.io", "PatchOptions", "", &[problem]));
    }
    Ok(patch)
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
    // Values can always be written.
    response(code, JSON, Body::from(serde_json::to_vec(body).unwrap_or_default()))
}

fn response(code: u16, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests;
