//! The analysis as a whole: its time, its limits, and who is told.

use super::numbers::whole;
use super::{Context, check_namespace, metrics, strategy};
use crate::api::analysis::CanaryAnalysis;
use crate::api::canary::CanarySpec;
use crate::api::checked::{Alert, Analysis, ObjectKey, Severity};
use crate::api::duration::parse_seconds;
use crate::api::path;
use crate::api::problem::Problems;

/// The analysis; its defaults are Flagger's: 1 minute, 1 failed check, 100 %.
pub(super) fn read(
    spec: &CanarySpec,
    progress_deadline_seconds: i64,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Analysis {
    let absent = CanaryAnalysis::default();
    let analysis = spec.analysis.as_ref().unwrap_or(&absent);
    let threshold = whole(analysis.threshold.as_ref(), "spec.analysis.threshold", 0..=i32::MAX, problems);
    let mut percent = |number, field| whole(number, field, 0..=100, problems).unwrap_or(100);
    let primary = percent(analysis.primary_ready_threshold.as_ref(), "spec.analysis.primaryReadyThreshold");
    let canary = percent(analysis.canary_ready_threshold.as_ref(), "spec.analysis.canaryReadyThreshold");
    Analysis {
        interval_seconds: seconds(&analysis.interval, "spec.analysis.interval", problems).unwrap_or(60),
        threshold: threshold.unwrap_or_default().max(1),
        strategy: strategy::read(spec, context, problems),
        primary_ready_threshold_percent: primary,
        canary_ready_threshold_percent: canary,
        hold_timeout_seconds: seconds(&analysis.hold_timeout, "spec.analysis.holdTimeout", problems)
            .unwrap_or(progress_deadline_seconds),
        checks: metrics::read(analysis, context, problems),
        alerts: alerts(analysis, context, problems),
    }
}

/// The duration in seconds, if there is one; at least 1.
pub(super) fn seconds(text: &str, field: &str, problems: &mut Problems) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    match parse_seconds(text) {
        Ok(0) => problems.add(field, format!("{text:?} is too short: write 1s or more")),
        Ok(seconds) => return Some(seconds),
        Err(message) => problems.add(field, message),
    }
    None
}

fn alerts(analysis: &CanaryAnalysis, context: &Context<'_>, problems: &mut Problems) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (index, alert) in analysis.alerts.iter().enumerate() {
        let field = path::child(&path::item("spec.analysis.alerts", index), "providerRef");
        let reference = &alert.provider_ref;
        if reference.name.is_empty() {
            problems.add(format!("{field}.name"), "is empty: write the name of an AlertProvider");
        }
        check_namespace(&reference.namespace, &format!("{field}.namespace"), context, problems);
        // The documentation of Flagger has info as the default; its code then never sends the alert.
        let severity = match alert.severity.as_str() {
            "error" => Severity::Error,
            "warn" => Severity::Warn,
            _ => Severity::Info,
        };
        let provider = object_key(&reference.name, &reference.namespace, context);
        alerts.push(Alert { name: alert.name.clone(), severity, provider });
    }
    alerts
}

/// An object that a Canary refers to; its namespace defaults to the Canary's.
pub(super) fn object_key(name: &str, namespace: &str, context: &Context<'_>) -> ObjectKey {
    ObjectKey::new(if namespace.is_empty() { context.namespace } else { namespace }, name)
}
