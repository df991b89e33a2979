//! The resources that the server has, and what differs between them.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::decode;
use super::fields::FieldSet;
use super::schema::{Reader, Schema};
use super::strategy::Part;
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
    pub short_names: &'static [&'static str],
    pub is_namespaced: bool,
    pub has_status: bool,
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

    /// The fields that writes of this part leave alone.
    pub fn reset_of(&self, part: Part) -> &FieldSet {
        match part {
            Part::Object => &self.reset,
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

type Definition = (Family, &'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const BUILT_IN: [Definition; 11] = [
    (Family::ConfigMap, "", "v1", "ConfigMap", "configmaps", &["cm"]),
    (Family::Namespace, "", "v1", "Namespace", "namespaces", &["ns"]),
    (Family::Pod, "", "v1", "Pod", "pods", &["po"]),
    (Family::Secret, "", "v1", "Secret", "secrets", &[]),
    (Family::Service, "", "v1", "Service", "services", &["svc"]),
    (Family::DaemonSet, "apps", "v1", "DaemonSet", "daemonsets", &["ds"]),
    (Family::Deployment, "apps", "v1", "Deployment", "deployments", &["deploy"]),
    (Family::ReplicaSet, "apps", "v1", "ReplicaSet", "replicasets", &["rs"]),
    (
        Family::HorizontalPodAutoscaler,
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        &["hpa"],
    ),
    (Family::Lease, "coordination.k8s.io", "v1", "Lease", "leases", &[]),
    (Family::Event, "events.k8s.io", "v1", "Event", "events", &["ev"]),
];

const CUSTOM: [Definition; 4] = [
    (Family::Custom, "flagger.app", "v1beta1", "AlertProvider", "alertproviders", &[]),
    (Family::Custom, "flagger.app", "v1beta1", "Canary", "canaries", &["cd"]),
    (Family::Custom, "flagger.app", "v1beta1", "MetricTemplate", "metrictemplates", &[]),
    (Family::Custom, "gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", &[]),
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
    all().iter().position(|found| found.kind == kind && found.group == group && found.version == version)
}

fn load() -> Vec<Resource> {
    // They are part of the program, and the tests read every one of them.
    let schemas: Value = serde_json::from_str(KUBERNETES_SCHEMAS).unwrap_or_default();
    let route: Value = serde_json::from_str(HTTP_ROUTE_SCHEMA).unwrap_or_default();
    let none = Map::new();
    let mut reader = Reader::new(schemas["definitions"].as_object().unwrap_or(&none));
    let metadata = reader.definition("ObjectMeta");
    let mut resources = Vec::new();
    for definition in BUILT_IN {
        let (_, group, version, kind, ..) = definition;
        let key = if group.is_empty() { format!("{version}/{kind}") } else { format!("{group}/{version}/{kind}") };
        let schema = reader.definition(schemas["kinds"][key].as_str().unwrap_or_default());
        resources.push(resource(definition, schema, false));
    }
    for definition in CUSTOM {
        let (_, _, _, kind, ..) = definition;
        let source = crd::schema(kind).unwrap_or(&route);
        let schema = reader.schema(source).with_field("metadata", metadata.clone());
        let text = || Arc::new(Schema { type_name: "string".to_owned(), ..scalar() });
        let schema = schema.with_field("apiVersion", text()).with_field("kind", text());
        let has_rules = source.to_string().contains("\"x-kubernetes-validations\"");
        resources.push(resource(definition, Arc::new(schema), has_rules));
    }
    resources
}

fn scalar() -> Schema {
    Schema { shape: super::schema::Shape::Scalar, ..Schema::default() }
}

fn resource(definition: Definition, schema: Arc<Schema>, has_rules: bool) -> Resource {
    let (family, group, version, kind, plural, short_names) = definition;
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
    Resource {
        family,
        group,
        version,
        kind,
        plural,
        short_names,
        is_namespaced: family != Family::Namespace,
        has_status,
        schema,
        has_rules,
        empty,
        reset: if has_status { FieldSet::of(&[&["status"]]) } else { FieldSet::default() },
        status_reset: FieldSet::of(status_reset),
    }
}
