//! Objects as the API server gave them.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::PartialObjectMeta;
use kube::core::DynamicResourceScope;
use serde::de::{DeserializeSeed, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::bounded::{Bounded, Outline};
use super::kinds::Kind;
use crate::api::checked::ObjectKey;
use crate::rollout::ownership::is_ours;

/// What is read of an object. Who wrote which field is a good part of it, and all that is asked of that is which labels
/// and annotations, and whose replicas, are ours ([`crate::rollout::ownership`]).
static OBJECT: Outline = Outline { named: &[("metadata", &METADATA)], with_others: true };
static METADATA: Outline = Outline { named: &[("managedFields", &ENTRY)], with_others: true };
static ENTRY: Outline = Outline {
    named: &[("manager", &Outline::WHOLE), ("operation", &Outline::WHOLE), ("fieldsV1", &FIELDS)],
    with_others: false,
};
static FIELDS: Outline = Outline { named: &[("f:metadata", &KEYS), ("f:spec", &REPLICAS)], with_others: false };
static KEYS: Outline =
    Outline { named: &[("f:labels", &Outline::WHOLE), ("f:annotations", &Outline::WHOLE)], with_others: false };
static REPLICAS: Outline = Outline { named: &[("f:replicas", &Outline::WHOLE)], with_others: false };

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

    /// Takes out everything but the metadata.
    pub fn drop_content(&mut self) {
        if let Some(fields) = Arc::make_mut(&mut self.json).as_object_mut() {
            fields.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        }
    }
}

impl From<Map<String, Value>> for Object {
    fn from(mut fields: Map<String, Value>) -> Self {
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            keep_ours(metadata);
        }
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

/// Keeps who wrote which field where it was us, and where it is asked for.
fn keep_ours(metadata: &mut Map<String, Value>) {
    let Some(Value::Array(mut entries)) = metadata.remove("managedFields") else { return };
    entries.retain(is_ours);
    if !entries.is_empty() {
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

impl From<PartialObjectMeta<Self>> for Object {
    fn from(mut object: PartialObjectMeta<Self>) -> Self {
        // Nobody asks who wrote what of these.
        object.metadata.managed_fields = None;
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
        match Bounded::object(&OBJECT).deserialize(deserializer)? {
            Value::Object(fields) => Ok(Self::from(fields)),
            _ => Err(D::Error::custom("not a Kubernetes object: its JSON is no object")),
        }
    }
}

impl Resource for Object {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn group(kind: &Kind) -> Cow<'_, str> {
        kind.group().into()
    }

    fn version(kind: &Kind) -> Cow<'_, str> {
        kind.version().into()
    }

    fn kind(kind: &Kind) -> Cow<'_, str> {
        kind.name().into()
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        kind.plural().into()
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
                "finalizers": ["a", "b"], "deletionTimestamp": null,
                "managedFields": [{"manager": "serin", "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}}],
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
        let mut after = before.clone();
        after.drop_content();
        assert_eq!((after.key(), after.json().get("spec")), (before.key(), None));
        assert!(before.json().get("spec").is_some());
    }

    #[test]
    fn of_who_wrote_what_only_ours_is_kept() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "time": "t", "fieldsV1": fields});
        let kept = |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let ours = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:annotations": {"f:b": {}}},
            "f:spec": {"f:replicas": {}},
        });
        let mut more = ours.clone();
        more["f:metadata"]["f:finalizers"] = json!({"v:\"x\"": {}});
        more["f:spec"]["f:template"] = json!({"f:spec": {}});
        more["f:status"] = json!({"f:phase": {}});
        for (entries, expected) in [
            (json!([entry("serin", more.clone())]), json!([kept("serin", ours.clone())])),
            (json!([entry("flux", more.clone()), entry("flagger", more)]), json!([kept("flagger", ours)])),
            (json!([entry("serin", json!({"f:status": {"f:phase": {}}}))]), json!(null)),
            (json!([entry("serin", json!({"f:spec": {"f:paused": {}}}))]), json!(null)),
            (json!([3, {}, {"manager": "serin"}]), json!(null)),
            (json!("nonsense"), json!(null)),
        ] {
            let object = json!({"metadata": {"managedFields": entries}});
            let read: Object = serde_json::from_value(object).unwrap();
            assert_eq!(read.json()["metadata"]["managedFields"], expected, "{entries}");
        }
    }

    #[test]
    fn what_is_no_object_is_not_taken_for_one() {
        for other in [json!(null), json!([]), json!("text")] {
            assert!(serde_json::from_value::<Object>(other.clone()).is_err(), "{other}");
        }
    }
}
