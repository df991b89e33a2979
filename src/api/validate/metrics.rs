//! What is measured.

use serde_json::Number;

use super::analysis::{object_key, seconds};
use super::{Context, check_namespace};
use crate::api::analysis::{CanaryAnalysis, Metric};
use crate::api::checked::{Check, CheckSource, OnError, OnNoData};
use crate::api::path;
use crate::api::problem::Problems;
use crate::api::unknown::nearest;

const SUCCESS_RATE: &str = "request-success-rate";
const DURATION: &str = "request-duration";

/// The checks, in the order of the manifest.
pub(super) fn read(analysis: &CanaryAnalysis, context: &Context<'_>, problems: &mut Problems) -> Vec<Check> {
    let metrics = analysis.metrics.iter().enumerate();
    metrics
        .map(|(index, metric)| check(metric, &path::item("spec.analysis.metrics", index), context, problems))
        .collect()
}

fn check(metric: &Metric, field: &str, context: &Context<'_>, problems: &mut Problems) -> Check {
    if metric.name.is_empty() {
        problems.add(format!("{field}.name"), "is empty: give the metric a name");
    }
    seconds(&metric.interval, &format!("{field}.interval"), problems);
    let (min, max) = bounds(metric, field, problems);
    Check {
        name: metric.name.clone(),
        source: source(metric, field, context, problems),
        window: if metric.interval.is_empty() { "1m".to_owned() } else { metric.interval.clone() },
        min,
        max,
        on_no_data: match metric.on_no_data.as_str() {
            "Hold" => OnNoData::Hold,
            "Pass" => OnNoData::Pass,
            _ => OnNoData::Fail,
        },
        on_error: if metric.on_error == "Fail" { OnError::Fail } else { OnError::Hold },
        dry_run: metric.dry_run,
    }
}

/// Flagger asks the built-in query and a template when an entry has both; one entry is one check here.
fn source(metric: &Metric, field: &str, context: &Context<'_>, problems: &mut Problems) -> CheckSource {
    let built_in = match metric.name.as_str() {
        SUCCESS_RATE => Some(CheckSource::RequestSuccessRate),
        DURATION => Some(CheckSource::RequestDuration),
        _ => None,
    };
    let query = (!metric.query.is_empty()).then(|| CheckSource::Query(metric.query.clone()));
    let template = metric.template_ref.as_ref().map(|template| {
        let field = format!("{field}.templateRef");
        if template.name.is_empty() {
            problems.add(format!("{field}.name"), "is empty: write the name of a MetricTemplate");
        }
        check_namespace(&template.namespace, &format!("{field}.namespace"), context, problems);
        CheckSource::Template {
            template: object_key(&template.name, &template.namespace, context),
            variables: metric.template_variables.clone(),
        }
    });
    let mut sources: Vec<CheckSource> = [template, query, built_in].into_iter().flatten().collect();
    if sources.len() > 1 {
        let message = "has more than one source: keep one of templateRef, query and the name of a built-in metric";
        problems.add(field, message);
    }
    if sources.is_empty() && !metric.name.is_empty() {
        let hint = nearest(&metric.name, [SUCCESS_RATE, DURATION].into_iter());
        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        problems.add(field, format!("{:?} is not a built-in metric: add templateRef{hint}", metric.name));
    }
    if sources.is_empty() { CheckSource::RequestSuccessRate } else { sources.swap_remove(0) }
}

/// Lowest and highest value that passes. Without `thresholdRange` the deprecated `threshold` counts, as in Flagger:
/// the lowest success rate, or the highest value of anything else.
fn bounds(metric: &Metric, field: &str, problems: &mut Problems) -> (Option<f64>, Option<f64>) {
    let value = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
    let (min, max) = match &metric.threshold_range {
        Some(range) => (value(&range.min), value(&range.max)),
        None if metric.name == SUCCESS_RATE => (value(&metric.threshold), None),
        None => (None, value(&metric.threshold)),
    };
    let field = path::child(field, "thresholdRange");
    match (min, max) {
        (Some(min), Some(max)) if min > max => {
            problems.add(field, format!("no value passes: min {min} is more than max {max}; swap them"));
        }
        (None, None) if !metric.dry_run => {
            let message =
                "has no bound, so that every value would pass: add min or max, or set dryRun: true on the metric";
            problems.add(field, message);
        }
        _ => {}
    }
    (min, max)
}
