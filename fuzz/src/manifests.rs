//! Manifests: what `serin lint` and the controller make of a Canary, a `MetricTemplate` and an `AlertProvider`.

use std::collections::BTreeMap;

use serde_json::Value;
use serin::api::checked::{ObjectKey, Provider, ValidatedCanary};
use serin::api::validate::{Defaults, Invalid, validate, validate_alert_provider, validate_metric_template};
use serin::cli::lint::{LintArgs, Output, check, documents};
use serin::metrics::template;
use serin::rollout::Intent;
use serin::{routing, workload};

use super::objects::{check_route, sample_target};

/// Lints a file, holds each document against the controller's validation, and plans what is valid.
pub fn run(bytes: &[u8]) {
    let findings = check(&arguments(), "manifest.yaml", bytes.to_vec());
    for finding in &findings {
        assert!(!finding.message.is_empty() && finding.line > 0, "{finding:?}");
        assert!(!finding.field.is_empty() || finding.message.contains("must be an object") || finding.kind.is_empty());
    }
    for document in std::str::from_utf8(bytes).map(documents).unwrap_or_default() {
        let told = object(&document);
        assert!(!told || !findings.is_empty(), "the controller refuses what lint lets pass: {document}");
    }
}

fn arguments() -> LintArgs {
    LintArgs {
        files: Vec::new(),
        output: Output::Text,
        provider: Provider::GatewayApi,
        gateways: Vec::new(),
        no_cross_namespace_refs: false,
    }
}

/// What the controller's flags say where a test has no flags.
pub fn defaults() -> Defaults {
    Defaults {
        provider: Provider::GatewayApi,
        gateways: vec![ObjectKey::new("default", "gateway")],
        no_cross_namespace_refs: false,
    }
}

/// Judges one document as the controller does, and says whether it is one of ours that is refused.
fn object(document: &Value) -> bool {
    if document["apiVersion"] != "flagger.app/v1beta1" {
        return false;
    }
    let check_query = |query: &str| template::parse(query).map(drop).map_err(|error| error.to_string());
    let judged = match document["kind"].as_str() {
        Some("Canary") => validate(document, &defaults()).map(|canary| plan(&canary)),
        Some("MetricTemplate") => validate_metric_template(document, &check_query),
        Some("AlertProvider") => validate_alert_provider(document),
        _ => return false,
    };
    if let Err(Invalid { problems }) = &judged {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(!problem.message.is_empty(), "{problem:?}");
            assert!(!problem.field.is_empty() || problem.message.contains("must be an object"), "{problem:?}");
        }
    }
    judged.is_err()
}

/// A Canary that is valid can be planned for.
fn plan(canary: &ValidatedCanary) {
    let analysis = &canary.analysis;
    assert!(analysis.interval_seconds >= 1 && analysis.threshold >= 1 && analysis.hold_timeout_seconds >= 1);
    let (target, settings) = (sample_target(), workload::Settings::default());
    let revision = workload::revision(&target, &BTreeMap::new());
    let primary = workload::blueprint(&target, canary, &revision, &settings, Some(2));
    assert!(primary.is_ok(), "{primary:?}");
    let services = workload::plan_services(canary, &settings, &target, &workload::ExistingServices::default(), true);
    assert_eq!(services.as_ref().map(Vec::len), Ok(3));
    let router = routing::router(canary.provider);
    for canary_weight in [0, 37, 100] {
        for write in router.plan(canary, None, &Intent { canary_weight, withdrawn: None }) {
            check_route(&write);
        }
    }
}
