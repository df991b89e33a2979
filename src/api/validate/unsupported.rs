//! Fields of Flagger's API, and of Serin's own, that this version cannot act upon yet, and those that have no effect
//! with the chosen provider. Each is a problem: a field that is left out silently is a release that is not what it says.
//!
//! Names of other technologies' objects are left alone, as Flagger leaves them: `gateways`, `meshName` and `backends`,
//! and with provider kubernetes also `gatewayRefs` and `hosts`.

use super::Context;
use crate::api::canary::CanarySpec;
use crate::api::checked::Provider;
use crate::api::problem::Problems;

/// A field, whether it is used, its feature, and what to do beside waiting for it.
type Row = (&'static str, bool, &'static str, &'static str);

/// Notes every field that this version cannot act upon.
pub(super) fn check(spec: &CanarySpec, context: &Context<'_>, problems: &mut Problems) {
    if context.provider.is_none() {
        let message = format!("{} {NOT_YET}; use gatewayapi:v1 or kubernetes", spec.provider);
        problems.add("spec.provider", message);
    }
    check_target(spec, problems);
    for (field, _, feature, mend) in analysis(spec).into_iter().chain(references(spec)).filter(|(_, used, ..)| *used) {
        problems.add(field, format!("{feature} {NOT_YET}; {mend}"));
    }
    let for_provider = match context.provider {
        Some(Provider::GatewayApi) => gateway_api(spec),
        Some(Provider::Kubernetes) => kubernetes(spec),
        None => Vec::new(),
    };
    for (field, _, feature, mend) in for_provider.into_iter().filter(|(_, used, ..)| *used) {
        problems.add(field, format!("{feature}; {mend}"));
    }
}

const NOT_YET: &str = "is not supported yet by this version of Serin";
const ISTIO: &str = "belongs to Istio and has no effect on an HTTPRoute";

fn check_target(spec: &CanarySpec, problems: &mut Problems) {
    let kind = spec.target_ref.kind.as_str();
    if matches!(kind, "DaemonSet" | "Service") {
        problems.add("spec.targetRef.kind", format!("{kind} {NOT_YET}; use a Deployment"));
    }
    if let Some(autoscaler) = &spec.autoscaler_ref {
        if autoscaler.kind == "ScaledObject" {
            let message =
                format!("ScaledObject (KEDA) {NOT_YET}; remove autoscalerRef or use a HorizontalPodAutoscaler");
            problems.add("spec.autoscalerRef.kind", message);
        } else if !autoscaler.primary_scaler_queries.is_empty() {
            problems.add(
                "spec.autoscalerRef.primaryScalerQueries",
                "belongs to a ScaledObject and has no effect on a HorizontalPodAutoscaler; remove it",
            );
        }
    }
}

fn references(spec: &CanarySpec) -> Vec<Row> {
    let route = spec.service.as_ref().is_some_and(|service| service.http_route_ref.is_some());
    vec![
        ("spec.ingressRef", spec.ingress_ref.is_some(), "routing by Ingress", "remove it and use gatewayRefs"),
        ("spec.routeRef", spec.route_ref.is_some(), "routing by ApisixRoute", "remove it and use gatewayRefs"),
        ("spec.upstreamRef", spec.upstream_ref.is_some(), "routing by Gloo", "remove it and use gatewayRefs"),
        (
            "spec.service.httpRouteRef",
            route,
            "adopting an HTTPRoute",
            "remove it, and the route is generated from this Canary",
        ),
    ]
}

fn analysis(spec: &CanarySpec) -> Vec<Row> {
    let Some(analysis) = &spec.analysis else { return Vec::new() };
    let mirrored = analysis.mirror_weight.as_ref().is_some_and(|weight| weight.as_f64() != Some(0.0));
    vec![
        ("spec.analysis.steps", analysis.steps.is_some(), "a list of steps", "remove it and use stepWeights"),
        (
            "spec.analysis.match",
            !analysis.matches.is_empty(),
            "A/B testing by match",
            "remove it and use stepWeight, or iterations alone",
        ),
        ("spec.analysis.mirror", analysis.mirror, "mirroring to the canary", "remove it"),
        ("spec.analysis.mirrorWeight", mirrored, "mirroring to the canary", "remove it"),
        ("spec.analysis.comparison", analysis.comparison.is_some(), "comparison with the primary", "remove it"),
        ("spec.analysis.webhooks", !analysis.webhooks.is_empty(), "calling webhooks", "remove them"),
        ("spec.analysis.sessionAffinity", analysis.session_affinity.is_some(), "session affinity", "remove it"),
    ]
}

fn gateway_api(spec: &CanarySpec) -> Vec<Row> {
    let Some(service) = &spec.service else { return Vec::new() };
    vec![
        ("spec.service.delegation", service.delegation, ISTIO, "remove it"),
        ("spec.service.trafficPolicy", service.traffic_policy.is_some(), ISTIO, "remove it"),
        (
            "spec.service.retries",
            service.retries.is_some(),
            "the standard channel of the Gateway API has no retries",
            "remove it, and configure them where your gateway does",
        ),
    ]
}

fn kubernetes(spec: &CanarySpec) -> Vec<Row> {
    let Some(service) = &spec.service else { return Vec::new() };
    let fields = [
        ("spec.service.delegation", service.delegation),
        ("spec.service.trafficPolicy", service.traffic_policy.is_some()),
        ("spec.service.retries", service.retries.is_some()),
        ("spec.service.match", !service.matches.is_empty()),
        ("spec.service.rewrite", service.rewrite.is_some()),
        ("spec.service.headers", service.headers.is_some()),
        ("spec.service.mirror", !service.mirror.is_empty()),
        ("spec.service.corsPolicy", service.cors_policy.is_some()),
        ("spec.service.timeout", !service.timeout.is_empty()),
        ("spec.service.backendTimeout", !service.backend_timeout.is_empty()),
    ];
    let row = |(field, used)| {
        (field, used, "has no effect with provider kubernetes, which has no routes", "remove it or use gatewayapi:v1")
    };
    fields.map(row).into()
}
