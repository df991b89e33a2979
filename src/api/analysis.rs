//! `Canary.spec.analysis` as users write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::http_match::HttpMatchRequest;
use super::service::free_form;
use super::session_affinity::SessionAffinity;
use super::webhook::Webhook;

/// How the schema checks a duration: `30s`, `1m`, `1h30m`. As loose as Flagger's pattern; validation is strict.
pub(super) const DURATION_PATTERN: &str = "^[0-9]+(h|m|s)";

/// How a new revision is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [super::rules::ONE_STRATEGY.to_json()]))]
pub struct CanaryAnalysis {
    /// Time between two checks, at least `1s`. Defaults to `1m`.
    #[schemars(extend("pattern" = DURATION_PATTERN))]
    pub interval: String,
    /// Number of failed checks that rolls a run back. Defaults to 1.
    pub threshold: Option<Number>,
    /// Number of checks before promotion, instead of a stepwise shift of traffic.
    pub iterations: Option<Number>,
    /// Weight of the canary, in per cent, at which a passing check promotes. Defaults to 100.
    pub max_weight: Option<Number>,
    /// Weight by which each passing check moves traffic to the canary, in per cent.
    pub step_weight: Option<Number>,
    /// Weights that passing checks give the canary one after the other, in per cent, ascending.
    pub step_weights: Option<Vec<Number>>,
    /// Steps with an interval and a gate of their own, instead of `stepWeight` or `stepWeights`.
    #[schemars(extend("minItems" = 1, "maxItems" = 100))]
    pub steps: Option<Vec<Step>>,
    /// Weight by which traffic returns to the primary after promotion, in per cent. Defaults to all at once.
    pub step_weight_promotion: Option<Number>,
    /// Send the canary a copy of the traffic before it gets any of its own.
    pub mirror: bool,
    /// Share of the traffic that is copied, in per cent. Defaults to all.
    pub mirror_weight: Option<Number>,
    /// Percentage of the primary's pods that must be available. Defaults to 100.
    pub primary_ready_threshold: Option<Number>,
    /// Percentage of the canary's pods that must be available. Defaults to 100.
    pub canary_ready_threshold: Option<Number>,
    /// How long inconclusive checks may hold a run before it is rolled back. Defaults to `progressDeadlineSeconds`.
    #[schemars(extend("pattern" = DURATION_PATTERN))]
    pub hold_timeout: String,
    /// Requests that go to the canary, with `iterations`: A/B testing.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// Statistical comparison of canary and primary.
    #[schemars(schema_with = "free_form")]
    pub comparison: Option<Value>,
    /// Who is told.
    pub alerts: Vec<Alert>,
    /// Gates, tests and notifications of other systems.
    pub webhooks: Vec<Webhook>,
    /// Keep each user on the side that served them first.
    pub session_affinity: Option<SessionAffinity>,
}

/// One entry of `analysis.steps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["weight"]))]
pub struct Step {
    /// Name of the step.
    pub name: String,
    /// Weight of the canary, in per cent.
    #[schemars(extend("minimum" = 0, "maximum" = 100))]
    pub weight: Option<Number>,
    /// Time until the check that ends this step. Defaults to `analysis.interval`.
    #[schemars(extend("pattern" = DURATION_PATTERN))]
    pub interval: String,
    /// Stay on this step until a person resumes the run.
    pub pause: bool,
}

/// One entry of `analysis.metrics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct Metric {
    /// Name of the metric; `request-success-rate` and `request-duration` are built in.
    pub name: String,
    /// Window of the query. Defaults to `1m`.
    #[schemars(extend("pattern" = DURATION_PATTERN))]
    pub interval: String,
    /// Deprecated, use `thresholdRange`: lowest success rate, or highest value of any other metric.
    pub threshold: Option<Number>,
    /// Values that pass.
    pub threshold_range: Option<ThresholdRange>,
    /// Deprecated, use `templateRef`: a Prometheus query.
    pub query: String,
    /// The MetricTemplate with the query.
    pub template_ref: Option<ObjectRef>,
    /// Variables of the template.
    pub template_variables: BTreeMap<String, String>,
    /// What an empty answer means: `Fail` (default), `Hold` or `Pass`.
    #[schemars(extend("enum" = ["Fail", "Hold", "Pass"]))]
    pub on_no_data: String,
    /// What a failed query means: `Hold` (default) or `Fail`.
    #[schemars(extend("enum" = ["Hold", "Fail"]))]
    pub on_error: String,
    /// Measure and report, but never decide by it.
    pub dry_run: bool,
}

/// Values that pass; both bounds are inclusive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ThresholdRange {
    /// Lowest value that passes.
    pub min: Option<Number>,
    /// Highest value that passes.
    pub max: Option<Number>,
}

/// One entry of `analysis.alerts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "providerRef"]))]
pub struct Alert {
    /// Name of the entry.
    pub name: String,
    /// Lowest severity that is sent. Defaults to `info`.
    #[schemars(extend("enum" = ["", "info", "warn", "error"]))]
    pub severity: String,
    /// The AlertProvider.
    pub provider_ref: ObjectRef,
}

/// An object by name, perhaps in another namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct ObjectRef {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object. Defaults to the Canary's.
    pub namespace: String,
}
