//! What the API server fills into an HTTPRoute, so that an object as it was written and as it is read compare equal.
//!
//! Source: the `kubebuilder:default` markers of `sigs.k8s.io/gateway-api` v1.3, `apis/v1`.

use serde_json::{Value, json};

use crate::rollout::object::{items_mut, pruned};

/// A rule with all defaults, without nulls and empty parts.
pub fn rule(rule: &Value) -> Value {
    let mut rule = pruned(rule);
    default(&mut rule, "matches", json!([{}]));
    for condition in items_mut(&mut rule, "/matches") {
        default(condition, "path", json!({}));
        if let Some(path) = condition.get_mut("path") {
            default(path, "type", json!("PathPrefix"));
            default(path, "value", json!("/"));
        }
        for list in ["/headers", "/queryParams"] {
            for entry in items_mut(condition, list) {
                default(entry, "type", json!("Exact"));
            }
        }
    }
    for filter in items_mut(&mut rule, "/filters") {
        default_filter(filter);
    }
    for backend in items_mut(&mut rule, "/backendRefs") {
        default(backend, "weight", json!(1));
        default_backend(backend);
        for filter in items_mut(backend, "/filters") {
            default_filter(filter);
        }
    }
    rule
}

/// A parent reference with its group and kind.
pub fn parent(parent: &Value) -> Value {
    let mut parent = parent.clone();
    // An empty group is the core group and says something, so the reference is not pruned.
    if let Some(fields) = parent.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    default(&mut parent, "group", json!("gateway.networking.k8s.io"));
    default(&mut parent, "kind", json!("Gateway"));
    parent
}

fn default_filter(filter: &mut Value) {
    if let Some(mirror) = filter.get_mut("requestMirror") {
        if let Some(backend) = mirror.get_mut("backendRef") {
            default_backend(backend);
        }
        if let Some(fraction) = mirror.get_mut("fraction") {
            default(fraction, "denominator", json!(100));
        }
    }
    if let Some(redirect) = filter.get_mut("requestRedirect") {
        default(redirect, "statusCode", json!(302));
    }
    if let Some(cors) = filter.get_mut("cors") {
        default(cors, "maxAge", json!(5));
    }
}

fn default_backend(backend: &mut Value) {
    default(backend, "group", json!(""));
    default(backend, "kind", json!("Service"));
}

fn default(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(field).or_insert(value);
    }
}
