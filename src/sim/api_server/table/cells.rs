//! What is in the cells that need more than a look.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::age;

const NONE: &str = "<none>";
/// How many metrics of an autoscaler are shown.
const SHOWN_METRICS: usize = 2;

/// The text, or `<none>` if it is empty.
pub fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn joined(values: &[Value], pointer: &str) -> String {
    values.iter().map(|value| text(value, pointer)).collect::<Vec<_>>().join(",")
}

/// The value of a custom resource in a column of this type.
pub fn custom(type_name: &str, value: &Value, now: DateTime<Utc>) -> Value {
    match (type_name, value) {
        (_, Value::Null) | ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(number)) => json!(number.as_i64().or(number.as_f64().map(|number| number as i64))),
        ("number", Value::Number(number)) => json!(number.as_f64()),
        ("date", Value::String(time)) => json!(age::since(time, now)),
        _ => Value::Null,
    }
}

/// The names of the containers in a pod template.
pub fn containers(object: &Value) -> Value {
    json!(joined(list(object, "/spec/template/spec/containers"), "/name"))
}

/// Their images.
pub fn images(object: &Value) -> Value {
    json!(joined(list(object, "/spec/template/spec/containers"), "/image"))
}

/// How many entries a ConfigMap or a Secret has.
pub fn entries_of_data(object: &Value) -> Value {
    let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    json!(count("data") + count("binaryData"))
}

/// How many of the replicas are ready.
pub fn ready_of_desired(object: &Value) -> Value {
    json!(format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas")))
}

/// The label selector of a workload, as selectors are written.
pub fn selector(object: &Value) -> Value {
    json!(selector_text(&object["spec"]["selector"]))
}

/// The same, or `<none>`.
pub fn selector_or_none(object: &Value) -> Value {
    json!(or_none(selector_text(&object["spec"]["selector"])))
}

/// A label selector as selectors are written, by key.
pub fn selector_text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut terms: Vec<(&str, String)> =
        labels.map(|(key, value)| (key.as_str(), format!("{key}={}", value.as_str().unwrap_or_default()))).collect();
    for expression in list(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        terms.push((key, term));
    }
    terms.sort_by(|one, other| one.0.cmp(other.0));
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

fn labels_text(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    let terms: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    json!(or_none(terms.join(",")))
}

/// The node selector of a pod template.
pub fn node_selector(object: &Value) -> Value {
    labels_text(&object["spec"]["template"]["spec"]["nodeSelector"])
}

/// The selector of a Service.
pub fn service_selector(object: &Value) -> Value {
    labels_text(&object["spec"]["selector"])
}

/// Where a Service is reached from outside.
pub fn external_address(object: &Value) -> Value {
    let external = list(object, "/spec/externalIPs").iter().filter_map(Value::as_str).map(ToOwned::to_owned);
    let external: Vec<String> = external.collect();
    json!(match text(object, "/spec/type") {
        "ClusterIP" | "NodePort" => or_none(external.join(",")),
        "LoadBalancer" => {
            let ingress = list(object, "/status/loadBalancer/ingress").iter();
            let address = |entry: &Value| match text(entry, "/ip") {
                "" => text(entry, "/hostname").to_owned(),
                address => address.to_owned(),
            };
            let mut addresses: Vec<String> = ingress.map(address).filter(|address| !address.is_empty()).collect();
            addresses.sort();
            addresses.dedup();
            addresses.extend(external);
            if addresses.is_empty() { "<pending>".to_owned() } else { addresses.join(",") }
        }
        "ExternalName" => text(object, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    })
}

/// The ports of a Service.
pub fn service_ports(object: &Value) -> Value {
    let port = |port: &Value| {
        let protocol = text(port, "/protocol");
        match number(port, "/nodePort") {
            0 => format!("{}/{protocol}", number(port, "/port")),
            node_port => format!("{}:{node_port}/{protocol}", number(port, "/port")),
        }
    };
    json!(or_none(list(object, "/spec/ports").iter().map(port).collect::<Vec<_>>().join(",")))
}

/// What an autoscaler scales.
pub fn scale_target(object: &Value) -> Value {
    json!(format!("{}/{}", text(object, "/spec/scaleTargetRef/kind"), text(object, "/spec/scaleTargetRef/name")))
}

/// The least number of pods of an autoscaler.
pub fn minimum_of_pods(object: &Value) -> Value {
    object["spec"]["minReplicas"].as_i64().map_or_else(|| json!("<unset>"), |minimum| json!(minimum.to_string()))
}

/// What an autoscaler measures, and what it wants.
pub fn autoscaler_targets(object: &Value) -> Value {
    let current = list(object, "/status/currentMetrics");
    let metrics = list(object, "/spec/metrics");
    let none = Value::Null;
    let texts: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| autoscaler_target(metric, current.get(index).unwrap_or(&none)))
        .collect();
    json!(match texts.len().cmp(&SHOWN_METRICS) {
        _ if texts.is_empty() => NONE.to_owned(),
        Ordering::Greater => {
            format!("{} + {} more...", texts[..SHOWN_METRICS].join(", "), texts.len() - SHOWN_METRICS)
        }
        _ => texts.join(", "),
    })
}

fn autoscaler_target(metric: &Value, current: &Value) -> String {
    const UNKNOWN: &str = "<unknown>";
    let (field, is_resource) = match text(metric, "/type") {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".to_owned(),
    };
    let (spec, current) = (&metric[field], &current[field]["current"]);
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let known = |value: &Value| if value.is_null() { UNKNOWN.to_owned() } else { shown(value) };
    let average = &spec["target"]["averageValue"];
    match (is_resource, average.is_null()) {
        (true, false) => format!("{}: {}/{}", text(spec, "/name"), known(&current["averageValue"]), shown(average)),
        (true, true) => {
            let percent = |value: &Value, missing: &str| {
                value.as_i64().map_or_else(|| missing.to_owned(), |value| format!("{value}%"))
            };
            let wanted = percent(&spec["target"]["averageUtilization"], "<auto>");
            format!("{}: {}/{wanted}", text(spec, "/name"), percent(&current["averageUtilization"], UNKNOWN))
        }
        (false, false) if field == "pods" => format!("{}/{}", known(&current["averageValue"]), shown(average)),
        (false, false) => format!("{}/{} (avg)", known(&current["averageValue"]), shown(average)),
        (false, true) => format!("{}/{}", known(&current["value"]), shown(&spec["target"]["value"])),
    }
}

/// What an event is about.
pub fn regarded(event: &Value) -> Value {
    let kind = text(event, "/regarding/kind").to_lowercase();
    json!(match text(event, "/regarding/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    })
}

/// Who reported an event.
pub fn event_source(event: &Value) -> Value {
    let first = |one: &str, other: &str| match text(event, one) {
        "" => text(event, other).to_owned(),
        found => found.to_owned(),
    };
    let component = first("/deprecatedSource/component", "/reportingController");
    let instance = first("/deprecatedSource/host", "/reportingInstance");
    json!(if instance.is_empty() { component } else { format!("{component}, {instance}") })
}

/// What an event says.
pub fn event_message(event: &Value) -> Value {
    json!(text(event, "/note").trim())
}

/// When an event was seen first.
pub fn first_seen(event: &Value, now: DateTime<Utc>) -> Value {
    let time = match text(event, "/deprecatedFirstTimestamp") {
        "" => text(event, "/eventTime"),
        time => time,
    };
    json!(age::since(time, now))
}

/// When an event was seen last.
pub fn last_seen(event: &Value, now: DateTime<Utc>) -> Value {
    if event["series"].is_object() {
        return json!(age::since(text(event, "/series/lastObservedTime"), now));
    }
    match text(event, "/deprecatedLastTimestamp") {
        "" => first_seen(event, now),
        time => json!(age::since(time, now)),
    }
}

/// How often an event was seen.
pub fn event_count(event: &Value) -> Value {
    if event["series"].is_object() {
        return json!(number(event, "/series/count"));
    }
    json!(number(event, "/deprecatedCount").max(1))
}
