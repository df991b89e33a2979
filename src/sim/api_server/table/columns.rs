//! The columns of each kind, as the real server has them (`pkg/printers/internalversion/printers.go` of Kubernetes); those
//! of custom resources come from their CRDs.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use serde_json::{Value, json};

use super::json_path::JsonPath;
use super::{age, cells, pod};
use crate::sim::api_server::resources::Family;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    name: Cow<'static, str>,
    type_name: Cow<'static, str>,
    format: Cow<'static, str>,
    description: Cow<'static, str>,
    /// 0 for those that are always shown, 1 for those that `--output=wide` adds.
    priority: i32,
    cell: Cell,
}

/// What is in the cells of a column.
#[derive(Clone, Debug)]
enum Cell {
    /// The text at this JSON pointer; empty if there is none.
    Text(&'static str),
    /// The same, or `<none>`.
    TextOrNone(&'static str),
    /// The number there; 0 if there is none.
    Count(&'static str),
    /// How long ago the time there was.
    Age(&'static str),
    /// What this makes of the object.
    Computed(fn(&Value) -> Value),
    /// The same, at a time.
    ComputedAt(fn(&Value, DateTime<Utc>) -> Value),
    /// The value at this path, of the column's type.
    Path(Option<JsonPath>),
}

const fn column(name: &'static str, type_name: &'static str, cell: Cell) -> Column {
    formatted(name, type_name, "", cell)
}

const fn formatted(name: &'static str, type_name: &'static str, format: &'static str, cell: Cell) -> Column {
    Column {
        name: Cow::Borrowed(name),
        type_name: Cow::Borrowed(type_name),
        format: Cow::Borrowed(format),
        description: Cow::Borrowed(""),
        priority: 0,
        cell,
    }
}

const fn text(name: &'static str, pointer: &'static str) -> Column {
    column(name, "string", Cell::Text(pointer))
}

const fn count(name: &'static str, pointer: &'static str) -> Column {
    column(name, "integer", Cell::Count(pointer))
}

const fn computed(name: &'static str, compute: fn(&Value) -> Value) -> Column {
    column(name, "string", Cell::Computed(compute))
}

impl Column {
    /// Only shown with `--output=wide`.
    const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// A column of a CRD.
    pub fn custom(definition: &CustomResourceColumnDefinition) -> Self {
        let path = &definition.json_path;
        let described = definition.description.clone();
        Self {
            name: Cow::Owned(definition.name.clone()),
            type_name: Cow::Owned(definition.type_.clone()),
            format: Cow::Owned(definition.format.clone().unwrap_or_default()),
            description: Cow::Owned(
                described.unwrap_or_else(|| format!("Custom resource definition column (in JSONPath format): {path}")),
            ),
            priority: definition.priority.unwrap_or_default(),
            cell: Cell::Path(JsonPath::read(path)),
        }
    }

    /// As a Table defines it.
    pub fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.type_name,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    /// The cell of an object.
    pub fn cell(&self, object: &Value, now: DateTime<Utc>) -> Value {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match &self.cell {
            Cell::Text(pointer) => json!(text(pointer)),
            Cell::TextOrNone(pointer) => json!(cells::or_none(text(pointer).to_owned())),
            Cell::Count(pointer) => json!(object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()),
            Cell::Age(pointer) => json!(age::since(text(pointer), now)),
            Cell::Computed(compute) => compute(object),
            Cell::ComputedAt(compute) => compute(object, now),
            Cell::Path(path) => {
                let found = path.as_ref().and_then(|path| path.find(object));
                found.map_or(Value::Null, |found| cells::custom(&self.type_name, found, now))
            }
        }
    }
}

const NAME: Column = formatted("Name", "string", "name", Cell::Text("/metadata/name"));
const AGE: Column = column("Age", "string", Cell::Age("/metadata/creationTimestamp"));
const CONTAINERS: Column = computed("Containers", cells::containers).wide();
const IMAGES: Column = computed("Images", cells::images).wide();
const SELECTOR: Column = computed("Selector", cells::selector_or_none).wide();

const CONFIG_MAP: &[Column] = &[NAME, column("Data", "string", Cell::Computed(cells::entries_of_data)), AGE];
const DAEMON_SET: &[Column] = &[
    NAME,
    count("Desired", "/status/desiredNumberScheduled"),
    count("Current", "/status/currentNumberScheduled"),
    count("Ready", "/status/numberReady"),
    count("Up-to-date", "/status/updatedNumberScheduled"),
    count("Available", "/status/numberAvailable"),
    computed("Node Selector", cells::node_selector),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const DEPLOYMENT: &[Column] = &[
    NAME,
    computed("Ready", cells::ready_of_desired),
    column("Up-to-date", "string", Cell::Count("/status/updatedReplicas")),
    column("Available", "string", Cell::Count("/status/availableReplicas")),
    AGE,
    CONTAINERS,
    IMAGES,
    computed("Selector", cells::selector).wide(),
];
/// Of an Event of `events.k8s.io/v1`, which is how they are kept.
const EVENT: &[Column] = &[
    column("Last Seen", "string", Cell::ComputedAt(cells::last_seen)),
    text("Type", "/type"),
    text("Reason", "/reason"),
    computed("Object", cells::regarded),
    text("Subobject", "/regarding/fieldPath").wide(),
    computed("Source", cells::event_source).wide(),
    computed("Message", cells::event_message),
    column("First Seen", "string", Cell::ComputedAt(cells::first_seen)).wide(),
    computed("Count", cells::event_count).wide(),
    NAME.wide(),
];
const HORIZONTAL_POD_AUTOSCALER: &[Column] = &[
    NAME,
    computed("Reference", cells::scale_target),
    computed("Targets", cells::autoscaler_targets),
    computed("MinPods", cells::minimum_of_pods),
    column("MaxPods", "string", Cell::Count("/spec/maxReplicas")),
    column("Replicas", "string", Cell::Count("/status/currentReplicas")),
    AGE,
];
const LEASE: &[Column] = &[NAME, text("Holder", "/spec/holderIdentity"), AGE];
const NAMESPACE: &[Column] = &[NAME, text("Status", "/status/phase"), AGE];
const POD: &[Column] = &[
    NAME,
    computed("Ready", pod::ready),
    computed("Status", pod::status),
    column("Restarts", "string", Cell::ComputedAt(pod::restarts)),
    AGE,
    column("IP", "string", Cell::TextOrNone("/status/podIPs/0/ip")).wide(),
    column("Node", "string", Cell::TextOrNone("/spec/nodeName")).wide(),
    column("Nominated Node", "string", Cell::TextOrNone("/status/nominatedNodeName")).wide(),
    computed("Readiness Gates", pod::readiness_gates).wide(),
];
const REPLICA_SET: &[Column] = &[
    NAME,
    count("Desired", "/spec/replicas"),
    count("Current", "/status/replicas"),
    count("Ready", "/status/readyReplicas"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const SECRET: &[Column] =
    &[NAME, text("Type", "/type"), column("Data", "string", Cell::Computed(cells::entries_of_data)), AGE];
const SERVICE: &[Column] = &[
    NAME,
    text("Type", "/spec/type"),
    column("Cluster-IP", "string", Cell::TextOrNone("/spec/clusterIPs/0")),
    computed("External-IP", cells::external_address),
    computed("Port(s)", cells::service_ports),
    AGE,
    computed("Selector", cells::service_selector).wide(),
];

/// The columns of a kind. `custom` are those that a CRD names.
pub fn of(family: Family, custom: &[CustomResourceColumnDefinition]) -> Vec<Column> {
    let columns = match family {
        Family::ConfigMap => CONFIG_MAP,
        Family::DaemonSet => DAEMON_SET,
        Family::Deployment => DEPLOYMENT,
        Family::Event => EVENT,
        Family::HorizontalPodAutoscaler => HORIZONTAL_POD_AUTOSCALER,
        Family::Lease => LEASE,
        Family::Namespace => NAMESPACE,
        Family::Pod => POD,
        Family::ReplicaSet => REPLICA_SET,
        Family::Secret => SECRET,
        Family::Service => SERVICE,
        Family::Custom if custom.is_empty() => &[NAME, AGE],
        Family::Custom => &[NAME],
    };
    columns.iter().cloned().chain(custom.iter().map(Column::custom)).collect()
}
