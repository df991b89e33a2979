//! The primary's autoscaler, and how the target is scaled.

use serde_json::{Value, json};

use super::metadata::copied_labels;
use super::{Settings, WorkloadError};
use crate::api::checked::{Autoscaler, ObjectKey, ValidatedCanary};
use crate::rollout::object::{count, integer, set, text};
use crate::rollout::ownership::{Controller, Keys, controller_of, owner_reference, reconciled};
use crate::rollout::{ResourceId, Write};

const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

/// What creates the primary's `HorizontalPodAutoscaler` from the target's, or with `update` brings an existing one up to
/// date; `None` where nothing differs. The whole spec is copied but for the target of the scaling, and the bounds that
/// the Canary overrides.
///
/// # Errors
/// [`WorkloadError::Taken`] where one of that name belongs to somebody else, [`WorkloadError::AutoscalerBounds`] where an
/// override contradicts the other bound.
pub fn plan_autoscaler(
    autoscaler: &Autoscaler,
    hpa: &Value,
    existing: Option<&Value>,
    update: bool,
    canary: &ValidatedCanary,
    settings: &Settings,
) -> Result<Option<Write>, WorkloadError> {
    if existing.is_some() && !update {
        return Ok(None);
    }
    let key = ObjectKey::new(&canary.key.namespace, format!("{}-primary", autoscaler.name));
    let spec = spec(autoscaler, hpa, canary, &key)?;
    let labels = copied_labels(hpa, settings);
    let Some(live) = existing else {
        let mut object = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": key.name, "namespace": key.namespace, "ownerReferences": [owner_reference(canary)]},
            "spec": spec,
        });
        set(&mut object, "metadata", "labels", json!(labels));
        return Ok(Some(Write::Create(object)));
    };
    let owner = match controller_of(live, canary) {
        Controller::Canary => None,
        Controller::Nobody => Some("no Canary".to_owned()),
        Controller::Other(owner) => Some(owner),
    };
    if let Some(owner) = owner {
        return Err(WorkloadError::Taken {
            kind: KIND,
            key,
            owner,
            mend: "delete or rename it; this Canary makes one for its primary",
        });
    }
    let mut object = live.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".to_owned(), spec);
    }
    let labels = reconciled(live, Keys::Labels, &labels, &[]);
    set(&mut object, "metadata", "labels", json!(labels));
    Ok(Write::update(ResourceId::new(API_VERSION, KIND, key), live, &object))
}

fn spec(
    autoscaler: &Autoscaler,
    hpa: &Value,
    canary: &ValidatedCanary,
    key: &ObjectKey,
) -> Result<Value, WorkloadError> {
    let mut copy = json!({"spec": hpa.get("spec").cloned().unwrap_or_default()});
    let scaled = |field| text(hpa, &format!("/spec/scaleTargetRef/{field}"));
    let reference = json!({
        "apiVersion": scaled("apiVersion").unwrap_or("apps/v1"),
        "kind": scaled("kind").unwrap_or("Deployment"),
        "name": canary.primary_name(),
    });
    set(&mut copy, "spec", "scaleTargetRef", reference);
    for (field, value) in
        [("minReplicas", autoscaler.primary_min_replicas), ("maxReplicas", autoscaler.primary_max_replicas)]
    {
        if let Some(value) = value {
            set(&mut copy, "spec", field, json!(value));
        }
    }
    match (integer(&copy, "/spec/minReplicas"), integer(&copy, "/spec/maxReplicas")) {
        (Some(min), Some(max)) if min > max => Err(WorkloadError::AutoscalerBounds { key: key.clone(), min, max }),
        _ => Ok(copy.get("spec").cloned().unwrap_or_default()),
    }
}

/// `spec.replicas` of a Deployment; 1, as the API server has it, where it doesn't say.
pub fn replicas(deployment: &Value) -> i32 {
    count(deployment, "/spec/replicas").unwrap_or(1)
}

/// Replicas to which a target at zero is scaled: its autoscaler's minimum; without one as many as the primary has; at
/// least 1. A target that is not at zero keeps what it has.
pub fn scale_up_replicas(target: &Value, primary: Option<&Value>, hpa: Option<&Value>) -> i32 {
    let model = match hpa {
        Some(hpa) => count(hpa, "/spec/minReplicas"),
        None => primary.and_then(|primary| count(primary, "/spec/replicas")),
    };
    match replicas(target) {
        0 => model.unwrap_or(1).max(1),
        current => current,
    }
}

/// Scales the target; `None` where it has as many replicas already.
///
/// This is server-side apply of that one field, so that Flux and Argo CD can be told to leave it to us. It is all that
/// Serin ever applies to a target: another apply without this field would give it up, and set replicas to 1. The uid
/// keeps the apply from creating a Deployment where the target was just deleted, the version from taking the pods of a
/// later run where it lands late.
pub fn plan_scale(target: &Value, wanted: i32) -> Option<Write> {
    if replicas(target) == wanted {
        return None;
    }
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": wanted},
    });
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        set(&mut object, "metadata", field, json!(text(target, &format!("/metadata/{field}"))));
    }
    Some(Write::Apply(object))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{canary, merged, owner, target};
    use super::*;

    fn autoscaler() -> Autoscaler {
        Autoscaler { name: "web".to_owned(), primary_min_replicas: None, primary_max_replicas: None }
    }

    fn hpa() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "default", "labels": {"team": "shop"}, "annotations": {"note": "x"}},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
                "minReplicas": 2,
                "maxReplicas": 9,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
            "status": {"currentReplicas": 2},
        })
    }

    fn planned(
        autoscaler: &Autoscaler,
        existing: Option<&Value>,
        update: bool,
    ) -> Result<Option<Write>, WorkloadError> {
        plan_autoscaler(autoscaler, &hpa(), existing, update, &canary(), &Settings::default())
    }

    fn created() -> Value {
        match planned(&autoscaler(), None, false) {
            Ok(Some(Write::Create(object))) => object,
            other => panic!("not a creation: {other:?}"),
        }
    }

    #[test]
    fn the_primary_gets_a_copy_that_scales_the_primary() {
        let mut spec = hpa()["spec"].clone();
        spec["scaleTargetRef"]["name"] = json!("frontend-primary");
        assert_eq!(
            created(),
            json!({
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "web-primary", "namespace": "default", "ownerReferences": [owner()]},
                "spec": spec,
            })
        );
    }

    #[test]
    fn overridden_bounds_hold_for_the_copy() {
        let autoscaler = Autoscaler { primary_min_replicas: Some(5), primary_max_replicas: Some(20), ..autoscaler() };
        let Ok(Some(Write::Create(object))) = planned(&autoscaler, None, true) else { panic!("not a creation") };
        assert_eq!((&object["spec"]["minReplicas"], &object["spec"]["maxReplicas"]), (&json!(5), &json!(20)));
    }

    #[test]
    fn an_existing_copy_follows_only_where_it_is_asked_for() {
        let mut stale = created();
        stale["spec"]["maxReplicas"] = json!(4);
        stale["spec"]["metrics"] = json!([]);
        stale["spec"]["gone"] = json!(1);
        stale["status"] = json!({"currentReplicas": 3});
        assert_eq!(planned(&autoscaler(), Some(&stale), false), Ok(None));
        let Ok(Some(Write::Merge { id, body })) = planned(&autoscaler(), Some(&stale), true) else {
            panic!("no patch")
        };
        assert_eq!(id.key.name, "web-primary");
        assert_eq!(body, json!({"spec": {"maxReplicas": 9, "metrics": hpa()["spec"]["metrics"], "gone": null}}));
        assert_eq!(planned(&autoscaler(), Some(&merged(&stale, &body)), true), Ok(None));
    }

    #[test]
    fn contradicting_bounds_and_foreign_autoscalers_are_refused() {
        let wide = Autoscaler { primary_min_replicas: Some(10), ..autoscaler() };
        let error = planned(&wide, None, true).unwrap_err().to_string();
        assert!(error.contains("minReplicas 10 above maxReplicas 9"), "{error}");
        let mut theirs = created();
        theirs["metadata"]["ownerReferences"] = json!([]);
        let error = planned(&autoscaler(), Some(&theirs), true).unwrap_err().to_string();
        assert!(error.contains("HorizontalPodAutoscaler web-primary.default"), "{error}");
    }

    #[test]
    fn a_target_at_zero_comes_up_as_large_as_its_autoscaler_or_primary_says() {
        let replicas = |replicas: Value| json!({"spec": {"replicas": replicas}});
        let minimum = |replicas: Value| json!({"spec": {"minReplicas": replicas}});
        let cases = [
            (replicas(json!(3)), Some(replicas(json!(5))), None, 3),
            (replicas(json!(0)), Some(replicas(json!(5))), None, 5),
            (replicas(json!(0)), Some(replicas(json!(0))), None, 1),
            (replicas(json!(0)), None, None, 1),
            (replicas(json!(0)), Some(replicas(json!(5))), Some(minimum(json!(2))), 2),
            (replicas(json!(0)), Some(replicas(json!(5))), Some(minimum(json!(null))), 1),
            (replicas(json!(null)), Some(replicas(json!(5))), None, 1),
        ];
        for (target, primary, hpa, expected) in cases {
            assert_eq!(
                scale_up_replicas(&target, primary.as_ref(), hpa.as_ref()),
                expected,
                "{target} {primary:?} {hpa:?}"
            );
        }
    }

    #[test]
    fn scaling_names_the_replicas_and_nothing_else() {
        assert_eq!(
            plan_scale(&target(), 0),
            Some(Write::Apply(json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": "frontend",
                    "namespace": "default",
                    "uid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
                    "resourceVersion": "100",
                },
                "spec": {"replicas": 0},
            })))
        );
        assert_eq!(plan_scale(&target(), 2), None);
    }
}
