//! What a deleted Canary gives back (`revertOnDeletion`): the target its pods, and an adopted apex Service its selector.

use serde_json::{Value, json};

use super::autoscaler::{plan_scale, scale_up_replicas};
use super::selector::Selector;
use super::services::service_id;
use super::{Settings, WorkloadError};
use crate::api::checked::ValidatedCanary;
use crate::rollout::Write;
use crate::rollout::object::{count, set, strings, text};
use crate::rollout::ownership::{Controller, GITOPS_MARKS, Keys, controller_of, keys_set_by_us};

/// What `kubectl apply` last wrote, as JSON.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is there when a Canary is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Remains<'a> {
    /// The target.
    pub target: &'a Value,
    /// The primary, where it exists.
    pub primary: Option<&'a Value>,
    /// The target's autoscaler, where it has one.
    pub autoscaler: Option<&'a Value>,
    /// The apex Service, where it exists.
    pub apex: Option<&'a Value>,
}

/// What gives back what was before the Canary; nothing where all is given back.
///
/// The target gets as many pods as the primary has, and an apex Service that was adopted selects them again. The rollout
/// asks for this once the target is ready, so that users never meet an empty Service. An apex Service that this Canary
/// made goes with it.
///
/// # Errors
/// The errors of the target's selector.
pub fn plan_revert(
    canary: &ValidatedCanary,
    settings: &Settings,
    remains: Remains<'_>,
) -> Result<Vec<Write>, WorkloadError> {
    let Remains { target, primary, autoscaler, apex } = remains;
    let wanted = primary
        .and_then(|primary| count(primary, "/spec/replicas"))
        .unwrap_or(0)
        .max(scale_up_replicas(target, primary, autoscaler));
    let mut writes: Vec<_> = plan_scale(target, wanted).into_iter().collect();
    if let Some(apex) = apex.filter(|apex| controller_of(apex, canary) == Controller::Nobody) {
        let service = given_back(apex, &Selector::of(target, canary, settings)?);
        writes.extend(Write::update(service_id(canary, &canary.service.name), apex, &service));
    }
    Ok(writes)
}

/// An adopted Service with its own selector, as kubectl last applied it or else the target's, without our marks.
fn given_back(apex: &Value, selector: &Selector) -> Value {
    let mut annotations = strings(apex, "/metadata/annotations");
    let applied = annotations.get(LAST_APPLIED).and_then(|applied| serde_json::from_str::<Value>(applied).ok());
    let own = applied.as_ref().map(|applied| strings(applied, "/spec/selector")).filter(|own| !own.is_empty());
    let ours = keys_set_by_us(apex, Keys::Annotations);
    for (key, _) in GITOPS_MARKS {
        let in_git = applied.as_ref().is_some_and(|applied| text(applied, &pointer_to_annotation(key)).is_some());
        if ours.contains(key) && !in_git {
            annotations.remove(key);
        }
    }
    let mut service = apex.clone();
    set(&mut service, "spec", "selector", json!(own.unwrap_or_else(|| selector.canary_labels())));
    set(&mut service, "metadata", "annotations", json!(annotations));
    service
}

fn pointer_to_annotation(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{canary, merged, owner, target};
    use super::*;

    fn sized(replicas: i32) -> Value {
        let mut target = target();
        target["spec"]["replicas"] = json!(replicas);
        target["status"] = json!({
            "observedGeneration": 3, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
        });
        target
    }

    fn adopted(last_applied: Option<&Value>) -> Value {
        let mut service = json!({
            "metadata": {
                "name": "frontend",
                "annotations": {
                    "note": "stays",
                    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
                },
                "managedFields": [{"manager": "serin", "fieldsV1": {"f:metadata": {"f:annotations": {
                    "f:kustomize.toolkit.fluxcd.io/reconcile": {}, "f:helm.toolkit.fluxcd.io/driftDetection": {},
                }}}}],
            },
            "spec": {"selector": {"app": "frontend-primary"}},
        });
        if let Some(last_applied) = last_applied {
            service["metadata"]["annotations"][LAST_APPLIED] = json!(last_applied.to_string());
        }
        service
    }

    fn planned(target: &Value, primary: Option<&Value>, apex: Option<&Value>) -> Vec<Write> {
        plan_revert(&canary(), &Settings::default(), Remains { target, primary, autoscaler: None, apex }).unwrap()
    }

    #[test]
    fn the_target_gets_the_pods_that_the_primary_has() {
        let cases =
            [(0, Some(4), Some(4)), (0, None, Some(1)), (1, Some(4), Some(4)), (6, Some(4), None), (4, Some(4), None)];
        for (target, primary, expected) in cases {
            let primary = primary.map(sized);
            let scaled: Vec<_> = planned(&sized(target), primary.as_ref(), None)
                .iter()
                .map(|write| match write {
                    Write::Apply(object) => count(object, "/spec/replicas"),
                    other => panic!("not a scaling: {other:?}"),
                })
                .collect();
            assert_eq!(scaled, expected.map(Some).into_iter().collect::<Vec<_>>(), "target {target}");
        }
    }

    #[test]
    fn an_adopted_service_selects_the_target_again_without_our_marks() {
        let writes = planned(&sized(2), Some(&sized(2)), Some(&adopted(None)));
        let [Write::Merge { body, .. }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
        assert_eq!(
            *body,
            json!({
                "metadata": {"annotations": {
                    "kustomize.toolkit.fluxcd.io/reconcile": null, "helm.toolkit.fluxcd.io/driftDetection": null,
                }},
                "spec": {"selector": {"app": "frontend"}},
            })
        );
        assert_eq!(planned(&sized(2), Some(&sized(2)), Some(&merged(&adopted(None), body))), []);
    }

    #[test]
    fn what_kubectl_last_applied_is_restored_exactly() {
        let last_applied = json!({
            "metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}},
            "spec": {"selector": {"app": "frontend", "release": "stable"}},
        });
        let writes = planned(&sized(2), None, Some(&adopted(Some(&last_applied))));
        let [Write::Merge { body, .. }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
        assert_eq!(
            *body,
            json!({
                "metadata": {"annotations": {"helm.toolkit.fluxcd.io/driftDetection": null}},
                "spec": {"selector": {"app": "frontend", "release": "stable"}},
            })
        );
    }

    #[test]
    fn an_own_service_goes_with_its_canary() {
        let mut own = adopted(None);
        own["metadata"]["ownerReferences"] = json!([owner()]);
        assert_eq!(planned(&sized(2), None, Some(&own)), []);
    }
}
