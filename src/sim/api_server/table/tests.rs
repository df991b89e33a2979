//! What the cells say. `tests/api_server_conformance` holds the columns of generated objects against the real server.

use chrono::{DateTime, Utc};

use super::*;
use crate::sim::api_server::resources;

fn cells(api_version: &str, kind: &str, object: &Value) -> Vec<Value> {
    let now = DateTime::parse_from_rfc3339("2026-01-01T00:05:00Z").unwrap().with_timezone(&Utc);
    let kind = &resources::all()[resources::by_kind(api_version, kind).unwrap()];
    kind.columns.iter().map(|column| column.cell(object, now)).collect()
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"})
}

#[test]
fn workloads_and_services_are_told_in_a_row() {
    let template =
        json!({"spec": {"containers": [{"name": "app", "image": "app:1"}, {"name": "log", "image": "log:2"}]}});
    let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["2", "1"]}, {"key": "b", "operator": "DoesNotExist"}]});
    let cases = [
        (
            ("apps/v1", "Deployment"),
            json!({"spec": {"replicas": 3, "selector": selector, "template": template}, "status": {"readyReplicas": 2, "updatedReplicas": 1}}),
            json!(["a", "2/3", 1, 0, "5m", "app,log", "app:1,log:2", "a in (1,2),app=x,!b"]),
        ),
        (
            ("apps/v1", "ReplicaSet"),
            json!({"spec": {"replicas": 3, "template": template}, "status": {"replicas": 2}}),
            json!(["a", 3, 2, 0, "5m", "app,log", "app:1,log:2", "<none>"]),
        ),
        (
            ("v1", "Service"),
            json!({"spec": {"type": "ClusterIP", "clusterIPs": ["10.0.0.1"], "selector": {"app": "x"}, "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]}}),
            json!(["a", "ClusterIP", "10.0.0.1", "<none>", "80/TCP,53:30053/UDP", "5m", "app=x"]),
        ),
        (
            ("v1", "Service"),
            json!({"spec": {"type": "LoadBalancer"}}),
            json!(["a", "LoadBalancer", "<none>", "<pending>", "<none>", "5m", "<none>"]),
        ),
        (
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "minReplicas": 2, "maxReplicas": 4, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
                {"type": "Pods", "pods": {"target": {"averageValue": "10"}}},
                {"type": "External"},
            ]}, "status": {"currentMetrics": [{"resource": {"current": {"averageUtilization": 40}}}]}}),
            json!(["a", "Deployment/x", "cpu: 40%/80%, <unknown>/10 + 1 more...", "2", 4, 0, "5m"]),
        ),
        (
            ("flagger.app/v1beta1", "Canary"),
            json!({"spec": {"analysis": {"interval": "1m", "stepWeights": [5, 10]}}, "status": {"phase": "Progressing", "canaryWeight": 5}}),
            json!(["a", "Progressing", "5", null, null, "1m", null, null, "[5,10]", null, null]),
        ),
        (
            ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            json!({"spec": {"hostnames": ["a.example"]}}),
            json!(["a", "[\"a.example\"]", "5m"]),
        ),
    ];
    for ((api_version, kind), mut object, expected) in cases {
        object["metadata"] = metadata("a");
        assert_eq!(json!(cells(api_version, kind, &object)), expected, "{kind}");
    }
}

#[test]
fn pods_are_told_in_one_word() {
    let running = json!({"ready": true, "state": {"running": {}}});
    let ended = |code: i64, reason: &str| json!({"restartCount": 2, "state": {"terminated": {"exitCode": code, "reason": reason}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:04:00Z"}}});
    // Status, ready, status in words, restarts.
    let cases = [
        (json!({"phase": "Pending"}), "0/2", "Pending", "0"),
        (json!({"phase": "Running", "containerStatuses": [running, running]}), "2/2", "Running", "0"),
        (
            json!({"phase": "Running", "containerStatuses": [running, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            "1/2",
            "CrashLoopBackOff",
            "0",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running, ended(0, "Completed")]}),
            "1/2",
            "NotReady",
            "2 (60s ago)",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [ended(0, "Completed"), ended(3, "")]}),
            "0/2",
            "ExitCode:3",
            "4 (60s ago)",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "0/2",
            "Init:0/1",
            "0",
        ),
        (json!({"phase": "Failed", "reason": "Evicted"}), "0/2", "Evicted", "0"),
    ];
    for (status, ready, word, restarts) in cases {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let pod = json!({"metadata": metadata("a"), "spec": spec, "status": status});
        let cells = cells("v1", "Pod", &pod);
        assert_eq!(json!(cells[1..4]), json!([ready, word, restarts]), "{status}");
        assert_eq!(json!(cells[5..]), json!(["<none>", "<none>", "<none>", "<none>"]));
    }
    let mut leaving = json!({"metadata": metadata("a"), "status": {"phase": "Running"}});
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(cells("v1", "Pod", &leaving)[2], "Terminating");
}

#[test]
fn events_are_told_in_a_row() {
    let event = json!({
        "metadata": {"name": "a.1"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Synced",
        "note": " it happened\n", "regarding": {"kind": "Canary", "name": "a"}, "reportingController": "serin",
        "series": {"count": 3, "lastObservedTime": "2026-01-01T00:04:30.000000Z"},
    });
    let expected = json!(["30s", "Normal", "Synced", "canary/a", "", "serin", "it happened", "5m", 3, "a.1"]);
    assert_eq!(json!(cells("events.k8s.io/v1", "Event", &event)), expected);
}

#[test]
fn rows_have_what_was_asked_for() {
    let kind = &resources::all()[resources::by_kind("v1", "ConfigMap").unwrap()];
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let stored = [Stored::unowned(object.clone())];
    let row = |included| table(kind, &stored, &json!({}), included, false)["rows"][0]["object"].clone();
    assert_eq!(row(Included::Nothing), Value::Null);
    assert_eq!(row(Included::Object), object);
    assert_eq!(row(Included::Metadata)["metadata"], object["metadata"]);
    assert_eq!(Included::read("Everything").unwrap_err().code, 400);
}
