//! An object as it is kept, and in full as clients see it.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::fields::Managers;

/// An object, and beside it who owns its fields: clients see that in `metadata.managedFields`, and hardly anybody looks.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The object without `metadata.managedFields`.
    pub value: Arc<Value>,
    /// Who owns its fields.
    pub managers: Arc<Managers>,
    /// Whether etcd would not have all of it: the default of a status is filled in whenever a new object is read, and
    /// only the next write stores it, even one that changes nothing.
    pub is_ahead_of_storage: bool,
    /// What was applied last, if that would change nothing now.
    pub applied: Option<Arc<Applied>>,
    json: Arc<OnceLock<Bytes>>,
}

/// What a manager applied.
#[derive(Debug)]
pub struct Applied {
    /// Who.
    pub manager: String,
    /// The fields that it wants.
    pub configuration: Value,
}

impl Stored {
    /// An object that is complete in storage.
    pub fn new(value: Arc<Value>, managers: Arc<Managers>) -> Self {
        Self { value, managers, is_ahead_of_storage: false, applied: None, json: Arc::default() }
    }

    /// An object in which nobody owns anything.
    pub fn unowned(value: Value) -> Self {
        Self::new(Arc::new(value), Arc::default())
    }

    /// The same object with another version.
    #[must_use]
    pub fn at_version(&self, version: u64) -> Self {
        let mut value = (*self.value).clone();
        value["metadata"]["resourceVersion"] = Value::String(version.to_string());
        Self::new(Arc::new(value), self.managers.clone())
    }

    /// In full.
    pub fn shown(&self) -> Value {
        let mut object = (*self.value).clone();
        if !self.managers.is_empty() {
            object["metadata"]["managedFields"] = self.managers.to_json();
        }
        object
    }

    /// In full, in JSON. It is written once, for all who see it.
    pub fn json(&self) -> &Bytes {
        // Values can always be written.
        self.json.get_or_init(|| serde_json::to_vec(&Shown { stored: self, is_typed: true }).unwrap_or_default().into())
    }
}

impl Applied {
    /// Whether this manager applied just this.
    pub fn is(&self, manager: &str, configuration: &Value) -> bool {
        self.manager == manager && self.configuration == *configuration
    }
}

/// An object in full, to be written without a copy of it.
pub struct Shown<'a> {
    /// The object.
    pub stored: &'a Stored,
    /// Whether it says what it is: the entries of a list of a built-in kind do not.
    pub is_typed: bool,
}

struct ShownMetadata<'a>(&'a Map<String, Value>, &'a Managers);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.stored.value.as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("metadata", Value::Object(metadata)) => {
                    map.serialize_entry(name, &ShownMetadata(metadata, &self.stored.managers))?;
                }
                ("kind" | "apiVersion", _) if !self.is_typed => {}
                _ => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl Serialize for ShownMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        if !self.1.is_empty() {
            map.serialize_entry("managedFields", self.1)?;
        }
        map.end()
    }
}
