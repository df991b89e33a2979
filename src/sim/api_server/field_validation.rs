//! Fields that nobody knows: what the query parameter `fieldValidation` asks about.

use kube::core::Status;
use serde_json::Value;

use super::errors;
use super::resources::Resource;
use super::schema::{Schema, Shape};

/// What is done about unknown fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing: they are dropped. (The real server warns, unless it is told not to.)
    #[default]
    Ignore,
    /// They are dropped with a warning.
    Warn,
    /// The write is refused.
    Strict,
}

impl FieldValidation {
    /// The query parameter.
    pub fn read(parameter: &str) -> Self {
        match parameter {
            "Strict" => Self::Strict,
            "Warn" => Self::Warn,
            _ => Self::Ignore,
        }
    }
}

/// Refuses an object with unknown fields.
///
/// # Errors
/// There are some.
pub fn refuse_unknown(kind: &Resource, object: &Value) -> Result<(), Status> {
    let unknown: Vec<String> = warnings(kind, object);
    if unknown.is_empty() {
        return Ok(());
    }
    Err(errors::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
        kind.kind,
        kind.version,
        kind.kind,
        unknown.join(", ")
    )))
}

/// What is said about the unknown fields of an object, each.
pub fn warnings(kind: &Resource, object: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    unknown(&kind.schema, object, "", &mut paths);
    paths.into_iter().map(|path| format!("unknown field {path:?}")).collect()
}

fn unknown(schema: &Schema, value: &Value, path: &str, found: &mut Vec<String>) {
    match (&schema.shape, value) {
        (Shape::Object { fields, values, .. }, Value::Object(map)) => {
            for (name, value) in map {
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
        assert_eq!(warnings(deployment, &object), expected);
        let refusal = refuse_unknown(deployment, &object).unwrap_err();
        assert_eq!(refusal.code, 400);
        assert!(refusal.message.contains("strict decoding error: unknown field \"spec.replica\""), "{refusal:?}");
        refuse_unknown(deployment, &json!({"spec": {"replicas": 1}})).unwrap();
    }
}
