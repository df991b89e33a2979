//! The documents in which the API tells about itself.

use kube::core::Status;
use serde_json::{Value, json};

use super::resources::{self, Resource};
use super::{errors, openapi};

/// The version that the server claims to have.
const VERSION: &str = "v1.36.0";
const JSON: &str = "application/json";
/// All groups with all their resources in one document.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Those of the resources that show the objects of others.
const VIEW_VERBS: [&str; 5] = ["delete", "deletecollection", "get", "list", "watch"];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub media_type: &'static str,
    /// What it says.
    pub body: String,
}

/// The document at a path; whether a client can read [`AGGREGATED`] ones.
///
/// # Errors
/// 404.
pub fn document(path: &str, is_aggregated: bool) -> Result<Document, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let json = |body: Value| Ok(Document { media_type: JSON, body: body.to_string() });
    let aggregated = |groups: Vec<Value>| {
        let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups});
        Ok(Document { media_type: AGGREGATED, body: list.to_string() })
    };
    match parts.as_slice() {
        ["version"] => json(json!({
            "major": "1",
            "minor": "36",
            "gitVersion": VERSION,
            "gitCommit": "",
            "gitTreeState": "",
            "buildDate": "",
            "goVersion": "",
            "compiler": "",
            "platform": "linux/amd64",
        })),
        ["healthz" | "livez" | "readyz"] => Ok(Document { media_type: "text/plain", body: "ok".to_owned() }),
        ["openapi", "v3", rest @ ..] => openapi::document(rest).map(|body| Document { media_type: JSON, body }),
        ["api"] if is_aggregated => aggregated(vec![aggregated_group("", "v1")]),
        ["api"] => json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] if is_aggregated => {
            aggregated(groups().into_iter().map(|(group, version)| aggregated_group(group, version)).collect())
        }
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(|(group, version)| api_group(group, version)).collect();
            json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", group] => {
            let found = groups().into_iter().find(|(name, _)| name == group).ok_or_else(errors::no_resource)?;
            let mut document = api_group(found.0, found.1);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            json(document)
        }
        ["api", version] => json(api_resources("", version)?),
        ["apis", group, version] => json(api_resources(group, version)?),
        _ => Err(errors::no_resource()),
    }
}

fn groups() -> Vec<(&'static str, &'static str)> {
    let named = resources::all().iter().filter(|resource| !resource.group.is_empty());
    let mut groups: Vec<_> = named.map(|resource| (resource.group, resource.version)).collect();
    groups.dedup();
    groups
}

fn resources_of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + use<'a> {
    resources::all().iter().filter(move |resource| resource.group == group && resource.version == version)
}

fn verbs(resource: &Resource) -> &'static [&'static str] {
    if resource.is_view() { &VIEW_VERBS } else { &VERBS }
}

fn aggregated_group(group: &str, version: &str) -> Value {
    let resources: Vec<Value> = resources_of(group, version).map(aggregated_resource).collect();
    let version = json!({"version": version, "resources": resources, "freshness": "Current"});
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": [version]})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own_kind = kind(resource.group, resource.version, resource.kind);
    let subresource =
        |name: &str, kind: Value| json!({"subresource": name, "responseKind": kind, "verbs": SUBRESOURCE_VERBS});
    let mut subresources = Vec::new();
    if resource.has_scale() {
        subresources.push(subresource("scale", kind("autoscaling", "v1", "Scale")));
    }
    if resource.has_status {
        subresources.push(subresource("status", own_kind.clone()));
    }
    json!({
        "resource": resource.plural,
        "responseKind": own_kind,
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.kind.to_lowercase(),
        "verbs": verbs(resource),
        "shortNames": resource.short_names,
        "categories": resource.categories,
        "subresources": subresources,
    })
}

fn api_group(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn api_resources(group: &str, version: &str) -> Result<Value, Status> {
    let found: Vec<Value> = resources_of(group, version).flat_map(api_resource).collect();
    if found.is_empty() {
        return Err(errors::no_resource());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}))
}

fn api_resource(resource: &Resource) -> Vec<Value> {
    let entry = |name: String, singular: &str, verbs: &[&str]| {
        json!({
            "name": name,
            "singularName": singular,
            "namespaced": resource.is_namespaced,
            "kind": resource.kind,
            "verbs": verbs,
        })
    };
    let mut main = entry(resource.plural.to_owned(), &resource.kind.to_lowercase(), verbs(resource));
    if !resource.short_names.is_empty() {
        main["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        main["categories"] = json!(resource.categories);
    }
    let mut entries = vec![main];
    if resource.has_scale() {
        let mut scale = entry(format!("{}/scale", resource.plural), "", &SUBRESOURCE_VERBS);
        for (field, value) in [("group", "autoscaling"), ("version", "v1"), ("kind", "Scale")] {
            scale[field] = json!(value);
        }
        entries.push(scale);
    }
    if resource.has_status {
        entries.push(entry(format!("{}/status", resource.plural), "", &SUBRESOURCE_VERBS));
    }
    entries
}
