//! One request to Kubernetes, as data: what the pure rooms plan and only `cluster` sends.

use serde_json::{Map, Value};

use super::object::set;
use crate::api::checked::ObjectKey;

/// Identifies an object in the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Where it is.
    pub key: ObjectKey,
}

impl ResourceId {
    /// An identity from its parts.
    pub fn new(api_version: &str, kind: &str, key: ObjectKey) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), key }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Server-side apply with the field manager `serin`, forced. The object names only the fields that Serin owns, and
    /// carries `apiVersion`, `kind`, `metadata.name` and `metadata.namespace`.
    Apply(Value),
    /// Create; an object that is there already is left alone.
    Create(Value),
    /// Merge patch (RFC 7386), with `metadata.resourceVersion` in the body where a precondition is wanted.
    Merge {
        /// What is patched.
        id: ResourceId,
        /// The patch.
        body: Value,
    },
    /// Replace the whole object (PUT). It carries the `metadata.resourceVersion` that it was made from, so that a
    /// conflict throws the pass away. For an object that is ours as a whole and in which nothing may survive that is not
    /// named: server-side apply leaves what another field manager once set, and refuses lists with duplicate keys
    /// (two environment variables of one name) that a plain write accepts.
    Replace(Value),
    /// Delete.
    Delete(ResourceId),
}

impl Write {
    /// What turns the live object into the desired one, touching only what differs; `None` where nothing does. It does
    /// not depend on who set a field before, as server-side apply would, so it settles in one write.
    pub fn update(id: ResourceId, live: &Value, desired: &Value) -> Option<Self> {
        merge_patch(live, desired).map(|body| Self::Merge { id, body })
    }

    /// The same, refused by the API server if the object is not the one that `live` shows any more.
    #[must_use]
    pub fn unless_changed(mut self, live: &Value) -> Self {
        if let (Self::Merge { body, .. }, Some(version)) = (&mut self, live.pointer("/metadata/resourceVersion")) {
            set(body, "metadata", "resourceVersion", version.clone());
        }
        self
    }
}

/// The merge patch (RFC 7386) that turns one value into the other; `None` where they are equal.
fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let mut patch: Map<String, Value> =
        old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new {
        if let Some(change) = merge_patch(old.get(key).unwrap_or(&Value::Null), value) {
            patch.insert(key.clone(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_names_only_what_differs() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), Some(json!({"b": 3}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"y": 2}}), Some(json!({"a": {"x": null}}))),
            (json!({"a": [1, 2]}), json!({"a": [2]}), Some(json!({"a": [2]}))),
            (json!({}), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}}))),
            (json!({"a": 1}), json!({"a": {"b": 1}}), Some(json!({"a": {"b": 1}}))),
        ];
        for (from, to, expected) in cases {
            assert_eq!(merge_patch(&from, &to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_guarded_patch_carries_the_version_that_it_was_made_from() {
        let id = ResourceId::new("v1", "Service", ObjectKey::new("ns", "name"));
        let live = json!({"metadata": {"resourceVersion": "7"}, "spec": {"a": 1}});
        let mut desired = live.clone();
        desired["spec"]["a"] = json!(2);
        let write = Write::update(id, &live, &desired).map(|write| write.unless_changed(&live));
        let Some(Write::Merge { body, .. }) = write else { panic!("no patch: {write:?}") };
        assert_eq!(body, json!({"metadata": {"resourceVersion": "7"}, "spec": {"a": 2}}));
    }
}
