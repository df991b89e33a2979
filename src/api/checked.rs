//! The checked form of a Canary. Validation produces it once; no later code sees the raw spec.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Namespace and name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl ObjectKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectKey {
    /// `name.namespace`, the order that Flagger uses in its event texts.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{}", self.name, self.namespace)
    }
}

/// A Canary whose every field was checked. All durations are in whole seconds.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own in the manifest")]
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedCanary {
    /// Where the Canary lives.
    pub key: ObjectKey,
    /// `metadata.uid`, for owner references.
    pub uid: String,
    /// `metadata.generation` that this was made from.
    pub generation: i64,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Whether the finalizer `finalizer.flagger.app` is present.
    pub has_finalizer: bool,
    /// The technology that moves traffic.
    pub provider: Provider,
    /// Name of the target Deployment.
    pub target_name: String,
    /// The autoscaler of the target.
    pub autoscaler: Option<Autoscaler>,
    /// How users reach the application.
    pub service: Service,
    /// How a new revision is judged.
    pub analysis: Analysis,
    /// How long an unready canary is waited for (at least 1; Flagger's default 600).
    pub progress_deadline_seconds: i64,
    /// Promote without analysis.
    pub skip_analysis: bool,
    /// Do nothing until cleared.
    pub suspended: bool,
    /// Give the target back its traffic and replicas when the Canary is deleted.
    pub revert_on_deletion: bool,
    /// Prometheus for built-in and in-line queries, where it is not the controller's default.
    pub metrics_server: Option<String>,
}

impl ValidatedCanary {
    /// Name of the primary workload.
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.target_name)
    }
}

/// Technology that moves traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Gateway API `HTTPRoute`, v1.
    GatewayApi,
    /// No mesh: Services only, blue/green by iterations.
    Kubernetes,
}

impl Provider {
    /// The spelling in manifests and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayApi => "gatewayapi:v1",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// The technology of that spelling; `None` if it is not built. What Flagger does for `gatewayapi:v1beta1` is done
    /// with v1, which every release of the Gateway API since 1.0 serves.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "gatewayapi:v1" | "gatewayapi:v1beta1" => Some(Self::GatewayApi),
            "kubernetes" => Some(Self::Kubernetes),
            _ => None,
        }
    }
}

/// `spec.autoscalerRef`: an `autoscaling/v2` HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// Name of the target's HorizontalPodAutoscaler.
    pub name: String,
    /// Override of `minReplicas` in the primary's copy.
    pub primary_min_replicas: Option<i32>,
    /// Override of `maxReplicas` in the primary's copy.
    pub primary_max_replicas: Option<i32>,
}

/// `spec.service`: the three Services and the generated route.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Name of the apex Service; `-primary` and `-canary` follow from it.
    pub name: String,
    /// Port of the Services.
    pub port: i32,
    /// Name of that port (default `http`).
    pub port_name: String,
    /// Target port as written: a number or a port's name.
    pub target_port: Value,
    /// `appProtocol` of the port.
    pub app_protocol: Option<String>,
    /// Expose the other container ports too.
    pub port_discovery: bool,
    /// `clusterIP: None` at creation.
    pub headless: bool,
    /// `trafficDistribution` of the Services.
    pub traffic_distribution: Option<String>,
    /// Labels and annotations of the apex Service.
    pub apex: Metadata,
    /// Labels and annotations of the primary Service.
    pub primary: Metadata,
    /// Labels and annotations of the canary Service.
    pub canary: Metadata,
    /// Keys on owned Services that are left alone.
    pub unmanaged_labels: Vec<String>,
    /// Keys on owned Services that are left alone.
    pub unmanaged_annotations: Vec<String>,
    /// Gateway API: parents of the generated route as written, never empty with [`Provider::GatewayApi`].
    pub gateway_refs: Vec<Value>,
    /// Gateway API: host names of the generated route.
    pub hosts: Vec<String>,
    /// Gateway API: `HTTPRouteMatch` entries, already translated from Flagger's (Istio-shaped) `match`.
    pub matches: Vec<Value>,
    /// Gateway API: `HTTPRouteFilter` entries (rewrite, header modifiers, static mirrors, CORS), already translated.
    pub filters: Vec<Value>,
    /// Gateway API: `timeouts.request` of the rule.
    pub timeout: Option<String>,
    /// Gateway API: `timeouts.backendRequest` of the rule.
    pub backend_timeout: Option<String>,
}

impl Service {
    /// Name of the Service in front of the primary pods.
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.name)
    }

    /// Name of the Service in front of the canary pods.
    pub fn canary_name(&self) -> String {
        format!("{}-canary", self.name)
    }
}

/// Labels and annotations that a user wants on a generated object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// `spec.analysis`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Time between two checks, at least 1.
    pub interval_seconds: i64,
    /// Failed checks of one run that roll it back, at least 1.
    pub threshold: i32,
    /// How exposure grows.
    pub strategy: Strategy,
    /// Percentage of the primary's pods that must be available, 0 to 100.
    pub primary_ready_threshold_percent: i32,
    /// Percentage of the canary's pods that must be available, 0 to 100.
    pub canary_ready_threshold_percent: i32,
    /// How long inconclusive checks may hold the run before it is rolled back.
    pub hold_timeout_seconds: i64,
    /// What is measured.
    pub checks: Vec<Check>,
    /// Who is told.
    pub alerts: Vec<Alert>,
}

/// How exposure grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Traffic is shifted by weight.
    Weighted {
        /// Canary weights in per cent, ascending, each 1 to 100; the last one is the weight at which a passing check
        /// promotes. Made from `stepWeight`/`maxWeight` or `stepWeights`.
        steps: Vec<i32>,
        /// Step by which traffic returns to the primary after promotion; 0 means at once.
        promotion_step: i32,
    },
    /// The canary is checked a number of times without a change of traffic, then promoted.
    BlueGreen {
        /// Number of passing checks, at least 1.
        iterations: i32,
    },
}

/// One entry of `analysis.metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Name of the metric.
    pub name: String,
    /// Where the number comes from.
    pub source: CheckSource,
    /// Window of the query as written (`1m`), default `1m` for built-in and in-line queries, and for templates too.
    pub window: String,
    /// Lowest value that passes.
    pub min: Option<f64>,
    /// Highest value that passes.
    pub max: Option<f64>,
    /// What an empty answer means.
    pub on_no_data: OnNoData,
    /// What a failed query means.
    pub on_error: OnError,
    /// Measured and reported, never decisive.
    pub dry_run: bool,
}

/// Where the number of a check comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckSource {
    /// `request-success-rate`, in per cent.
    RequestSuccessRate,
    /// `request-duration`, 99th percentile in milliseconds.
    RequestDuration,
    /// `query`: PromQL in Flagger's template language against the default Prometheus.
    Query(String),
    /// `templateRef`: a `MetricTemplate`.
    Template {
        /// The `MetricTemplate`.
        template: ObjectKey,
        /// `templateVariables`.
        variables: BTreeMap<String, String>,
    },
}

/// What an empty answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNoData {
    /// A failed check, as in Flagger.
    Fail,
    /// An inconclusive check.
    Hold,
    /// A passed check.
    Pass,
}

/// What a failed query means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    /// An inconclusive check.
    Hold,
    /// A failed check, as in Flagger.
    Fail,
}

/// One entry of `analysis.alerts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Name of the entry.
    pub name: String,
    /// Lowest severity that is sent.
    pub severity: Severity,
    /// The `AlertProvider`.
    pub provider: ObjectKey,
}

/// Severity of an alert, ascending.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Progress.
    Info,
    /// Somebody may want to look.
    Warn,
    /// A release was refused or is stuck.
    Error,
}
