//! The status of a Deployment, as its controller writes it.
//!
//! Source: `pkg/controller/deployment/progress.go` and `sync.go` of Kubernetes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::sim::metadata::timestamp;

/// How many pods there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub replicas: usize,
    pub updated: usize,
    pub ready: usize,
    pub available: usize,
    pub unavailable: usize,
}

/// Why the condition `Progressing` is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    NewReplicaSetCreated,
    FoundNewReplicaSet,
    ReplicaSetUpdated,
    NewReplicaSetAvailable,
    ProgressDeadlineExceeded,
    DeploymentPaused,
    DeploymentResumed,
}

impl Reason {
    fn status(self) -> &'static str {
        match self {
            Self::ProgressDeadlineExceeded => "False",
            Self::DeploymentPaused | Self::DeploymentResumed => "Unknown",
            _ => "True",
        }
    }

    fn message(self, name: &str) -> String {
        match self {
            Self::NewReplicaSetCreated => format!("Created new replica set \"{name}\""),
            Self::FoundNewReplicaSet => format!("Found new replica set \"{name}\""),
            Self::ReplicaSetUpdated => format!("ReplicaSet \"{name}\" is progressing."),
            Self::NewReplicaSetAvailable => format!("ReplicaSet \"{name}\" has successfully progressed."),
            Self::ProgressDeadlineExceeded => format!("ReplicaSet \"{name}\" has timed out progressing."),
            Self::DeploymentPaused => "Deployment is paused".to_owned(),
            Self::DeploymentResumed => "Deployment is resumed".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Progress {
    reason: Reason,
    message: String,
    updated_at: Instant,
    updated: String,
    transitioned: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Availability {
    is_enough: bool,
    transitioned: String,
}

/// What the status says. It is written as a whole, and only when something in it changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentStatus {
    generation: i64,
    counts: Counts,
    availability: Option<Availability>,
    progress: Option<Progress>,
    /// Whether what it says about progress is not written yet.
    is_unwritten: bool,
}

impl DeploymentStatus {
    /// Why the condition `Progressing` is as it is.
    pub fn reason(&self) -> Option<Reason> {
        self.progress.as_ref().map(|progress| progress.reason)
    }

    /// Whether there is a condition `Progressing`.
    pub fn has_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// Whether it says that the Deployment is paused.
    pub fn is_paused(&self) -> bool {
        self.reason() == Some(Reason::DeploymentPaused)
    }

    /// Sets the condition `Progressing`. That its status changed is a transition, everything else only an update.
    pub fn set_progress(&mut self, reason: Reason, name: &str, now: Instant) {
        let time = timestamp();
        let before = self.progress.take().filter(|before| before.reason.status() == reason.status());
        self.progress = Some(Progress {
            reason,
            message: reason.message(name),
            updated_at: now,
            transitioned: before.map_or_else(|| time.clone(), |before| before.transitioned),
            updated: time,
        });
        self.is_unwritten = true;
    }

    /// Counts so many pods as updated, because the template is another one now.
    pub fn restart_count(&mut self, updated: usize) {
        self.counts.updated = updated.min(self.counts.replicas);
    }

    /// Takes the condition `Progressing` away.
    pub fn remove_progress(&mut self) {
        self.is_unwritten |= self.progress.take().is_some();
    }

    /// Whether the rollout goes on, is complete or is stuck, from the counts before and now.
    pub fn estimate_progress(
        &mut self,
        wanted: usize,
        counts: Counts,
        deadline: Option<Duration>,
        name: &str,
        now: Instant,
    ) {
        let Some(deadline) = deadline else { return };
        let reason = self.reason();
        // Pods that come and go after the rollout are no rollout.
        if counts.replicas == counts.updated && reason == Some(Reason::NewReplicaSetAvailable) {
            return;
        }
        let before = self.counts;
        let is_complete = [counts.updated, counts.replicas, counts.available] == [wanted; 3];
        let has_moved = counts.updated > before.updated
            || counts.replicas - counts.updated < before.replicas - before.updated
            || counts.ready > before.ready
            || counts.available > before.available;
        if is_complete {
            self.set_progress(Reason::NewReplicaSetAvailable, name, now);
        } else if has_moved {
            self.set_progress(Reason::ReplicaSetUpdated, name, now);
        } else if self.deadline_at(deadline).is_some_and(|at| at <= now) {
            self.set_progress(Reason::ProgressDeadlineExceeded, name, now);
        }
    }

    /// When a rollout without progress counts as failed, while one is on.
    pub fn deadline_at(&self, deadline: Duration) -> Option<Instant> {
        let progress = self.progress.as_ref()?;
        let is_over = matches!(progress.reason, Reason::NewReplicaSetAvailable | Reason::ProgressDeadlineExceeded);
        (!is_over).then(|| progress.updated_at + deadline)
    }

    /// Takes in what is counted. Returns a merge patch where the status changed.
    pub fn set(&mut self, generation: i64, counts: Counts, is_enough: bool) -> Option<Value> {
        let is_same = !self.is_unwritten
            && (self.generation, self.counts) == (generation, counts)
            && self.availability.as_ref().is_some_and(|before| before.is_enough == is_enough);
        if is_same {
            return None;
        }
        self.is_unwritten = false;
        (self.generation, self.counts) = (generation, counts);
        if self.availability.as_ref().is_none_or(|before| before.is_enough != is_enough) {
            self.availability = Some(Availability { is_enough, transitioned: timestamp() });
        }
        Some(self.patch())
    }

    fn patch(&self) -> Value {
        // Go leaves zeros out.
        let count = |number: usize| (number > 0).then_some(number);
        let conditions: Vec<Value> = self.progressing().into_iter().chain(self.available()).collect();
        json!({"status": {
            "observedGeneration": self.generation,
            "replicas": count(self.counts.replicas),
            "updatedReplicas": count(self.counts.updated),
            "readyReplicas": count(self.counts.ready),
            "availableReplicas": count(self.counts.available),
            "unavailableReplicas": count(self.counts.unavailable),
            "conditions": conditions,
        }})
    }

    fn progressing(&self) -> Option<Value> {
        let progress = self.progress.as_ref()?;
        Some(json!({
            "type": "Progressing",
            "status": progress.reason.status(),
            "reason": format!("{:?}", progress.reason),
            "message": progress.message,
            "lastUpdateTime": progress.updated,
            "lastTransitionTime": progress.transitioned,
        }))
    }

    fn available(&self) -> Option<Value> {
        let availability = self.availability.as_ref()?;
        let (status, reason, message) = if availability.is_enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        Some(json!({
            "type": "Available",
            "status": status,
            "reason": reason,
            "message": message,
            "lastUpdateTime": availability.transitioned,
            "lastTransitionTime": availability.transitioned,
        }))
    }
}
