//! What is special about pods: what admission adds, and that they hardly change.

use serde_json::{Map, Value, json};

use super::set_or_remove;
use crate::sim::api_server::errors::FieldError;

/// What a new pod gets from the admission plugins that a cluster has by default: `ServiceAccount` (but for the token's
/// volume), `DefaultTolerationSeconds` and `Priority`.
pub fn admit(spec: &mut Value) {
    let Some(fields) = spec.as_object_mut() else { return };
    for (field, value) in [
        ("serviceAccountName", json!("default")),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
    ] {
        fields.entry(field).or_insert(value);
    }
    let account = fields.get("serviceAccountName").cloned().unwrap_or_default();
    fields.insert("serviceAccount".to_owned(), account);
    let tolerations = fields.entry("tolerations").or_insert_with(|| json!([]));
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = |list: &[Value]| list.iter().any(|toleration| toleration["key"] == key);
        if let Some(list) = tolerations.as_array_mut().filter(|list| !tolerated(list)) {
            list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
}

/// The class of a pod by the resources of its containers (`GetPodQOS` of Kubernetes).
pub fn quality_of_service(spec: &Value) -> &'static str {
    let containers =
        ["initContainers", "containers"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    let amounts = |container: &Value, kind: &str| -> Map<String, Value> {
        let amounts = container["resources"][kind].as_object().into_iter().flatten();
        amounts
            .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"))
            .map(|(name, amount)| (name.clone(), amount.clone()))
            .collect()
    };
    let (mut has_any, mut is_guaranteed) = (false, true);
    for container in containers {
        let (limits, mut requests) = (amounts(container, "limits"), amounts(container, "requests"));
        has_any |= !limits.is_empty() || !requests.is_empty();
        for (name, amount) in &limits {
            requests.entry(name.clone()).or_insert_with(|| amount.clone());
        }
        is_guaranteed &= limits.len() == 2 && requests == limits;
    }
    match (has_any, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Adds what may not change in a pod's spec to `errors`: nearly everything (`ValidatePodUpdate`).
pub fn validate_update(live: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let forbidden = |message: &str| FieldError {
        field: "spec".to_owned(),
        reason: "FieldValueForbidden",
        message: format!("Forbidden: {message}"),
    };
    let mut leveled = spec.clone();
    for list in ["initContainers", "containers"] {
        let new = leveled.get_mut(list).and_then(Value::as_array_mut);
        let (Some(new), Some(old)) = (new, live[list].as_array()) else { continue };
        if new.len() != old.len() {
            errors.push(forbidden("pod updates may not add or remove containers"));
            return;
        }
        for (new, old) in new.iter_mut().zip(old) {
            set_or_remove(new, "image", old.get("image").cloned());
        }
    }
    let is_kept = |toleration: &Value| spec["tolerations"].as_array().is_some_and(|list| list.contains(toleration));
    if !live["tolerations"].as_array().is_none_or(|list| list.iter().all(is_kept)) {
        errors.push(forbidden("existing toleration can not be modified except its tolerationSeconds"));
    }
    match (live["activeDeadlineSeconds"].as_i64(), spec["activeDeadlineSeconds"].as_i64()) {
        (Some(_), None) => errors.push(forbidden("must not update from a positive integer to nil value")),
        (Some(old), Some(new)) if new > old => {
            errors.push(forbidden("must be less than or equal to previous value"));
        }
        _ => {}
    }
    for field in ["tolerations", "activeDeadlineSeconds"] {
        set_or_remove(&mut leveled, field, live.get(field).cloned());
    }
    if leveled != *live {
        errors.push(forbidden("pod updates may not change fields other than `spec.containers[*].image`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_have_the_class_of_their_resources() {
        let all = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!([{}]), "BestEffort"),
            (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
            (json!([{"resources": {"limits": all}}]), "Guaranteed"),
            (json!([{"resources": {"limits": all, "requests": {"cpu": "500m"}}}]), "Burstable"),
            (json!([{"resources": {"limits": all}}, {}]), "Burstable"),
        ];
        for (containers, class) in cases {
            assert_eq!(quality_of_service(&json!({"containers": containers})), class, "{containers}");
        }
    }

    #[test]
    fn of_a_pod_only_images_change() {
        let live = json!({"containers": [{"name": "a", "image": "a:1"}], "tolerations": [{"key": "t"}]});
        let with = |pointer: &str, value: Value| {
            let mut spec = live.clone();
            *spec.pointer_mut(pointer).unwrap() = value;
            spec
        };
        let cases = [
            (live.clone(), 0),
            (with("/containers/0/image", json!("a:2")), 0),
            (with("/tolerations", json!([{"key": "t"}, {"key": "u"}])), 0),
            (with("/tolerations", json!([])), 1),
            (with("/containers/0/name", json!("b")), 1),
            (with("/containers", json!([])), 1),
        ];
        for (spec, count) in cases {
            let mut errors = Vec::new();
            validate_update(&live, &spec, &mut errors);
            assert_eq!(errors.len(), count, "{spec}: {errors:?}");
        }
    }
}
