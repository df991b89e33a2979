//! `Canary` as users write it. Nothing here is checked: [`validate`](super::validate::validate) does that, and no other
//! code reads these types. An absent field and an empty string mean the same, as in Flagger.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::analysis::CanaryAnalysis;
use super::service::CanaryService;
use super::status::CanaryStatus;

/// A Deployment whose new revisions are analysed on real traffic before they are promoted.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "Canary",
    namespaced,
    status = "CanaryStatus",
    category = "all",
    shortname = "can",
    doc = "A workload whose new revisions are analysed on real traffic before they are promoted.",
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Weight","type":"string","jsonPath":".status.canaryWeight"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend","priority":1}"#,
    printcolumn = r#"{"name":"FailedChecks","type":"string","jsonPath":".status.failedChecks","priority":1}"#,
    printcolumn = r#"{"name":"Interval","type":"string","jsonPath":".spec.analysis.interval","priority":1}"#,
    printcolumn = r#"{"name":"Mirror","type":"boolean","jsonPath":".spec.analysis.mirror","priority":1}"#,
    printcolumn = r#"{"name":"StepWeight","type":"string","jsonPath":".spec.analysis.stepWeight","priority":1}"#,
    printcolumn = r#"{"name":"StepWeights","type":"string","jsonPath":".spec.analysis.stepWeights","priority":1}"#,
    printcolumn = r#"{"name":"MaxWeight","type":"string","jsonPath":".spec.analysis.maxWeight","priority":1}"#,
    printcolumn = r#"{"name":"LastTransitionTime","type":"string","jsonPath":".status.lastTransitionTime"}"#
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend(
    "required" = ["targetRef"],
    "x-kubernetes-validations" = [super::rules::ANALYSIS_OR_SKIP.to_json()],
))]
pub struct CanarySpec {
    /// Technology that moves traffic. Defaults to the controller's `--mesh-provider`.
    #[schemars(extend("enum" = PROVIDERS))]
    pub provider: String,
    /// Address of the Prometheus for built-in and in-line queries. Defaults to the controller's `--metrics-server`.
    pub metrics_server: String,
    /// The workload whose new revisions are analysed.
    pub target_ref: TargetRef,
    /// The autoscaler of the target; the primary gets a copy of it.
    pub autoscaler_ref: Option<AutoscalerRef>,
    /// The Ingress of the target, for NGINX and Skipper.
    pub ingress_ref: Option<IngressRef>,
    /// The `ApisixRoute` of the target, for APISIX.
    pub route_ref: Option<RouteRef>,
    /// The Upstream of the target, for Gloo.
    pub upstream_ref: Option<UpstreamRef>,
    /// How users reach the application.
    pub service: Option<CanaryService>,
    /// How a new revision is judged.
    pub analysis: Option<CanaryAnalysis>,
    /// Seconds for which an unready workload is waited for. Defaults to 600.
    pub progress_deadline_seconds: Option<Number>,
    /// Promote new revisions without analysis.
    pub skip_analysis: bool,
    /// Give the target its traffic and replicas back when the Canary is deleted.
    pub revert_on_deletion: bool,
    /// Do nothing until this is cleared.
    pub suspend: bool,
}

/// Values of `spec.provider` that the schema takes: Flagger's.
const PROVIDERS: [&str; 19] = [
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];

/// `spec.targetRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
pub struct TargetRef {
    /// API version of the workload.
    pub api_version: String,
    /// Kind of the workload.
    #[schemars(extend("enum" = ["DaemonSet", "Deployment", "Service"]))]
    pub kind: String,
    /// Name of the workload.
    pub name: String,
}

/// `spec.autoscalerRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
pub struct AutoscalerRef {
    /// API version of the autoscaler.
    pub api_version: String,
    /// Kind of the autoscaler.
    #[schemars(extend("enum" = ["HorizontalPodAutoscaler", "ScaledObject"]))]
    pub kind: String,
    /// Name of the autoscaler.
    pub name: String,
    /// KEDA: queries of the primary's triggers, by the trigger's name.
    pub primary_scaler_queries: BTreeMap<String, String>,
    /// Bounds of the primary's copy that differ from the target's.
    pub primary_scaler_replicas: Option<ScalerReplicas>,
}

/// `spec.autoscalerRef.primaryScalerReplicas`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ScalerReplicas {
    /// Fewest replicas of the primary.
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub min_replicas: Option<Number>,
    /// Most replicas of the primary.
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub max_replicas: Option<Number>,
}

/// `spec.ingressRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
pub struct IngressRef {
    /// API version of the Ingress.
    pub api_version: String,
    /// `Ingress`.
    #[schemars(extend("enum" = ["Ingress"]))]
    pub kind: String,
    /// Name of the Ingress.
    pub name: String,
}

/// `spec.routeRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
pub struct RouteRef {
    /// API version of the route.
    pub api_version: String,
    /// `ApisixRoute`.
    #[schemars(extend("enum" = ["ApisixRoute"]))]
    pub kind: String,
    /// Name of the route.
    pub name: String,
}

/// `spec.upstreamRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["apiVersion", "kind", "name"]))]
pub struct UpstreamRef {
    /// API version of the upstream.
    pub api_version: String,
    /// `Upstream`.
    #[schemars(extend("enum" = ["Upstream"]))]
    pub kind: String,
    /// Name of the upstream.
    pub name: String,
    /// Namespace of the upstream. Defaults to the Canary's.
    pub namespace: String,
}
