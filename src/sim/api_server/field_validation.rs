//! Fields that nobody knows: what the query parameter `fieldValidation` asks about.

use kube::core::Status;
use serde_json::Value;

use super::errors;
use super::resources::Resource;
use super::schema::{Schema, Shape};

/// Looks for fields of an object, or of a patch like it, that its kind does not have. They are dropped in any case.
/// Returns warnings, if the parameter asks for them. (The real server warns unless it is told not to.)
///
/// # Errors
/// The parameter is strict about them, and there are some.
pub fn check(parameter: &str, kind: &Resource, object: &Value) -> Result<Vec<String>, Status> {
    if !matches!(parameter, "Strict" | "Warn") {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    unknown(&kind.schema, object, "", &mut paths);
    let warnings: Vec<String> = paths.into_iter().map(|path| format!("unknown field {path:?}")).collect();
    if parameter == "Warn" || warnings.is_empty() {
        return Ok(warnings);
    }
    Err(errors::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        kind.kind,
        kind.version,
        kind.kind,
        warnings.join(", ")
    )))
}

fn unknown(schema: &Schema, value: &Value, path: &str, found: &mut Vec<String>) {
    match (&schema.shape, value) {
        (Shape::Object { fields, values, .. }, Value::Object(map)) => {
            // Neither the directives of strategic merge patches nor what a patch takes away.
            for (name, value) in map.iter().filter(|(name, value)| !name.starts_with('$') && !value.is_null()) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if fields.contains_key(name) || values.is_some() || schema.keeps_unknown {
                    unknown(schema.child(name), value, &path, found);
                } else {
                    found.push(path);
                }
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                unknown(items, item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::api_server::resources;

    #[test]
    fn unknown_fields_are_named() {
        let deployment = &resources::all()[resources::by_kind("apps/v1", "Deployment").unwrap()];
        let object = json!({
            "metadata": {"labels": {"anything": "goes"}},
            "spec": {"replica": 1, "template": {"spec": {"containers": [{"name": "a", "imag": "b"}]}}},
        });
        let expected = ["unknown field \"spec.replica\"", "unknown field \"spec.template.spec.containers[0].imag\""];
        assert_eq!(check("Warn", deployment, &object).unwrap(), expected);
        assert_eq!(check("Ignore", deployment, &object).unwrap(), [""; 0]);
        let refusal = check("Strict", deployment, &object).unwrap_err();
        assert_eq!(refusal.code, 400);
        assert!(refusal.message.contains("strict decoding error: unknown field \"spec.replica\""), "{refusal:?}");
        let patch = json!({"spec": {"gone": null, "$retainKeys": ["replicas"], "replicas": 1}});
        assert_eq!(check("Strict", deployment, &patch).unwrap(), [""; 0]);
    }
}
