//! Who owns what: the objects that belong to a Canary, and the labels and annotations on them that are ours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::object::{find, items, strings, text};
use crate::api::checked::ValidatedCanary;

/// The name under which Serin writes, as `metadata.managedFields` shows it.
pub const FIELD_MANAGER: &str = "serin";

/// Whose keys may be taken away again: ours, and those of Flagger, whose objects Serin takes over.
const OUR_MANAGERS: [&str; 2] = [FIELD_MANAGER, "flagger"];

/// Annotations that keep Flux and Helm from undoing the routing of a running rollout. Flagger sets the same.
pub const GITOPS_MARKS: [(&str, &str); 2] =
    [("kustomize.toolkit.fluxcd.io/reconcile", "disabled"), ("helm.toolkit.fluxcd.io/driftDetection", "disabled")];

/// The owner reference that lets an object go when its Canary goes.
pub fn owner_reference(canary: &ValidatedCanary) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "name": canary.key.name,
        "uid": canary.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether an owner reference names this Canary. Its uid does not count: a Canary restored from a backup has a new one.
pub fn refers_to(reference: &Value, canary: &ValidatedCanary) -> bool {
    refers_to_a_canary(reference) && text(reference, "/name") == Some(&canary.key.name)
}

/// Whether an owner reference names any Canary.
pub fn refers_to_a_canary(reference: &Value) -> bool {
    text(reference, "/kind") == Some("Canary")
        && text(reference, "/apiVersion").is_some_and(|version| version.starts_with("flagger.app/"))
}

/// Who controls an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    /// This Canary.
    Canary,
    /// Nobody: a person or their tools made it.
    Nobody,
    /// Somebody else, as `Kind name`.
    Other(String),
}

/// Who controls this object.
pub fn controller_of(object: &Value, canary: &ValidatedCanary) -> Controller {
    let references = items(object, "/metadata/ownerReferences");
    match references.iter().find(|reference| reference.get("controller") == Some(&Value::Bool(true))) {
        None => Controller::Nobody,
        Some(reference) if refers_to(reference, canary) => Controller::Canary,
        Some(reference) => Controller::Other(format!(
            "{} {}",
            text(reference, "/kind").unwrap_or("unknown"),
            text(reference, "/name").unwrap_or("unknown")
        )),
    }
}

/// A map in the metadata of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
}

impl Keys {
    /// The field's name.
    pub fn field(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

/// The keys that Serin or Flagger once set, as `metadata.managedFields` tells; none where a cache stripped that field.
pub fn keys_set_by_us(object: &Value, keys: Keys) -> BTreeSet<String> {
    items(object, "/metadata/managedFields")
        .iter()
        .filter(|entry| is_by_us(entry))
        .filter_map(|entry| find(entry, &format!("/fieldsV1/f:metadata/f:{}", keys.field()))?.as_object())
        .flat_map(|fields| fields.keys().filter_map(|key| key.strip_prefix("f:").map(ToOwned::to_owned)))
        .collect()
}

/// Whether an entry of `metadata.managedFields` tells of labels, annotations or replicas that Serin or Flagger set. It is all
/// that is asked of such entries.
pub fn is_ours(entry: &Value) -> bool {
    let has = |part| find(entry, part).and_then(Value::as_object).is_some_and(|fields| !fields.is_empty());
    is_by_us(entry) && ["/fieldsV1/f:metadata", "/fieldsV1/f:spec"].into_iter().any(has)
}

fn is_by_us(entry: &Value) -> bool {
    text(entry, "/manager").is_some_and(|manager| OUR_MANAGERS.contains(&manager))
}

/// Whether an entry of `metadata.managedFields` tells what Serin applied.
fn is_applied_by_us(entry: &Value) -> bool {
    text(entry, "/manager") == Some(FIELD_MANAGER) && text(entry, "/operation") == Some("Apply")
}

/// Whether the replicas of a Deployment are what Serin applied: whoever sets them to another number takes them over.
pub fn scaled_by_us(deployment: &Value) -> bool {
    let mut applied = items(deployment, "/metadata/managedFields").iter().filter(|entry| is_applied_by_us(entry));
    applied.any(|entry| find(entry, "/fieldsV1/f:spec/f:replicas").is_some())
}

/// Labels or annotations as they shall be: the wanted ones, and of those that are there now all that we never set.
/// The keys in `unmanaged` stay as they are, even where a value is wanted for them.
pub fn reconciled(
    object: &Value,
    keys: Keys,
    wanted: &BTreeMap<String, String>,
    unmanaged: &[String],
) -> BTreeMap<String, String> {
    let ours = keys_set_by_us(object, keys);
    let mut result = strings(object, &format!("/metadata/{}", keys.field()));
    result.retain(|key, _| !ours.contains(key) || unmanaged.contains(key));
    result.extend(
        wanted.iter().filter(|(key, _)| !unmanaged.contains(key)).map(|(key, value)| (key.clone(), value.clone())),
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_keys_that_we_set_are_taken_away() {
        let object = json!({"metadata": {
            "labels": {"old": "1", "flaggers": "1", "theirs": "1", "kept": "1", "unmanaged": "theirs"},
            "managedFields": [
                {"manager": "serin", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:old": {}, "f:kept": {}, "f:unmanaged": {}}}}},
                {"manager": "flagger", "fieldsV1": {"f:metadata": {"f:labels": {"f:flaggers": {}}}}},
                {"manager": "kubectl-edit", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
            ],
        }});
        let wanted = map(&[("kept", "2"), ("new", "1"), ("unmanaged", "ours")]);
        assert_eq!(
            reconciled(&object, Keys::Labels, &wanted, &["unmanaged".to_owned()]),
            map(&[("kept", "2"), ("new", "1"), ("theirs", "1"), ("unmanaged", "theirs")])
        );
    }

    #[test]
    fn without_managed_fields_nothing_is_taken_away() {
        let object = json!({"metadata": {"annotations": {"a": "1"}}});
        assert_eq!(reconciled(&object, Keys::Annotations, &map(&[("b", "2")]), &[]), map(&[("a", "1"), ("b", "2")]));
    }
}
