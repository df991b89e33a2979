//! What the demo sees of the rollout: the Canary's status, its Events, and how it says them.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

/// The parts of `Canary.status` that are shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub phase: String,
    pub canary_weight: i64,
    pub failed_checks: i64,
    pub next_check_time: Option<String>,
    pub checks: Vec<Check>,
    pub conditions: Vec<Condition>,
    pub history: Vec<Run>,
}

/// One check as it was judged last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Check {
    pub name: String,
    pub value: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub verdict: String,
    pub reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub message: String,
}

/// A run of the past.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    pub reason: String,
    pub weight: i64,
}

impl Status {
    /// Why the Canary can't go on, if it says so.
    pub fn stalled(&self) -> Option<&str> {
        let stalled = self.conditions.iter().find(|condition| condition.kind == "Stalled")?;
        (stalled.status == "True").then_some(&stalled.message)
    }

    /// Whether a release is under way.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase.as_str(), "" | "Initializing" | "Initialized" | "Succeeded" | "Failed")
    }

    /// `in 3 s`, or `none`.
    pub fn next_check(&self) -> String {
        let due = self.next_check_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        match due {
            Some(due) => format!("in {:.0} s", due.duration_since(Timestamp::now()).as_secs_f64().max(0.0)),
            None => "none".to_owned(),
        }
    }
}

impl Check {
    /// `request-success-rate 99.8 (at least 99) Pass`.
    pub fn text(&self) -> String {
        let value = self.value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1}"));
        let bound = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => "no bound".to_owned(),
        };
        format!("{} {value} ({bound}) {}", self.name, self.verdict)
    }
}

/// The objects that the demo looks at.
pub struct Objects {
    canaries: Api<DynamicObject>,
    routes: Api<DynamicObject>,
    events: Api<Event>,
    deployments: Api<Deployment>,
}

impl Objects {
    pub fn new(client: &Client) -> Self {
        let canary = GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary");
        let route = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        Self {
            canaries: Api::default_namespaced_with(
                client.clone(),
                &ApiResource::from_gvk_with_plural(&canary, "canaries"),
            ),
            routes: Api::default_namespaced_with(client.clone(), &ApiResource::from_gvk(&route)),
            events: Api::default_namespaced(client.clone()),
            deployments: Api::default_namespaced(client.clone()),
        }
    }

    pub async fn status(&self, name: &str) -> Result<Status> {
        let canary = self.canaries.get(name).await.context("reading the Canary")?;
        let status = canary.data.get("status").cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(status).context("reading the Canary's status")
    }

    /// The Canary's Events in the order in which they were written: what tells two apart, whether it is a warning, the text.
    pub async fn events(&self, canary: &str) -> Result<Vec<(String, bool, String)>> {
        let about = format!("regarding.kind=Canary,regarding.name={canary}");
        let mut events = self.events.list(&ListParams::default().fields(&about)).await.context("reading Events")?.items;
        let version = |event: &Event| event.resource_version().and_then(|version| version.parse::<u64>().ok());
        events.sort_by_key(version);
        let told = |event: Event| {
            let key = format!("{:?} {:?}", event.uid(), event.resource_version());
            (key, event.type_.as_deref() == Some("Warning"), event.note.unwrap_or_default())
        };
        Ok(events.into_iter().map(told).collect())
    }

    /// The weights of a route's backends, as `name weight`.
    pub async fn backends(&self, route: &str) -> Result<Vec<(String, i64)>> {
        let route = self.routes.get(route).await.context("reading the route")?;
        let backends = route.data.pointer("/spec/rules/0/backendRefs").cloned().unwrap_or_default();
        let backend = |value: &Value| {
            (value["name"].as_str().unwrap_or_default().to_owned(), value["weight"].as_i64().unwrap_or(1))
        };
        Ok(backends.as_array().into_iter().flatten().map(backend).collect())
    }

    /// The image that a Deployment runs.
    pub async fn image(&self, deployment: &str) -> Result<String> {
        let deployment = self.deployments.get(deployment).await.context("reading a Deployment")?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec);
        let container = pod.and_then(|pod| pod.containers.into_iter().next());
        container.and_then(|container| container.image).context("the Deployment has no image")
    }
}
