//! Objects of each kind with fields that come and go.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// A kind that sequences are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ConfigMap,
    Service,
    Deployment,
    ReplicaSet,
    DaemonSet,
    Pod,
    HttpRoute,
    Canary,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::ConfigMap,
        Self::Service,
        Self::Deployment,
        Self::ReplicaSet,
        Self::DaemonSet,
        Self::Pod,
        Self::HttpRoute,
        Self::Canary,
    ];

    pub fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Service | Self::Pod => "v1",
            Self::Deployment | Self::ReplicaSet | Self::DaemonSet => "apps/v1",
            Self::HttpRoute => "gateway.networking.k8s.io/v1",
            Self::Canary => "flagger.app/v1beta1",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::DaemonSet => "DaemonSet",
            Self::Pod => "Pod",
            Self::HttpRoute => "HTTPRoute",
            Self::Canary => "Canary",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Service => "services",
            Self::Deployment => "deployments",
            Self::ReplicaSet => "replicasets",
            Self::DaemonSet => "daemonsets",
            Self::Pod => "pods",
            Self::HttpRoute => "httproutes",
            Self::Canary => "canaries",
        }
    }

    pub fn has_status(self) -> bool {
        self != Self::ConfigMap
    }

    pub fn has_scale(self) -> bool {
        matches!(self, Self::Deployment | Self::ReplicaSet)
    }

    /// The path of its objects in a namespace.
    pub fn path(self, namespace: &str) -> String {
        let root = if self.api_version() == "v1" { "api" } else { "apis" };
        format!("/{root}/{}/namespaces/{namespace}/{}", self.api_version(), self.plural())
    }

    /// An object without a name.
    pub fn object(self, random: &mut Random) -> Value {
        let mut object = match self {
            Self::ConfigMap => config_map(random),
            Self::Service => service(random),
            Self::Deployment => deployment(random),
            Self::ReplicaSet => replica_set(random),
            Self::DaemonSet => daemon_set(random),
            Self::Pod => pod(random),
            Self::HttpRoute => http_route(random),
            Self::Canary => canary(random),
        };
        object["apiVersion"] = json!(self.api_version());
        object["kind"] = json!(self.name());
        object["metadata"] = metadata(random);
        object
    }

    /// A status of such an object.
    pub fn status(self, random: &mut Random) -> Value {
        let time = "2026-01-02T03:04:05Z";
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Because", "message": "", "lastTransitionTime": time});
        let states = ["True", "False"];
        let mut conditions = Vec::new();
        for kind in ["Ready", "Promoted", "Available"] {
            if random.percent(50) {
                conditions.push(condition(kind, random.pick(&states)));
            }
        }
        let conditions = Value::Array(conditions);
        match self {
            Self::ConfigMap => json!({}),
            Self::Service => json!({"conditions": conditions}),
            Self::Deployment => {
                let count = random.below(3);
                json!({"replicas": count, "updatedReplicas": count, "readyReplicas": random.below(count + 1), "observedGeneration": random.below(3), "conditions": conditions})
            }
            Self::ReplicaSet => {
                let count = random.below(3);
                json!({"replicas": count, "readyReplicas": random.below(count + 1), "observedGeneration": random.below(3), "conditions": conditions})
            }
            Self::DaemonSet => {
                let count = random.below(3);
                json!({"desiredNumberScheduled": count, "currentNumberScheduled": count, "numberReady": random.below(count + 1), "numberMisscheduled": 0, "conditions": conditions})
            }
            Self::Pod => pod_status(random, &conditions),
            Self::HttpRoute => {
                let mut condition = condition("Accepted", random.pick(&states));
                condition["observedGeneration"] = json!(random.below(4));
                json!({"parents": [{"parentRef": {"name": random.pick(&["nowhere", "elsewhere"])}, "controllerName": "example.com/controller", "conditions": [condition]}]})
            }
            Self::Canary => {
                json!({"phase": random.pick(&["Initialized", "Progressing", "Failed", "Nonsense"]), "canaryWeight": random.below(101), "failedChecks": random.below(3), "iterations": 0, "lastTransitionTime": time, "conditions": conditions})
            }
        }
    }
}

fn metadata(random: &mut Random) -> Value {
    let mut metadata = json!({});
    let mut labels = Map::new();
    for label in ["app", "tier", "part"] {
        if random.percent(30) {
            labels.insert(label.to_owned(), json!(random.pick(&["x", "y", "z"])));
        }
    }
    if !labels.is_empty() || random.percent(10) {
        metadata["labels"] = Value::Object(labels);
    }
    if random.percent(25) {
        metadata["annotations"] = json!({random.pick(&["one.example", "two.example"]): random.pick(&["1", "2", ""])});
    }
    if random.percent(15) {
        let all = ["example.com/first", "example.com/second"];
        metadata["finalizers"] = if random.percent(30) { json!(all) } else { json!([random.pick(&all)]) };
    }
    if random.percent(12) {
        let owner = |number: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("owner-{number}"), "uid": format!("{number}1111111-0000-4000-8000-000000000000")});
        let mut owners = vec![owner(random.below(3))];
        if random.percent(30) {
            owners.push(owner(3));
        }
        if random.percent(40) {
            owners[0]["controller"] = json!(true);
        }
        metadata["ownerReferences"] = json!(owners);
    }
    metadata
}

fn config_map(random: &mut Random) -> Value {
    let mut data = Map::new();
    for key in ["a", "b", "c"] {
        if random.percent(60) {
            data.insert(key.to_owned(), json!(random.pick(&["1", "2", "3", ""])));
        }
    }
    let mut object = json!({"data": data});
    if random.percent(5) {
        object["immutable"] = json!(random.percent(50));
    }
    if random.percent(5) {
        object["unknown"] = json!({"field": 1});
    }
    object
}

fn service(random: &mut Random) -> Value {
    let mut ports = Vec::new();
    for (name, port, target) in
        [("http", 80, json!(8080)), ("metrics", 9090, json!("metrics")), ("dns", 53, json!(5353))]
    {
        if ports.is_empty() || random.percent(35) {
            let mut entry = json!({"name": name, "port": port});
            if random.percent(60) {
                entry["targetPort"] = target;
            }
            if random.percent(25) {
                entry["protocol"] = json!(random.pick(&["TCP", "UDP"]));
            }
            if random.percent(15) {
                entry["appProtocol"] = json!("http");
            }
            ports.push(entry);
        }
    }
    if random.percent(20) {
        ports.reverse();
    }
    let mut spec = json!({"ports": ports});
    if random.percent(80) {
        spec["selector"] = json!({"app": random.pick(&["one", "two"])});
    }
    if random.percent(20) {
        spec["type"] = json!("ClusterIP");
    }
    if random.percent(15) {
        spec["sessionAffinity"] = json!(random.pick(&["None", "ClientIP"]));
    }
    if random.percent(5) {
        spec["clusterIP"] = json!("None");
    }
    if random.percent(10) {
        spec["publishNotReadyAddresses"] = json!(random.percent(50));
    }
    json!({"spec": spec})
}

fn pod_status(random: &mut Random, conditions: &Value) -> Value {
    let time = "2026-01-02T03:04:05Z";
    let state = random.pick(&[
        json!({"running": {"startedAt": time}}),
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
        json!({"terminated": {"exitCode": 3}}),
    ]);
    // Of the container that every pod has.
    let container = json!({"name": "app", "image": "app:1", "imageID": "", "ready": random.percent(50), "restartCount": random.below(2), "state": state});
    let mut status =
        json!({"phase": random.pick(&["Pending", "Running", "Succeeded", "Failed"]), "conditions": conditions});
    if random.percent(70) {
        status["containerStatuses"] = json!([container]);
    }
    if random.percent(10) {
        status["reason"] = json!("Evicted");
    }
    status
}

fn pod(random: &mut Random) -> Value {
    let mut spec = pod_template(random, "one")["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        // Nobody has made this account.
        fields.remove("serviceAccountName");
    }
    json!({"spec": spec})
}

fn replica_set(random: &mut Random) -> Value {
    let app = if random.percent(94) { "one" } else { "two" };
    let mut spec = json!({"selector": {"matchLabels": {"app": app}}, "template": pod_template(random, app)});
    if random.percent(60) {
        spec["replicas"] = json!(random.below(4));
    }
    if random.percent(15) {
        spec["minReadySeconds"] = json!(random.below(3));
    }
    json!({"spec": spec})
}

fn daemon_set(random: &mut Random) -> Value {
    let app = if random.percent(94) { "one" } else { "two" };
    let mut spec = json!({"selector": {"matchLabels": {"app": app}}, "template": pod_template(random, app)});
    if random.percent(15) {
        spec["updateStrategy"] = json!({"type": random.pick(&["OnDelete", "RollingUpdate"])});
    }
    if random.percent(15) {
        spec["template"]["spec"]["nodeSelector"] = json!({"disk": random.pick(&["ssd", "hdd"])});
    }
    json!({"spec": spec})
}

fn deployment(random: &mut Random) -> Value {
    let app = if random.percent(94) { "one" } else { "two" };
    let template = pod_template(random, app);
    deployment_of(random, app, &template)
}

fn pod_template(random: &mut Random, app: &str) -> Value {
    let mut containers = vec![container(random, "app")];
    if random.percent(30) {
        containers.push(container(random, "sidecar"));
    }
    if random.percent(20) {
        containers.reverse();
    }
    let mut template = json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": containers}});
    if random.percent(20) {
        template["metadata"]["annotations"] = json!({"checksum": random.pick(&["1", "2"])});
    }
    if random.percent(20) {
        template["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": random.pick(&["one", "two"])}}, {"name": "scratch", "emptyDir": {}}]);
    }
    if random.percent(15) {
        template["spec"]["terminationGracePeriodSeconds"] = json!(random.below(60));
    }
    if random.percent(10) {
        template["spec"]["serviceAccountName"] = json!("robot");
    }
    template
}

fn deployment_of(random: &mut Random, app: &str, template: &Value) -> Value {
    let mut spec = json!({"selector": {"matchLabels": {"app": app}}, "template": template});
    if random.percent(60) {
        spec["replicas"] = json!(random.below(4));
    }
    if random.percent(15) {
        spec["strategy"] = random.pick(&[
            json!({"type": "Recreate"}),
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}),
            json!({"rollingUpdate": {"maxUnavailable": "10%"}}),
        ]);
    }
    if random.percent(15) {
        spec["minReadySeconds"] = json!(random.below(3));
    }
    if random.percent(10) {
        spec["paused"] = json!(random.percent(50));
    }
    if random.percent(10) {
        spec["progressDeadlineSeconds"] = json!(60 + random.below(2));
    }
    json!({"spec": spec})
}

fn container(random: &mut Random, name: &str) -> Value {
    let image =
        random.pick(&["app:1", "app:2", "app", "registry.example:5000/app:latest", "registry.example:5000/app"]);
    let mut container = json!({"name": name, "image": image});
    if random.percent(50) {
        let mut env = Vec::new();
        for variable in ["A", "B", "C"] {
            if random.percent(50) {
                env.push(json!({"name": variable, "value": random.pick(&["1", "2", ""])}));
            }
        }
        if random.percent(20) {
            env.push(json!({"name": "D", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "a"}}}));
        }
        container["env"] = json!(env);
    }
    if random.percent(50) {
        let mut ports = vec![json!({"containerPort": 8080, "name": "http"})];
        if random.percent(30) {
            ports.push(json!({"containerPort": 9090, "protocol": "TCP"}));
        }
        container["ports"] = json!(ports);
    }
    if random.percent(20) {
        container["args"] = json!(random.pick(&[vec![], vec!["-v"], vec!["-v", "-x"]]));
    }
    if random.percent(20) {
        container["readinessProbe"] = json!({"httpGet": {"port": 8080}, "periodSeconds": 5 + random.below(2)});
    }
    if random.percent(20) {
        container["resources"] =
            json!({"requests": {"cpu": random.pick(&["100m", "200m"])}, "limits": {"memory": "64Mi"}});
    }
    if random.percent(10) {
        container["volumeMounts"] =
            json!([{"name": "config", "mountPath": "/etc/config", "readOnly": random.percent(50)}]);
    }
    container
}

fn http_route(random: &mut Random) -> Value {
    let mut rules = Vec::new();
    for _ in 0..=random.below(2) {
        let mut backends = Vec::new();
        for name in ["app-primary", "app-canary"] {
            let mut backend = json!({"name": name, "port": 80});
            if random.percent(70) {
                backend["weight"] = json!(random.below(11) * 10);
            }
            if random.percent(20) {
                backend["kind"] = json!("Service");
            }
            backends.push(backend);
        }
        let mut rule = json!({"backendRefs": backends});
        if random.percent(50) {
            rule["matches"] = json!([random.pick(&[
                json!({"path": {"type": "PathPrefix", "value": "/"}}),
                json!({"path": {"value": "/api"}}),
                json!({"headers": [{"name": "x-canary", "value": "always"}]}),
                json!({"method": "GET"}),
            ])]);
        }
        if random.percent(20) {
            rule["filters"] = json!([{"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x", "value": "1"}]}}]);
        }
        if random.percent(15) {
            rule["timeouts"] = json!({"request": random.pick(&["10s", "soon"])});
        }
        rules.push(rule);
    }
    let mut spec = json!({"rules": rules});
    if random.percent(90) {
        let mut parent = json!({"name": random.pick(&["nowhere", "elsewhere"])});
        if random.percent(30) {
            parent["namespace"] = json!("nowhere");
        }
        spec["parentRefs"] = json!([parent]);
    }
    if random.percent(60) {
        spec["hostnames"] =
            json!([random.pick(&["app.example.com", "other.example.com", "*.example.com", "Not A Host"])]);
    }
    json!({"spec": spec})
}

fn canary(random: &mut Random) -> Value {
    let mut analysis = json!({"interval": random.pick(&["1m", "30s"]), "threshold": random.below(6)});
    match random.below(5) {
        0 => analysis["iterations"] = json!(5),
        1 => analysis["stepWeights"] = json!([5, 10, 50]),
        _ => {
            analysis["stepWeight"] = json!(10 + random.below(2) * 10);
            analysis["maxWeight"] = json!(50);
        }
    }
    if random.percent(50) {
        let metric =
            |name: &str, minimum: usize| json!({"name": name, "interval": "1m", "thresholdRange": {"min": minimum}});
        let mut metrics = vec![metric("request-success-rate", 95 + random.below(5))];
        if random.percent(40) {
            metrics.push(metric("request-duration", 500));
        }
        analysis["metrics"] = json!(metrics);
    }
    if random.percent(25) {
        analysis["webhooks"] = json!([{"name": "load", "type": random.pick(&["rollout", "pre-rollout", "nonsense"]), "url": "http://load.example/", "metadata": {"cmd": random.pick(&["a", "b"])}}]);
    }
    let mut service = json!({"port": random.pick(&[json!(80), json!(8080), json!("eighty")])});
    if random.percent(40) {
        service["targetPort"] = random.pick(&[json!(8080), json!("http")]);
    }
    if random.percent(30) {
        service["gatewayRefs"] = json!([{"name": "nowhere"}]);
    }
    if random.percent(20) {
        service["hosts"] = json!(["app.example.com"]);
    }
    let mut spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": random.pick(&["one", "two"])},
        "service": service,
        "analysis": analysis,
    });
    if random.percent(30) {
        spec["provider"] = json!(random.pick(&["gatewayapi:v1", "kubernetes"]));
    }
    if random.percent(20) {
        spec["progressDeadlineSeconds"] = json!(60);
    }
    if random.percent(20) {
        spec["skipAnalysis"] = json!(random.percent(50));
    }
    if random.percent(8) {
        spec["unknownField"] = json!({"a": 1});
    }
    json!({"spec": spec})
}

/// The same with some fields left out: `percent` of those that a configuration may go without.
pub fn thinned(random: &mut Random, object: &Value, percent: usize) -> Value {
    const KEPT: [&str; 14] = [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "selector",
        "template",
        "matchLabels",
        "name",
        "containers",
        "image",
        "port",
        "containerPort",
        "uid",
        "type",
    ];
    match object {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let chance = if KEPT.contains(&name.as_str()) { percent / 12 } else { percent };
                if !random.percent(chance) {
                    kept.insert(name.clone(), thinned(random, value, percent));
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| thinned(random, item, percent)).collect()),
        other => other.clone(),
    }
}

/// The pointers of everything inside of a value.
pub fn pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut walk = vec![(String::new(), value)];
    while let Some((pointer, value)) = walk.pop() {
        let parts: Vec<(String, &Value)> = match value {
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
            }
            Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            _ => Vec::new(),
        };
        for (name, value) in parts {
            let pointer = format!("{pointer}/{name}");
            found.push(pointer.clone());
            walk.push((pointer, value));
        }
    }
    found.sort();
    found
}
