//! One request to Kubernetes, as data: what the pure rooms plan and only `cluster` sends.

use serde_json::{Map, Value, json};

use super::object::{find, set};
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

/// One request. It may land late: after a later pass, or another leader, went on. So each carries the
/// `metadata.resourceVersion` of the object that it was decided from, and the API server refuses it where that object has
/// changed since, which throws the pass away. Nothing is ever deleted: the garbage collector does that.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Server-side apply with the field manager `serin`, forced. The object names only the fields that Serin owns, and
    /// carries `apiVersion`, `kind`, `metadata.name`, `metadata.namespace` and, so that it can't create what was just
    /// deleted, `metadata.uid`.
    Apply(Value),
    /// Create; refused where an object of that name is there.
    Create(Value),
    /// Merge patch (RFC 7386).
    Merge {
        /// What is patched.
        id: ResourceId,
        /// The patch.
        body: Value,
    },
    /// Replace the whole object (PUT). For an object that is ours as a whole and in which nothing may survive that is
    /// not named: server-side apply leaves what another field manager once set, and refuses lists with duplicate keys
    /// (two environment variables of one name) that a plain write accepts.
    Replace(Value),
}

impl Write {
    /// What turns the live object into the desired one, touching only what differs; `None` where nothing does. It does
    /// not depend on who set a field before, as server-side apply would, so it settles in one write.
    pub fn update(id: ResourceId, live: &Value, desired: &Value) -> Option<Self> {
        let mut body = merge_patch(live, desired)?;
        if let Some(version) = find(live, "/metadata/resourceVersion") {
            set(&mut body, "metadata", "resourceVersion", version.clone());
        }
        Some(Self::Merge { id, body })
    }

    /// The same patch, whatever happened to the object since it was read: only for what does no harm when it lands late.
    #[must_use]
    pub fn whatever_happened(mut self) -> Self {
        if let Self::Merge { body, .. } = &mut self
            && let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("resourceVersion");
        }
        self
    }
}

/// The merge patch that gives an object this status. It carries the version that it was made from, so that the API server
/// refuses it where the object has changed since.
pub fn status_patch(live: &Value, status: &Value) -> Value {
    let version = find(live, "/metadata/resourceVersion");
    let mut patch = json!({"metadata": {"resourceVersion": version}});
    if let Some(change) = merge_patch(live.get("status").unwrap_or(&Value::Null), status) {
        patch["status"] = change;
    }
    patch
}

/// The merge patch (RFC 7386) that turns one value into the other; `None` where they are equal.
fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return Some(to.clone()) };
    let mut patch: Map<String, Value> =
        old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new {
        if let Some(change) = merge_patch(old.get(key).unwrap_or(&Value::Null), value) {
            patch.insert(key.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
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
    fn an_update_carries_the_version_that_it_was_made_from() {
        let id = ResourceId::new("v1", "Service", ObjectKey::new("ns", "name"));
        let live = json!({"metadata": {"resourceVersion": "7"}, "spec": {"a": 1}});
        assert_eq!(Write::update(id.clone(), &live, &live), None);
        let mut desired = live.clone();
        desired["spec"]["a"] = json!(2);
        let write = Write::update(id.clone(), &live, &desired).unwrap();
        let body = json!({"metadata": {"resourceVersion": "7"}, "spec": {"a": 2}});
        assert_eq!(write, Write::Merge { id: id.clone(), body });
        let body = json!({"metadata": {}, "spec": {"a": 2}});
        assert_eq!(write.whatever_happened(), Write::Merge { id, body });
    }

    #[test]
    fn a_status_is_written_as_what_differs_to_the_version_that_it_was_made_from() {
        let version = json!({"resourceVersion": "7"});
        for (mut live, status, expected) in [
            (json!({}), json!({"phase": "Ready"}), json!({"metadata": version, "status": {"phase": "Ready"}})),
            (
                json!({"status": {"phase": "Ready", "weight": 5, "by": "somebody else"}}),
                json!({"phase": "Failed", "weight": 5}),
                json!({"metadata": version, "status": {"phase": "Failed", "by": null}}),
            ),
            (json!({"status": {"phase": "Ready"}}), json!({"phase": "Ready"}), json!({"metadata": version})),
        ] {
            live["metadata"] = json!({"name": "frontend", "resourceVersion": "7"});
            live["spec"] = json!({"a": 1});
            assert_eq!(status_patch(&live, &status), expected, "{live}");
        }
    }
}
