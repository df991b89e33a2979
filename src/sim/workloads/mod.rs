//! Workloads and their pods: what kubelets, and the controllers of Deployments, ReplicaSets and DaemonSets do.

mod application;
mod daemon_set;
mod deployment;
mod deployment_status;
mod environment;
mod objects;
mod pod;
mod pod_set;
mod rolling;
mod template;
#[cfg(test)]
mod tests;
mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use self::environment::{ConfigKind, Configs};
use self::pod::Kubelet;
pub use self::pod::Pod;
use self::pod_set::Suffixes;
use self::workload::Surroundings;
pub use self::workload::Workload;
use super::api_server::{ApiServer, Change, ChangeKind};
use super::metadata::{key, kind, uid};
use super::model::Model;
use super::settings::Settings;
use crate::api::checked::ObjectKey;

/// All workloads of a cluster.
pub struct Workloads {
    settings: Settings,
    configs: Configs,
    suffixes: Suffixes,
    /// By namespace, name and kind.
    by_place: BTreeMap<(ObjectKey, Kind), Workload>,
    /// Readiness delays of workloads, also of those that are not there yet.
    readiness_delays: BTreeMap<ObjectKey, Duration>,
    paused_until: Option<Instant>,
    version: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Deployment,
    DaemonSet,
}

/// Which pods of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// All of them.
    All,
    /// So many, those that get requests first.
    Some(usize),
}

impl Workloads {
    /// A cluster without workloads.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            configs: Configs::default(),
            suffixes: Suffixes::default(),
            by_place: BTreeMap::new(),
            readiness_delays: BTreeMap::new(),
            paused_until: None,
            version: 0,
        }
    }

    /// Grows whenever pods come, go or change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All workloads, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Workload> {
        self.by_place.values()
    }

    /// The workloads whose pods a Service with this selector has. An empty selector selects nothing.
    pub fn selected<'a>(
        &'a self,
        namespace: &'a str,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Workload> {
        let is_selected = move |workload: &&Workload| {
            let labels = &workload.template.labels;
            workload.id.key.namespace == namespace
                && !selector.is_empty()
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        self.by_place.values().filter(is_selected)
    }

    /// Ends containers with an error. They start anew after `back_after`, or never: then only deleting the pod helps.
    pub fn crash(&mut self, name: &ObjectKey, pods: Pods, back_after: Option<Duration>, now: Instant) {
        let delay = self.settings.controller_delay;
        for workload in self.named(name) {
            let mut left = match pods {
                Pods::All => usize::MAX,
                Pods::Some(number) => number,
            };
            for wants_ready in [true, false] {
                for pod in workload.pods_mut().filter(|pod| pod.is_active() && !pod.is_crashed()) {
                    if left > 0 && pod.is_ready() == wants_ready {
                        pod.crash(back_after, now);
                        left -= 1;
                    }
                }
            }
            workload.sync_by(now + delay);
        }
        self.version += 1;
    }

    /// Sets how long the containers of a workload that start from now on take until their pods are ready, besides their
    /// own `START_DELAY_MS`; `None`: as all others.
    pub fn set_readiness_delay(&mut self, name: &ObjectKey, delay: Option<Duration>) {
        match delay {
            Some(delay) => self.readiness_delays.insert(name.clone(), delay),
            None => self.readiness_delays.remove(name),
        };
        for workload in self.named(name) {
            workload.readiness_delay = delay;
        }
    }

    /// Lets the controllers do nothing until then. Pods go on.
    pub fn pause(&mut self, until: Instant) {
        self.paused_until = Some(until);
    }

    fn named<'a>(&'a mut self, name: &'a ObjectKey) -> impl Iterator<Item = &'a mut Workload> + use<'a> {
        self.by_place.values_mut().filter(move |workload| workload.id.key == *name)
    }

    fn workload_changed(&mut self, kind: Kind, change: &Change, now: Instant) {
        let place = (key(&change.object), kind);
        if change.kind == ChangeKind::Deleted {
            self.version += u64::from(self.by_place.remove(&place).is_some());
            return;
        }
        let sync_at = now + self.settings.controller_delay;
        let known = self.by_place.get_mut(&place).filter(|workload| workload.uid == uid(&change.object));
        if let Some(workload) = known {
            if workload.read(&change.object) {
                workload.sync_by(sync_at);
                self.version += 1;
            }
        } else if let Some(mut workload) = Workload::of(&change.object, sync_at) {
            workload.readiness_delay = self.readiness_delays.get(&place.0).copied();
            self.by_place.insert(place, workload);
            self.version += 1;
        }
    }

    fn config_changed(&mut self, kind: ConfigKind, change: &Change, now: Instant) {
        let place = key(&change.object);
        let object = (change.kind != ChangeKind::Deleted).then(|| change.object.clone());
        self.configs.set(kind, place.clone(), object);
        let sync_at = now + self.settings.controller_delay;
        let waiting = |workload: &&mut Workload| {
            workload.id.key.namespace == place.namespace && workload.pods().any(Pod::is_blocked)
        };
        for workload in self.by_place.values_mut().filter(waiting) {
            let kubelet = kubelet(&self.settings, &self.configs, &place.namespace, workload.readiness_delay);
            let mut started = false;
            for pod in workload.pods_mut() {
                started |= pod.retry(&kubelet, now);
            }
            if started {
                workload.sync_by(sync_at);
                self.version += 1;
            }
        }
    }

    /// Somebody deleted a Pod or a ReplicaSet that the API server had.
    fn object_deleted(&mut self, change: &Change, now: Instant) {
        let (place, sync_at) = (key(&change.object), now + self.settings.controller_delay);
        for workload in self.by_place.values_mut().filter(|workload| workload.id.key.namespace == place.namespace) {
            if workload.forget(kind(&change.object), &place.name) {
                workload.sync_by(sync_at);
                self.version += 1;
            }
        }
    }
}

impl Model for Workloads {
    fn changed(&mut self, _: &ApiServer, change: &Change, now: Instant) {
        match kind(&change.object) {
            "Deployment" => self.workload_changed(Kind::Deployment, change, now),
            "DaemonSet" => self.workload_changed(Kind::DaemonSet, change, now),
            "Pod" | "ReplicaSet" if change.kind == ChangeKind::Deleted => self.object_deleted(change, now),
            _ => {
                if let Some(kind) = ConfigKind::of(&change.object) {
                    self.config_changed(kind, change, now);
                }
            }
        }
    }

    fn tick(&mut self, server: &ApiServer, now: Instant) -> Option<Instant> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let paused_until = self.paused_until;
        let sync_due =
            |workload: &Workload| workload.sync_due().map(|at| paused_until.map_or(at, |until| at.max(until)));
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (mut next, suffixes) = (None, &mut self.suffixes);
        for workload in self.by_place.values_mut() {
            let key = workload.id.key.clone();
            let kubelet = kubelet(&self.settings, &self.configs, &key.namespace, workload.readiness_delay);
            let mut has_changed = is_due(workload.pods_due()) && workload.advance(&kubelet, now);
            if has_changed {
                workload.sync_by(now + self.settings.controller_delay);
            }
            let is_synced = is_due(sync_due(workload));
            if is_synced {
                has_changed |= workload.sync(&mut Surroundings { server, kubelet, suffixes: &mut *suffixes, now });
            }
            if self.settings.with_objects && (has_changed || is_synced) {
                objects::publish(server, workload, now);
            }
            self.version += u64::from(has_changed);
            next = [next, workload.pods_due(), sync_due(workload)].into_iter().flatten().min();
        }
        next
    }
}

fn kubelet<'a>(
    settings: &'a Settings,
    configs: &'a Configs,
    namespace: &'a str,
    readiness_delay: Option<Duration>,
) -> Kubelet<'a> {
    let readiness_delay = readiness_delay.unwrap_or(settings.readiness_delay);
    Kubelet { namespace, configs, settings, readiness_delay }
}
