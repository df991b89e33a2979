//! Gateway API v1: one generated `HTTPRoute` with the name of the apex Service.
//!
//! It has one rule with two backends, primary and canary, whose weights sum to 100. The canary stays named at weight 0,
//! as with Flagger: its Service exists before the route does, a backend of weight 0 gets no request (Gateway API,
//! `BackendRef.weight`), and a data plane need not learn a new backend at the first step.
//!
//! A route that is there is changed by a merge patch: lists as a whole, what others put on it left alone. Server-side
//! apply could not take away what another manager (Flagger, a restore from a backup, `kubectl edit`) set.

mod confirmation;
mod defaults;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::confirmation::objection;
use super::Router;
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::object::{integer, items, set, strings, text};
use crate::rollout::ownership::{Controller, GITOPS_MARKS, Keys, controller_of, owner_reference, reconciled};
use crate::rollout::{Intent, ResourceId, Traffic, Write};

const API_VERSION: &str = "gateway.networking.k8s.io/v1";
const KIND: &str = "HTTPRoute";

/// Annotation: the revision from which a rollback took the traffic.
const WITHDRAWN: &str = "serin.dev/withdrawn";

/// Provider `gatewayapi:v1`.
pub struct GatewayApi;

impl Router for GatewayApi {
    fn resource(&self, canary: &ValidatedCanary) -> Option<ResourceId> {
        Some(id(canary))
    }

    /// The canary's weight is its share of all weights of its rule, rounded up so that exposure is never understated; of
    /// several rules the largest; 0 where the route doesn't name the canary. Applied means that each wanted parent
    /// accepted the route as it is now and resolved its backends.
    fn read(&self, canary: &ValidatedCanary, observed: Option<&Value>) -> Traffic {
        let name = id(canary).key;
        let Some(route) = observed else {
            return Traffic { message: format!("HTTPRoute {name} does not exist yet"), ..Traffic::default() };
        };
        let canary_weight =
            items(route, "/spec/rules").iter().map(|rule| canary_share(canary, rule)).max().unwrap_or(0);
        let objection = match controller_of(route, canary) {
            Controller::Other(owner) => Some(format!(
                "HTTPRoute {name} belongs to {owner} and is left alone: give this Canary another spec.service.name"
            )),
            _ => canary.service.gateway_refs.iter().find_map(|parent| objection(route, parent, &name)),
        };
        Traffic {
            canary_weight: Some(canary_weight),
            applied: objection.is_none(),
            message: objection.unwrap_or_default(),
            withdrawn: strings(route, "/metadata/annotations")
                .remove(WITHDRAWN)
                .filter(|revision| !revision.is_empty()),
        }
    }

    /// A route that somebody else controls (another Canary) is left alone; [`Router::read`] says so.
    fn plan(&self, canary: &ValidatedCanary, observed: Option<&Value>, intent: &Intent) -> Vec<Write> {
        match observed {
            None => vec![Write::Create(created(canary, intent))],
            Some(route) if matches!(controller_of(route, canary), Controller::Other(_)) => Vec::new(),
            Some(route) => Write::update(id(canary), route, &repaired(canary, route, intent)).into_iter().collect(),
        }
    }
}

fn id(canary: &ValidatedCanary) -> ResourceId {
    ResourceId::new(API_VERSION, KIND, ObjectKey::new(&canary.key.namespace, &canary.service.name))
}

fn created(canary: &ValidatedCanary, intent: &Intent) -> Value {
    let mut route = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": canary.service.name,
            "namespace": canary.key.namespace,
            "annotations": annotations(canary, intent),
            "ownerReferences": [owner_reference(canary)],
        },
        "spec": {"parentRefs": canary.service.gateway_refs, "rules": [rule(canary, intent)]},
    });
    set(&mut route, "metadata", "labels", json!(canary.service.apex.labels));
    set(&mut route, "spec", "hostnames", json!(canary.service.hosts));
    route
}

/// The live route with what is ours as it shall be. A part that says the same in other words (defaults filled in by the
/// API server) is left as it is. No owner is added: a route that a person made must not go with the Canary.
fn repaired(canary: &ValidatedCanary, live: &Value, intent: &Intent) -> Value {
    let mut route = live.clone();
    let same = |pointer, wanted: &[Value], normal: fn(&Value) -> Value| {
        let live = items(live, pointer);
        live == wanted || live.iter().map(normal).eq(wanted.iter().map(normal))
    };
    let rules = [rule(canary, intent)];
    if !same("/spec/rules", &rules, defaults::rule) {
        set(&mut route, "spec", "rules", json!(rules));
    }
    if !same("/spec/parentRefs", &canary.service.gateway_refs, defaults::parent) {
        set(&mut route, "spec", "parentRefs", json!(canary.service.gateway_refs));
    }
    if items(live, "/spec/hostnames").iter().ne(canary.service.hosts.iter().map(String::as_str)) {
        set(&mut route, "spec", "hostnames", json!(canary.service.hosts));
    }
    let labels = reconciled(live, Keys::Labels, &canary.service.apex.labels, &[]);
    set(&mut route, "metadata", "labels", json!(labels));
    let mut notes = reconciled(live, Keys::Annotations, &annotations(canary, intent), &[]);
    if intent.withdrawn.is_none() {
        notes.remove(WITHDRAWN);
    }
    set(&mut route, "metadata", "annotations", json!(notes));
    route
}

fn annotations(canary: &ValidatedCanary, intent: &Intent) -> BTreeMap<String, String> {
    let mut annotations = canary.service.apex.annotations.clone();
    annotations.extend(GITOPS_MARKS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    annotations.extend(intent.withdrawn.iter().map(|revision| (WITHDRAWN.to_owned(), revision.clone())));
    annotations
}

fn rule(canary: &ValidatedCanary, intent: &Intent) -> Value {
    let service = &canary.service;
    let weight = intent.canary_weight.clamp(0, 100);
    let backend = |name: String, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": service.port, "weight": weight});
    let everything = [json!({"path": {"type": "PathPrefix", "value": "/"}})];
    let matches = if service.matches.is_empty() { &everything[..] } else { &service.matches };
    let mut holder = json!({"rule": {
        "matches": matches,
        "backendRefs": [backend(service.primary_name(), 100 - weight), backend(service.canary_name(), weight)],
    }});
    set(&mut holder, "rule", "filters", json!(service.filters));
    let timeouts: BTreeMap<_, _> = [("request", &service.timeout), ("backendRequest", &service.backend_timeout)]
        .into_iter()
        .filter_map(|(field, timeout)| timeout.as_ref().map(|timeout| (field, timeout)))
        .collect();
    set(&mut holder, "rule", "timeouts", json!(timeouts));
    holder.get("rule").cloned().unwrap_or_default()
}

/// Share of the canary in a rule, in per cent, rounded up.
fn canary_share(canary: &ValidatedCanary, rule: &Value) -> i32 {
    let rule = defaults::rule(rule);
    let weights = |wanted: &dyn Fn(&Value) -> bool| -> i64 {
        items(&rule, "/backendRefs")
            .iter()
            .filter(|backend| wanted(backend))
            .map(|backend| integer(backend, "/weight").unwrap_or(1).clamp(0, 1_000_000))
            .sum()
    };
    let canary_name = canary.service.canary_name();
    let share = |backend: &Value| {
        text(backend, "/name") == Some(&canary_name)
            && text(backend, "/kind") == Some("Service")
            && text(backend, "/namespace").is_none_or(|namespace| namespace == canary.key.namespace)
    };
    match weights(&|_| true) {
        0 => 0,
        all => i32::try_from((weights(&share) * 100 + all - 1) / all).unwrap_or(100),
    }
}

#[cfg(test)]
mod tests;
