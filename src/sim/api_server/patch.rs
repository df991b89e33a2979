//! The kinds of patches.

use json_patch::{AddOperation, PatchOperation};
use kube::core::Status;
use serde_json::Value;

use super::errors;
use super::resources::Resource;
use super::schema::Schema;

mod strategic;

/// A patch.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// A merge patch that knows how the lists of built-in kinds merge.
    Strategic(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
    /// Server-side apply.
    Apply {
        /// The fields that the manager wants, and no others.
        configuration: Value,
        /// Whether it takes fields from others.
        force: bool,
    },
}

impl Patch {
    /// The patch in the body of a request.
    ///
    /// # Errors
    /// The media type is none of a patch, or the body is not of that type.
    pub fn read(kind: &Resource, media_type: &str, body: &[u8], force: bool) -> Result<Self, Status> {
        let unreadable = |error: &dyn std::fmt::Display| errors::bad_request(format!("error decoding patch: {error}"));
        let json = || serde_json::from_slice(body).map_err(|error| unreadable(&error));
        match media_type {
            "application/merge-patch+json" => Ok(Self::Merge(json()?)),
            "application/strategic-merge-patch+json" if !kind.is_custom() => Ok(Self::Strategic(json()?)),
            "application/json-patch+json" => {
                serde_json::from_slice(body).map(Self::Json).map_err(|error| unreadable(&error))
            }
            // JSON is YAML, and everything that a client of ours sends is JSON.
            "application/apply-patch+yaml" => match serde_json::from_slice(body) {
                Ok(configuration) => Ok(Self::Apply { configuration, force }),
                Err(_) => serde_saphyr::from_slice(body)
                    .map(|configuration| Self::Apply { configuration, force })
                    .map_err(|error| unreadable(&error)),
            },
            _ => Err(errors::unsupported_media_type(kind)),
        }
    }

    /// The verb, as records of writes name it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "apply",
            _ => "patch",
        }
    }

    /// What the patch changes, in the form of an object, if it has that form.
    pub fn changes(&self) -> Option<&Value> {
        match self {
            Self::Merge(changes) | Self::Strategic(changes) => Some(changes),
            // An apply refuses fields that it does not know anyway.
            Self::Json(_) | Self::Apply { .. } => None,
        }
    }

    /// Whether it may be about `metadata.managedFields`.
    pub fn may_name_managers(&self) -> bool {
        match self {
            Self::Merge(changes) | Self::Strategic(changes) => changes.pointer("/metadata/managedFields").is_some(),
            Self::Json(_) => true,
            Self::Apply { .. } => false,
        }
    }

    /// The object with the patch; an apply needs more than the object.
    ///
    /// # Errors
    /// The patch does not fit the object.
    pub fn applied_to(&self, schema: &Schema, mut object: Value) -> Result<Value, Status> {
        match self {
            Self::Merge(patch) => merge(&mut object, patch),
            Self::Strategic(patch) => {
                let unreadable = || errors::bad_request("error decoding patch: it is not an object");
                if let Some(fields) = object.as_object_mut() {
                    strategic::merge(schema, fields, patch.as_object().ok_or_else(unreadable)?)?;
                }
            }
            Self::Json(patch) => {
                for operation in &patch.0 {
                    let operation = [lenient(&object, operation)];
                    json_patch::patch(&mut object, &operation).map_err(|_| errors::rejected())?;
                }
            }
            Self::Apply { .. } => {}
        }
        Ok(object)
    }
}

/// The library that Kubernetes uses replaces a field that is not there, where RFC 6902 wants an error.
fn lenient(object: &Value, operation: &PatchOperation) -> PatchOperation {
    if let PatchOperation::Replace(replace) = operation {
        let parent = replace.path.parent().and_then(|parent| object.pointer(parent.as_str()));
        if parent.is_some_and(Value::is_object) {
            return PatchOperation::Add(AddOperation { path: replace.path.clone(), value: replace.value.clone() });
        }
    }
    operation.clone()
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
