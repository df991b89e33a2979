//! What the tests of several rooms use.

use serde_json::{Value, json};

use crate::api::checked::{Analysis, Metadata, ObjectKey, Provider, Service, Strategy, ValidatedCanary};

/// The Canary `frontend.default` on port 80 to 8080.
pub fn canary() -> ValidatedCanary {
    ValidatedCanary {
        key: ObjectKey::new("default", "frontend"),
        uid: "11111111-2222-3333-4444-555555555555".to_owned(),
        generation: 1,
        deleting: false,
        has_finalizer: false,
        provider: Provider::GatewayApi,
        target_name: "frontend".to_owned(),
        autoscaler: None,
        service: Service {
            name: "frontend".to_owned(),
            port: 80,
            port_name: "http".to_owned(),
            target_port: json!(8080),
            app_protocol: None,
            port_discovery: false,
            headless: false,
            traffic_distribution: None,
            apex: Metadata::default(),
            primary: Metadata::default(),
            canary: Metadata::default(),
            unmanaged_labels: Vec::new(),
            unmanaged_annotations: Vec::new(),
            gateway_refs: Vec::new(),
            hosts: Vec::new(),
            matches: Vec::new(),
            filters: Vec::new(),
            timeout: None,
            backend_timeout: None,
        },
        analysis: Analysis {
            interval_seconds: 60,
            threshold: 10,
            strategy: Strategy::Weighted { steps: vec![10, 20, 30, 40, 50], promotion_step: 0 },
            primary_ready_threshold_percent: 100,
            canary_ready_threshold_percent: 100,
            hold_timeout_seconds: 600,
            checks: Vec::new(),
            alerts: Vec::new(),
        },
        progress_deadline_seconds: 600,
        skip_analysis: false,
        suspended: false,
        revert_on_deletion: false,
        metrics_server: None,
    }
}

/// What a merge patch (RFC 7386) makes of a value.
pub fn merged(value: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    let mut result = value.as_object().cloned().unwrap_or_default();
    for (key, change) in changes {
        if change.is_null() {
            result.remove(key);
        } else {
            let merged = merged(result.get(key).unwrap_or(&Value::Null), change);
            result.insert(key.clone(), merged);
        }
    }
    Value::Object(result)
}
