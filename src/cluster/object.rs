//! Objects as the API server gave them.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, DynamicResourceScope};
use serde::de::{DeserializeSeed, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::bounded::Bounded;
use super::kinds::ManagedFields;
use crate::api::checked::ObjectKey;
use crate::rollout::ownership::is_applied_by_us;

/// An object as the API server gave it, with whatever is newer in it than this program. Clones share the JSON, which is
/// made once, when the object comes in: a pass looks at every object around its Canary, and most of them did not change.
#[derive(Clone, Debug)]
pub struct Object {
    json: Arc<Value>,
    /// What kube asks for: namespace, name, uid and resource version. All else is in the JSON only.
    identity: ObjectMeta,
}

impl Object {
    /// The whole object.
    pub fn json(&self) -> &Arc<Value> {
        &self.json
    }

    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        ObjectKey::new(text(&self.identity.namespace), text(&self.identity.name))
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> Option<&str> {
        self.identity.uid.as_deref()
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> Option<&str> {
        self.identity.resource_version.as_deref()
    }

    /// `metadata.generation`; 0 without one.
    pub fn generation(&self) -> i64 {
        self.metadata("generation").and_then(Value::as_i64).unwrap_or_default()
    }

    /// Whether somebody asked for its deletion.
    pub fn is_being_deleted(&self) -> bool {
        self.metadata("deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let finalizers = self.metadata("finalizers").and_then(Value::as_array);
        finalizers.into_iter().flatten().filter_map(Value::as_str)
    }

    fn metadata(&self, field: &str) -> Option<&Value> {
        self.json.get("metadata")?.get(field)
    }

    /// The same object with another status.
    #[must_use]
    pub fn with_status(&self, status: Value) -> Self {
        let mut object = self.clone();
        if let Some(fields) = Arc::make_mut(&mut object.json).as_object_mut() {
            fields.insert("status".to_owned(), status);
        }
        object
    }

    /// Takes out who wrote which field, but for what is asked for.
    pub fn trim_managed_fields(&mut self, kept: ManagedFields) {
        if kept == ManagedFields::All {
            return;
        }
        let metadata = Arc::make_mut(&mut self.json).get_mut("metadata").and_then(Value::as_object_mut);
        let Some(metadata) = metadata else { return };
        let entries = metadata.remove("managedFields");
        if let (ManagedFields::Applied, Some(Value::Array(mut entries))) = (kept, entries) {
            entries.retain(is_applied_by_us);
            if !entries.is_empty() {
                metadata.insert("managedFields".to_owned(), Value::Array(entries));
            }
        }
    }

    /// Takes out everything but the metadata.
    pub fn drop_content(&mut self) {
        if let Some(fields) = Arc::make_mut(&mut self.json).as_object_mut() {
            fields.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        }
    }
}

impl From<Map<String, Value>> for Object {
    fn from(fields: Map<String, Value>) -> Self {
        let text = |field: &str| Some(fields.get("metadata")?.get(field)?.as_str()?.to_owned());
        let identity = ObjectMeta {
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Self { json: Arc::new(Value::Object(fields)), identity }
    }
}

impl From<PartialObjectMeta<Self>> for Object {
    fn from(object: PartialObjectMeta<Self>) -> Self {
        let mut fields = Map::new();
        if let Some(types) = object.types {
            fields.insert("apiVersion".to_owned(), json!(types.api_version));
            fields.insert("kind".to_owned(), json!(types.kind));
        }
        fields.insert("metadata".to_owned(), json!(object.metadata));
        Self::from(fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Bounded::object().deserialize(deserializer)? {
            Value::Object(fields) => Ok(Self::from(fields)),
            _ => Err(D::Error::custom("not a Kubernetes object: its JSON is no object")),
        }
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::api_version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.identity
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Tomorrow",
            "metadata": {
                "namespace": "default", "name": "frontend", "uid": "u", "resourceVersion": "7", "generation": 3,
                "finalizers": ["a", "b"], "deletionTimestamp": null, "managedFields": [{"manager": "kubectl"}],
            },
            "spec": {"new": {"field": 1}},
        }))
        .unwrap()
    }

    #[test]
    fn an_object_tells_who_it_is_and_keeps_what_it_does_not_know() {
        let object = object();
        assert_eq!(object.key(), ObjectKey::new("default", "frontend"));
        assert_eq!((object.uid(), object.resource_version(), object.generation()), (Some("u"), Some("7"), 3));
        assert_eq!((object.is_being_deleted(), object.finalizers().collect::<Vec<_>>()), (false, vec!["a", "b"]));
        assert_eq!(serde_json::to_value(&object).unwrap()["spec"], json!({"new": {"field": 1}}));
    }

    #[test]
    fn what_changes_in_one_does_not_change_in_those_that_shared_it() {
        let before = object();
        let mut after = before.with_status(json!({"phase": "Failed"}));
        after.trim_managed_fields(ManagedFields::None);
        assert_eq!(after.json()["status"], json!({"phase": "Failed"}));
        assert_eq!(after.json()["metadata"].get("managedFields"), None);
        after.drop_content();
        assert_eq!(after.json().get("spec"), None);
        assert_eq!(after.key(), before.key());
        assert!(before.json().get("status").is_none() && before.json()["metadata"].get("managedFields").is_some());
    }

    #[test]
    fn of_who_wrote_what_only_so_much_is_kept() {
        let applied = json!({"manager": "serin", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        let updated = json!({"manager": "serin", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}});
        let theirs = json!({"manager": "flux", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}});
        let entries = json!([applied, updated, theirs]);
        for (kept, expected) in [
            (ManagedFields::All, Some(entries.clone())),
            (ManagedFields::Applied, Some(json!([applied]))),
            (ManagedFields::None, None),
        ] {
            let mut object = Object::from(Map::from_iter([("metadata".to_owned(), json!({"managedFields": entries}))]));
            object.trim_managed_fields(kept);
            assert_eq!(object.json()["metadata"].get("managedFields"), expected.as_ref(), "{kept:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_taken_for_one() {
        for other in [json!(null), json!([]), json!("text")] {
            assert!(serde_json::from_value::<Object>(other.clone()).is_err(), "{other}");
        }
    }
}
