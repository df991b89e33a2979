//! The defaults of the built-in kinds, where Serin meets them (`pkg/apis/*/v1/defaults.go` of Kubernetes).

use serde_json::{Map, Value, json};

use super::TEMPLATE_GENERATION;
use crate::sim::api_server::resources::Family;

/// Fills in what an object of this kind does not say.
pub fn apply(family: Family, object: &mut Value) {
    match family {
        Family::Deployment => deployment(&mut object["spec"]),
        Family::DaemonSet => {
            // It comes with the conversion to the version of the API.
            default(&mut object["metadata"], "annotations", &json!({}));
            default(&mut object["metadata"]["annotations"], TEMPLATE_GENERATION, &json!("0"));
            daemon_set(&mut object["spec"]);
        }
        Family::ReplicaSet => {
            default(&mut object["spec"], "replicas", &json!(1));
            pod_spec(&mut object["spec"]["template"]["spec"]);
        }
        Family::Pod => pod(&mut object["spec"]),
        Family::Service => service(&mut object["spec"]),
        Family::Secret => default(object, "type", &json!("Opaque")),
        Family::HorizontalPodAutoscaler => autoscaler(&mut object["spec"]),
        Family::Namespace => {
            if let Some(name) = object.pointer("/metadata/name").cloned() {
                object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            }
            default(&mut object["spec"], "finalizers", &json!(["kubernetes"]));
        }
        Family::ConfigMap | Family::Event | Family::Lease | Family::Custom => {}
    }
}

fn default(object: &mut Value, field: &str, value: &Value) {
    let is_nothing = |value: &Value| value.is_null() || value.as_str() == Some("");
    if let Some(fields) = object.as_object_mut()
        && fields.get(field).is_none_or(is_nothing)
    {
        fields.insert(field.to_owned(), value.clone());
    }
}

fn each<'a>(object: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
}

fn deployment(spec: &mut Value) {
    default(spec, "replicas", &json!(1));
    default(spec, "revisionHistoryLimit", &json!(10));
    default(spec, "progressDeadlineSeconds", &json!(600));
    let strategy = &mut spec["strategy"];
    default(strategy, "type", &json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", &Value::Object(Map::new()));
        default(&mut strategy["rollingUpdate"], "maxUnavailable", &json!("25%"));
        default(&mut strategy["rollingUpdate"], "maxSurge", &json!("25%"));
    }
    pod_spec(&mut spec["template"]["spec"]);
}

fn daemon_set(spec: &mut Value) {
    default(spec, "revisionHistoryLimit", &json!(10));
    let strategy = &mut spec["updateStrategy"];
    default(strategy, "type", &json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", &Value::Object(Map::new()));
        default(&mut strategy["rollingUpdate"], "maxUnavailable", &json!(1));
        default(&mut strategy["rollingUpdate"], "maxSurge", &json!(0));
    }
    pod_spec(&mut spec["template"]["spec"]);
}

fn pod(spec: &mut Value) {
    pod_spec(spec);
    default(spec, "enableServiceLinks", &json!(true));
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(requests);
    }
}

/// What a container of a pod is limited to it also asks for, if it does not say. (Not so in a template.)
fn requests(container: &mut Value) {
    let Some(resources) = container.get_mut("resources") else { return };
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        default(resources, "requests", &json!({}));
        for (name, limit) in &limits {
            default(&mut resources["requests"], name, limit);
        }
    }
}

fn pod_spec(spec: &mut Value) {
    default(spec, "dnsPolicy", &json!("ClusterFirst"));
    default(spec, "restartPolicy", &json!("Always"));
    default(spec, "schedulerName", &json!("default-scheduler"));
    default(spec, "securityContext", &json!({}));
    default(spec, "terminationGracePeriodSeconds", &json!(30));
    if let Some(account) = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned() {
        default(spec, "serviceAccountName", &account);
        default(spec, "serviceAccount", &account);
    }
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
}

fn container(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !image.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    let policy = if is_latest { "Always" } else { "IfNotPresent" };
    default(container, "imagePullPolicy", &json!(policy));
    default(container, "terminationMessagePath", &json!("/dev/termination-log"));
    default(container, "terminationMessagePolicy", &json!("File"));
    each(container, "ports").for_each(|port| default(port, "protocol", &json!("TCP")));
    for variable in each(container, "env") {
        if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef") {
            default(reference, "apiVersion", &json!("v1"));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            for (field, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                default(probe, field, &json!(value));
            }
            if let Some(get) = probe.get_mut("httpGet") {
                default(get, "path", &json!("/"));
                default(get, "scheme", &json!("HTTP"));
            }
        }
    }
}

fn volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|fields| fields.len() <= 1) {
        volume["emptyDir"] = json!({});
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(source) = volume.get_mut(source) {
            default(source, "defaultMode", &json!(0o644));
        }
    }
}

fn service(spec: &mut Value) {
    default(spec, "sessionAffinity", &json!("None"));
    default(spec, "type", &json!("ClusterIP"));
    if spec["sessionAffinity"] == "None"
        && let Some(fields) = spec.as_object_mut()
    {
        fields.remove("sessionAffinityConfig");
    }
    if spec["sessionAffinity"] == "ClientIP" {
        default(spec, "sessionAffinityConfig", &json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    for port in each(spec, "ports") {
        default(port, "protocol", &json!("TCP"));
        if matches!(&port["targetPort"], Value::Null) || port["targetPort"] == 0 || port["targetPort"] == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    if matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer")) {
        default(spec, "externalTrafficPolicy", &json!("Cluster"));
    }
    if spec["type"] != "ExternalName" {
        default(spec, "internalTrafficPolicy", &json!("Cluster"));
    }
}

fn autoscaler(spec: &mut Value) {
    default(spec, "minReplicas", &json!(1));
    let has_metrics = spec["metrics"].as_array().is_some_and(|metrics| !metrics.is_empty());
    if !has_metrics && let Some(fields) = spec.as_object_mut() {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metrics = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
        fields.insert("metrics".to_owned(), metrics);
    }
    if let Some(behavior) = spec.get_mut("behavior") {
        autoscaler_behavior(behavior);
    }
}

fn autoscaler_behavior(behavior: &mut Value) {
    let percent = |value: i64| json!({"type": "Percent", "value": value, "periodSeconds": 15});
    let rules = [
        ("scaleUp", json!(0), json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent(100)])),
        ("scaleDown", Value::Null, json!([percent(100)])),
    ];
    for (name, window, policies) in rules {
        default(behavior, name, &json!({}));
        let rule = &mut behavior[name];
        default(rule, "selectPolicy", &json!("Max"));
        if !window.is_null() {
            default(rule, "stabilizationWindowSeconds", &window);
        }
        default(rule, "policies", &policies);
    }
}
