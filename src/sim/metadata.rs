//! What the models read in the metadata of objects, and the form of times in them.

use chrono::SecondsFormat;
use serde_json::Value;

use crate::api::checked::ObjectKey;
use crate::clock;
use crate::rollout::object::{integer, text};

/// Where an object is.
pub fn key(object: &Value) -> ObjectKey {
    let field = |pointer| text(object, pointer).unwrap_or_default();
    ObjectKey::new(field("/metadata/namespace"), field("/metadata/name"))
}

/// `kind`.
pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid").unwrap_or_default()
}

/// `metadata.generation`; 0 where there is none.
pub fn generation(object: &Value) -> i64 {
    integer(object, "/metadata/generation").unwrap_or(0)
}

/// Now, as Kubernetes writes it.
pub fn timestamp() -> String {
    clock::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}
