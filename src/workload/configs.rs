//! The ConfigMaps and Secrets that a pod template refers to, and their `-primary` copies.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::metadata::copied_labels;
use super::revision::hex;
use super::{Settings, WorkloadError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::object::{find, find_mut, items, items_mut, set, strings, text};
use crate::rollout::ownership::{Keys, owner_reference, reconciled, refers_to, refers_to_a_canary};
use crate::rollout::{ResourceId, Write};

/// Annotation with which a user keeps an object from being tracked and copied; any value that starts with `disable`.
const TRACKING: &str = "flagger.app/config-tracking";

/// Types of Secrets that are tracked. Others (registry credentials, tokens of service accounts) are not the application's.
const SECRET_TYPES: [&str; 4] = ["Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls"];

/// `ConfigMap` or Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// `ConfigMap`.
    ConfigMap,
    /// Secret.
    Secret,
}

impl ConfigKind {
    /// The kind in the API.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// A reference from a pod template. Shown as Flagger's key in `status.trackedConfigs`: `configmap/NAME`, `secret/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigReference {
    /// What is referred to.
    pub kind: ConfigKind,
    /// Its name.
    pub name: String,
}

impl ConfigReference {
    /// Name of the copy that the primary uses.
    pub fn primary_name(&self) -> String {
        primary_name(&self.name)
    }
}

impl std::fmt::Display for ConfigReference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", tracked_key(self.kind, &self.name))
    }
}

fn tracked_key(kind: ConfigKind, name: &str) -> String {
    match kind {
        ConfigKind::ConfigMap => format!("configmap/{name}"),
        ConfigKind::Secret => format!("secret/{name}"),
    }
}

fn primary_name(name: &str) -> String {
    format!("{name}-primary")
}

/// All that the pod template of a Deployment refers to, and whether its pods start without it: only where every mention
/// is optional.
pub fn references(deployment: &Value) -> BTreeMap<ConfigReference, bool> {
    let mut found = BTreeMap::new();
    let mut template = find(deployment, "/spec/template").cloned().unwrap_or_default();
    each_mention(&mut template, &mut |kind, name, optional| {
        let all_optional = found.entry(ConfigReference { kind, name: name.clone() }).or_insert(true);
        *all_optional &= optional;
    });
    found
}

/// Rewrites every mention of a tracked object (by its key in `configs`) to its `-primary` copy.
pub(super) fn use_copies(template: &mut Value, configs: &BTreeMap<String, String>) {
    each_mention(template, &mut |kind, name, _| {
        if configs.contains_key(&tracked_key(kind, name)) {
            *name = primary_name(name);
        }
    });
}

/// Rewrites every mention of a `-primary` copy back to the original.
pub(super) fn use_originals(template: &mut Value) {
    each_mention(template, &mut |_, name, _| {
        if let Some(original) = name.strip_suffix("-primary") {
            *name = original.to_owned();
        }
    });
}

/// Visits kind, name and `optional` of every mention: in volumes, projected volumes, `env` and `envFrom`, of containers
/// and init containers. Not in `imagePullSecrets`, which belong to the registry and not to the application.
fn each_mention(template: &mut Value, visit: &mut dyn FnMut(ConfigKind, &mut String, bool)) {
    use ConfigKind::{ConfigMap, Secret};
    let mut mention = |kind, holder: &mut Value, field: &str, name: &str| {
        let Some(source) = find_mut(holder, field) else { return };
        let optional = source.get("optional").and_then(Value::as_bool).unwrap_or(false);
        if let Some(Value::String(name)) = source.get_mut(name) {
            visit(kind, name, optional);
        }
    };
    for volume in items_mut(template, "/spec/volumes") {
        mention(ConfigMap, volume, "/configMap", "name");
        mention(Secret, volume, "/secret", "secretName");
        for source in items_mut(volume, "/projected/sources") {
            mention(ConfigMap, source, "/configMap", "name");
            mention(Secret, source, "/secret", "name");
        }
    }
    for containers in ["/spec/containers", "/spec/initContainers"] {
        for container in items_mut(template, containers) {
            for variable in items_mut(container, "/env") {
                mention(ConfigMap, variable, "/valueFrom/configMapKeyRef", "name");
                mention(Secret, variable, "/valueFrom/secretKeyRef", "name");
            }
            for source in items_mut(container, "/envFrom") {
                mention(ConfigMap, source, "/configMapRef", "name");
                mention(Secret, source, "/secretRef", "name");
            }
        }
    }
}

/// Flagger's checksum of an object's content; `None` where the object is not tracked: it carries the annotation
/// `flagger.app/config-tracking: disabled`, or is a Secret that is not the application's.
///
/// It is the first 8 bytes of the SHA-256 of Go's `json.Marshal(data)`, in hexadecimal. `binaryData`, which Flagger
/// does not look at, is appended where there is any. (`stringData` of a Secret never comes back from the API server: it
/// is in `data` there.)
pub fn checksum(kind: ConfigKind, object: &Value) -> Option<String> {
    let annotations = strings(object, "/metadata/annotations");
    let disabled = annotations.get(TRACKING).is_some_and(|value| value.starts_with("disable"));
    let foreign = kind == ConfigKind::Secret && !SECRET_TYPES.contains(&text(object, "/type").unwrap_or("Opaque"));
    (!disabled && !foreign).then(|| {
        let mut hash = Sha256::new();
        hash.update(go_json(object.get("data")));
        if let Some(binary) =
            object.get("binaryData").filter(|binary| binary.as_object().is_some_and(|map| !map.is_empty()))
        {
            hash.update(go_json(Some(binary)));
        }
        hex(&hash.finalize(), 16)
    })
}

/// A map of strings as Go's `encoding/json` writes it: sorted keys, and some characters escaped that JSON lets stand.
fn go_json(map: Option<&Value>) -> String {
    let Some(map) = map.filter(|map| map.is_object()) else { return "null".to_owned() };
    json!(strings(map, ""))
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// What brings the `-primary` copy of a ConfigMap or Secret up to date; `None` where it is. `existing` is the object that
/// has the copy's name now.
///
/// Copied are the data (binary too), the type of a Secret, and labels by prefix. `immutable` is not: an immutable copy
/// could not follow the next revision. Several Canaries may share a copy; it goes when the last of them goes.
///
/// # Errors
/// [`WorkloadError::Taken`] where an object of that name exists and is no Canary's copy: it is the user's, and is kept.
pub fn plan_copy(
    kind: ConfigKind,
    source: &Value,
    existing: Option<&Value>,
    canary: &ValidatedCanary,
    settings: &Settings,
) -> Result<Option<Write>, WorkloadError> {
    let key = ObjectKey::new(&canary.key.namespace, primary_name(text(source, "/metadata/name").unwrap_or_default()));
    let owners = existing.map_or(&[] as &[Value], |object| items(object, "/metadata/ownerReferences"));
    if existing.is_some() && !owners.iter().any(refers_to_a_canary) {
        return Err(WorkloadError::Taken {
            kind: kind.kind(),
            key,
            owner: "no Canary".to_owned(),
            mend: "rename it, or set the annotation flagger.app/config-tracking: disabled on the original",
        });
    }
    let mut copy = existing.cloned().unwrap_or_else(
        || json!({"apiVersion": "v1", "kind": kind.kind(), "metadata": {"name": key.name, "namespace": key.namespace}}),
    );
    for field in ["data", "binaryData", "type"] {
        match (source.get(field), copy.as_object_mut()) {
            (Some(value), Some(copy)) => copy.insert(field.to_owned(), value.clone()),
            (None, Some(copy)) => copy.remove(field),
            (_, None) => None,
        };
    }
    let labels = reconciled(&copy, Keys::Labels, &copied_labels(source, settings), &[]);
    set(&mut copy, "metadata", "labels", json!(labels));
    if !owners.iter().any(|reference| refers_to(reference, canary) && text(reference, "/uid") == Some(&canary.uid)) {
        set(&mut copy, "metadata", "ownerReferences", shared_owners(owners, canary));
    }
    let id = ResourceId::new("v1", kind.kind(), key);
    Ok(match existing {
        None => Some(Write::Create(copy)),
        Some(existing) => Write::update(id, existing, &copy),
    })
}

/// This Canary as the controller, and the other owners as mere owners, since an object has one controller at most.
fn shared_owners(owners: &[Value], canary: &ValidatedCanary) -> Value {
    let mut references = vec![owner_reference(canary)];
    for other in owners.iter().filter(|reference| !refers_to(reference, canary)) {
        let mut other = other.clone();
        if let Some(fields) = other.as_object_mut() {
            fields.insert("controller".to_owned(), json!(false));
        }
        references.push(other);
    }
    json!(references)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{canary, merged, owner, target};
    use super::ConfigKind::{ConfigMap, Secret};
    use super::*;

    fn template() -> Value {
        target()["spec"]["template"].clone()
    }

    #[test]
    fn every_mention_in_a_template_is_found_and_is_optional_only_where_all_are() {
        let found: Vec<_> =
            references(&target()).into_iter().map(|(reference, optional)| (reference.to_string(), optional)).collect();
        let expected = [
            ("configmap/colours", false),
            ("configmap/extra", true),
            ("configmap/settings", false),
            ("secret/database", false),
            ("secret/signing", true),
        ];
        assert_eq!(found, expected.map(|(name, optional)| (name.to_owned(), optional)));
    }

    #[test]
    fn one_mention_that_is_not_optional_makes_it_needed_whatever_the_order() {
        for order in [[true, false], [false, true]] {
            let volumes = order.map(|optional| json!({"configMap": {"name": "a", "optional": optional}}));
            let found = references(&json!({"spec": {"template": {"spec": {"volumes": volumes}}}}));
            assert_eq!(found.into_values().collect::<Vec<_>>(), [false], "{order:?}");
        }
    }

    #[test]
    fn tracked_names_become_those_of_the_copies_in_all_places_and_back() {
        let tracked = ["configmap/colours", "configmap/settings", "secret/database", "secret/signing"];
        let configs = tracked.iter().map(|key| ((*key).to_owned(), String::new())).collect();
        let mut rewritten = template();
        use_copies(&mut rewritten, &configs);
        let names: Vec<_> =
            references(&json!({"spec": {"template": rewritten}})).into_keys().map(|reference| reference.name).collect();
        assert_eq!(names, ["colours-primary", "extra", "settings-primary", "database-primary", "signing-primary"]);
        assert_eq!(rewritten["spec"]["imagePullSecrets"][0]["name"], "registry");
        use_originals(&mut rewritten);
        assert_eq!(rewritten, template());
    }

    /// Expected values: `printf %s JSON | sha256sum | cut -c-16`, with the JSON that Go's encoding/json writes.
    #[test]
    fn checksums_are_those_of_flagger() {
        let cases = [
            (ConfigMap, json!({"data": {"b": "2", "a": "1"}}), "21f76dfbfe6dfe21"),
            (ConfigMap, json!({}), "74234e98afe7498f"),
            (ConfigMap, json!({"data": {}}), "44136fa355b3678a"),
            (ConfigMap, json!({"data": {"a": "<&>\u{2028}\u{2029}\"\n"}}), "604eebbfd597bbc9"),
            (Secret, json!({"type": "Opaque", "data": {"password": "czNjcjN0"}}), "333b39b9b276af7b"),
        ];
        for (kind, object, expected) in cases {
            assert_eq!(checksum(kind, &object).as_deref(), Some(expected), "{object}");
        }
    }

    #[test]
    fn binary_data_counts_only_where_there_is_any() {
        let sum = |object: &Value| checksum(ConfigMap, object);
        let plain = json!({"data": {"a": "1"}});
        assert_eq!(sum(&plain), sum(&json!({"data": {"a": "1"}, "binaryData": {}})));
        assert_ne!(sum(&plain), sum(&json!({"data": {"a": "1"}, "binaryData": {"b": "AA=="}})));
        assert_ne!(sum(&json!({"binaryData": {"b": "AA=="}})), sum(&json!({"binaryData": {"b": "AQ=="}})));
    }

    #[test]
    fn what_is_switched_off_or_not_the_applications_is_not_tracked() {
        let off = |value: &str| json!({"metadata": {"annotations": {TRACKING: value}}, "data": {}});
        let cases = [
            (ConfigMap, off("disabled"), false),
            (Secret, off("disable"), false),
            (ConfigMap, off("enabled"), true),
            (Secret, json!({"type": "kubernetes.io/dockerconfigjson"}), false),
            (Secret, json!({"type": "kubernetes.io/service-account-token"}), false),
            (Secret, json!({"type": "kubernetes.io/tls"}), true),
            (Secret, json!({}), true),
        ];
        for (kind, object, tracked) in cases {
            assert_eq!(checksum(kind, &object).is_some(), tracked, "{object}");
        }
    }

    fn source() -> Value {
        json!({
            "metadata": {"name": "database", "namespace": "default", "labels": {"team": "shop", "app.kubernetes.io/instance": "x"}},
            "type": "kubernetes.io/basic-auth",
            "immutable": true,
            "data": {"password": "czNjcjN0"},
        })
    }

    fn copied(existing: Option<&Value>) -> Result<Option<Write>, WorkloadError> {
        let settings = Settings { include_label_prefixes: vec!["*".to_owned()], ..Settings::default() };
        plan_copy(Secret, &source(), existing, &canary(), &settings)
    }

    fn created() -> Value {
        match copied(None) {
            Ok(Some(Write::Create(object))) => object,
            other => panic!("not a creation: {other:?}"),
        }
    }

    #[test]
    fn a_missing_copy_is_created_with_the_data_and_can_be_changed_later() {
        assert_eq!(
            created(),
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "database-primary", "namespace": "default", "labels": {"team": "shop"}, "ownerReferences": [owner()]},
                "type": "kubernetes.io/basic-auth",
                "data": {"password": "czNjcjN0"},
            })
        );
    }

    #[test]
    fn a_copy_that_is_up_to_date_costs_nothing() {
        assert_eq!(copied(Some(&created())), Ok(None));
    }

    #[test]
    fn a_stale_copy_follows_and_loses_keys_that_the_original_lost() {
        let mut stale = created();
        stale["metadata"]["resourceVersion"] = json!("5");
        stale["data"] = json!({"password": "b2xk", "gone": "eA=="});
        stale["binaryData"] = json!({"x": "eA=="});
        let Ok(Some(Write::Merge { id, body })) = copied(Some(&stale)) else { panic!("no patch") };
        assert_eq!(id.key, ObjectKey::new("default", "database-primary"));
        assert_eq!(
            body,
            json!({"metadata": {"resourceVersion": "5"}, "data": {"password": "czNjcjN0", "gone": null}, "binaryData": null})
        );
        assert_eq!(copied(Some(&merged(&stale, &body))), Ok(None));
    }

    #[test]
    fn a_copy_of_two_canaries_keeps_both_owners_and_does_not_flap() {
        let mut shared = created();
        let other = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "other", "uid": "o", "controller": true});
        shared["metadata"]["ownerReferences"] = json!([other]);
        let Ok(Some(Write::Merge { body, .. })) = copied(Some(&shared)) else { panic!("no patch") };
        let mut demoted = other;
        demoted["controller"] = json!(false);
        assert_eq!(body["metadata"]["ownerReferences"], json!([owner(), demoted]));
        let mut theirs_again = merged(&shared, &body);
        theirs_again["metadata"]["ownerReferences"][0]["controller"] = json!(false);
        theirs_again["metadata"]["ownerReferences"][1]["controller"] = json!(true);
        assert_eq!(copied(Some(&theirs_again)), Ok(None));
    }

    #[test]
    fn an_object_of_the_user_is_never_overwritten() {
        let theirs = json!({"metadata": {"name": "database-primary"}, "data": {"password": "dGhlaXJz"}});
        let error = copied(Some(&theirs)).unwrap_err().to_string();
        assert!(error.contains("Secret database-primary.default") && error.contains("rename it"), "{error}");
    }
}
