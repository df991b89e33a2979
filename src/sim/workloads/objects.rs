//! ReplicaSets and Pods as objects in the API server, for people who look with kubectl. The models don't read them back,
//! but for the deletion of a Pod.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::daemon_set::node_name;
use super::pod::Pod;
use super::pod_set::PodSet;
use super::workload::{API_VERSION, Workload};
use crate::api::checked::ObjectKey;
use crate::rollout::ResourceId;
use crate::rollout::object::text;
use crate::sim::api_server::ApiServer;
use crate::sim::metadata::timestamp;

/// What the API server has of a ReplicaSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedSet {
    uid: String,
    /// Wanted, there, ready, available.
    counts: [usize; 4],
}

/// What the API server has of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPod {
    is_ready: bool,
    is_crashed: bool,
    is_blocked: bool,
    restarts: u32,
}

/// Who controls an object.
struct Owner<'a> {
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
}

impl Owner<'_> {
    fn reference(&self) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": self.kind, "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

/// Brings the objects of a workload up to date.
pub fn publish(server: &ApiServer, workload: &mut Workload, now: Instant) {
    let (key, minimum) = (&workload.id.key, workload.minimum_ready);
    for name in workload.gone.drain(..) {
        // Somebody else may have deleted it.
        let _ = server.delete(&pod_id(key, &name));
    }
    let is_deployment = workload.id.kind == "Deployment";
    for (index, set) in workload.sets.iter_mut().enumerate() {
        if is_deployment {
            let counts = [set.wanted, set.active().count(), set.ready(), set.available(minimum, now)];
            publish_set(server, key, &workload.uid, index + 1, counts, set);
        }
        let set_uid = set.published.as_ref().map(|published| published.uid.clone());
        let (label, owner) = match &set_uid {
            Some(uid) => ("pod-template-hash", Owner { kind: "ReplicaSet", name: &set.name, uid }),
            None => ("controller-revision-hash", Owner { kind: "DaemonSet", name: &key.name, uid: &workload.uid }),
        };
        if is_deployment && set_uid.is_none() {
            continue;
        }
        for pod in &mut set.pods {
            publish_pod(server, key, label, &owner, pod);
        }
    }
}

/// Deletes the ReplicaSet of a set.
pub fn remove_set(server: &ApiServer, workload: &ObjectKey, set: &PodSet) {
    if set.published.is_some() {
        // Somebody else may have deleted it.
        let _ = server.delete(&set_id(workload, &set.name));
    }
}

fn pod_id(workload: &ObjectKey, name: &str) -> ResourceId {
    ResourceId::new("v1", "Pod", ObjectKey::new(&workload.namespace, name))
}

fn set_id(workload: &ObjectKey, name: &str) -> ResourceId {
    ResourceId::new(API_VERSION, "ReplicaSet", ObjectKey::new(&workload.namespace, name))
}

fn publish_set(
    server: &ApiServer,
    workload: &ObjectKey,
    workload_uid: &str,
    revision: usize,
    counts: [usize; 4],
    set: &mut PodSet,
) {
    let before = set.published.as_ref().map(|published| published.counts);
    if before == Some(counts) {
        return;
    }
    let id = set_id(workload, &set.name);
    let uid = if let Some(published) = &set.published {
        if before.is_some_and(|before| before.first() != counts.first()) {
            let _ = server.patch(&id, &json!({"spec": {"replicas": set.wanted}}));
        }
        Some(published.uid.clone())
    } else {
        let owner = Owner { kind: "Deployment", name: &workload.name, uid: workload_uid };
        let created = server.create(set_object(workload, &owner, revision, set));
        created.ok().and_then(|created| text(&created, "/metadata/uid").map(str::to_owned))
    };
    let [_, all, ready, available] = counts;
    let _ = server.patch_status(
        &id,
        &json!({"status": {
            "replicas": all, "fullyLabeledReplicas": all, "readyReplicas": ready, "availableReplicas": available,
        }}),
    );
    set.published = uid.map(|uid| PublishedSet { uid, counts });
}

fn set_object(workload: &ObjectKey, owner: &Owner<'_>, revision: usize, set: &PodSet) -> Value {
    let mut labels = set.template.labels.clone();
    labels.insert("pod-template-hash".to_owned(), set.template.hash.clone());
    let mut template = set.template.body().cloned().unwrap_or_default();
    template["metadata"]["labels"] = json!(labels);
    json!({
        "apiVersion": API_VERSION,
        "kind": "ReplicaSet",
        "metadata": {
            "name": set.name,
            "namespace": workload.namespace,
            "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [owner.reference()],
        },
        "spec": {"replicas": set.wanted, "selector": {"matchLabels": labels}, "template": template},
    })
}

fn publish_pod(server: &ApiServer, workload: &ObjectKey, label: &str, owner: &Owner<'_>, pod: &mut Pod) {
    let now = PublishedPod {
        is_ready: pod.is_ready(),
        is_crashed: pod.is_crashed(),
        is_blocked: pod.is_blocked(),
        restarts: pod.restarts,
    };
    if pod.published == Some(now) {
        return;
    }
    if pod.published.is_none() && server.create(pod_object(workload, label, owner, pod)).is_err() {
        return;
    }
    let _ = server.patch_status(&pod_id(workload, &pod.name), &json!({"status": pod_status(pod)}));
    pod.published = Some(now);
}

fn pod_object(workload: &ObjectKey, label: &str, owner: &Owner<'_>, pod: &Pod) -> Value {
    let mut labels = pod.template.labels.clone();
    labels.insert(label.to_owned(), pod.template.hash.clone());
    let body = pod.template.body();
    let part = |pointer| body.and_then(|body| body.pointer(pointer)).cloned();
    let mut spec = part("/spec").unwrap_or_default();
    spec["nodeName"] = json!(node_name(pod.node));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": workload.namespace,
            "labels": labels,
            "annotations": part("/metadata/annotations").unwrap_or_else(|| json!({})),
            "ownerReferences": [owner.reference()],
        },
        "spec": spec,
    })
}

fn pod_status(pod: &Pod) -> Value {
    let time = timestamp();
    let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": time});
    let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
    let state = match (pod.is_blocked(), pod.is_crashed()) {
        (true, _) => waiting("CreateContainerConfigError"),
        (_, true) => waiting("CrashLoopBackOff"),
        _ => json!({"running": {"startedAt": time}}),
    };
    let body = pod.template.body();
    let name = body.and_then(|body| text(body, "/spec/containers/0/name")).unwrap_or_default();
    json!({
        "phase": if pod.is_blocked() { "Pending" } else { "Running" },
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", pod.is_ready()),
            condition("Ready", pod.is_ready()),
        ],
        "hostIP": format!("192.0.2.{}", pod.node % 250 + 1),
        "podIP": address(&pod.name),
        "startTime": time,
        "containerStatuses": [{
            "name": name,
            "image": pod.template.image,
            "imageID": pod.template.image,
            "ready": pod.is_ready(),
            "started": pod.is_ready(),
            "restartCount": pod.restarts,
            "state": state,
        }],
    })
}

/// An address for a pod, from its name: nobody connects to it.
fn address(name: &str) -> String {
    let number = name.bytes().fold(7_u32, |number, byte| number.wrapping_mul(31).wrapping_add(u32::from(byte)));
    format!("10.244.{}.{}", number / 250 % 250, number % 250 + 1)
}
