//! The resources that the server has, and what differs between them.

use std::sync::{Arc, LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use serde_json::{Map, Value, json};

use super::core_events;
use super::decode;
use super::fields::FieldSet;
use super::schema::{Reader, Schema};
use super::stored::Stored;
use super::strategy::Part;
use super::table::{Column, columns_of};
use crate::api::crd;

/// A kind with a strategy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    ConfigMap,
    DaemonSet,
    Deployment,
    Event,
    HorizontalPodAutoscaler,
    Lease,
    Namespace,
    Pod,
    ReplicaSet,
    Secret,
    Service,
    /// Defined by a CRD.
    Custom,
}

/// A resource.
#[derive(Debug)]
pub struct Resource {
    pub family: Family,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub short_names: Vec<String>,
    /// For example `all`, what `kubectl get all` lists.
    pub categories: Vec<String>,
    pub is_namespaced: bool,
    pub has_status: bool,
    /// Its columns in a Table.
    pub columns: Vec<Column>,
    /// The index of the resource whose objects these are: itself, but for the Events of the core group.
    pub storage: usize,
    pub schema: Arc<Schema>,
    /// Whether its schema has rules in CEL.
    pub has_rules: bool,
    /// What an object of this kind is before anybody says anything.
    pub empty: Value,
    reset: FieldSet,
    status_reset: FieldSet,
}

impl Resource {
    /// For example `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// For example `deployments.apps`.
    pub fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Whether it shows the objects of another one.
    pub fn is_view(&self) -> bool {
        self.family == Family::Event && self.group.is_empty()
    }

    /// Whether its objects have a scale.
    pub fn has_scale(&self) -> bool {
        matches!(self.family, Family::Deployment | Family::ReplicaSet)
    }

    /// An object as this resource shows it.
    pub fn shown(&self, object: &Stored) -> Value {
        let shown = object.shown();
        if self.is_view() { core_events::converted(&shown) } else { shown }
    }

    /// The fields that writes of this part leave alone.
    pub fn reset_of(&self, part: Part) -> &FieldSet {
        match part {
            Part::Object | Part::Scale => &self.reset,
            Part::Status => &self.status_reset,
        }
    }

    /// Whether a CRD defines it.
    pub fn is_custom(&self) -> bool {
        self.family == Family::Custom
    }

    /// Whether a PUT creates it.
    pub fn is_created_by_update(&self) -> bool {
        matches!(self.family, Family::Event | Family::Lease | Family::Service)
    }

    /// Whether a PUT may come without a version.
    pub fn has_unconditional_update(&self) -> bool {
        !matches!(self.family, Family::Custom | Family::Lease)
    }

    /// Whether a deletion answers with the object that was.
    pub fn answers_with_deleted(&self) -> bool {
        matches!(self.family, Family::Namespace | Family::Pod | Family::Service)
    }
}

struct Definition {
    family: Family,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_name: &'static str,
    /// The category that it is in.
    category: &'static str,
}

const fn define(
    family: Family,
    (group, version): (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    short_name: &'static str,
) -> Definition {
    Definition { family, group, version, kind, plural, short_name, category: "" }
}

impl Definition {
    const fn within(mut self, category: &'static str) -> Self {
        self.category = category;
        self
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const FLAGGER: (&str, &str) = ("flagger.app", "v1beta1");
const ALL: &str = "all";

const BUILT_IN: [Definition; 12] = [
    define(Family::ConfigMap, CORE, "ConfigMap", "configmaps", "cm"),
    define(Family::Event, CORE, "Event", "events", "ev"),
    define(Family::Namespace, CORE, "Namespace", "namespaces", "ns"),
    define(Family::Pod, CORE, "Pod", "pods", "po").within(ALL),
    define(Family::Secret, CORE, "Secret", "secrets", ""),
    define(Family::Service, CORE, "Service", "services", "svc").within(ALL),
    define(Family::DaemonSet, APPS, "DaemonSet", "daemonsets", "ds").within(ALL),
    define(Family::Deployment, APPS, "Deployment", "deployments", "deploy").within(ALL),
    define(Family::ReplicaSet, APPS, "ReplicaSet", "replicasets", "rs").within(ALL),
    define(
        Family::HorizontalPodAutoscaler,
        ("autoscaling", "v2"),
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
    )
    .within(ALL),
    define(Family::Lease, ("coordination.k8s.io", "v1"), "Lease", "leases", ""),
    define(Family::Event, ("events.k8s.io", "v1"), "Event", "events", "ev"),
];

/// The short names and the categories of Flagger's kinds are in their CRDs.
const CUSTOM: [Definition; 4] = [
    define(Family::Custom, FLAGGER, "AlertProvider", "alertproviders", ""),
    define(Family::Custom, FLAGGER, "Canary", "canaries", ""),
    define(Family::Custom, FLAGGER, "MetricTemplate", "metrictemplates", ""),
    define(Family::Custom, ("gateway.networking.k8s.io", "v1"), "HTTPRoute", "httproutes", "").within("gateway-api"),
];

/// Written by `tests/testbed/schemas`.
const KUBERNETES_SCHEMAS: &str = include_str!("schemas/kubernetes.json");
/// Written by `tests/testbed/schemas`.
const HTTP_ROUTE_SCHEMA: &str = include_str!("schemas/http_route.json");

/// All resources of the server.
pub fn all() -> &'static [Resource] {
    static RESOURCES: LazyLock<Vec<Resource>> = LazyLock::new(load);
    &RESOURCES
}

/// The index of a resource by its name in paths.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<usize> {
    all().iter().position(|found| found.plural == plural && found.group == group && found.version == version)
}

/// The index of a resource by its kind.
pub fn by_kind(api_version: &str, kind: &str) -> Option<usize> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let is_it = |found: &Resource| found.kind == kind && found.group == group && found.version == version;
    all().iter().position(is_it).map(|index| all()[index].storage)
}

/// The OpenAPI schemas of the built-in kinds: their definitions, and the name of each kind's.
pub fn kubernetes_schemas() -> &'static Value {
    // They are part of the program, and the tests read every one of them.
    static SCHEMAS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(KUBERNETES_SCHEMAS).unwrap_or_default());
    &SCHEMAS
}

/// The OpenAPI schema of a custom resource, if there is one.
pub fn custom_schema(kind: &str) -> Option<&'static Value> {
    static HTTP_ROUTE: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(HTTP_ROUTE_SCHEMA).unwrap_or_default());
    crd::schema(kind).or_else(|| (kind == "HTTPRoute").then(|| &*HTTP_ROUTE))
}

fn load() -> Vec<Resource> {
    let schemas = kubernetes_schemas();
    let none = Map::new();
    let mut reader = Reader::new(schemas["definitions"].as_object().unwrap_or(&none));
    let metadata = reader.definition("ObjectMeta");
    let mut resources = Vec::new();
    for definition in &BUILT_IN {
        let key = schema_key(definition.group, definition.version, definition.kind);
        let schema = reader.definition(schemas["kinds"][key].as_str().unwrap_or_default());
        resources.push(resource(definition, schema, false, None));
    }
    let crds = crd::all();
    for definition in &CUSTOM {
        let source = custom_schema(definition.kind).unwrap_or(&Value::Null);
        let schema = reader.schema(source).with_field("metadata", metadata.clone());
        let text = || Arc::new(Schema { type_name: "string".to_owned(), ..scalar() });
        let schema = schema.with_field("apiVersion", text()).with_field("kind", text());
        let has_rules = source.to_string().contains("\"x-kubernetes-validations\"");
        let crd = crds.iter().find(|crd| crd.spec.names.kind == definition.kind);
        resources.push(resource(definition, Arc::new(schema), has_rules, crd));
    }
    let events = resources.iter().position(|resource| resource.family == Family::Event && !resource.is_view());
    for (index, resource) in resources.iter_mut().enumerate() {
        resource.storage = if resource.is_view() { events.unwrap_or(index) } else { index };
    }
    resources
}

/// The name under which the schemas of built-in kinds are kept.
pub fn schema_key(group: &str, version: &str, kind: &str) -> String {
    if group.is_empty() { format!("{version}/{kind}") } else { format!("{group}/{version}/{kind}") }
}

fn scalar() -> Schema {
    Schema { shape: super::schema::Shape::Scalar, ..Schema::default() }
}

fn resource(
    definition: &Definition,
    schema: Arc<Schema>,
    has_rules: bool,
    crd: Option<&CustomResourceDefinition>,
) -> Resource {
    let &Definition { family, group, version, kind, plural, short_name, category } = definition;
    let has_status = schema.has_field("status");
    let mut empty = json!({});
    if family == Family::Custom {
        empty["apiVersion"] = json!(format!("{group}/{version}"));
        empty["kind"] = json!(kind);
    } else {
        // Nothing fits every kind.
        let _ = decode::built_in(&schema, &mut empty);
    }
    let status_reset: &[&[&str]] = match family {
        Family::Custom => &[&["metadata"], &["spec"]],
        Family::Deployment => &[&["spec"], &["metadata", "labels"]],
        _ => &[&["spec"]],
    };
    let own = |name: &str| [name].into_iter().filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
    let names = crd.map(|crd| &crd.spec.names);
    Resource {
        family,
        group,
        version,
        kind,
        plural,
        short_names: names.map_or_else(|| own(short_name), |names| names.short_names.clone().unwrap_or_default()),
        categories: names.map_or_else(|| own(category), |names| names.categories.clone().unwrap_or_default()),
        is_namespaced: family != Family::Namespace,
        has_status,
        columns: columns_of(family, &printer_columns(kind, crd)),
        storage: 0,
        schema,
        has_rules,
        empty,
        reset: if has_status { FieldSet::of(&[&["status"]]) } else { FieldSet::default() },
        status_reset: FieldSet::of(status_reset),
    }
}

fn printer_columns(kind: &str, crd: Option<&CustomResourceDefinition>) -> Vec<CustomResourceColumnDefinition> {
    let column = |name: &str, type_name: &str, path: &str| CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_name.to_owned(),
        json_path: path.to_owned(),
        ..CustomResourceColumnDefinition::default()
    };
    match (kind, crd) {
        (_, Some(crd)) => {
            let version = crd.spec.versions.first();
            version.and_then(|version| version.additional_printer_columns.clone()).unwrap_or_default()
        }
        // As the CRD of the Gateway API has them.
        ("HTTPRoute", None) => {
            vec![column("Hostnames", "string", ".spec.hostnames"), column("Age", "date", ".metadata.creationTimestamp")]
        }
        _ => Vec::new(),
    }
}
