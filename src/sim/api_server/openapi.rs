//! The OpenAPI v3 documents: as much as `kubectl explain`, `apply` and `--validate` need.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use kube::core::Status;
use serde_json::{Map, Value, json};

use super::errors;
use super::resources::{self, Resource};

/// What only this server's schemas say.
const OWN_WORD: &str = "x-zero";

/// The index, or the document of a group and version: `["apis", "apps", "v1"]`.
///
/// # Errors
/// 404.
pub fn document(path: &[&str]) -> Result<String, Status> {
    static DOCUMENTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(documents);
    if path.is_empty() {
        let paths: Map<String, Value> = DOCUMENTS
            .keys()
            .map(|name| (name.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash=1")})))
            .collect();
        return Ok(json!({"paths": paths}).to_string());
    }
    DOCUMENTS.get(&path.join("/")).cloned().ok_or_else(errors::no_resource)
}

fn documents() -> BTreeMap<String, String> {
    let mut groups: BTreeMap<String, Vec<&Resource>> = BTreeMap::new();
    for resource in resources::all() {
        groups.entry(root(resource)).or_default().push(resource);
    }
    groups.into_iter().map(|(name, resources)| (name, of_group(&resources).to_string())).collect()
}

/// For example `apis/apps/v1`.
fn root(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    format!("{root}/{}", resource.api_version())
}

fn of_group(resources: &[&Resource]) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in resources {
        let name = add_schema(resource, &mut schemas);
        let place = if resource.is_namespaced { "namespaces/{namespace}/" } else { "" };
        let collection = format!("/{}/{place}{}", root(resource), resource.plural);
        paths.insert(format!("{collection}/{{name}}"), object_path(resource, &name));
        paths.insert(
            collection,
            json!({
                "get": operation(resource, "list", &name, None),
                "post": operation(resource, "post", &name, Some(content(&["application/json"], &name))),
            }),
        );
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn object_path(resource: &Resource, schema: &str) -> Value {
    let mut patches =
        vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if !resource.is_custom() {
        patches.push("application/strategic-merge-patch+json");
    }
    json!({
        "get": operation(resource, "get", schema, None),
        "put": operation(resource, "put", schema, Some(content(&["application/json"], schema))),
        "patch": operation(resource, "patch", schema, Some(content(&patches, schema))),
        "delete": operation(resource, "delete", schema, None),
    })
}

fn content(media_types: &[&str], schema: &str) -> Value {
    let body = json!({"schema": {"$ref": reference(schema)}});
    media_types.iter().map(|media_type| ((*media_type).to_owned(), body.clone())).collect::<Map<_, _>>().into()
}

fn operation(resource: &Resource, action: &str, schema: &str, body: Option<Value>) -> Value {
    let mut operation = json!({
        "responses": {"200": {"description": "OK", "content": content(&["application/json"], schema)}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind(resource),
    });
    if let Some(body) = body {
        let parameter =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        operation["parameters"] = json!([parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")]);
        operation["requestBody"] = json!({"content": body, "required": true});
    }
    operation
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// Adds the schema of a resource with all that it refers to, and returns its name.
fn add_schema(resource: &Resource, schemas: &mut Map<String, Value>) -> String {
    let known = resources::kubernetes_schemas();
    let key = resources::schema_key(resource.group, resource.version, resource.kind);
    let (name, mut schema) = if let Some(schema) = resources::custom_schema(resource.kind) {
        add_definition("ObjectMeta", schemas);
        let mut schema = schema.clone();
        schema["properties"]["metadata"] = json!({"allOf": [{"$ref": reference("ObjectMeta")}]});
        for field in ["apiVersion", "kind"] {
            schema["properties"][field] = json!({"type": "string"});
        }
        (format!("{}.{}.{}", resource.group, resource.version, resource.kind), schema)
    } else {
        let name = known["kinds"][key].as_str().unwrap_or_default();
        add_definition(name, schemas);
        (name.to_owned(), schemas.get(name).cloned().unwrap_or_default())
    };
    schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
    schemas.insert(name.clone(), schema);
    name
}

fn add_definition(name: &str, schemas: &mut Map<String, Value>) {
    let Some(definition) = resources::kubernetes_schemas()["definitions"].get(name) else { return };
    if schemas.contains_key(name) {
        return;
    }
    // Some refer to themselves.
    schemas.insert(name.to_owned(), Value::Null);
    let mut references = Vec::new();
    let published = published(definition, &mut references);
    schemas.insert(name.to_owned(), published);
    for reference in references {
        add_definition(&reference, schemas);
    }
}

/// A schema as OpenAPI has it, and the names to which it refers.
fn published(schema: &Value, references: &mut Vec<String>) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut result = Map::new();
            for (name, value) in fields.iter().filter(|(name, _)| *name != OWN_WORD) {
                if name == "$ref"
                    && let Some(target) = value.as_str()
                {
                    references.push(target.to_owned());
                    result.insert("allOf".to_owned(), json!([{"$ref": reference(target)}]));
                } else {
                    result.insert(name.clone(), published(value, references));
                }
            }
            // kubectl computes patches by these.
            if fields.contains_key("x-kubernetes-int-or-string") {
                result.insert("oneOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
            }
            Value::Object(result)
        }
        Value::Array(items) => items.iter().map(|item| published(item, references)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        for name in documents().keys() {
            let parts: Vec<&str> = name.split('/').collect();
            let document: Value = serde_json::from_str(&document(&parts).unwrap()).unwrap();
            let text = document.to_string();
            for target in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
                let target = target.split('"').next().unwrap();
                assert!(document["components"]["schemas"][target].is_object(), "{name}: {target}");
            }
            assert!(!text.contains(OWN_WORD), "{name}");
        }
        let index: Value = serde_json::from_str(&document(&[]).unwrap()).unwrap();
        assert!(index["paths"]["apis/flagger.app/v1beta1"].is_object(), "{index}");
        assert_eq!(document(&["apis", "nowhere"]).unwrap_err().code, 404);
    }
}
