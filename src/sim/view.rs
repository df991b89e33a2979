//! What can be seen of a cluster from outside while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::gateway::Backend;
use super::load::{Behaviour, Load};
use crate::api::checked::ObjectKey;

/// The cluster as it is now.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The pods of each workload, by the workload's namespace and name; of one that is gone, that it has none.
    pub workloads: BTreeMap<ObjectKey, WorkloadView>,
    /// Where the data plane sends the requests of each route, by the route.
    pub backends: BTreeMap<ObjectKey, Vec<Backend>>,
    /// The share of the requests that fails, 0 to 1, by the Service that the users mean.
    pub failing_shares: BTreeMap<ObjectKey, f64>,
    /// Who gets how many requests.
    pub loads: Vec<Load>,
}

/// A workload as it is now.
#[derive(Clone, Debug, Default)]
pub struct WorkloadView {
    /// Its pods, also those on their way out.
    pub pods: Vec<PodView>,
    /// When it last had a ready pod and no longer has; `None` if it never had one, or has one now.
    pub lost_last_ready_at: Option<Instant>,
    /// When it last got a ready pod after a time without; `None` if it never had one.
    pub ready_since: Option<Instant>,
}

/// A pod as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// The hash of the template that it was made from.
    pub template_hash: String,
    /// The image of its first container.
    pub image: String,
    /// How it behaves, from the environment that it started with; `None` before it started.
    pub behaviour: Option<Behaviour>,
    /// Whether it gets requests.
    pub is_ready: bool,
    /// Whether it was deleted, and is not gone yet.
    pub is_ending: bool,
}

impl View {
    /// How many ready pods a workload has.
    pub fn ready_pods(&self, workload: &ObjectKey) -> usize {
        self.workloads.get(workload).map_or(0, WorkloadView::ready_pods)
    }

    /// The weight of a Service in a route, as the data plane serves it; 0 where the route does not name it.
    pub fn weight(&self, route: &ObjectKey, service: &str) -> u64 {
        let backends = self.backends.get(route).into_iter().flatten();
        backends.filter(|backend| backend.service.name == service).map(|backend| backend.weight).sum()
    }
}

impl WorkloadView {
    /// Whether it had a ready pod at some time in this long before now.
    pub fn had_ready_pod_within(&self, time: Duration) -> bool {
        self.ready_pods() > 0 || self.lost_last_ready_at.is_some_and(|lost| lost.elapsed() <= time)
    }

    /// Whether it was without a ready pod at some time in this long before now.
    pub fn lacked_ready_pod_within(&self, time: Duration) -> bool {
        self.ready_pods() == 0 || self.ready_since.is_none_or(|since| since.elapsed() <= time)
    }

    /// What is left of it when it is gone: what it had is remembered.
    #[must_use]
    pub fn without_pods(&self, now: Instant) -> Self {
        let lost_last_ready_at = if self.ready_pods() > 0 { Some(now) } else { self.lost_last_ready_at };
        Self { pods: Vec::new(), lost_last_ready_at, ..self.clone() }
    }

    /// How many of its pods get requests.
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.is_ready).count()
    }
}
