//! The Deployment controller: which ReplicaSets there are, and how large.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::deployment_status::{Counts, DeploymentStatus, Reason};
use super::pod_set::PodSet;
use super::rolling::{self, Bounds, Side};
use super::template::Template;
use crate::rollout::object::integer;

/// `progressDeadlineSeconds` that means none.
const NO_DEADLINE: i64 = i32::MAX as i64;

/// What a Deployment asks for, and how far it got.
#[derive(Debug)]
pub struct Deployment {
    name: String,
    replicas: usize,
    is_paused: bool,
    strategy: Strategy,
    history: usize,
    deadline: Option<Duration>,
    /// The number of replicas that the ReplicaSets were last made for.
    scaled_to: Option<usize>,
    status: DeploymentStatus,
}

#[derive(Debug)]
enum Strategy {
    Recreate,
    RollingUpdate(Bounds),
}

impl Deployment {
    /// One that the controller has not seen before.
    pub fn new(name: &str, object: &Value) -> Self {
        let mut deployment = Self {
            name: name.to_owned(),
            replicas: 0,
            is_paused: false,
            strategy: Strategy::Recreate,
            history: 0,
            deadline: None,
            scaled_to: None,
            status: DeploymentStatus::default(),
        };
        deployment.read(object);
        deployment
    }

    /// Takes in what it asks for now.
    pub fn read(&mut self, object: &Value) {
        let number = |pointer: &str| integer(object, pointer);
        let count = |pointer: &str, default: usize| {
            number(pointer).map_or(default, |number| usize::try_from(number).unwrap_or(0))
        };
        self.replicas = count("/spec/replicas", 1);
        self.is_paused = object.pointer("/spec/paused") == Some(&Value::Bool(true));
        self.history = count("/spec/revisionHistoryLimit", 10);
        self.deadline = number("/spec/progressDeadlineSeconds")
            .filter(|seconds| *seconds != NO_DEADLINE)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs);
        let strategy = object.pointer("/spec/strategy").unwrap_or(&Value::Null);
        self.strategy = if strategy.get("type").and_then(Value::as_str) == Some("Recreate") {
            Strategy::Recreate
        } else {
            let bounds = strategy.get("rollingUpdate").unwrap_or(&Value::Null);
            Strategy::RollingUpdate(Bounds::of(bounds, self.replicas))
        };
    }

    /// Says how large each ReplicaSet shall be, and makes the one of the template where it is missing. `available` counts
    /// the available pods of a set.
    pub fn plan(
        &mut self,
        template: &Arc<Template>,
        sets: &mut Vec<PodSet>,
        available: &dyn Fn(&PodSet) -> usize,
        now: Instant,
    ) {
        self.note_pause(now);
        let is_rescaled = self.scaled_to != Some(self.replicas) && sets.iter().any(|set| set.wanted > 0);
        if self.is_paused || is_rescaled {
            self.rescale(sets, available);
        }
        self.scaled_to = Some(self.replicas);
        if self.is_paused {
            return;
        }
        self.move_to_end(template, sets, now);
        let Some((new, old)) = sets.split_last_mut() else { return };
        match self.strategy {
            Strategy::Recreate => {
                for set in old.iter_mut() {
                    set.wanted = 0;
                }
                if old.iter().all(|set| set.pods.is_empty()) {
                    new.wanted = self.replicas;
                }
            }
            Strategy::RollingUpdate(bounds) => {
                let side = |set: &PodSet| Side::new(set.wanted, available(set));
                let (mut new_side, mut old_sides) = (side(new), old.iter().map(side).collect::<Vec<_>>());
                rolling::advance(self.replicas, bounds, &mut new_side, &mut old_sides);
                new.wanted = new_side.wanted;
                for (set, side) in old.iter_mut().zip(old_sides) {
                    set.wanted = side.wanted;
                }
            }
        }
    }

    /// Brings the sizes to the wanted sum without a new revision.
    fn rescale(&self, sets: &mut [PodSet], available: &dyn Fn(&PodSet) -> usize) {
        let is_active = |set: &PodSet| set.wanted > 0;
        if !sets.iter().any(is_active) {
            if let Some(latest) = sets.last_mut() {
                latest.wanted = self.replicas;
            }
            return;
        }
        let mut active: Vec<&mut PodSet> = sets.iter_mut().filter(|set| is_active(set)).collect();
        let most = match self.strategy {
            Strategy::RollingUpdate(bounds) if self.replicas > 0 && active.len() > 1 => self.replicas + bounds.surge,
            _ => self.replicas,
        };
        let mut sides: Vec<Side> = active.iter().map(|set| Side::new(set.wanted, available(set))).collect();
        // In mid-rollout the sum lies between the wanted one and the surge; only leaving that is a reason to change it.
        let all = sides.iter().map(|side| side.wanted).sum::<usize>();
        rolling::rescale(all.clamp(self.replicas, most), &mut sides);
        for (set, side) in active.iter_mut().zip(sides) {
            set.wanted = side.wanted;
        }
    }

    /// Puts the set of the template behind the others.
    fn move_to_end(&mut self, template: &Arc<Template>, sets: &mut Vec<PodSet>, now: Instant) {
        let found = sets.iter().position(|set| set.template.hash == template.hash);
        let (set, reason) = if let Some(index) = found {
            (sets.remove(index), Reason::FoundNewReplicaSet)
        } else {
            let name = format!("{}-{}", self.name, template.hash);
            (PodSet::new(name, template.clone()), Reason::NewReplicaSetCreated)
        };
        if found.is_none_or(|index| index != sets.len()) {
            // Progress is that of the new template from now on.
            self.status.restart_count(set.active().count());
        }
        // One that is there already says so only where nothing was said before.
        if self.deadline.is_some() && (found.is_none() || !self.status.has_progress()) {
            self.status.set_progress(reason, &set.name, now);
        }
        sets.push(set);
    }

    fn note_pause(&mut self, now: Instant) {
        let (is_noted, reason) = (self.status.is_paused(), self.status.reason());
        if self.deadline.is_none() || reason == Some(Reason::ProgressDeadlineExceeded) {
            return;
        }
        if self.is_paused && !is_noted {
            self.status.set_progress(Reason::DeploymentPaused, &self.name, now);
        } else if !self.is_paused && is_noted {
            self.status.set_progress(Reason::DeploymentResumed, &self.name, now);
        }
    }

    /// Takes old sets without pods out, beyond those that the history keeps.
    pub fn clean_up(&self, sets: &mut Vec<PodSet>) -> Vec<PodSet> {
        let old = sets.len().saturating_sub(1);
        let is_empty = |set: &PodSet| set.wanted == 0 && set.pods.is_empty();
        let empty = sets.iter().take(old).filter(|set| is_empty(set)).count();
        let mut removed = Vec::new();
        for _ in self.history..empty {
            let oldest = sets.iter().position(is_empty).filter(|index| *index < old);
            removed.extend(oldest.map(|index| sets.remove(index)));
        }
        removed
    }

    /// Brings the status up to date. Returns a merge patch where it changed.
    pub fn observe(
        &mut self,
        generation: i64,
        template: &Arc<Template>,
        sets: &[PodSet],
        available: &dyn Fn(&PodSet) -> usize,
        now: Instant,
    ) -> Option<Value> {
        let sum = |count: &dyn Fn(&PodSet) -> usize| sets.iter().map(count).sum::<usize>();
        let new = sets.iter().find(|set| set.template.hash == template.hash);
        let available = sum(available);
        let counts = Counts {
            replicas: sum(&|set| set.active().count()),
            updated: new.map_or(0, |set| set.active().count()),
            ready: sum(&PodSet::ready),
            available,
            unavailable: sum(&|set| set.wanted).saturating_sub(available),
        };
        let minimum = match self.strategy {
            Strategy::RollingUpdate(bounds) => self.replicas - bounds.unavailable.min(self.replicas),
            Strategy::Recreate => self.replicas,
        };
        let deadline = self.deadline.filter(|_| !self.is_paused);
        let name = new.map_or(self.name.as_str(), |set| &set.name);
        self.status.estimate_progress(self.replicas, counts, deadline, name, now);
        if self.deadline.is_none() {
            self.status.remove_progress();
        }
        self.status.set(generation, counts, counts.available >= minimum)
    }

    /// When the deadline of its progress is over.
    pub fn due(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_paused).and_then(|deadline| self.status.deadline_at(deadline))
    }
}
