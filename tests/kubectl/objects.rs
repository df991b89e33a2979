//! What is in the server, and what is applied to it.

use anyhow::Result;
use serde_json::{Value, json};
use serin::api::checked::ObjectKey;
use serin::rollout::ResourceId;
use serin::sim::api_server::ApiServer;

/// The time of conditions.
pub const TIME: &str = "2026-01-01T00:00:00Z";

pub const APP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replicas: 2
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
      - name: app
        image: app:1
        env:
        - {name: VERSION, value: "1"}
        - {name: ERROR_RATE, value: "0"}
        ports:
        - containerPort: 8080
"#;

pub const APP_WITH_ANOTHER_IMAGE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
      - name: app
        image: app:2
        env:
        - {name: ERROR_RATE, value: "0.5"}
        ports:
        - containerPort: 8080
"#;

pub const APP_WITH_A_MISTAKE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replica: 3
  selector:
    matchLabels: {app: app}
  template:
    metadata:
      labels: {app: app}
    spec:
      containers:
      - name: app
        image: app:2
        env:
        - {name: ERROR_RATE, value: "0.5"}
        ports:
        - containerPort: 8080
"#;

pub const CANARY: &str = r"
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: app
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  service: {port: 80}
  analysis: {interval: 1m, threshold: 5, stepWeight: 10, maxWeight: 50}
";

pub const CANARY_WITH_ANOTHER_WEIGHT: &str = r"
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: app
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  service: {port: 80}
  analysis: {interval: 1m, threshold: 5, stepWeight: 20, maxWeight: 60}
";

pub const CANARY_WITH_A_MISTAKE: &str = r"
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: app
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: app}
  service: {port: 80}
  analysis: {interval: 1m, treshold: 5, stepWeight: 20, maxWeight: 60}
";

/// Fills a new server.
pub fn plant(server: &ApiServer) -> Result<()> {
    let refused = |status: kube::core::Status| anyhow::anyhow!("{}", status.message);
    for name in ["default", "shop"] {
        server.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).map_err(refused)?;
    }
    for (object, status) in objects() {
        let created = server.create(object).map_err(refused)?;
        let text = |pointer: &str| created.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let key = ObjectKey::new(text("/metadata/namespace"), text("/metadata/name"));
        let id = ResourceId::new(text("/apiVersion"), text("/kind"), key);
        if !status.is_null() {
            server.patch_status(&id, &json!({"status": status})).map_err(refused)?;
        }
    }
    Ok(())
}

/// The objects, each with its status.
fn objects() -> Vec<(Value, Value)> {
    let labels = json!({"app": "frontend"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "frontend:1", "ports": [{"containerPort": 8080}]}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": template});
    let named = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}});
    let with = |mut object: Value, field: &str, value: &Value| {
        object[field] = value.clone();
        object
    };
    let canary_spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
        "service": {"port": 80},
        "analysis": {"interval": "1m", "threshold": 5, "stepWeight": 10, "maxWeight": 50},
    });
    let canary_status = json!({"phase": "Progressing", "canaryWeight": 10, "failedChecks": 0, "iterations": 0, "lastTransitionTime": TIME});
    let mut objects = vec![
        (with(named("flagger.app/v1beta1", "Canary", "frontend"), "spec", &canary_spec), canary_status),
        (
            with(named("apps/v1", "Deployment", "frontend"), "spec", &spec),
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}),
        ),
        (
            with(named("apps/v1", "ReplicaSet", "frontend-5d4"), "spec", &spec),
            json!({"replicas": 2, "readyReplicas": 1}),
        ),
        (
            with(
                named("v1", "Service", "frontend"),
                "spec",
                &json!({"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}),
            ),
            Value::Null,
        ),
        (
            with(
                named("autoscaling/v2", "HorizontalPodAutoscaler", "frontend"),
                "spec",
                &json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"}, "minReplicas": 2, "maxReplicas": 4}),
            ),
            Value::Null,
        ),
        (
            with(
                named("gateway.networking.k8s.io/v1", "HTTPRoute", "frontend"),
                "spec",
                &json!({"hostnames": ["frontend.example.com"], "rules": []}),
            ),
            Value::Null,
        ),
        (with(named("v1", "ConfigMap", "settings"), "data", &json!({"a": "1", "b": "2"})), Value::Null),
        (with(named("v1", "Secret", "keys"), "data", &json!({"a": "MQ=="})), Value::Null),
        (
            with(named("coordination.k8s.io/v1", "Lease", "serin"), "spec", &json!({"holderIdentity": "serin-1"})),
            Value::Null,
        ),
    ];
    for (name, is_ready) in [("frontend-1", true), ("frontend-2", false)] {
        let ready = if is_ready { "True" } else { "False" };
        let status = json!({
            "phase": "Running",
            "podIPs": [{"ip": "10.244.1.1"}],
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "app", "image": "frontend:1", "imageID": "", "ready": is_ready, "restartCount": 0, "state": {"running": {"startedAt": TIME}}}],
        });
        objects.push((with(named("v1", "Pod", name), "spec", &template["spec"]), status));
    }
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "frontend.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Synced", "action": "Reconcile",
        "note": "Advance frontend.default canary weight 10", "reportingController": "serin", "reportingInstance": "serin-1",
        "regarding": {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "frontend", "namespace": "default", "uid": "00000000-0000-4000-8000-000000000003"},
    });
    objects.push((event, Value::Null));
    let mut other = with(named("flagger.app/v1beta1", "Canary", "cart"), "spec", &canary_spec);
    other["metadata"]["namespace"] = json!("shop");
    objects.push((other, Value::Null));
    objects
}
