//! The pods of one revision of a workload: a ReplicaSet, or what a DaemonSet made from one of its templates.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::objects::PublishedSet;
use super::pod::{Kubelet, Pod};
use super::template::{Template, letters};

/// How many names of five letters there are.
const NAMES: u64 = 27_u64.pow(5);

/// The pods of one revision.
#[derive(Debug)]
pub struct PodSet {
    /// The name that the names of its pods begin with.
    pub name: String,
    /// What its pods are made from.
    pub template: Arc<Template>,
    /// How many it shall have.
    pub wanted: usize,
    /// Those that it has, the oldest first, with those on their way out.
    pub pods: Vec<Pod>,
    /// What the API server has of it.
    pub published: Option<PublishedSet>,
}

/// Makes up the ends of names, the same ones in each run.
#[derive(Debug, Default)]
pub struct Suffixes(u64);

impl Suffixes {
    /// Five letters that were not there before.
    pub fn next(&mut self) -> String {
        self.0 += 1;
        // Scattered, so that the names don't look alike: a multiplier without common factors with their number.
        letters(self.0.wrapping_mul(8_765_431) % NAMES, 5)
    }
}

impl PodSet {
    /// A set without pods.
    pub fn new(name: String, template: Arc<Template>) -> Self {
        Self { name, template, wanted: 0, pods: Vec::new(), published: None }
    }

    /// The pods that are not on their way out.
    pub fn active(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| pod.is_active())
    }

    /// How many of them get requests.
    pub fn ready(&self) -> usize {
        self.active().filter(|pod| pod.is_ready()).count()
    }

    /// How many of them have been ready for long enough.
    pub fn available(&self, minimum: Duration, now: Instant) -> usize {
        self.active().filter(|pod| pod.is_available(minimum, now)).count()
    }

    /// Adds a pod.
    pub fn start_pod(&mut self, node: usize, suffixes: &mut Suffixes, kubelet: &Kubelet<'_>, now: Instant) {
        let name = format!("{}-{}", self.name, suffixes.next());
        self.pods.push(Pod::start(name, self.template.clone(), node, kubelet, now));
    }

    /// Makes as many pods as wanted, or ends those that are too many: the ones that are not ready first, then the
    /// youngest.
    pub fn scale(&mut self, suffixes: &mut Suffixes, kubelet: &Kubelet<'_>, now: Instant) {
        let active = self.active().count();
        for index in active..self.wanted {
            self.start_pod(index % kubelet.settings.nodes.max(1), suffixes, kubelet, now);
        }
        for _ in self.wanted..active {
            let young = || (0..self.pods.len()).rev();
            let is = |index: &usize, ready: bool| {
                self.pods.get(*index).is_some_and(|pod| pod.is_active() && pod.is_ready() == ready)
            };
            let victim = young().find(|index| is(index, false)).or_else(|| young().find(|index| is(index, true)));
            if let Some(pod) = victim.and_then(|index| self.pods.get_mut(index)) {
                pod.end(kubelet.settings, now);
            }
        }
    }
}
