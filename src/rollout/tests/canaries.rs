//! Canaries to try.

use serde_json::json;

use crate::api::checked::{
    Alert, Analysis, Check, CheckSource, Metadata, ObjectKey, OnError, OnNoData, Provider, Service, Severity, Strategy,
    ValidatedCanary,
};

/// The first canary of the README, with an interval of 10 seconds, a threshold of 3 and these weights.
pub(super) fn weighted(steps: &[i32]) -> ValidatedCanary {
    canary(Provider::GatewayApi, Strategy::Weighted { steps: steps.to_vec(), promotion_step: 0 })
}

/// Without a mesh: so many passing checks, then promotion.
pub(super) fn blue_green(iterations: i32) -> ValidatedCanary {
    canary(Provider::Kubernetes, Strategy::BlueGreen { iterations })
}

fn canary(provider: Provider, strategy: Strategy) -> ValidatedCanary {
    ValidatedCanary {
        key: ObjectKey::new("default", "frontend"),
        uid: "1234".into(),
        generation: 1,
        deleting: false,
        has_finalizer: false,
        provider,
        target_name: "frontend".into(),
        autoscaler: None,
        service: service(),
        analysis: analysis(strategy),
        progress_deadline_seconds: 60,
        skip_analysis: false,
        suspended: false,
        revert_on_deletion: false,
        metrics_server: None,
    }
}

fn analysis(strategy: Strategy) -> Analysis {
    let provider = ObjectKey::new("default", "on-call");
    Analysis {
        interval_seconds: 10,
        threshold: 3,
        strategy,
        primary_ready_threshold_percent: 100,
        canary_ready_threshold_percent: 100,
        hold_timeout_seconds: 120,
        checks: vec![success_rate()],
        alerts: vec![Alert { name: "on-call".into(), severity: Severity::Info, provider }],
    }
}

fn success_rate() -> Check {
    Check {
        name: "request-success-rate".into(),
        source: CheckSource::RequestSuccessRate,
        window: "1m".into(),
        min: Some(99.0),
        max: None,
        on_no_data: OnNoData::Fail,
        on_error: OnError::Hold,
        dry_run: false,
    }
}

fn service() -> Service {
    Service {
        name: "frontend".into(),
        port: 80,
        port_name: "http".into(),
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
        gateway_refs: vec![json!({"name": "public"})],
        hosts: Vec::new(),
        matches: Vec::new(),
        filters: Vec::new(),
        timeout: None,
        backend_timeout: None,
    }
}
