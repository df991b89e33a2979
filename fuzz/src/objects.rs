//! Objects of others, and a status that somebody else wrote: everything pure that reads them.
//!
//! The input is a world: a JSON object with `canary` (with its `status`), `target`, `primary`, `services`, `autoscaler`,
//! `primaryAutoscaler`, `route`, `configs` and `measurements`, all of which may be missing. `CURRENT` stands for the
//! target's revision. A few passes are made over it as the controller makes them, with what was planned applied in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use serin::analysis::{Answer, Measurement};
use serin::api::checked::ValidatedCanary;
use serin::api::status::CanaryStatus;
use serin::api::validate::validate;
use serin::cluster::status_of;
use serin::rollout::ownership::scaled_by_us;
use serin::rollout::{self, Action, Decision, Intent, Scale, Seen, Snapshot, Target, Write};
use serin::routing;
use serin::workload::{self, ConfigKind, ExistingServices, Remains, Settings};

use super::manifests::defaults;

/// Passes over one world.
const PASSES: usize = 12;

/// Makes the passes.
pub fn run(bytes: &[u8]) {
    let Some(mut world) = read(bytes) else { return };
    let Some(object) = world.get("canary").filter(|canary| canary.is_object()) else { return };
    let Ok(decoded) = serde_json::from_value(object.clone()) else { return };
    let Ok(mut status) = status_of(&decoded) else { return };
    let canary = match validate(object, &defaults()) {
        Ok(canary) => canary,
        Err(invalid) => {
            let problem = invalid.to_string();
            check_decision(&rollout::refuse(&status, i64::MAX, &problem, start()), &status);
            check_decision(&rollout::let_go(&status, &problem), &status);
            sample_canary()
        }
    };
    let mut now = start();
    for _ in 0..PASSES {
        let decision = pass(&canary, &status, &mut world, now);
        status = decision.status;
        status.pending.alerts.clear();
        // As the API server would give it back.
        let stored = serde_json::to_value(&status).unwrap_or_default();
        assert_eq!(
            serde_json::from_value::<CanaryStatus>(stored).ok().as_ref(),
            Some(&status),
            "it is stored otherwise"
        );
        let soon = now + TimeDelta::seconds(1);
        now = decision.next.map_or(soon, |next| next.clamp(soon, now + TimeDelta::days(400)));
    }
}

fn read(bytes: &[u8]) -> Option<Value> {
    let world: Value = serde_json::from_slice(bytes).ok()?;
    let revision = workload::revision(world.get("target").unwrap_or(&Value::Null), &checksums(&world));
    serde_json::from_str(&std::str::from_utf8(bytes).ok()?.replace("CURRENT", &revision.id)).ok()
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default()
}

fn pass(canary: &ValidatedCanary, status: &CanaryStatus, world: &mut Value, now: DateTime<Utc>) -> Decision {
    let seen = seen(canary, world);
    let snapshot = Snapshot { canary, status, seen: &seen, measurements: &[], now, on_watch: TimeDelta::MAX };
    let measurements = if rollout::needs(&snapshot).measurements { measurements(canary, world) } else { Vec::new() };
    let decision = rollout::decide(&Snapshot { measurements: &measurements, ..snapshot });
    check_decision(&decision, status);
    check_decision(&rollout::impeded(status, canary.generation, "no quota", now), status);
    check_decision(&rollout::retried(decision.clone(), status, canary.generation, "no quota", now), status);
    for action in &decision.actions {
        carry_out(canary, world, action);
    }
    revert(canary, world);
    decision
}

fn check_decision(decision: &Decision, before: &CanaryStatus) {
    for action in &decision.actions {
        if let Action::Route(Intent { canary_weight, .. }) = action {
            assert!((0..=100).contains(canary_weight), "weight {canary_weight}");
        }
    }
    let status = &decision.status;
    assert!((0..=100).contains(&status.canary_weight), "weight {} in the status", status.canary_weight);
    assert!(status.failed_checks >= 0 && status.iterations >= 0 && status.step >= 0, "a counter below zero");
    assert!(status.history.len() <= before.history.len().max(10), "the history grows");
    assert!(status == before || !decision.actions.is_empty(), "a status that nobody writes");
}

/// What a pass sees: the same parts, put together in the same order as `cluster` does.
fn seen(canary: &ValidatedCanary, world: &Value) -> Seen {
    let settings = Settings::default();
    let traffic = routing::router(canary.provider).read(canary, world.get("route"));
    assert!(traffic.canary_weight.is_none_or(|weight| (0..=100).contains(&weight)), "{traffic:?}");
    let primary = world.get("primary");
    let readiness =
        primary.map(|primary| workload::readiness(primary, canary.analysis.primary_ready_threshold_percent));
    let target = world.get("target").map(|target| {
        let revision = workload::revision(target, &checksums(world));
        let matches_primary = workload::matches(target, primary, canary, &revision, &settings);
        Ok(Target {
            matches_primary: matches_primary.map_err(|error| error.to_string())?,
            revision,
            replicas: workload::replicas(target),
            scaled_by_us: scaled_by_us(target),
            readiness: workload::readiness(target, canary.analysis.canary_ready_threshold_percent),
        })
    });
    let primary_revision = primary.and_then(workload::written_revision);
    let obstacle = world.get("obstacle").and_then(Value::as_str).map(str::to_owned);
    Seen { target, primary: readiness, primary_revision, traffic, obstacle }
}

fn kind_of(config: &Value) -> ConfigKind {
    if config["original"]["kind"] == "Secret" { ConfigKind::Secret } else { ConfigKind::ConfigMap }
}

fn configs(world: &Value) -> impl Iterator<Item = &Value> {
    world["configs"].as_array().into_iter().flatten()
}

fn checksums(world: &Value) -> BTreeMap<String, String> {
    let references = world.get("target").map(workload::references).unwrap_or_default();
    let mut checksums = BTreeMap::new();
    for reference in references.keys() {
        let found = configs(world).find(|config| config["original"]["metadata"]["name"] == reference.name.as_str());
        let checksum = found.and_then(|config| workload::checksum(kind_of(config), &config["original"]));
        checksums.extend(checksum.map(|checksum| (reference.to_string(), checksum)));
    }
    checksums
}

fn measurements(canary: &ValidatedCanary, world: &Value) -> Vec<Measurement> {
    let answers = world["measurements"].as_array().cloned().unwrap_or_default();
    let mut answers = answers.iter().cycle();
    let mut answer = || match answers.next() {
        Some(Value::Number(number)) => Answer::Value(number.as_f64().unwrap_or(f64::INFINITY)),
        Some(Value::String(text)) => Answer::Error(text.clone()),
        _ => Answer::NoData("nothing".to_owned()),
    };
    let checks = canary.analysis.checks.iter();
    checks.map(|check| Measurement { check: check.name.clone(), answer: answer(), sample_size: Some(1e308) }).collect()
}

/// Plans what an action asks for and applies it to the world.
fn carry_out(canary: &ValidatedCanary, world: &mut Value, action: &Action) {
    let settings = Settings::default();
    let target = world.get("target").cloned();
    match (action, target) {
        (Action::Route(intent), _) => {
            let plan = |live: Option<&Value>| routing::router(canary.provider).plan(canary, live, intent);
            settle(world, "route", &mut |live| {
                let writes = plan(live);
                writes.iter().for_each(check_route);
                writes
            });
        }
        (Action::CreatePrimary(revision) | Action::PromotePrimary(revision), Some(target)) => {
            let plan = |live: Option<&Value>| {
                let replicas = match live {
                    Some(_) => workload::promoted_replicas(&target, canary),
                    None => Some(workload::initial_replicas(&target)),
                };
                let blueprint = workload::blueprint(&target, canary, revision, &settings, replicas).ok()?;
                workload::plan_primary(blueprint, live, canary).ok().flatten()
            };
            settle(world, "primary", &mut |live| plan(live).into_iter().collect());
            copy_configs(canary, world);
        }
        (Action::Services { apex }, Some(target)) => services(canary, world, &target, *apex),
        (Action::Autoscaler { update }, Some(_)) => {
            let (Some(reference), Some(hpa)) = (&canary.autoscaler, world.get("autoscaler").cloned()) else { return };
            settle(world, "primaryAutoscaler", &mut |live| {
                let plan = workload::plan_autoscaler(reference, &hpa, live, *update, canary, &settings);
                plan.ok().flatten().into_iter().collect()
            });
        }
        (Action::ScaleTarget(scale), Some(target)) => {
            let wanted = match scale {
                Scale::Zero => 0,
                Scale::Up => workload::scale_up_replicas(&target, world.get("primary"), world.get("autoscaler")),
            };
            assert!(wanted >= 0, "{wanted} replicas");
            if workload::plan_scale(&target, wanted).is_some() && target["spec"].is_object() {
                world["target"]["spec"]["replicas"] = json!(wanted);
                assert_eq!(workload::plan_scale(&world["target"], wanted), None);
            }
        }
        _ => {}
    }
}

/// Applies a plan to what is at `place`; made again, it then has nothing to do.
fn settle(world: &mut Value, place: &str, plan: &mut dyn FnMut(Option<&Value>) -> Vec<Write>) {
    let live = world.get(place).cloned();
    let Some(write) = plan(live.as_ref()).pop() else { return };
    let Some(after) = applied(live.as_ref(), &write) else { return };
    // A merge patch can't tell a null from a field that is not there; the API server stores none in these kinds.
    if !has_null(&after) {
        let again = plan(Some(&after));
        assert!(again.is_empty(), "{place} does not settle: {again:?}");
    }
    world[place] = after;
}

fn applied(live: Option<&Value>, write: &Write) -> Option<Value> {
    match write {
        Write::Create(object) | Write::Replace(object) => Some(object.clone()),
        Write::Merge { body, .. } => {
            let mut after = live?.clone();
            json_patch::merge(&mut after, body);
            Some(after)
        }
        Write::Apply(_) => None,
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

/// A route that is written sums to 100.
pub fn check_route(write: &Write) {
    let rules = match write {
        Write::Create(object) => &object["spec"]["rules"],
        Write::Merge { body, .. } => &body["spec"]["rules"],
        other => panic!("not how a route is written: {other:?}"),
    };
    for rule in rules.as_array().into_iter().flatten() {
        let backends = rule["backendRefs"].as_array().into_iter().flatten();
        let weights: Vec<i64> = backends.map(|backend| backend["weight"].as_i64().unwrap_or(-1)).collect();
        assert!(weights.iter().all(|weight| (0..=100).contains(weight)), "{weights:?}");
        assert_eq!(weights.iter().sum::<i64>(), 100, "{weights:?}");
    }
}

fn services(canary: &ValidatedCanary, world: &mut Value, target: &Value, apex: bool) {
    let there = |world: &Value, name: &str| world["services"].get(name).cloned().map(Arc::new);
    let existing = |world: &Value| ExistingServices {
        apex: there(world, "apex"),
        primary: there(world, "primary"),
        canary: there(world, "canary"),
    };
    let plan = |world: &Value| {
        workload::plan_services(canary, &Settings::default(), target, &existing(world), apex).unwrap_or_default()
    };
    let names = [("apex", canary.service.name.clone()), ("primary", canary.service.primary_name())];
    let names = names.into_iter().chain([("canary", canary.service.canary_name())]);
    let names: BTreeMap<String, &str> = names.map(|(place, name)| (name, place)).collect();
    if !world["services"].is_object() {
        world["services"] = json!({});
    }
    for write in plan(world) {
        let name = match &write {
            Write::Merge { id, .. } => id.key.name.clone(),
            Write::Create(object) => object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            other => panic!("not how a Service is written: {other:?}"),
        };
        let Some(place) = names.get(&name) else { panic!("a Service of another name: {name}") };
        if let Some(after) = applied(there(world, place).as_deref(), &write) {
            world["services"][*place] = after;
        }
    }
    if !has_null(&world["services"]) {
        assert_eq!(plan(world), [], "the Services do not settle");
    }
}

fn copy_configs(canary: &ValidatedCanary, world: &mut Value) {
    for config in world["configs"].as_array_mut().into_iter().flatten().filter(|config| config.is_object()) {
        let (kind, original) = (kind_of(config), config["original"].clone());
        settle(config, "copy", &mut |live| {
            let plan = workload::plan_copy(kind, &original, live, canary, &Settings::default());
            plan.ok().flatten().into_iter().collect()
        });
    }
}

fn revert(canary: &ValidatedCanary, world: &Value) {
    let Some(target) = world.get("target") else { return };
    let remains = Remains {
        target,
        primary: world.get("primary"),
        autoscaler: world.get("autoscaler"),
        apex: world["services"].get("apex"),
    };
    if let Err(error) = workload::plan_revert(canary, &Settings::default(), remains) {
        assert!(!error.to_string().is_empty());
    }
}

/// A Canary without surprises.
fn sample_canary() -> ValidatedCanary {
    let canary = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "frontend", "namespace": "default", "uid": "1", "generation": 3},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
            "autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "frontend"},
            "service": {"port": 80, "portDiscovery": true},
            "analysis": {
                "interval": "1m",
                "threshold": 2,
                "stepWeight": 20,
                "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}],
            },
        },
    });
    validate(&canary, &defaults()).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// A Deployment without surprises.
pub fn sample_target() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "frontend", "namespace": "default", "uid": "2", "generation": 1},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "frontend"}},
            "template": {
                "metadata": {"labels": {"app": "frontend"}},
                "spec": {"containers": [{"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}
