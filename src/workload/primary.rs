//! The primary Deployment: the target as it was when it was last promoted, under another name and label.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::autoscaler::replicas;
use super::configs::{use_copies, use_originals};
use super::metadata::{copied_annotations, copied_labels, may_be_copied_to_pods};
use super::revision::hex_digest;
use super::selector::Selector;
use super::{Settings, WorkloadError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::object::{find, items_mut, pruned, set, strings, text};
use crate::rollout::ownership::{Controller, Keys, controller_of, owner_reference, reconciled};
use crate::rollout::{Revision, Write};

/// Annotation on the primary: id of the revision that it was written for.
const REVISION: &str = "serin.dev/revision";

/// Flagger's annotation on the primary's pods, different for each promotion, which rolls the pods even where only the
/// content of a ConfigMap changed.
const FLAGGER_ID: &str = "flagger-id";

/// The revision that a primary was written for.
pub fn written_revision(primary: &Value) -> Option<String> {
    strings(primary, "/metadata/annotations").remove(REVISION)
}

/// Replicas of a new primary: the target's, at least 1. Also where an autoscaler takes over, which would else begin with
/// one pod for the traffic of all.
pub fn initial_replicas(target: &Value) -> i32 {
    replicas(target).max(1)
}

/// Replicas of a promoted primary: the target's. `None`, to leave the primary's alone, where an autoscaler owns them or
/// the target is at zero: a promotion never takes the pods away that serve users.
pub fn promoted_replicas(target: &Value, canary: &ValidatedCanary) -> Option<i32> {
    let replicas = replicas(target);
    (canary.autoscaler.is_none() && replicas > 0).then_some(replicas)
}

/// The primary that this target at this revision becomes, without anything that an API server fills in.
///
/// Give [`initial_replicas`] to create a primary, and [`promoted_replicas`] to promote one.
///
/// # Errors
/// Where the target can't be told from its primary, or is no whole Deployment.
pub fn blueprint(
    target: &Value,
    canary: &ValidatedCanary,
    revision: &Revision,
    settings: &Settings,
    replicas: Option<i32>,
) -> Result<Value, WorkloadError> {
    let selector = Selector::of(target, canary, settings)?;
    let mut labels = copied_labels(target, settings);
    labels.insert(selector.label.clone(), selector.primary_value());
    let mut annotations = copied_annotations(target);
    annotations.insert(REVISION.to_owned(), revision.id.clone());

    // What is not named here goes along as it is, so that fields of tomorrow are not lost.
    let mut spec = fields(target, "/spec", canary)?;
    spec.remove("paused");
    spec.insert("selector".to_owned(), selector.primary_selector(target));
    spec.insert("template".to_owned(), template(target, canary, &selector, revision)?);
    match replicas {
        Some(replicas) => spec.insert("replicas".to_owned(), json!(replicas)),
        None => spec.remove("replicas"),
    };
    Ok(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": canary.primary_name(),
            "namespace": canary.key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(canary)],
        },
        "spec": spec,
    }))
}

/// What creates the primary from a [`blueprint`], or brings an existing one to it; `None` where it is there already, so
/// that a replayed promotion does nothing.
///
/// An existing primary is replaced as a whole, with the version that was read as precondition: only then does it run
/// exactly what was analysed. Server-side apply would keep each container, variable or volume that Flagger or a person
/// once put there, and would set replicas to 1 when an autoscaler takes them over. What the API server, other
/// controllers or people noted in the metadata stays; a blueprint without replicas keeps the live ones.
///
/// # Errors
/// [`WorkloadError::Taken`] where the primary is somebody else's, [`WorkloadError::SelectorChanged`] where the target
/// was recreated with another selector.
pub fn plan_primary(
    blueprint: Value,
    existing: Option<&Value>,
    canary: &ValidatedCanary,
) -> Result<Option<Write>, WorkloadError> {
    match existing {
        None => Ok(Some(Write::Create(blueprint))),
        Some(primary) => promotion(primary, &blueprint, canary),
    }
}

fn promotion(primary: &Value, blueprint: &Value, canary: &ValidatedCanary) -> Result<Option<Write>, WorkloadError> {
    check_primary_owner(primary, canary)?;
    let mut object = primary.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        fields.insert("apiVersion".to_owned(), json!("apps/v1"));
        fields.insert("kind".to_owned(), json!("Deployment"));
        fields.insert("spec".to_owned(), blueprint.get("spec").cloned().unwrap_or_default());
    }
    let selector = primary.pointer("/spec/selector").cloned().unwrap_or_default();
    check_selector(&selector, blueprint, canary)?;
    set(&mut object, "spec", "selector", selector);
    if blueprint.pointer("/spec/replicas").is_none() {
        set(&mut object, "spec", "replicas", primary.pointer("/spec/replicas").cloned().unwrap_or_default());
    }
    for keys in [Keys::Labels, Keys::Annotations] {
        let wanted = strings(blueprint, &format!("/metadata/{}", keys.field()));
        let reconciled = reconciled(primary, keys, &wanted, &[]);
        set(&mut object, "metadata", keys.field(), json!(reconciled));
    }
    if controller_of(primary, canary) == Controller::Nobody {
        set(&mut object, "metadata", "ownerReferences", json!([owner_reference(canary)]));
    }
    // Left out, the API server keeps its own.
    set(&mut object, "metadata", "managedFields", Value::Null);
    Ok((!says_the_same(primary, &object)).then_some(Write::Replace(object)))
}

/// Whether a primary may be written: it belongs to this Canary, or to nobody and shows that a canary controller made it.
///
/// # Errors
/// [`WorkloadError::Taken`] where it may not.
fn check_primary_owner(primary: &Value, canary: &ValidatedCanary) -> Result<(), WorkloadError> {
    let owner = match controller_of(primary, canary) {
        Controller::Canary => return Ok(()),
        Controller::Nobody if was_generated(primary) => return Ok(()),
        Controller::Nobody => "no Canary".to_owned(),
        Controller::Other(owner) => owner,
    };
    Err(WorkloadError::Taken {
        kind: "Deployment",
        key: ObjectKey::new(&canary.key.namespace, canary.primary_name()),
        owner,
        mend: "rename it, or rename the target so that its primary gets another name",
    })
}

/// Whether there is a primary with the pod template of the [`blueprint`], but for `flagger-id`: it may have been left by
/// another controller, or an older release. Rewritten names are compared without their suffix, since releases of Flagger
/// differ in which of them they rewrite.
///
/// # Errors
/// The target has no blueprint, or the primary is not one that may be written.
pub fn matches(
    target: &Value,
    primary: Option<&Value>,
    canary: &ValidatedCanary,
    revision: &Revision,
    settings: &Settings,
) -> Result<bool, WorkloadError> {
    let blueprint = blueprint(target, canary, revision, settings, None)?;
    let Some(primary) = primary else { return Ok(false) };
    check_primary_owner(primary, canary)?;
    let normal = |deployment: &Value| {
        let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_default();
        if let Some(annotations) = template.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(FLAGGER_ID);
        }
        use_originals(&mut template);
        each_selected_value(&mut template, &mut |label, value| {
            let is_selector = settings.selector_labels.iter().any(|selector| selector == label);
            if let Some(original) = value.strip_suffix("-primary").filter(|_| is_selector) {
                *value = original.to_owned();
            }
        });
        pruned(&template)
    };
    Ok(normal(&blueprint) == normal(primary))
}

fn template(
    target: &Value,
    canary: &ValidatedCanary,
    selector: &Selector,
    revision: &Revision,
) -> Result<Value, WorkloadError> {
    let mut template = Value::Object(fields(target, "/spec/template", canary)?);
    let mut labels = strings(&template, "/metadata/labels");
    labels.retain(|key, _| may_be_copied_to_pods(key));
    labels.insert(selector.label.clone(), selector.primary_value());
    let mut annotations = strings(&template, "/metadata/annotations");
    annotations.retain(|key, _| may_be_copied_to_pods(key));
    annotations.insert(FLAGGER_ID.to_owned(), flagger_id(revision));
    set(&mut template, "metadata", "labels", json!(labels));
    set(&mut template, "metadata", "annotations", json!(annotations));
    set(&mut template, "metadata", "creationTimestamp", Value::Null);

    use_copies(&mut template, &revision.configs);
    each_selected_value(&mut template, &mut |label, value| {
        if label == selector.label && *value == selector.value {
            *value = selector.primary_value();
        }
    });
    Ok(template)
}

/// An id with the shape of Flagger's. Made from the revision, so that a promotion that is replayed after a crash does
/// not roll the pods once more.
fn flagger_id(revision: &Revision) -> String {
    let hex = hex_digest(&format!("{FLAGGER_ID} {}", revision.id), 30);
    let part = |range| hex.get(range).unwrap_or_default();
    // Version 8 and variant 8 of RFC 9562: made by the application's own rule.
    format!("{}-{}-8{}-8{}-{}", part(0..8), part(8..12), part(12..15), part(15..18), part(18..30))
}

/// Visits label and value in each selector by which pods keep near to or away from pods. Unlike Flagger's, this takes in
/// `podAffinity` too: a target that wants to be near its own kind would otherwise give a primary that waits for pods
/// of the canary.
fn each_selected_value(template: &mut Value, visit: &mut dyn FnMut(&str, &mut String)) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let mut selected = |term: Option<&mut Value>| {
        let Some(selector) = term.and_then(|term| term.get_mut("labelSelector")) else { return };
        for (label, value) in selector.get_mut("matchLabels").and_then(Value::as_object_mut).into_iter().flatten() {
            if let Value::String(value) = value {
                visit(label, value);
            }
        }
        for expression in items_mut(selector, "/matchExpressions") {
            let label = text(expression, "/key").unwrap_or_default().to_owned();
            for value in items_mut(expression, "/values") {
                if let Value::String(value) = value {
                    visit(&label, value);
                }
            }
        }
    };
    for constraint in items_mut(template, "/spec/topologySpreadConstraints") {
        selected(Some(constraint));
    }
    for affinity in ["podAffinity", "podAntiAffinity"] {
        for term in items_mut(template, &format!("/spec/affinity/{affinity}/{REQUIRED}")) {
            selected(Some(term));
        }
        for term in items_mut(template, &format!("/spec/affinity/{affinity}/{PREFERRED}")) {
            selected(term.get_mut("podAffinityTerm"));
        }
    }
}

fn fields(
    target: &Value,
    pointer: &'static str,
    canary: &ValidatedCanary,
) -> Result<Map<String, Value>, WorkloadError> {
    target.pointer(pointer).and_then(Value::as_object).cloned().ok_or_else(|| WorkloadError::Incomplete {
        target: ObjectKey::new(&canary.key.namespace, &canary.target_name),
        field: pointer,
    })
}

fn check_selector(selector: &Value, blueprint: &Value, canary: &ValidatedCanary) -> Result<(), WorkloadError> {
    let pods = strings(blueprint, "/spec/template/metadata/labels");
    let wanted: BTreeMap<_, _> = strings(selector, "/matchLabels");
    match wanted.into_iter().find(|(label, value)| pods.get(label) != Some(value)) {
        None => Ok(()),
        Some((label, value)) => Err(WorkloadError::SelectorChanged {
            primary: ObjectKey::new(&canary.key.namespace, canary.primary_name()),
            label,
            value,
        }),
    }
}

fn was_generated(primary: &Value) -> bool {
    written_revision(primary).is_some()
        || strings(primary, "/spec/template/metadata/annotations").contains_key(FLAGGER_ID)
}

fn says_the_same(live: &Value, desired: &Value) -> bool {
    let part = |object: &Value, pointer| find(object, pointer).map_or(Value::Null, pruned);
    ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences"]
        .iter()
        .all(|pointer| part(live, pointer) == part(desired, pointer))
}

#[cfg(test)]
mod tests {
    use super::super::configs::references;
    use super::super::testing::{canary, owner, target};
    use super::*;
    use crate::api::checked::Autoscaler;

    fn revision() -> Revision {
        let tracked = ["configmap/colours", "configmap/settings", "secret/database", "secret/signing"];
        Revision {
            id: "0123456789ab".to_owned(),
            template_hash: String::new(),
            configs: tracked.iter().map(|key| ((*key).to_owned(), "sum".to_owned())).collect(),
        }
    }

    fn settings() -> Settings {
        Settings { include_label_prefixes: vec!["team".to_owned()], ..Settings::default() }
    }

    fn made_from(target: &Value) -> Value {
        blueprint(target, &canary(), &revision(), &settings(), Some(2)).unwrap()
    }

    /// The blueprint as an API server would give it back.
    fn stored() -> Value {
        let mut primary = made_from(&target());
        primary["metadata"]["resourceVersion"] = json!("41");
        primary["metadata"]["uid"] = json!("p");
        primary["metadata"]["generation"] = json!(1);
        primary["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
        primary["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        primary["spec"]["template"]["metadata"]["creationTimestamp"] = json!(null);
        primary["status"] = json!({"replicas": 2});
        primary
    }

    #[test]
    fn golden_primary() {
        insta::assert_json_snapshot!(made_from(&target()));
    }

    #[test]
    fn an_autoscaler_owns_the_replicas() {
        let primary = blueprint(&target(), &canary(), &revision(), &settings(), None).unwrap();
        assert_eq!(primary.pointer("/spec/replicas"), None);
    }

    #[test]
    fn a_new_primary_is_never_made_without_pods() {
        for (replicas, expected) in [(json!(3), 3), (json!(0), 1), (json!(null), 1)] {
            assert_eq!(initial_replicas(&json!({"spec": {"replicas": replicas}})), expected);
        }
    }

    #[test]
    fn a_promotion_never_takes_the_pods_away() {
        let mut scaled = canary();
        scaled.autoscaler =
            Some(Autoscaler { name: "web".to_owned(), primary_min_replicas: None, primary_max_replicas: None });
        let cases = [
            (canary(), json!(3), Some(3)),
            (canary(), json!(0), None),
            (canary(), json!(null), Some(1)),
            (scaled, json!(3), None),
        ];
        for (canary, replicas, expected) in cases {
            assert_eq!(promoted_replicas(&json!({"spec": {"replicas": replicas}}), &canary), expected, "{replicas}");
        }
    }

    #[test]
    fn flagger_id_follows_the_revision_and_nothing_else() {
        let other = Revision { id: "ffff".to_owned(), ..revision() };
        assert_eq!(flagger_id(&revision()), flagger_id(&revision()));
        assert_ne!(flagger_id(&revision()), flagger_id(&other));
        let lengths: Vec<_> = flagger_id(&revision()).split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }

    #[test]
    fn a_broken_target_is_refused_by_name() {
        let mut broken = target();
        broken["spec"]["template"] = json!(null);
        let error = blueprint(&broken, &canary(), &revision(), &settings(), None).unwrap_err().to_string();
        assert!(error.contains("Deployment frontend.default has no /spec/template"), "{error}");
    }

    #[test]
    fn a_missing_primary_is_created_and_a_replayed_promotion_does_nothing() {
        let blueprint = || made_from(&target());
        assert_eq!(plan_primary(blueprint(), None, &canary()), Ok(Some(Write::Create(blueprint()))));
        assert_eq!(plan_primary(blueprint(), Some(&stored()), &canary()), Ok(None));
    }

    fn promoted(primary: &Value, blueprint: &Value) -> Value {
        match promotion(primary, blueprint, &canary()) {
            Ok(Some(Write::Replace(object))) => object,
            other => panic!("not a replacement: {other:?}"),
        }
    }

    #[test]
    fn a_promotion_leaves_nothing_that_the_new_revision_does_not_have() {
        let mut old = stored();
        old["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "DROPPED", "value": "1"}]);
        old["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        old["spec"]["paused"] = json!(true);
        let object = promoted(&old, &made_from(&target()));
        assert_eq!(object["spec"], made_from(&target())["spec"]);
    }

    #[test]
    fn a_promotion_carries_its_precondition_and_keeps_what_others_noted() {
        let mut old = stored();
        old["metadata"]["annotations"]["someone"] = json!("else");
        old["metadata"]["annotations"]["serin.dev/revision"] = json!("old");
        let object = promoted(&old, &made_from(&target()));
        assert_eq!(object["metadata"]["resourceVersion"], "41");
        assert_eq!(
            object["metadata"]["annotations"],
            json!({
                "owner": "shop@example.com",
                "someone": "else",
                "deployment.kubernetes.io/revision": "1",
                "serin.dev/revision": "0123456789ab",
            })
        );
        assert_eq!((object.get("status"), object.pointer("/metadata/managedFields")), (None, None));
    }

    #[test]
    fn replicas_follow_the_blueprint_or_else_stay() {
        let mut old = stored();
        old["spec"]["replicas"] = json!(7);
        for (replicas, expected) in [(None, 7), (Some(3), 3)] {
            let mut revision = revision();
            revision.id = "new".to_owned();
            let blueprint = blueprint(&target(), &canary(), &revision, &settings(), replicas).unwrap();
            assert_eq!(promoted(&old, &blueprint)["spec"]["replicas"], expected, "{replicas:?}");
        }
    }

    #[test]
    fn the_selector_of_a_primary_stays_and_must_fit_the_new_pods() {
        let mut of_flagger = stored();
        of_flagger["spec"]["template"]["spec"]["containers"][0]["image"] = json!("frontend:0");
        let mut two_labels = target();
        two_labels["spec"]["selector"]["matchLabels"]["version"] = json!("v1");
        let object = promoted(&of_flagger, &made_from(&two_labels));
        assert_eq!(object["spec"]["selector"], json!({"matchLabels": {"app": "frontend-primary"}}));

        of_flagger["spec"]["selector"]["matchLabels"]["version"] = json!("v0");
        let error = promotion(&of_flagger, &made_from(&target()), &canary()).unwrap_err().to_string();
        assert!(error.contains("version=v0") && error.contains("delete frontend-primary.default"), "{error}");
    }

    #[test]
    fn only_a_generated_primary_is_written() {
        let with = |change: fn(&mut Value)| {
            let mut primary = stored();
            change(&mut primary);
            check_primary_owner(&primary, &canary()).map_err(|error| error.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|primary| primary["metadata"]["ownerReferences"] = json!([])), Ok(()));
        let theirs = with(|primary| {
            primary["metadata"] = json!({"name": "frontend-primary"});
            primary["spec"]["template"]["metadata"]["annotations"] = json!({});
        });
        assert!(theirs.is_err_and(|error| error.contains("belongs to no Canary")));
        let others = with(|primary| primary["metadata"]["ownerReferences"][0]["name"] = json!("other"));
        assert!(others.is_err_and(|error| error.contains("belongs to Canary other")));
    }

    #[test]
    fn a_primary_without_owner_gets_one_at_promotion() {
        let mut orphan = stored();
        orphan["metadata"]["ownerReferences"] = json!([]);
        assert_eq!(promoted(&orphan, &made_from(&target()))["metadata"]["ownerReferences"], json!([owner()]));
    }

    #[test]
    fn a_primary_that_runs_what_the_target_would_matches_it() {
        type Change = fn(&mut Value);
        let cases: [(&str, bool, Change); 7] = [
            ("as written", true, |_| ()),
            ("another flagger-id", true, |primary| {
                primary["spec"]["template"]["metadata"]["annotations"]["flagger-id"] = json!("x");
            }),
            ("init containers not rewritten, as Flagger did before 1.44", true, |primary| {
                primary["spec"]["template"]["spec"]["initContainers"][0]["envFrom"][0]["secretRef"]["name"] =
                    json!("database");
            }),
            ("affinity not rewritten", true, |primary| {
                primary["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]["app"] =
                    json!("frontend");
            }),
            ("another image", false, |primary| {
                primary["spec"]["template"]["spec"]["containers"][0]["image"] = json!("frontend:0");
            }),
            ("an annotation more", false, |primary| {
                primary["spec"]["template"]["metadata"]["annotations"]["new"] = json!("1");
            }),
            ("the target's label", false, |primary| {
                primary["spec"]["template"]["metadata"]["labels"]["app"] = json!("frontend");
            }),
        ];
        for (name, expected, change) in cases {
            let mut primary = stored();
            change(&mut primary);
            let found = matches(&target(), Some(&primary), &canary(), &revision(), &settings()).unwrap();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn all_tracked_names_in_the_primary_are_those_of_the_copies() {
        let primary = made_from(&target());
        let names: Vec<_> = references(&primary).into_keys().map(|reference| reference.name).collect();
        assert_eq!(names, ["colours-primary", "extra", "settings-primary", "database-primary", "signing-primary"]);
    }

    #[test]
    fn pods_that_want_to_be_near_their_own_kind_get_their_own_kind() {
        let mut target = target();
        target["spec"]["template"]["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            [0]["labelSelector"]["matchLabels"]["app"] = json!("frontend");
        assert_eq!(
            made_from(&target)["spec"]["template"]["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                [0]["labelSelector"]["matchLabels"]["app"],
            "frontend-primary"
        );
    }
}
