//! The HorizontalPodAutoscaler: keeps the replicas of its target within the bounds.
//!
//! There are no metrics: how many replicas it wants within the bounds is said from outside, and as many as there are
//! otherwise. Source: `reconcileAutoscaler` in `pkg/controller/podautoscaler/horizontal.go` of Kubernetes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::api_server::{ApiServer, Change, ChangeKind};
use super::metadata::{key, kind, timestamp, uid};
use super::model::Model;
use crate::api::checked::ObjectKey;
use crate::rollout::ResourceId;
use crate::rollout::object::{integer, text};

const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

/// All autoscalers of a cluster.
pub struct Autoscalers {
    period: Duration,
    by_name: BTreeMap<ObjectKey, Autoscaler>,
    /// The Deployments, which may be targets.
    targets: BTreeMap<ObjectKey, Arc<Value>>,
    /// How many replicas somebody outside wants.
    wanted: BTreeMap<ObjectKey, i64>,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Autoscaler {
    uid: String,
    object: Arc<Value>,
    /// When it was new: it looks at its target a whole number of periods later.
    since: Instant,
    /// When it looks next; `None` while nothing has changed, so that it would find nothing to do.
    due: Option<Instant>,
    status: Option<Status>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    current: i64,
    desired: i64,
    /// Status, reason and message of `AbleToScale`.
    able: [&'static str; 3],
    /// The same of `ScalingActive`.
    active: Option<[&'static str; 3]>,
    /// The same of `ScalingLimited`.
    limited: Option<[&'static str; 3]>,
}

const ABLE: [&str; 3] = ["True", "SucceededGetScale", "the HPA controller was able to get the target's current scale"];
const RESCALED: [&str; 3] = ["True", "SucceededRescale", "the HPA controller was able to update the target scale"];
const NO_TARGET: [&str; 3] =
    ["False", "FailedGetScale", "the HPA controller was unable to get the target's current scale"];
const DISABLED: [&str; 3] =
    ["False", "ScalingDisabled", "scaling is disabled since the replica count of the target is zero"];
const VALID: [&str; 3] = ["True", "ValidMetricFound", "the HPA was able to successfully calculate a replica count"];
const TOO_FEW: [&str; 3] =
    ["True", "TooFewReplicas", "the desired replica count is less than the minimum replica count"];
const TOO_MANY: [&str; 3] =
    ["True", "TooManyReplicas", "the desired replica count is more than the maximum replica count"];
const WITHIN: [&str; 3] = ["False", "DesiredWithinRange", "the desired count is within the acceptable range"];

impl Autoscalers {
    /// A cluster without autoscalers. Each looks at its target once in a `period`.
    pub fn new(period: Duration) -> Self {
        Self { period, by_name: BTreeMap::new(), targets: BTreeMap::new(), wanted: BTreeMap::new(), paused_until: None }
    }

    /// Sets how many replicas an autoscaler wants from now on, within its bounds; `None`: as many as there are.
    pub fn want(&mut self, name: &ObjectKey, replicas: Option<i64>, now: Instant) {
        match replicas {
            Some(replicas) => self.wanted.insert(name.clone(), replicas),
            None => self.wanted.remove(name),
        };
        let period = self.period;
        if let Some(autoscaler) = self.by_name.get_mut(name) {
            autoscaler.schedule(period, now);
        }
    }

    /// Lets them do nothing until then.
    pub fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    fn target_changed(&mut self, change: &Change, now: Instant) {
        let target = key(&change.object);
        let counts = |object: &Value| ["/spec/replicas", "/status/replicas"].map(|pointer| integer(object, pointer));
        let before = if change.kind == ChangeKind::Deleted {
            self.targets.remove(&target)
        } else {
            self.targets.insert(target.clone(), change.object.clone())
        };
        let after = self.targets.get(&target);
        if before.map(|before| counts(&before)) == after.map(|after| counts(after)) {
            return;
        }
        for (name, autoscaler) in &mut self.by_name {
            if name.namespace == target.namespace && autoscaler.target() == Some(&target.name) {
                autoscaler.schedule(self.period, now);
            }
        }
    }

    fn autoscaler_changed(&mut self, change: &Change, now: Instant) {
        let name = key(&change.object);
        if change.kind == ChangeKind::Deleted {
            self.by_name.remove(&name);
            return;
        }
        match self.by_name.get_mut(&name).filter(|known| known.uid == uid(&change.object)) {
            Some(known) if known.object.get("spec") == change.object.get("spec") => {}
            Some(known) => {
                known.object = change.object.clone();
                known.schedule(self.period, now);
            }
            None => {
                let (uid, object) = (uid(&change.object).to_owned(), change.object.clone());
                // The queue of the real one hands a new autoscaler out after one period.
                let due = Some(now + self.period);
                self.by_name.insert(name, Autoscaler { uid, object, since: now, due, status: None });
            }
        }
    }
}

impl Model for Autoscalers {
    fn changed(&mut self, _: &ApiServer, change: &Change, now: Instant) {
        match kind(&change.object) {
            "Deployment" => self.target_changed(change, now),
            KIND => self.autoscaler_changed(change, now),
            _ => {}
        }
    }

    fn tick(&mut self, server: &ApiServer, now: Instant) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let paused_until = self.paused_until;
        let allowed = |at: Instant| paused_until.map_or(at, |until| at.max(until));
        for (name, autoscaler) in &mut self.by_name {
            if autoscaler.due.is_some_and(|due| allowed(due) <= now) {
                autoscaler.due = None;
                let target = autoscaler.target().map(|target| ObjectKey::new(&name.namespace, target));
                let target = target.and_then(|target| self.targets.get(&target));
                autoscaler.look(server, name, target, self.wanted.get(name).copied());
            }
        }
        self.by_name.values().filter_map(|autoscaler| autoscaler.due).map(allowed).min()
    }
}

impl Autoscaler {
    /// The Deployment that it scales.
    fn target(&self) -> Option<&str> {
        text(&self.object, "/spec/scaleTargetRef/name")
            .filter(|_| text(&self.object, "/spec/scaleTargetRef/kind") == Some("Deployment"))
    }

    fn schedule(&mut self, period: Duration, now: Instant) {
        if self.due.is_none() && !period.is_zero() {
            let periods = (now - self.since).as_nanos() / period.as_nanos() + 1;
            self.due = Some(self.since + period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX)));
        } else {
            self.due = self.due.or(Some(now));
        }
    }

    fn look(&mut self, server: &ApiServer, name: &ObjectKey, target: Option<&Arc<Value>>, wanted: Option<i64>) {
        let Some(target) = target else {
            self.report(server, name, Status { current: 0, desired: 0, able: NO_TARGET, active: None, limited: None });
            return;
        };
        let replicas = integer(target, "/spec/replicas").unwrap_or(1);
        let current = integer(target, "/status/replicas").unwrap_or(0);
        if replicas == 0 {
            let status = Status { current, desired: 0, able: ABLE, active: Some(DISABLED), limited: None };
            self.report(server, name, status);
            return;
        }
        let minimum = integer(&self.object, "/spec/minReplicas").unwrap_or(1);
        let maximum = integer(&self.object, "/spec/maxReplicas").unwrap_or(i64::MAX).max(minimum);
        let asked = wanted.unwrap_or(replicas);
        let desired = asked.clamp(minimum, maximum);
        let limited = match asked {
            asked if asked < minimum => TOO_FEW,
            asked if asked > maximum => TOO_MANY,
            _ => WITHIN,
        };
        let mut able = ABLE;
        if desired != replicas {
            let id = ResourceId::new("apps/v1", "Deployment", key(target));
            if server.patch(&id, &json!({"spec": {"replicas": desired}})).is_ok() {
                able = RESCALED;
            }
        }
        self.report(server, name, Status { current, desired, able, active: Some(VALID), limited: Some(limited) });
    }

    fn report(&mut self, server: &ApiServer, name: &ObjectKey, status: Status) {
        if self.status.as_ref() == Some(&status) {
            return;
        }
        let condition = |kind: &str, [status, reason, message]: [&str; 3]| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": timestamp(),
            })
        };
        let conditions: Vec<Value> =
            [("AbleToScale", Some(status.able)), ("ScalingActive", status.active), ("ScalingLimited", status.limited)]
                .into_iter()
                .filter_map(|(kind, values)| Some(condition(kind, values?)))
                .collect();
        let body = json!({"status": {
            "currentReplicas": status.current, "desiredReplicas": status.desired, "conditions": conditions,
        }});
        // It fails only if the object is gone, and then that change is on its way here.
        let _ = server.patch_status(&ResourceId::new(API_VERSION, KIND, name.clone()), &body);
        self.status = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::object::items;
    use crate::sim::cluster::Fault;
    use crate::sim::settings::Settings;
    use crate::sim::testing::{Stage, deployment, key};

    fn autoscaler() -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {"name": "frontend", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
                "minReplicas": 2, "maxReplicas": 4,
            },
        })
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_stay_within_the_bounds() {
        // The replicas before, those that it wants, and those after two periods.
        let cases = [
            ("too few", 1, None, 2, "True TooFewReplicas", "True ValidMetricFound"),
            ("too many", 9, None, 4, "True TooManyReplicas", "True ValidMetricFound"),
            ("just right", 3, None, 3, "False DesiredWithinRange", "True ValidMetricFound"),
            ("it wants more", 3, Some(4), 4, "False DesiredWithinRange", "True ValidMetricFound"),
            ("it wants too many", 3, Some(40), 4, "True TooManyReplicas", "True ValidMetricFound"),
            ("zero switches it off", 0, Some(3), 0, "none", "False ScalingDisabled"),
        ];
        for (name, before, wanted, after, limited, active) in cases {
            let mut stage = Stage::new(Settings::default());
            stage.create(deployment("frontend", before, &[]));
            stage.create(autoscaler());
            stage.inject(Fault::WantReplicas { autoscaler: key("frontend"), replicas: wanted });
            stage.pass(14.0).await;
            assert_eq!(stage.deployment()["spec"]["replicas"], before, "{name}: not before a period is over");
            stage.pass(20.0).await;
            assert_eq!(stage.deployment()["spec"]["replicas"], after, "{name}");
            let object = stage.server.get(&ResourceId::new(API_VERSION, KIND, key("frontend"))).unwrap();
            let condition = |kind: &str| {
                let found = items(&object, "/status/conditions").iter().find(|one| one["type"] == kind);
                found.map_or("none".to_owned(), |one| {
                    format!("{} {}", one["status"].as_str().unwrap(), one["reason"].as_str().unwrap())
                })
            };
            assert_eq!(
                (condition("ScalingLimited").as_str(), condition("ScalingActive").as_str()),
                (limited, active),
                "{name}"
            );
            assert_eq!(integer(&object, "/status/desiredReplicas"), Some(after), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_comes_back_from_zero_is_scaled_again() {
        let mut stage = Stage::new(Settings::default());
        stage.create(deployment("frontend", 0, &[]));
        stage.create(autoscaler());
        stage.pass(100.0).await;
        stage.edit(&json!({"spec": {"replicas": 1}}));
        stage.pass(16.0).await;
        assert_eq!(stage.deployment()["spec"]["replicas"], 2);
    }
}
