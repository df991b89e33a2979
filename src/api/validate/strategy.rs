//! How exposure grows.

use serde_json::{Number, Value};

use super::Context;
use super::numbers::whole;
use crate::api::analysis::CanaryAnalysis;
use crate::api::canary::CanarySpec;
use crate::api::checked::{Provider, Strategy};
use crate::api::path;
use crate::api::problem::Problems;
use crate::api::rules;

/// What Flagger takes with provider kubernetes where a Canary does not say.
const ITERATIONS_WITHOUT_ROUTES: i32 = 10;

/// The rules that the API server enforces by CEL. `written` is the analysis before misfits were taken out of it: a field
/// that can't be read is there all the same.
pub(super) fn check_rules(spec: &CanarySpec, written: &Value, problems: &mut Problems) {
    if spec.analysis.is_none() && !spec.skip_analysis {
        problems.add("spec.analysis", rules::ANALYSIS_OR_SKIP.message);
    }
    let there = |field: &&str| written.get(*field).is_some_and(|value| !value.is_null());
    let count = ["stepWeight", "stepWeights", "steps", "iterations"].iter().filter(|field| there(field)).count();
    if spec.analysis.is_some() && count != 1 {
        problems.add("spec.analysis", rules::ONE_STRATEGY.message);
    }
}

/// The strategy. Without an analysis, which is for skipped ones only, it is one step to all traffic.
pub(super) fn read(spec: &CanarySpec, context: &Context<'_>, problems: &mut Problems) -> Strategy {
    let Some(analysis) = &spec.analysis else { return weighted(vec![100], 0) };
    let promotion = analysis.step_weight_promotion.as_ref();
    let promotion = whole(promotion, "spec.analysis.stepWeightPromotion", 0..=100, problems).unwrap_or_default();
    let without_routes = context.provider == Some(Provider::Kubernetes);
    if let Some(number) = &analysis.iterations {
        let least = i32::from(!without_routes && !spec.skip_analysis);
        let count = whole(Some(number), "spec.analysis.iterations", least..=i32::MAX, problems).unwrap_or_default();
        return Strategy::BlueGreen { iterations: if count > 0 { count } else { ITERATIONS_WITHOUT_ROUTES } };
    }
    if without_routes {
        return Strategy::BlueGreen { iterations: ITERATIONS_WITHOUT_ROUTES };
    }
    let steps = match (&analysis.step_weight, &analysis.step_weights) {
        (Some(step), _) => even_steps(step, analysis, spec.skip_analysis, problems),
        (None, Some(weights)) => listed_steps(weights, spec.skip_analysis, problems),
        (None, None) => Vec::new(),
    };
    weighted(if steps.is_empty() { vec![100] } else { steps }, promotion)
}

fn weighted(steps: Vec<i32>, promotion_step: i32) -> Strategy {
    Strategy::Weighted { steps, promotion_step }
}

/// Multiples of the step up to and including the first that reaches the maximum, clamped to 100: with step 20 and
/// maximum 50 Flagger goes 20, 40, 60 (its `scheduler_svc_test.go`).
fn even_steps(step: &Number, analysis: &CanaryAnalysis, skipped: bool, problems: &mut Problems) -> Vec<i32> {
    let maximum = whole(analysis.max_weight.as_ref(), "spec.analysis.maxWeight", 0..=100, problems);
    let maximum = maximum.filter(|maximum| *maximum > 0).unwrap_or(100);
    let least = i32::from(!skipped);
    let step = whole(Some(step), "spec.analysis.stepWeight", least..=i32::MAX, problems).filter(|step| *step > 0);
    let Some(step) = step.map(|step| step.min(100)) else { return Vec::new() };
    let steps = (maximum + step - 1) / step;
    (1..=steps).map(|count| (count * step).min(100)).collect()
}

/// The weights as listed. Flagger clamps a last weight of more than 100, and ignores `maxWeight`.
fn listed_steps(weights: &[Number], skipped: bool, problems: &mut Problems) -> Vec<i32> {
    const FIELD: &str = "spec.analysis.stepWeights";
    if weights.is_empty() && !skipped {
        problems.add(FIELD, "is empty: list weights from 1 to 100, such as [10, 50]");
    }
    let mut steps: Vec<i32> = Vec::new();
    for (index, number) in weights.iter().enumerate() {
        let field = path::item(FIELD, index);
        let most = if index + 1 == weights.len() { i32::MAX } else { 100 };
        let Some(weight) = whole(Some(number), &field, 1..=most, problems) else { continue };
        let weight = weight.min(100);
        if let Some(before) = steps.last().filter(|before| **before >= weight) {
            problems.add(
                field,
                format!("{weight} does not rise above {before} before it: list the weights in ascending order"),
            );
        }
        steps.push(weight);
    }
    steps
}
