//! What the targets of Prometheus show: the counts of the traffic under the names that Envoy as a gateway, the
//! application, Istio and Linkerd give them. A series is made when somebody asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::promql::{Labels, Matcher, NAME, Selector, Text};
use crate::sim::traffic::{Counters, Flow, Life, Place, REFUSED, Traffic, share_within};

/// Takes back what binary fractions lose: ten requests a second are ten after a second.
const ROUNDING: f64 = 1e-6;
/// The label of a bucket's upper bound.
const UPPER_BOUND: &str = "le";

/// How the gateway names the cluster of a Service in its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterNames {
    /// `NAMESPACE_SERVICE_PORT`.
    #[default]
    Contour,
    /// `service/NAMESPACE/SERVICE/PORT`, as Envoy Gateway does with `mergeBackends`.
    EnvoyGateway,
}

/// Whose names and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Envoy,
    Application,
    Istio,
    Linkerd,
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Requests, by code.
    Requests,
    /// The histogram of durations: its count, its sum and its buckets.
    Count,
    Sum,
    Buckets,
}

/// All metrics that there are.
const METRICS: [(&str, Dialect, Measure); 15] = [
    ("envoy_cluster_upstream_rq", Dialect::Envoy, Measure::Requests),
    ("envoy_cluster_upstream_rq_time_count", Dialect::Envoy, Measure::Count),
    ("envoy_cluster_upstream_rq_time_sum", Dialect::Envoy, Measure::Sum),
    ("envoy_cluster_upstream_rq_time_bucket", Dialect::Envoy, Measure::Buckets),
    ("http_request_duration_seconds_count", Dialect::Application, Measure::Count),
    ("http_request_duration_seconds_sum", Dialect::Application, Measure::Sum),
    ("http_request_duration_seconds_bucket", Dialect::Application, Measure::Buckets),
    ("istio_requests_total", Dialect::Istio, Measure::Requests),
    ("istio_request_duration_milliseconds_count", Dialect::Istio, Measure::Count),
    ("istio_request_duration_milliseconds_sum", Dialect::Istio, Measure::Sum),
    ("istio_request_duration_milliseconds_bucket", Dialect::Istio, Measure::Buckets),
    ("response_total", Dialect::Linkerd, Measure::Requests),
    ("response_latency_ms_count", Dialect::Linkerd, Measure::Count),
    ("response_latency_ms_sum", Dialect::Linkerd, Measure::Sum),
    ("response_latency_ms_bucket", Dialect::Linkerd, Measure::Buckets),
];

/// An upper bound in the unit of its histogram, and how Prometheus writes it (since version 3 always as a fraction).
type Bound = (f64, &'static str);

/// Envoy's, in milliseconds (`DefaultBuckets` of `source/common/stats/histogram_impl.cc`); Istio measures with Envoy.
const ENVOY_BOUNDS: &[Bound] = &[
    (0.5, "0.5"),
    (1.0, "1.0"),
    (5.0, "5.0"),
    (10.0, "10.0"),
    (25.0, "25.0"),
    (50.0, "50.0"),
    (100.0, "100.0"),
    (250.0, "250.0"),
    (500.0, "500.0"),
    (1000.0, "1000.0"),
    (2500.0, "2500.0"),
    (5000.0, "5000.0"),
    (10_000.0, "10000.0"),
    (30_000.0, "30000.0"),
    (60_000.0, "60000.0"),
    (300_000.0, "300000.0"),
    (600_000.0, "600000.0"),
    (1_800_000.0, "1.8e+06"),
    (3_600_000.0, "3.6e+06"),
    (f64::INFINITY, "+Inf"),
];

/// Those of Prometheus' client libraries, in seconds.
const APPLICATION_BOUNDS: &[Bound] = &[
    (0.005, "0.005"),
    (0.01, "0.01"),
    (0.025, "0.025"),
    (0.05, "0.05"),
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1.0"),
    (2.5, "2.5"),
    (5.0, "5.0"),
    (10.0, "10.0"),
    (f64::INFINITY, "+Inf"),
];

/// Linkerd's, in milliseconds (`linkerd/metrics/src/latency.rs` of linkerd2-proxy).
const LINKERD_BOUNDS: &[Bound] = &[
    (1.0, "1.0"),
    (2.0, "2.0"),
    (3.0, "3.0"),
    (4.0, "4.0"),
    (5.0, "5.0"),
    (10.0, "10.0"),
    (20.0, "20.0"),
    (30.0, "30.0"),
    (40.0, "40.0"),
    (50.0, "50.0"),
    (100.0, "100.0"),
    (200.0, "200.0"),
    (300.0, "300.0"),
    (400.0, "400.0"),
    (500.0, "500.0"),
    (1000.0, "1000.0"),
    (2000.0, "2000.0"),
    (3000.0, "3000.0"),
    (4000.0, "4000.0"),
    (5000.0, "5000.0"),
    (10_000.0, "10000.0"),
    (20_000.0, "20000.0"),
    (30_000.0, "30000.0"),
    (40_000.0, "40000.0"),
    (50_000.0, "50000.0"),
    (f64::INFINITY, "+Inf"),
];

/// A series, whose value at any time can be asked for.
pub(super) struct Exposed<'a> {
    pub(super) labels: Labels,
    parts: Vec<Part<'a>>,
    /// Requests are whole, durations are not.
    is_whole: bool,
}

/// What one life adds to a series.
struct Part<'a> {
    life: &'a Life,
    /// What is counted, and how much one request is worth.
    terms: Vec<(&'a Flow, f64)>,
}

impl Exposed<'_> {
    /// The value that a scrape at this time sees. Nothing before the first request, and after the end.
    pub(super) fn at(&self, at_milliseconds: i64) -> Option<f64> {
        let part = self.parts.iter().rev().find(|part| part.life.lives_at(at_milliseconds))?;
        let (mut requests, mut value) = (0.0, 0.0);
        for (flow, worth) in &part.terms {
            let count = flow.line.at(at_milliseconds);
            requests += count;
            value += count * worth;
        }
        let has_begun = requests + ROUNDING >= 1.0;
        has_begun.then(|| if self.is_whole { (value + ROUNDING).floor() } else { value })
    }
}

type Pairs = Vec<(Text, Text)>;

/// All series that a selector means.
pub(super) fn select<'a>(traffic: &'a Traffic, names: ClusterNames, selector: &Selector) -> Vec<Exposed<'a>> {
    let mut found = Vec::new();
    for (name, dialect, measure) in METRICS.iter().filter(|(name, ..)| selector.matches_name(name)) {
        for (place, counters) in traffic.places() {
            let Some(mut pairs) = dialect.place_labels(place, &counters.workload, names) else { continue };
            pairs.push((NAME.into(), (*name).into()));
            if known_labels_match(selector, &pairs) {
                expose(*dialect, *measure, counters, &pairs, selector, &mut found);
            }
        }
    }
    found
}

/// Whether a series can be meant of which these labels are known.
fn known_labels_match(selector: &Selector, pairs: &Pairs) -> bool {
    selector.matchers.iter().all(|matcher| {
        let known = pairs.iter().find(|(name, _)| **name == *matcher.label);
        known.is_none_or(|(_, value)| matcher.matches(value))
    })
}

/// Adds the series of one metric in one place.
fn expose<'a>(
    dialect: Dialect,
    measure: Measure,
    counters: &'a Counters,
    place: &Pairs,
    selector: &Selector,
    found: &mut Vec<Exposed<'a>>,
) {
    let flows = counters.lives.iter().flat_map(|life| &life.flows);
    // Who is refused at the gateway is not timed.
    let is_timed = |code: u16| measure == Measure::Requests || code != REFUSED;
    let codes: BTreeSet<u16> = flows.map(|flow| flow.code).filter(|code| is_timed(*code)).collect();
    let groups: Vec<Vec<u16>> = if dialect == Dialect::Envoy && measure != Measure::Requests {
        vec![codes.into_iter().collect()]
    } else {
        codes.into_iter().map(|code| vec![code]).collect()
    };
    for codes in groups {
        let mut pairs = place.clone();
        if let ([code], true) = (codes.as_slice(), dialect != Dialect::Envoy || measure == Measure::Requests) {
            pairs.extend(dialect.code_labels(*code));
        }
        if !known_labels_match(selector, &pairs) {
            continue;
        }
        let is_open = |matcher: &&Matcher| !pairs.iter().any(|(name, _)| **name == *matcher.label);
        let open: Vec<&Matcher> = selector.matchers.iter().filter(is_open).collect();
        let bounds: &[Bound] = if measure == Measure::Buckets { dialect.bounds() } else { &[(f64::INFINITY, "")] };
        for (bound, written) in bounds {
            let mut pairs = pairs.clone();
            pairs.push((UPPER_BOUND.into(), (*written).into()));
            let labels = Labels::new(pairs);
            if open.iter().all(|matcher| matcher.matches(labels.get(&matcher.label))) {
                let worth = |flow: &Flow| dialect.worth(measure, flow, *bound);
                let parts = parts(counters, &codes, worth);
                found.push(Exposed { labels, parts, is_whole: measure != Measure::Sum });
            }
        }
    }
}

fn parts<'a>(counters: &'a Counters, codes: &[u16], worth: impl Fn(&Flow) -> f64) -> Vec<Part<'a>> {
    let part = |life: &'a Life| {
        let flows = life.flows.iter().filter(|flow| codes.contains(&flow.code));
        Part { life, terms: flows.map(|flow| (flow, worth(flow))).collect() }
    };
    counters.lives.iter().map(part).collect()
}

impl Dialect {
    /// The labels of what is counted at a place; `None` where it is not counted in this dialect.
    fn place_labels(self, place: &Place, workload: &Arc<str>, names: ClusterNames) -> Option<Pairs> {
        let shared = |text: &Arc<str>| Text::from(Arc::clone(text));
        Some(match (self, place) {
            (Self::Envoy, Place::Cluster { namespace, service, port }) => {
                let cluster = match names {
                    ClusterNames::Contour => format!("{namespace}_{service}_{port}"),
                    ClusterNames::EnvoyGateway => format!("service/{namespace}/{service}/{port}"),
                };
                vec![("envoy_cluster_name".into(), cluster.into()), ("job".into(), "envoy".into())]
            }
            (Self::Application, Place::Pod { namespace, pod }) => vec![
                ("app".into(), shared(workload)),
                ("job".into(), "kubernetes-pods".into()),
                ("kubernetes_namespace".into(), shared(namespace)),
                ("kubernetes_pod_name".into(), shared(pod)),
                ("method".into(), "GET".into()),
                ("namespace".into(), shared(namespace)),
                ("path".into(), "root".into()),
                ("pod".into(), shared(pod)),
            ],
            (Self::Istio, Place::Pod { namespace, pod }) => vec![
                ("destination_workload".into(), shared(workload)),
                ("destination_workload_namespace".into(), shared(namespace)),
                ("pod".into(), shared(pod)),
                ("reporter".into(), "destination".into()),
            ],
            (Self::Linkerd, Place::Pod { namespace, pod }) => vec![
                ("deployment".into(), shared(workload)),
                ("direction".into(), "inbound".into()),
                ("namespace".into(), shared(namespace)),
                ("pod".into(), shared(pod)),
            ],
            _ => return None,
        })
    }

    fn code_labels(self, code: u16) -> Pairs {
        let text = match code {
            200 => "200",
            REFUSED => "503",
            _ => "500",
        };
        match self {
            Self::Envoy => vec![("envoy_response_code".into(), text.into())],
            Self::Application => vec![("status".into(), text.into())],
            Self::Istio => vec![("response_code".into(), text.into())],
            Self::Linkerd => {
                let classification = if code < 500 { "success" } else { "failure" };
                vec![("classification".into(), classification.into()), ("status_code".into(), text.into())]
            }
        }
    }

    fn bounds(self) -> &'static [Bound] {
        match self {
            Self::Envoy | Self::Istio => ENVOY_BOUNDS,
            Self::Application => APPLICATION_BOUNDS,
            Self::Linkerd => LINKERD_BOUNDS,
        }
    }

    /// What one request adds to a series on average.
    fn worth(self, measure: Measure, flow: &Flow, bound: f64) -> f64 {
        let unit_milliseconds = if self == Self::Application { 1000.0 } else { 1.0 };
        match measure {
            Measure::Requests | Measure::Count => 1.0,
            Measure::Sum => flow.mean_milliseconds() / unit_milliseconds,
            Measure::Buckets => share_within(bound * unit_milliseconds, flow.latency_milliseconds),
        }
    }
}
