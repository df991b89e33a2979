//! A Deployment or a DaemonSet with its pods.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::daemon_set::DaemonSet;
use super::deployment::Deployment;
use super::objects;
use super::pod::{Kubelet, Pod};
use super::pod_set::{PodSet, Suffixes};
use super::template::{Template, minimum_ready};
use crate::rollout::ResourceId;
use crate::sim::api_server::ApiServer;
use crate::sim::metadata::{generation, key, kind, uid};

/// The API version of workloads.
pub const API_VERSION: &str = "apps/v1";

/// A workload.
#[derive(Debug)]
pub struct Workload {
    /// Which one it is.
    pub id: ResourceId,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its current template.
    pub template: Arc<Template>,
    /// Its pods by revision; the current one is the last.
    pub sets: Vec<PodSet>,
    /// How long a pod must be ready until it counts as available.
    pub minimum_ready: Duration,
    /// Names of pods that are gone, but for their objects.
    pub gone: Vec<String>,
    /// From the start of a container until its pod is ready, if it differs from the cluster's.
    pub readiness_delay: Option<Duration>,
    generation: i64,
    controller: Controller,
    /// When the controller looks at it next.
    sync_at: Option<Instant>,
}

#[derive(Debug)]
enum Controller {
    Deployment(Deployment),
    DaemonSet(DaemonSet),
}

/// What a workload needs of the cluster.
pub struct Surroundings<'a> {
    pub server: &'a ApiServer,
    pub kubelet: Kubelet<'a>,
    pub suffixes: &'a mut Suffixes,
    pub now: Instant,
}

impl Workload {
    /// The workload that an object describes; `None` if it is none.
    pub fn of(object: &Arc<Value>, now: Instant) -> Option<Self> {
        let (kind, key) = (kind(object), key(object));
        let controller = match kind {
            "Deployment" => Controller::Deployment(Deployment::new(&key.name, object)),
            "DaemonSet" => Controller::DaemonSet(DaemonSet::new(&key.name, object)),
            _ => return None,
        };
        Some(Self {
            id: ResourceId::new(API_VERSION, kind, key),
            uid: uid(object).to_owned(),
            template: Arc::new(Template::of(object)),
            sets: Vec::new(),
            gone: Vec::new(),
            minimum_ready: minimum_ready(object),
            readiness_delay: None,
            generation: generation(object),
            controller,
            sync_at: Some(now),
        })
    }

    /// Takes in the object as it is now. Returns whether something changed that its controller acts on.
    pub fn read(&mut self, object: &Arc<Value>) -> bool {
        if generation(object) == self.generation {
            return false;
        }
        self.generation = generation(object);
        self.minimum_ready = minimum_ready(object);
        if !self.template.is_of(object) {
            self.template = Arc::new(Template::of(object));
        }
        match &mut self.controller {
            Controller::Deployment(deployment) => deployment.read(object),
            Controller::DaemonSet(daemon_set) => daemon_set.read(object),
        }
        true
    }

    /// Has the controller look at it at `at`, if not before.
    pub fn sync_by(&mut self, at: Instant) {
        self.sync_at = Some(self.sync_at.map_or(at, |before| before.min(at)));
    }

    /// All its pods, also those on their way out.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.sets.iter().flat_map(|set| &set.pods)
    }

    /// The same, to change them.
    pub fn pods_mut(&mut self) -> impl Iterator<Item = &mut Pod> {
        self.sets.iter_mut().flat_map(|set| &mut set.pods)
    }

    /// When its pods do something next.
    pub fn pods_due(&self) -> Option<Instant> {
        self.pods().filter_map(Pod::due).min()
    }

    /// When its controller does something next.
    pub fn sync_due(&self) -> Option<Instant> {
        let deadline = match &self.controller {
            Controller::Deployment(deployment) => deployment.due(),
            Controller::DaemonSet(_) => None,
        };
        self.sync_at.into_iter().chain(deadline).min()
    }

    /// Lets the pods do what is due. Returns whether something happened.
    pub fn advance(&mut self, kubelet: &Kubelet<'_>, now: Instant) -> bool {
        let mut happened = false;
        for pod in self.pods_mut() {
            while pod.advance(kubelet, now) {
                happened = true;
            }
        }
        for set in &mut self.sets {
            for pod in set.pods.extract_if(.., |pod| pod.is_gone(now)) {
                happened = true;
                self.gone.extend(pod.published.map(|_| pod.name));
            }
        }
        happened
    }

    /// Takes in that the object of a pod or of a ReplicaSet is gone. Returns whether it was one of this workload.
    pub fn forget(&mut self, kind: &str, name: &str) -> bool {
        let mut is_ours = false;
        for set in &mut self.sets {
            if kind == "Pod" {
                is_ours |= set.pods.extract_if(.., |pod| pod.name == name).count() > 0;
            } else if set.name == name {
                is_ours |= set.published.take().is_some();
            }
        }
        is_ours
    }

    /// Lets the controller look at it: pods are made and ended, and the status is written if it changed. Returns whether
    /// pods were made or ended.
    pub fn sync(&mut self, around: &mut Surroundings<'_>) -> bool {
        let (now, before) = (around.now, self.size());
        let (template, sets, minimum) = (&self.template, &mut self.sets, self.minimum_ready);
        let available = |set: &PodSet| set.available(minimum, now);
        let patch = match &mut self.controller {
            Controller::Deployment(deployment) => {
                deployment.plan(template, sets, &available, now);
                for set in sets.iter_mut() {
                    set.scale(around.suffixes, &around.kubelet, now);
                }
                for removed in deployment.clean_up(sets) {
                    objects::remove_set(around.server, &self.id.key, &removed);
                }
                deployment.observe(self.generation, template, sets, &available, now)
            }
            Controller::DaemonSet(daemon_set) => {
                daemon_set.sync(template, sets, minimum, around.suffixes, &around.kubelet, now);
                daemon_set.observe(self.generation, template, sets, minimum, around.kubelet.settings.nodes, now)
            }
        };
        if let Some(patch) = patch {
            // It fails only if the object is gone, and then that change is on its way here.
            let _ = around.server.patch_status(&self.id, &patch);
        }
        // Pods that are ready become available by themselves.
        self.sync_at = self.pods().filter_map(|pod| pod.available_at(minimum)).filter(|at| *at > now).min();
        self.size() != before
    }

    /// How many pods there are, and how many of them are not on their way out.
    fn size(&self) -> (usize, usize) {
        (self.pods().count(), self.pods().filter(|pod| pod.is_active()).count())
    }
}
