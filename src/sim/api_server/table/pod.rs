//! The cells of a pod: how its containers are, in one word (`printPod` of Kubernetes).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::age;

/// What the cells of a pod say.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: String,
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How many containers are ready, of how many.
pub fn ready(pod: &Value) -> Value {
    let total = list(pod, "/spec/containers").len() + sidecars(pod).len();
    json!(format!("{}/{total}", summary(pod).ready))
}

/// The state of the pod in one word.
pub fn status(pod: &Value) -> Value {
    let is_being_deleted = !text(pod, "/metadata/deletionTimestamp").is_empty();
    let is_over = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    json!(match (is_being_deleted, text(pod, "/status/reason")) {
        (true, "NodeLost") => "Unknown".to_owned(),
        (true, _) if !is_over => "Terminating".to_owned(),
        _ => summary(pod).reason,
    })
}

/// How often containers were restarted, and when last.
pub fn restarts(pod: &Value, now: DateTime<Utc>) -> Value {
    let summary = summary(pod);
    json!(if summary.restarts != 0 && !summary.last_restart.is_empty() {
        format!("{} ({} ago)", summary.restarts, age::since(&summary.last_restart, now))
    } else {
        summary.restarts.to_string()
    })
}

/// How many readiness gates are open, of how many.
pub fn readiness_gates(pod: &Value) -> Value {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return json!("<none>");
    }
    let open = gates.iter().filter(|gate| has_condition(pod, text(gate, "/conditionType"))).count();
    json!(format!("{open}/{}", gates.len()))
}

/// What a row says of a pod that is over.
pub fn conditions(pod: &Value) -> Option<Value> {
    let message = match text(pod, "/status/phase") {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": pod["status"]["phase"], "message": message}]))
}

fn has_condition(pod: &Value, kind: &str) -> bool {
    let found = list(pod, "/status/conditions").iter().find(|condition| condition["type"] == kind);
    found.is_some_and(|condition| condition["status"] == "True")
}

/// The names of the init containers that go on running.
fn sidecars(pod: &Value) -> Vec<&str> {
    let containers = list(pod, "/spec/initContainers").iter();
    containers
        .filter(|container| container["restartPolicy"] == "Always")
        .map(|container| text(container, "/name"))
        .collect()
}

fn summary(pod: &Value) -> Summary {
    let mut reason = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase"),
        reason => reason,
    };
    let is_gated = |condition: &Value| condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated";
    if list(pod, "/status/conditions").iter().any(is_gated) {
        reason = "SchedulingGated";
    }
    let mut summary = Summary { reason: reason.to_owned(), ready: 0, restarts: 0, last_restart: String::new() };
    let mut of_sidecars = Restarts::default();
    let is_initializing = initialize(pod, &mut summary, &mut of_sidecars);
    if !is_initializing || has_condition(pod, "Initialized") {
        (summary.restarts, summary.last_restart) = (of_sidecars.count, of_sidecars.last);
        run(pod, &mut summary);
    }
    summary
}

#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += container["restartCount"].as_i64().unwrap_or_default();
        let ended = text(container, "/lastState/terminated/finishedAt");
        // Times of one format have the order of their texts.
        if ended > self.last.as_str() {
            ended.clone_into(&mut self.last);
        }
    }
}

/// Looks at the init containers; whether they are not through.
fn initialize(pod: &Value, summary: &mut Summary, of_sidecars: &mut Restarts) -> bool {
    let names = sidecars(pod);
    let mut restarts = Restarts::default();
    let mut is_initializing = false;
    for (index, container) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let is_sidecar = names.contains(&text(container, "/name"));
        restarts.add(container);
        if is_sidecar {
            of_sidecars.add(container);
        }
        let (ended, waiting) = (&container["state"]["terminated"], text(container, "/state/waiting/reason"));
        if ended.is_object() && ended["exitCode"] == 0 {
            continue;
        }
        if is_sidecar && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        summary.reason = match (ended.is_object(), waiting) {
            (true, _) => format!("Init:{}", end_reason(ended)),
            (false, "" | "PodInitializing") => format!("Init:{index}/{}", list(pod, "/spec/initContainers").len()),
            (false, waiting) => format!("Init:{waiting}"),
        };
        is_initializing = true;
        break;
    }
    (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
    is_initializing
}

/// Looks at the containers, the last one first.
fn run(pod: &Value, summary: &mut Summary) {
    let mut restarts = Restarts { count: summary.restarts, last: std::mem::take(&mut summary.last_restart) };
    let (mut is_running, mut failure) = (false, None);
    for container in list(pod, "/status/containerStatuses").iter().rev() {
        restarts.add(container);
        let (ended, waiting) = (&container["state"]["terminated"], text(container, "/state/waiting/reason"));
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if ended.is_object() {
            summary.reason = end_reason(ended);
            if ended["exitCode"] != 0 {
                failure = Some(summary.reason.clone());
            }
        } else if container["ready"] == true && container["state"]["running"].is_object() {
            is_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        summary.reason = match failure {
            _ if is_running && has_condition(pod, "Ready") => "Running".to_owned(),
            Some(failure) => failure,
            None if is_running => "NotReady".to_owned(),
            None => "Completed".to_owned(),
        };
    }
    (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
}

/// Why a container ended.
fn end_reason(ended: &Value) -> String {
    match (text(ended, "/reason"), ended["signal"].as_i64().unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or_default()),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
