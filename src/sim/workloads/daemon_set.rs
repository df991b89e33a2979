//! The DaemonSet controller: one pod on each node that its template allows.
//!
//! Source: `pkg/controller/daemon/update.go` and `daemon_controller.go` of Kubernetes. `maxSurge` is taken as 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::pod::{Kubelet, Pod};
use super::pod_set::{PodSet, Suffixes};
use super::template::Template;

/// What a DaemonSet asks for, and how far it got.
#[derive(Debug)]
pub struct DaemonSet {
    name: String,
    /// `None`: pods are updated only when somebody deletes them (`OnDelete`).
    most_unavailable: Option<MostUnavailable>,
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug)]
enum MostUnavailable {
    Pods(usize),
    Percent(usize),
}

impl MostUnavailable {
    /// Of so many nodes; a percentage is rounded up.
    fn of(self, nodes: usize) -> usize {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => percent.saturating_mul(nodes).div_ceil(100),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Status {
    generation: i64,
    desired: usize,
    current: usize,
    misscheduled: usize,
    updated: usize,
    ready: usize,
    available: usize,
}

impl DaemonSet {
    /// One that the controller has not seen before.
    pub fn new(name: &str, object: &Value) -> Self {
        let mut daemon_set = Self { name: name.to_owned(), most_unavailable: None, status: None };
        daemon_set.read(object);
        daemon_set
    }

    /// Takes in what it asks for now.
    pub fn read(&mut self, object: &Value) {
        let is_manual = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete");
        let bound = match object.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable") {
            Some(Value::String(text)) => {
                let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
                MostUnavailable::Percent(percent.unwrap_or(0))
            }
            number => MostUnavailable::Pods(number.and_then(Value::as_u64).map_or(1, |number| number as usize)),
        };
        self.most_unavailable = (!is_manual).then_some(bound);
    }

    /// Makes the pods that are missing, and ends those that are too many or old. Each node has its next pod only when
    /// the one before is gone.
    pub fn sync(
        &self,
        template: &Arc<Template>,
        sets: &mut Vec<PodSet>,
        minimum_ready: Duration,
        suffixes: &mut Suffixes,
        kubelet: &Kubelet<'_>,
        now: Instant,
    ) {
        sets.retain(|set| !set.pods.is_empty() && set.template.hash != template.hash || is_of(set, template));
        match sets.iter().position(|set| is_of(set, template)) {
            Some(index) => {
                let new = sets.remove(index);
                sets.push(new);
            }
            None => sets.push(PodSet::new(self.name.clone(), template.clone())),
        }
        let nodes: Vec<usize> = (0..kubelet.settings.nodes).filter(|node| allows(template, *node)).collect();
        for pod in sets.iter_mut().flat_map(|set| &mut set.pods).filter(|pod| !nodes.contains(&pod.node)) {
            pod.end(kubelet.settings, now);
        }
        for node in &nodes {
            let is_taken = sets.iter().flat_map(|set| &set.pods).any(|pod| pod.node == *node);
            if !is_taken && let Some(new) = sets.last_mut() {
                new.start_pod(*node, suffixes, kubelet, now);
            }
        }
        if let Some(most) = self.most_unavailable {
            replace_old(sets, most.of(nodes.len()).max(1), nodes.len(), minimum_ready, kubelet, now);
        }
    }

    /// Brings the status up to date. Returns a merge patch where it changed.
    pub fn observe(
        &mut self,
        generation: i64,
        template: &Arc<Template>,
        sets: &[PodSet],
        minimum_ready: Duration,
        nodes: usize,
        now: Instant,
    ) -> Option<Value> {
        let pods = || sets.iter().flat_map(|set| &set.pods);
        let placed = |pod: &&Pod| allows(template, pod.node);
        let status = Status {
            generation,
            desired: (0..nodes).filter(|node| allows(template, *node)).count(),
            current: pods().filter(placed).count(),
            misscheduled: pods().filter(|pod| !placed(pod)).count(),
            updated: pods().filter(placed).filter(|pod| pod.is_active() && pod.template.hash == template.hash).count(),
            ready: pods().filter(placed).filter(|pod| pod.is_ready()).count(),
            available: pods().filter(placed).filter(|pod| pod.is_available(minimum_ready, now)).count(),
        };
        if self.status == Some(status) {
            return None;
        }
        self.status = Some(status);
        Some(status.patch())
    }
}

impl Status {
    fn patch(&self) -> Value {
        // Go leaves these out where they are zero.
        let count = |number: usize| (number > 0).then_some(number);
        json!({"status": {
            "observedGeneration": self.generation,
            "desiredNumberScheduled": self.desired,
            "currentNumberScheduled": self.current,
            "numberMisscheduled": self.misscheduled,
            "numberReady": self.ready,
            "updatedNumberScheduled": count(self.updated),
            "numberAvailable": count(self.available),
            "numberUnavailable": count(self.desired.saturating_sub(self.available)),
        }})
    }
}

fn is_of(set: &PodSet, template: &Template) -> bool {
    set.template.hash == template.hash
}

/// Ends old pods: those that are not available at once, the others as far as the bound allows.
fn replace_old(
    sets: &mut [PodSet],
    most_unavailable: usize,
    nodes: usize,
    minimum_ready: Duration,
    kubelet: &Kubelet<'_>,
    now: Instant,
) {
    let available: usize = sets.iter().map(|set| set.available(minimum_ready, now)).sum();
    let mut spare = most_unavailable.saturating_sub(nodes.saturating_sub(available));
    let Some((_, old)) = sets.split_last_mut() else { return };
    for pod in old.iter_mut().flat_map(|set| &mut set.pods).filter(|pod| pod.is_active()) {
        if !pod.is_available(minimum_ready, now) {
            pod.end(kubelet.settings, now);
        } else if spare > 0 {
            spare -= 1;
            pod.end(kubelet.settings, now);
        }
    }
}

/// Whether the template may run on a node.
fn allows(template: &Template, node: usize) -> bool {
    let labels =
        BTreeMap::from([("kubernetes.io/os", "linux".to_owned()), ("kubernetes.io/hostname", node_name(node))]);
    template.node_selector.iter().all(|(key, value)| labels.get(key.as_str()) == Some(value))
}

/// The name of a node.
pub fn node_name(node: usize) -> String {
    format!("node-{node}")
}
