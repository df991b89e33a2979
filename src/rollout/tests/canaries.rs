//! Canaries to try.

use serde_json::json;

use crate::api::checked::{
    Alert, Analysis, Check, CheckSource, ObjectKey, OnError, OnNoData, Provider, Severity, Strategy, ValidatedCanary,
};
use crate::rollout::testing;

/// The first canary of the README, with an interval of 10 seconds, a threshold of 3 and these weights.
pub(super) fn weighted(steps: &[i32]) -> ValidatedCanary {
    canary(Provider::GatewayApi, Strategy::Weighted { steps: steps.to_vec(), promotion_step: 0 })
}

/// Without a mesh: so many passing checks, then promotion.
pub(super) fn blue_green(iterations: i32) -> ValidatedCanary {
    canary(Provider::Kubernetes, Strategy::BlueGreen { iterations })
}

fn canary(provider: Provider, strategy: Strategy) -> ValidatedCanary {
    let mut canary = testing::canary();
    canary.provider = provider;
    canary.service.gateway_refs = vec![json!({"name": "public"})];
    canary.progress_deadline_seconds = 60;
    let on_call = ObjectKey::new("default", "on-call");
    canary.analysis = Analysis {
        interval_seconds: 10,
        threshold: 3,
        strategy,
        hold_timeout_seconds: 120,
        checks: vec![success_rate()],
        alerts: vec![Alert { name: "on-call".into(), severity: Severity::Info, provider: on_call }],
        ..canary.analysis
    };
    canary
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
