//! The documents in which the API tells about itself.

use kube::core::Status;
use serde_json::{Value, json};

use super::errors;
use super::resources::{self, Resource};

/// The version that the server claims to have.
const VERSION: &str = "v1.36.0";

/// The document at a path; `Err` where there is none.
///
/// # Errors
/// 404.
pub fn document(path: &str) -> Result<Value, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => Ok(json!({"major": "1", "minor": "36", "gitVersion": VERSION, "platform": "linux/amd64"})),
        ["healthz" | "livez" | "readyz"] => Ok(json!("ok")),
        ["api"] => Ok(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(|(group, version)| api_group(group, version)).collect();
            Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", group] => {
            let found = groups().into_iter().find(|(name, _)| name == group).ok_or_else(errors::no_resource)?;
            let mut document = api_group(found.0, found.1);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            Ok(document)
        }
        ["api", version] => api_resources("", version),
        ["apis", group, version] => api_resources(group, version),
        _ => Err(errors::no_resource()),
    }
}

fn groups() -> Vec<(&'static str, &'static str)> {
    let named = resources::all().iter().filter(|resource| !resource.group.is_empty());
    let mut groups: Vec<_> = named.map(|resource| (resource.group, resource.version)).collect();
    groups.dedup();
    groups
}

fn api_group(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn api_resources(group: &str, version: &str) -> Result<Value, Status> {
    let found = resources::all().iter().filter(|resource| resource.group == group && resource.version == version);
    let found: Vec<Value> = found.flat_map(api_resource).collect();
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
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut main = entry(resource.plural.to_owned(), &resource.kind.to_lowercase(), &verbs);
    if !resource.short_names.is_empty() {
        main["shortNames"] = json!(resource.short_names);
    }
    let status = entry(format!("{}/status", resource.plural), "", &["get", "patch", "update"]);
    if resource.has_status { vec![main, status] } else { vec![main] }
}
