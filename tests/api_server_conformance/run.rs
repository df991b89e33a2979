//! Running a sequence against an API server, and what was seen of it.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::compare::WANTED;
use crate::objects::Kind;
use crate::sequence::{Base, Form, Operation, Step, Version};

/// The object whose creation ends a sequence.
const SENTINEL: &str = "zz-sentinel";

/// What was answered, or an event of a watch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was done.
    pub what: String,
    /// The HTTP status, or the type of an event.
    pub outcome: String,
    pub body: Value,
}

/// Sends requests about one namespace.
pub struct Runner {
    pub client: Client,
    pub namespace: String,
    newest: HashMap<&'static str, Value>,
    first: HashMap<&'static str, Value>,
}

/// A request as it goes over the wire.
#[derive(Clone, Debug, Default)]
struct Call {
    path: String,
    query: Vec<(&'static str, String)>,
    media_type: &'static str,
    form: Form,
    body: Value,
}

impl Runner {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), newest: HashMap::new(), first: HashMap::new() }
    }

    /// Runs a sequence, and returns all answers and then all events of watches that saw it. Steps in whose `real`
    /// answers a wanted difference shows are left out.
    pub async fn run(&mut self, steps: &[Step], real: &[Seen]) -> Result<Vec<Seen>> {
        let Some(kind) = steps.first().map(|step| step.kind) else { return Ok(Vec::new()) };
        let (_, start) = self.send(Method::GET, Call { path: kind.path(&self.namespace), ..Call::default() }).await?;
        let start = start["metadata"]["resourceVersion"].as_str().context("a list has a version")?.to_owned();
        let mut seen = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            if let Some(real) = real.get(index).filter(|real| WANTED.iter().any(|wanted| (wanted.shows)(real))) {
                seen.push(real.clone());
                continue;
            }
            let (code, body) = self.step(step).await?;
            seen.push(Seen { what: format!("{} {:?}", step.name, step.operation), outcome: code.to_string(), body });
        }
        let watches = [(Form::Whole, ""), (Form::Partial, ""), (Form::Whole, "app=x"), (Form::Table, "")];
        for (index, (form, labels)) in watches.into_iter().enumerate() {
            seen.extend(self.watch(kind, &start, form, labels, index).await?);
        }
        Ok(seen)
    }

    async fn step(&mut self, step: &Step) -> Result<(u16, Value)> {
        let collection = step.kind.path(&self.namespace);
        let path = |status: bool| format!("{collection}/{}{}", step.name, if status { "/status" } else { "" });
        let manager = |manager: &&'static str| vec![("fieldManager", (*manager).to_owned())];
        let (method, call) = match &step.operation {
            Operation::List { .. } => return self.list(step).await,
            Operation::Create { body } => (
                Method::POST,
                Call {
                    path: collection,
                    query: manager(&"one"),
                    media_type: "application/json",
                    body: body.clone(),
                    ..Call::default()
                },
            ),
            Operation::Get { form } => (Method::GET, Call { path: path(false), form: *form, ..Call::default() }),
            Operation::Update { status, version, base, manager: name } => {
                let body = self.versioned(step.name, *version, self.base(step, base));
                (
                    Method::PUT,
                    Call {
                        path: path(*status),
                        query: manager(name),
                        media_type: "application/json",
                        body,
                        ..Call::default()
                    },
                )
            }
            Operation::Merge { status, version, body, manager: name } => {
                let body = self.versioned(step.name, *version, body.clone());
                (
                    Method::PATCH,
                    Call {
                        path: path(*status),
                        query: manager(name),
                        media_type: "application/merge-patch+json",
                        body,
                        ..Call::default()
                    },
                )
            }
            Operation::Strategic { status, version, body, manager: name } => {
                let body = self.versioned(step.name, *version, body.clone());
                let media_type = "application/strategic-merge-patch+json";
                (Method::PATCH, Call { path: path(*status), query: manager(name), media_type, body, ..Call::default() })
            }
            Operation::GetScale | Operation::ReplaceScale { .. } | Operation::PatchScale { .. } => {
                let (method, call) = self.scale(step).await?;
                return self.send(method, Call { path: format!("{}/scale", path(false)), ..call }).await;
            }
            Operation::Json { body, manager: name } => (
                Method::PATCH,
                Call {
                    path: path(false),
                    query: manager(name),
                    media_type: "application/json-patch+json",
                    body: body.clone(),
                    ..Call::default()
                },
            ),
            Operation::Apply { status, version, force, body, manager: name } => {
                let mut query = manager(name);
                query.push(("force", force.to_string()));
                let body = self.versioned(step.name, *version, body.clone());
                (
                    Method::PATCH,
                    Call {
                        path: path(*status),
                        query,
                        media_type: "application/apply-patch+yaml",
                        body,
                        ..Call::default()
                    },
                )
            }
            Operation::Delete { precondition } => {
                let known = precondition.and_then(|version| self.known(step.name, version));
                let body = known.map_or(Value::Null, |object| {
                    json!({"preconditions": {"uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"]}})
                });
                (Method::DELETE, Call { path: path(false), media_type: "application/json", body, ..Call::default() })
            }
        };
        let (code, body) = self.send(method, call).await?;
        if body["kind"] == step.kind.name() && code < 300 {
            self.first.entry(step.name).or_insert_with(|| body.clone());
            self.newest.insert(step.name, body.clone());
        }
        Ok((code, body))
    }

    /// A request about the scale of an object, but for its path.
    async fn scale(&self, step: &Step) -> Result<(Method, Call)> {
        let path = format!("{}/{}/scale", step.kind.path(&self.namespace), step.name);
        let (_, mut scale) = self.send(Method::GET, Call { path, ..Call::default() }).await?;
        if scale["kind"] != "Scale" {
            scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": step.name}});
        }
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
        let query = |manager: &'static str| vec![("fieldManager", manager.to_owned())];
        Ok(match &step.operation {
            Operation::GetScale => (Method::GET, Call::default()),
            Operation::ReplaceScale { version, more, manager } => {
                scale["spec"] = json!({"replicas": replicas + more});
                let body = self.versioned(step.name, *version, scale);
                (Method::PUT, Call { query: query(manager), media_type: "application/json", body, ..Call::default() })
            }
            Operation::PatchScale { media_type, more, manager } => {
                let body = json!({"spec": {"replicas": replicas + more}});
                (Method::PATCH, Call { query: query(manager), media_type, body, ..Call::default() })
            }
            other => anyhow::bail!("{other:?} is not about a scale"),
        })
    }

    fn known(&self, name: &str, version: Version) -> Option<&Value> {
        match version {
            Version::Unsaid => None,
            Version::Newest => self.newest.get(name),
            Version::First => self.first.get(name),
        }
    }

    fn versioned(&self, name: &str, version: Version, mut body: Value) -> Value {
        if !body["metadata"].is_object() {
            body["metadata"] = json!({});
        }
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        if let Some(known) = self.known(name, version) {
            body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
        }
        body
    }

    fn base(&self, step: &Step, base: &Base) -> Value {
        match base {
            Base::Whole(object) => object.clone(),
            Base::Changed(change) => {
                let fresh = || json!({"apiVersion": step.kind.api_version(), "kind": step.kind.name(), "metadata": {"name": step.name}});
                let mut object = self.newest.get(step.name).cloned().unwrap_or_else(fresh);
                let patch: Value = change.clone();
                merge(&mut object, &patch);
                object["metadata"]["name"] = json!(step.name);
                object
            }
        }
    }

    async fn list(&self, step: &Step) -> Result<(u16, Value)> {
        let Operation::List { labels, fields, limit, form } = &step.operation else { anyhow::bail!("not a list") };
        let mut query = vec![("labelSelector", (*labels).to_owned()), ("fieldSelector", fields.clone())];
        if *limit > 0 {
            query.push(("limit", limit.to_string()));
        }
        let mut parts = Vec::new();
        let mut token = String::new();
        loop {
            let mut query = query.clone();
            query.push(("continue", token.clone()));
            let call = Call { path: step.kind.path(&self.namespace), query, form: *form, ..Call::default() };
            let (code, mut body) = self.send(Method::GET, call).await?;
            body["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            if let Some(metadata) = body["metadata"].as_object_mut() {
                metadata.insert("continue".to_owned(), json!(!token.is_empty()));
                metadata.remove("resourceVersion");
            }
            parts.push(body);
            if token.is_empty() {
                return Ok((code, Value::Array(parts)));
            }
        }
    }

    async fn watch(&self, kind: Kind, start: &str, form: Form, labels: &str, index: usize) -> Result<Vec<Seen>> {
        let mut sentinel = sentinel(kind);
        let name = format!("{SENTINEL}-{index}");
        sentinel["metadata"]["name"] = json!(name);
        let call = Call {
            path: kind.path(&self.namespace),
            media_type: "application/json",
            body: sentinel,
            ..Call::default()
        };
        let (code, answer) = self.send(Method::POST, call).await?;
        ensure!(code == 201, "the sentinel was refused: {answer}");
        let labels_query = encoded(labels);
        let path = format!(
            "{}?watch=true&resourceVersion={start}&timeoutSeconds=60&labelSelector={labels_query}",
            kind.path(&self.namespace)
        );
        let response = self.client.send(request(Method::GET, &path, "", form, Vec::new())?).await?;
        let mut stream = response.into_body();
        let (mut events, mut text) = (Vec::new(), String::new());
        loop {
            while let Some((line, rest)) = text.split_once('\n') {
                let event: Value = serde_json::from_str(line)?;
                text = rest.to_owned();
                let object = if form == Form::Table { &event["object"]["rows"][0]["object"] } else { &event["object"] };
                if object["metadata"]["name"] == *name {
                    return Ok(events);
                }
                let is_sentinel = object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with(SENTINEL));
                if !is_sentinel {
                    let what = format!("watch {form:?} labels={labels:?}");
                    events.push(Seen {
                        what,
                        outcome: event["type"].as_str().unwrap_or_default().to_owned(),
                        body: event["object"].clone(),
                    });
                }
            }
            let frame = tokio::time::timeout(std::time::Duration::from_secs(30), stream.frame()).await;
            let frame = frame.context("the sentinel did not show up in a watch")?.context("a watch ended")??;
            if let Ok(data) = frame.into_data() {
                text += &String::from_utf8(data.to_vec())?;
            }
        }
    }

    async fn send(&self, method: Method, call: Call) -> Result<(u16, Value)> {
        let query: Vec<String> = call
            .query
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let path = format!("{}?{}", call.path, query.join("&"));
        let body = if call.body.is_null() { Vec::new() } else { call.body.to_string().into_bytes() };
        let response = self.client.send(request(method, &path, call.media_type, call.form, body)?).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok((code, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)))))
    }
}

fn sentinel(kind: Kind) -> Value {
    let pods = json!({"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x:1"}]}}});
    let spec = match kind {
        Kind::ConfigMap => Value::Null,
        Kind::Service => json!({"ports": [{"port": 80}]}),
        Kind::Deployment | Kind::ReplicaSet | Kind::DaemonSet => pods,
        Kind::Pod => json!({"containers": [{"name": "x", "image": "x:1"}]}),
        Kind::HttpRoute => json!({"rules": []}),
        Kind::Canary => {
            json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}, "service": {"port": 80}, "skipAnalysis": true})
        }
    };
    let mut object =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"labels": {"app": "x"}}});
    if !spec.is_null() {
        object["spec"] = spec;
    }
    object
}

fn request(method: Method, path: &str, media_type: &str, form: Form, body: Vec<u8>) -> Result<Request<Body>> {
    let is_collection =
        path.split('?').next().is_some_and(|path| path.rsplit('/').next().is_some_and(|last| last.len() > 3));
    let accept = match form {
        Form::Whole => "application/json",
        Form::Table => "application/json;as=Table;g=meta.k8s.io;v=v1",
        Form::Partial if method == Method::GET && !path.contains("watch=true") && is_collection => {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        }
        Form::Partial => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    };
    let mut request =
        Request::builder().method(method).uri(path).header("accept", accept).header("user-agent", "conformance/1");
    if !media_type.is_empty() {
        request = request.header("content-type", media_type);
    }
    Ok(request.body(Body::from(body))?)
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, change) in changes {
        if change.is_null() {
            target.as_object_mut().map(|fields| fields.remove(name));
        } else {
            merge(&mut target[name.as_str()], change);
        }
    }
}
