//! What is right in built-in kinds, as far as a client like Serin can get it wrong (`pkg/apis/*/validation`).

use serde_json::{Map, Value, json};

use super::pod;

use crate::sim::api_server::errors::FieldError;
use crate::sim::api_server::resources::Family;

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Adds what is wrong with an object of this kind to `errors`; `live` is what it replaces.
pub fn validate(family: Family, live: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    match family {
        Family::Deployment | Family::ReplicaSet | Family::DaemonSet => {
            workload(object, errors);
            let selector = &object["spec"]["selector"];
            if live.is_some_and(|live| live["spec"]["selector"] != *selector) {
                errors.push(FieldError::invalid("spec.selector", selector, "field is immutable"));
            }
        }
        Family::Pod => {
            containers(&object["spec"], errors);
            for condition in object["status"]["conditions"].as_array().into_iter().flatten() {
                required(condition, &["type"], "status.conditions", errors);
            }
            if let Some(live) = live {
                pod::validate_update(&live["spec"], &object["spec"], errors);
            }
        }
        Family::Service => service(live, object, errors),
        Family::HorizontalPodAutoscaler => autoscaler(&object["spec"], errors),
        Family::ConfigMap | Family::Secret => immutable_data(live, object, errors),
        _ => {}
    }
}

fn workload(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    non_negative(&spec["replicas"], "spec.replicas", errors);
    let labels = spec["template"]["metadata"]["labels"].as_object();
    let mismatch = || {
        let found = &spec["template"]["metadata"]["labels"];
        let detail = "`selector` does not match template `labels`";
        FieldError::invalid("spec.template.metadata.labels", found, detail)
    };
    match spec["selector"].as_object() {
        None => errors.extend([FieldError::required("spec.selector", ""), mismatch()]),
        Some(selector) if selector.values().all(is_nothing) => {
            let detail = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid("spec.selector", &spec["selector"], detail));
        }
        Some(selector) => {
            let wanted = selector.get("matchLabels").and_then(Value::as_object);
            let matches = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
            if !wanted.into_iter().flatten().all(matches) {
                errors.push(mismatch());
            }
        }
    }
    containers(&spec["template"]["spec"], errors);
    let strategy = &spec["strategy"];
    if strategy["type"] == "Recreate" && !strategy["rollingUpdate"].is_null() {
        let message = "Forbidden: may not be specified when strategy `type` is 'Recreate'".to_owned();
        let field = "spec.strategy.rollingUpdate".to_owned();
        errors.push(FieldError { field, reason: "FieldValueForbidden", message });
    }
    let deadline = spec["progressDeadlineSeconds"].as_i64();
    if deadline.is_some_and(|deadline| deadline <= spec["minReadySeconds"].as_i64().unwrap_or_default()) {
        let field = "spec.progressDeadlineSeconds";
        errors.push(FieldError::invalid(field, &json!(deadline), "must be greater than minReadySeconds"));
    }
    counts(&object["status"], errors);
}

fn counts(status: &Value, errors: &mut Vec<FieldError>) {
    let count = |field: &str| status[field].as_i64().unwrap_or_default();
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        if count(field) > count("replicas") {
            let detail = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(format!("status.{field}"), &json!(count(field)), detail));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let (value, detail) = (json!(count("availableReplicas")), "cannot be greater than readyReplicas");
        errors.push(FieldError::invalid("status.availableReplicas", &value, detail));
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn containers(pod: &Value, errors: &mut Vec<FieldError>) {
    let path = "spec.template.spec.containers";
    let containers = &pod["containers"];
    let volumes: Vec<&Value> = pod["volumes"].as_array().into_iter().flatten().map(|volume| &volume["name"]).collect();
    if is_nothing(containers) {
        errors.push(FieldError::required(path, ""));
    }
    let mut names = Vec::new();
    for (index, container) in containers.as_array().into_iter().flatten().enumerate() {
        let name = container["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}[{index}].name"), ""));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}[{index}].name"), &container["name"]));
        }
        names.push(name);
        if container["image"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{path}[{index}].image"), ""));
        }
        let path = format!("{path}[{index}]");
        mounts(container, &path, &volumes, errors);
        variables(container, &path, errors);
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let handlers = ["exec", "grpc", "httpGet", "tcpSocket"];
            let probe_value = &container[probe];
            if probe_value.is_object() && handlers.iter().all(|handler| probe_value.get(handler).is_none()) {
                errors.push(FieldError::required(format!("{path}.{probe}"), "must specify a handler type"));
            }
            if let Some(port) = probe_value.pointer("/httpGet/port").filter(|port| **port == 0) {
                errors.push(FieldError::invalid(format!("{path}.{probe}.httpGet.port"), port, PORT_RANGE));
            }
        }
        let mut port_names = Vec::new();
        for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
            if !port["name"].is_null() && port_names.contains(&&port["name"]) {
                errors.push(FieldError::duplicate(format!("{path}.ports[{index}].name"), &port["name"]));
            }
            port_names.push(&port["name"]);
            match port["containerPort"].as_i64() {
                Some(1..=65535) => {}
                None | Some(0) => {
                    errors.push(FieldError::required(format!("{path}.ports[{index}].containerPort"), ""));
                }
                Some(_) => errors.push(FieldError::invalid(
                    format!("{path}.ports[{index}].containerPort"),
                    &port["containerPort"],
                    PORT_RANGE,
                )),
            }
        }
    }
    self::volumes(pod, errors);
}

fn volumes(pod: &Value, errors: &mut Vec<FieldError>) {
    let mut names = Vec::new();
    for (index, volume) in pod["volumes"].as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.template.spec.volumes[{index}]");
        required(volume, &["name"], &path, errors);
        if names.contains(&&volume["name"]) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &volume["name"]));
        }
        names.push(&volume["name"]);
        if volume.as_object().is_some_and(|fields| fields.len() > 2) {
            let message = "Forbidden: may not specify more than 1 volume type".to_owned();
            errors.push(FieldError { field: path.clone(), reason: "FieldValueForbidden", message });
        }
        if let Some(source) = volume.get("configMap") {
            required(source, &["name"], &format!("{path}.configMap"), errors);
        }
    }
}

/// Adds that some of these texts are missing.
fn required(object: &Value, fields: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let missing = fields.iter().filter(|field| object[**field].as_str().unwrap_or_default().is_empty());
    errors.extend(missing.map(|field| FieldError::required(format!("{path}.{field}"), "")));
}

fn mounts(container: &Value, path: &str, volumes: &[&Value], errors: &mut Vec<FieldError>) {
    for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        required(mount, &["mountPath", "name"], &path, errors);
        if !volumes.contains(&&mount["name"]) {
            let message = format!("Not found: {}", mount["name"]);
            errors.push(FieldError { field: format!("{path}.name"), reason: "FieldValueNotFound", message });
        }
    }
}

fn variables(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.env[{index}]");
        required(variable, &["name"], &path, errors);
        let Some(source) = variable.get("valueFrom") else { continue };
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(reference_value) = source.get(reference) {
                let path = format!("{path}.valueFrom.{reference}");
                required(reference_value, &["key", "name"], &path, errors);
            }
        }
        if source.as_object().is_some_and(Map::is_empty) {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            errors.push(FieldError::invalid(format!("{path}.valueFrom"), &json!(""), detail));
        }
    }
}

fn non_negative(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|value| value < 0) {
        errors.push(FieldError::invalid(path, value, "must be greater than or equal to 0"));
    }
}

fn service(live: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let ports = spec["ports"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let is_headless = spec["clusterIP"] == "None";
    if ports.is_empty() && !is_headless && spec["type"] != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
        }
        names.push(name);
        for field in ["port", "targetPort"] {
            if port[field].as_i64().is_some_and(|number| !(1..=65535).contains(&number)) {
                errors.push(FieldError::invalid(format!("{path}.{field}"), &port[field], PORT_RANGE));
            }
        }
        let key = (&port["port"], &port["protocol"]);
        if numbers.contains(&key) {
            let found = json!({"protocol": port["protocol"], "port": port["port"]});
            errors.push(FieldError::duplicate(&path, &found));
        }
        numbers.push(key);
    }
    // Only a headless Service without a selector may have two families in a cluster that has one.
    if spec["ipFamilyPolicy"] == "RequireDualStack" && !(is_headless && spec.get("selector").is_none()) {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], detail));
    }
    if live.is_some_and(|live| live["spec"]["clusterIP"] != spec["clusterIP"]) {
        let value = if spec["clusterIP"].is_null() { json!("") } else { spec["clusterIP"].clone() };
        errors.push(FieldError::invalid("spec.clusterIPs[0]", &json!([value]), "may not change once set"));
    }
}

fn autoscaler(spec: &Value, errors: &mut Vec<FieldError>) {
    let (minimum, maximum) = (spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64().unwrap_or(0));
    if minimum < 1 {
        errors.push(FieldError::invalid("spec.minReplicas", &json!(minimum), "must be greater than or equal to 1"));
    }
    if maximum < 1 {
        errors.push(FieldError::invalid("spec.maxReplicas", &json!(maximum), "must be greater than 0"));
    }
    if maximum < minimum {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", &json!(maximum), detail));
    }
    for field in ["kind", "name"] {
        if spec["scaleTargetRef"][field].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
}

fn immutable_data(live: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    let Some(live) = live.filter(|live| live["immutable"] == true) else { return };
    for field in ["data", "binaryData", "immutable"] {
        if live[field] != object[field] {
            let message = "Forbidden: field is immutable when `immutable` is set".to_owned();
            errors.push(FieldError { field: field.to_owned(), reason: "FieldValueForbidden", message });
        }
    }
}
