//! The three Services.

use std::collections::BTreeMap;

use serde_json::Value;

use super::numbers::whole;
use super::{Context, is, route};
use crate::api::canary::CanarySpec;
use crate::api::checked::{Metadata, Provider, Service};
use crate::api::path;
use crate::api::problem::Problems;
use crate::api::service::{CanaryService, CustomMetadata};

/// Longest name of an apex Service: `-primary` must still fit into the 63 characters of a Service's name.
const LONGEST_NAME: usize = 63 - "-primary".len();

/// The Services and, with the Gateway API, the route.
pub(super) fn read(spec: &CanarySpec, context: &Context<'_>, problems: &mut Problems) -> Service {
    let absent = CanaryService::default();
    let service = spec.service.as_ref().unwrap_or(&absent);
    let route = match context.provider {
        Some(Provider::GatewayApi) => route::read(service, context, problems),
        Some(Provider::Kubernetes) | None => route::Route::default(),
    };
    let port = port(service, problems);
    Service {
        name: name(spec, service, problems),
        port,
        port_name: port_name(service, problems),
        target_port: target_port(service, port, problems),
        app_protocol: Some(service.app_protocol.clone()).filter(|protocol| !protocol.is_empty()),
        port_discovery: service.port_discovery,
        headless: service.headless,
        traffic_distribution: Some(service.traffic_distribution.clone()).filter(|name| !name.is_empty()),
        apex: metadata(service.apex.as_ref(), "spec.service.apex", problems),
        primary: metadata(service.primary.as_ref(), "spec.service.primary", problems),
        canary: metadata(service.canary.as_ref(), "spec.service.canary", problems),
        unmanaged_labels: service.unmanaged_metadata.iter().flat_map(|keys| keys.labels.clone()).collect(),
        unmanaged_annotations: service.unmanaged_metadata.iter().flat_map(|keys| keys.annotations.clone()).collect(),
        gateway_refs: route.gateway_refs,
        hosts: route.hosts,
        matches: route.matches,
        filters: route.filters,
        timeout: route.timeout,
        backend_timeout: route.backend_timeout,
    }
}

fn name(spec: &CanarySpec, service: &CanaryService, problems: &mut Problems) -> String {
    if service.name.is_empty() {
        let name = &spec.target_ref.name;
        if is::is_dns_name(name) && (!is::is_dns_label(name) || name.len() > LONGEST_NAME) {
            let message = format!(
                "the target's name {name:?} cannot be a Service's (at most {LONGEST_NAME} lower case letters, digits and \
                 -): give the Services a name here"
            );
            problems.add("spec.service.name", message);
        }
        return name.clone();
    }
    if !is::is_dns_label(&service.name) || service.name.len() > LONGEST_NAME {
        let message = format!(
            "{:?} cannot be the name of a Service: use at most {LONGEST_NAME} lower case letters, digits and -",
            service.name
        );
        problems.add("spec.service.name", message);
    }
    service.name.clone()
}

fn port(service: &CanaryService, problems: &mut Problems) -> i32 {
    const FIELD: &str = "spec.service.port";
    if service.port.is_none() {
        problems.add(FIELD, "is missing: add the port of the Services, such as port: 80");
    }
    whole(service.port.as_ref(), FIELD, 1..=65535, problems).unwrap_or_default()
}

fn port_name(service: &CanaryService, problems: &mut Problems) -> String {
    if service.port_name.is_empty() {
        return "http".to_owned();
    }
    if !is::is_dns_label(&service.port_name) {
        let message =
            format!("{:?} cannot be the name of a port: use lower case letters, digits and -", service.port_name);
        problems.add("spec.service.portName", message);
    }
    service.port_name.clone()
}

/// As in Flagger, an absent port, 0 and the empty string mean the Service's port.
fn target_port(service: &CanaryService, port: i32, problems: &mut Problems) -> Value {
    const FIELD: &str = "spec.service.targetPort";
    match &service.target_port {
        None => port.into(),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => port.into(),
        Some(Value::Number(number)) => whole(Some(number), FIELD, 1..=65535, problems).unwrap_or(port).into(),
        Some(Value::String(name)) if name.is_empty() || name == "0" => port.into(),
        Some(Value::String(name)) if is::is_port_name(name) => name.as_str().into(),
        Some(Value::String(name)) if name.parse::<u16>().is_ok() => {
            problems.add(FIELD, format!("{name:?} is taken for the name of a port: write the number without quotes"));
            port.into()
        }
        Some(other) => {
            let message = format!(
                "{other} is not a port: write its number, or its name of at most 15 lower case letters, digits and -"
            );
            problems.add(FIELD, message);
            port.into()
        }
    }
}

fn metadata(custom: Option<&CustomMetadata>, field: &str, problems: &mut Problems) -> Metadata {
    let Some(custom) = custom else { return Metadata::default() };
    let labels = path::child(field, "labels");
    check_keys(&custom.labels, &labels, problems);
    for (key, value) in custom.labels.iter().filter(|(_, value)| !is::is_label_value(value)) {
        let message = format!(
            "{value:?} cannot be the value of a label: use at most 63 letters, digits, -, _ and ., or make it an annotation"
        );
        problems.add(path::child(&labels, key), message);
    }
    check_keys(&custom.annotations, &path::child(field, "annotations"), problems);
    Metadata { labels: custom.labels.clone(), annotations: custom.annotations.clone() }
}

fn check_keys(map: &BTreeMap<String, String>, field: &str, problems: &mut Problems) {
    for key in map.keys().filter(|key| !is::is_metadata_key(key)) {
        problems
            .add(path::child(field, key), "is not a key that Kubernetes takes: write it as name or example.com/name");
    }
}
