//! The built-in checks `request-success-rate` and `request-duration`, as each data plane counts requests.

use super::Subject;
use crate::api::checked::Provider;

/// Where the numbers of the built-in checks come from. Every profile measures the canary alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Envoy as Contour configures it: `alt_stat_name` is `NAMESPACE_SERVICE_PORT`
    /// (`internal/envoy/cluster.go` of Contour 1.33).
    Contour,
    /// Envoy as Envoy Gateway configures it. By default it makes one cluster of a whole rule
    /// (`httproute/NAMESPACE/NAME/rule/N`), primary and canary mixed, which tells nothing of the canary and is
    /// therefore not asked. Backends have clusters of their own
    /// - with `EnvoyProxy.spec.mergeBackends` (1.9 and later): `service/NAMESPACE/NAME/PORT/...`,
    /// - where a backendRef has a filter: `httproute/NAMESPACE/NAME/rule/N/backend/INDEX`; the canary is the second one
    ///   (envoyproxy/gateway issues 7017 and 7008),
    ///
    /// unless `clusterStatName` renames them. Without either, use [`Profile::Application`] or a `MetricTemplate`.
    EnvoyGateway,
    /// Istio's standard metrics, as the canary's side reports them (sidecar or waypoint).
    Istio,
    /// Linkerd's proxy metrics, inbound at the canary.
    Linkerd,
    /// What the application itself counts, `http_request_duration_seconds`, by the names of its pods: Flagger's choice
    /// for `kubernetes` and for the Gateway API.
    Application,
}

/// The metrics of one profile for one subject.
struct Series {
    /// Counter of requests.
    requests: &'static str,
    /// Histogram of durations, without `_bucket`.
    durations: &'static str,
    /// Matchers that select the canary.
    canary: String,
    /// Matcher that selects requests which did not fail.
    succeeded: &'static str,
    /// The histogram's unit.
    unit_milliseconds: u32,
}

impl Profile {
    const ALL: [Self; 5] = [Self::Contour, Self::EnvoyGateway, Self::Istio, Self::Linkerd, Self::Application];

    /// The name in the flag `--metrics-profile`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contour => "contour",
            Self::EnvoyGateway => "envoy-gateway",
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::Application => "application",
        }
    }

    /// Reads the name in the flag `--metrics-profile`; the error lists the known ones.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("unknown metrics profile `{name}`; known are {known}")
        })
    }

    /// What Flagger uses with this technology: what the application counts.
    pub fn default_for(provider: Provider) -> Self {
        match provider {
            Provider::GatewayApi | Provider::Kubernetes => Self::Application,
        }
    }

    /// `PromQL` for the share of requests that did not fail, in per cent. Without any request the answer is empty or
    /// NaN; when every request failed it is 0, where Flagger's quotient of two sums would be empty.
    pub(super) fn success_rate(self, subject: &Subject, window: &str) -> String {
        let Series { requests, canary, succeeded, .. } = self.series(subject);
        let total = format!("sum(rate({requests}{{{canary}}}[{window}]))");
        let good = format!("sum(rate({requests}{{{canary},{succeeded}}}[{window}]))");
        format!("({good} or {total} * 0) / {total} * 100")
    }

    /// `PromQL` for the 99th percentile of request durations, in milliseconds.
    pub(super) fn duration(self, subject: &Subject, window: &str) -> String {
        let Series { durations, canary, unit_milliseconds, .. } = self.series(subject);
        let quantile = format!("histogram_quantile(0.99, sum(rate({durations}_bucket{{{canary}}}[{window}])) by (le))");
        if unit_milliseconds == 1 { quantile } else { format!("{quantile} * {unit_milliseconds}") }
    }

    /// `PromQL` for the number of requests in the window.
    pub(super) fn sample_size(self, subject: &Subject, window: &str) -> String {
        let Series { requests, canary, .. } = self.series(subject);
        format!("sum(increase({requests}{{{canary}}}[{window}]))")
    }

    fn series(self, subject: &Subject) -> Series {
        let Subject { namespace, target, service, port, .. } = subject;
        match self {
            Self::Contour => envoy(format!(r#"envoy_cluster_name="{namespace}_{service}-canary_{port}""#)),
            Self::EnvoyGateway => {
                let (namespace, service) = (literal(namespace), literal(service));
                envoy(format!(
                    r#"envoy_cluster_name=~"service/{namespace}/{service}-canary/{port}(/.*)?|httproute/{namespace}/{service}/rule/[0-9]+/backend/1""#
                ))
            }
            Self::Istio => Series {
                requests: "istio_requests_total",
                durations: "istio_request_duration_milliseconds",
                canary: format!(
                    r#"reporter="destination",destination_workload_namespace="{namespace}",destination_workload="{target}""#
                ),
                succeeded: r#"response_code!~"5.*""#,
                unit_milliseconds: 1,
            },
            Self::Linkerd => Series {
                requests: "response_total",
                durations: "response_latency_ms",
                canary: format!(r#"namespace="{namespace}",deployment="{target}",direction="inbound""#),
                succeeded: r#"classification!="failure""#,
                unit_milliseconds: 1,
            },
            Self::Application => Series {
                requests: "http_request_duration_seconds_count",
                durations: "http_request_duration_seconds",
                canary: format!(
                    r#"kubernetes_namespace="{namespace}",kubernetes_pod_name=~"{}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#,
                    literal(target)
                ),
                succeeded: r#"status!~"5.*""#,
                unit_milliseconds: 1000,
            },
        }
    }
}

/// Envoy's cluster metrics.
fn envoy(canary: String) -> Series {
    Series {
        requests: "envoy_cluster_upstream_rq",
        durations: "envoy_cluster_upstream_rq_time",
        canary,
        succeeded: r#"envoy_response_code!~"5.*""#,
        unit_milliseconds: 1,
    }
}

/// A Kubernetes name in a regular expression in a `PromQL` string: of what names are made of, only dots have a meaning.
fn literal(name: &str) -> String {
    name.replace('.', r"\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(profile: Profile) -> Subject {
        Subject {
            name: "frontend".into(),
            namespace: "default".into(),
            target: "web.v1".into(),
            service: "frontend".into(),
            ingress: "web.v1".into(),
            route: "web.v1".into(),
            port: 80,
            profile,
        }
    }

    #[test]
    fn queries_are_exactly_these() {
        let cases = [
            (
                Profile::Contour,
                r#"(sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name="default_frontend-canary_80",envoy_response_code!~"5.*"}[1m])) or sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name="default_frontend-canary_80"}[1m])) * 0) / sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name="default_frontend-canary_80"}[1m])) * 100"#,
                r#"histogram_quantile(0.99, sum(rate(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="default_frontend-canary_80"}[1m])) by (le))"#,
                r#"sum(increase(envoy_cluster_upstream_rq{envoy_cluster_name="default_frontend-canary_80"}[1m]))"#,
            ),
            (
                Profile::EnvoyGateway,
                r#"(sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name=~"service/default/frontend-canary/80(/.*)?|httproute/default/frontend/rule/[0-9]+/backend/1",envoy_response_code!~"5.*"}[1m])) or sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name=~"service/default/frontend-canary/80(/.*)?|httproute/default/frontend/rule/[0-9]+/backend/1"}[1m])) * 0) / sum(rate(envoy_cluster_upstream_rq{envoy_cluster_name=~"service/default/frontend-canary/80(/.*)?|httproute/default/frontend/rule/[0-9]+/backend/1"}[1m])) * 100"#,
                r#"histogram_quantile(0.99, sum(rate(envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"service/default/frontend-canary/80(/.*)?|httproute/default/frontend/rule/[0-9]+/backend/1"}[1m])) by (le))"#,
                r#"sum(increase(envoy_cluster_upstream_rq{envoy_cluster_name=~"service/default/frontend-canary/80(/.*)?|httproute/default/frontend/rule/[0-9]+/backend/1"}[1m]))"#,
            ),
            (
                Profile::Istio,
                r#"(sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="default",destination_workload="web.v1",response_code!~"5.*"}[1m])) or sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="default",destination_workload="web.v1"}[1m])) * 0) / sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="default",destination_workload="web.v1"}[1m])) * 100"#,
                r#"histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload_namespace="default",destination_workload="web.v1"}[1m])) by (le))"#,
                r#"sum(increase(istio_requests_total{reporter="destination",destination_workload_namespace="default",destination_workload="web.v1"}[1m]))"#,
            ),
            (
                Profile::Linkerd,
                r#"(sum(rate(response_total{namespace="default",deployment="web.v1",direction="inbound",classification!="failure"}[1m])) or sum(rate(response_total{namespace="default",deployment="web.v1",direction="inbound"}[1m])) * 0) / sum(rate(response_total{namespace="default",deployment="web.v1",direction="inbound"}[1m])) * 100"#,
                r#"histogram_quantile(0.99, sum(rate(response_latency_ms_bucket{namespace="default",deployment="web.v1",direction="inbound"}[1m])) by (le))"#,
                r#"sum(increase(response_total{namespace="default",deployment="web.v1",direction="inbound"}[1m]))"#,
            ),
            (
                Profile::Application,
                r#"(sum(rate(http_request_duration_seconds_count{kubernetes_namespace="default",kubernetes_pod_name=~"web\\.v1-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)",status!~"5.*"}[1m])) or sum(rate(http_request_duration_seconds_count{kubernetes_namespace="default",kubernetes_pod_name=~"web\\.v1-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"}[1m])) * 0) / sum(rate(http_request_duration_seconds_count{kubernetes_namespace="default",kubernetes_pod_name=~"web\\.v1-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"}[1m])) * 100"#,
                r#"histogram_quantile(0.99, sum(rate(http_request_duration_seconds_bucket{kubernetes_namespace="default",kubernetes_pod_name=~"web\\.v1-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"}[1m])) by (le)) * 1000"#,
                r#"sum(increase(http_request_duration_seconds_count{kubernetes_namespace="default",kubernetes_pod_name=~"web\\.v1-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"}[1m]))"#,
            ),
        ];
        for (profile, success_rate, duration, sample_size) in cases {
            let subject = subject(profile);
            assert_eq!(profile.success_rate(&subject, "1m"), success_rate);
            assert_eq!(profile.duration(&subject, "1m"), duration);
            assert_eq!(profile.sample_size(&subject, "1m"), sample_size);
        }
    }

    #[test]
    fn names_are_those_of_the_flag() {
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.as_str()), Ok(profile));
        }
        assert_eq!(
            Profile::parse("nginx").unwrap_err(),
            "unknown metrics profile `nginx`; known are contour, envoy-gateway, istio, linkerd, application"
        );
    }
}
