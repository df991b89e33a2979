//! A pod's status, as the kubelet writes it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::jiff::{Timestamp, Unit};
use serde_json::{Value, json};

use super::NODE_ADDRESS;
use super::container::{ContainerState, Phase};
use super::pod::Home;

/// This moment, as Kubernetes writes it: to the second.
pub(super) fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// Writes statuses; remembers since when each condition has held.
#[derive(Debug)]
pub(super) struct Reporter {
    start_time: String,
    conditions: BTreeMap<&'static str, (bool, String)>,
}

impl Default for Reporter {
    fn default() -> Self {
        Self { start_time: now(), conditions: BTreeMap::new() }
    }
}

impl Reporter {
    /// The patch that reports these states.
    pub(super) fn status(&mut self, home: &Home, states: &[ContainerState]) -> Value {
        let ready = states.iter().all(|state| state.ready);
        let started =
            states.iter().all(|state| matches!(state.phase, Phase::Running { .. }) || state.last_end.is_some());
        let containers = home.containers().iter().zip(states);
        let conditions = json!([
            self.condition("PodScheduled", true),
            self.condition("Initialized", true),
            self.condition("PodReadyToStartContainers", true),
            self.condition("ContainersReady", ready),
            self.condition("Ready", ready),
        ]);
        json!({"status": {
            "phase": if started { "Running" } else { "Pending" },
            "hostIP": NODE_ADDRESS,
            "hostIPs": [{"ip": NODE_ADDRESS}],
            "podIP": home.address,
            "podIPs": [{"ip": home.address}],
            "startTime": self.start_time,
            "conditions": conditions,
            "containerStatuses": containers.map(|(container, state)| container_status(container, state)).collect::<Vec<_>>(),
        }})
    }

    fn condition(&mut self, name: &'static str, holds: bool) -> Value {
        let entry = self.conditions.entry(name).or_insert_with(|| (holds, now()));
        if entry.0 != holds {
            *entry = (holds, now());
        }
        let mut condition = json!({
            "type": name,
            "status": if holds { "True" } else { "False" },
            "lastTransitionTime": entry.1,
        });
        if !holds && let Some(condition) = condition.as_object_mut() {
            condition.insert("reason".to_owned(), json!("ContainersNotReady"));
            condition.insert("message".to_owned(), json!("containers with unready status"));
        }
        condition
    }
}

fn container_status(container: &Container, state: &ContainerState) -> Value {
    let (now_state, running) = match &state.phase {
        Phase::Waiting { reason, message } if message.is_empty() => (json!({"waiting": {"reason": reason}}), false),
        Phase::Waiting { reason, message } => (json!({"waiting": {"reason": reason, "message": message}}), false),
        Phase::Running { since } => (json!({"running": {"startedAt": since}}), true),
    };
    let last_state = state.last_end.as_ref().map_or(json!({}), |end| {
        json!({"terminated": {
            "exitCode": end.exit_code,
            "reason": if end.exit_code == 0 { "Completed" } else { "Error" },
            "startedAt": end.started_at,
            "finishedAt": end.finished_at,
        }})
    });
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": state.ready,
        "started": running,
        "restartCount": state.restarts,
        "state": now_state,
        "lastState": last_state,
    })
}
