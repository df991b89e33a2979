//! What Prometheus and the readiness probe are told: Flagger's metrics under Flagger's names, and Serin's own.
//!
//! In Flagger's metrics `name` is the *target's* name. Unlike Flagger's, the series of a deleted Canary go away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::checked::{ObjectKey, Provider, Strategy, ValidatedCanary};
use crate::api::status::{CanaryStatus, Phase, Verdict};
use crate::cluster::client::ApiRequests;

/// `Content-Type` of [`Telemetry::exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Bounds of the histograms in seconds: the Prometheus client libraries' defaults, which Flagger uses.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the metrics of one Canary are made from.
#[derive(Clone, Copy, Debug)]
pub struct CanaryReport<'a> {
    /// The Canary.
    pub key: &'a ObjectKey,
    /// Name of its target.
    pub target_name: &'a str,
    /// Its status as committed last.
    pub status: &'a CanaryStatus,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassResult {
    /// As it should.
    Done,
    /// Thrown away, because the Canary changed meanwhile.
    Conflict,
    /// With an error; it will be tried again.
    Failed,
    /// With a panic; it will be tried again.
    Panicked,
}

impl PassResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Info {
    version: &'static str,
    mesh_provider: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Namespace {
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    name: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Workload {
    workload: String,
    namespace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetMetric {
    name: String,
    namespace: String,
    metric: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunEnd {
    name: String,
    namespace: String,
    deployment_strategy: &'static str,
    analysis_status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckVerdict {
    namespace: String,
    name: String,
    metric: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// The series of one Canary, so that they can go with it.
#[derive(Clone, Debug, Default)]
struct Known {
    target_name: String,
    metrics: BTreeSet<String>,
    verdicts: BTreeSet<(String, &'static str)>,
}

impl Known {
    /// Whether its target is known yet.
    fn is_recorded(&self) -> bool {
        !self.target_name.is_empty()
    }
}

/// The metrics, and what readiness waits for.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    api_requests: ApiRequests,
    known: Mutex<BTreeMap<ObjectKey, Known>>,
    missing_caches: Mutex<Vec<String>>,
    total: Family<Namespace, Gauge>,
    status: Family<Target, Gauge>,
    weight: Family<Workload, Gauge>,
    analysis: Family<TargetMetric, Gauge<f64, std::sync::atomic::AtomicU64>>,
    duration_seconds: Family<Target, Histogram>,
    successes: Family<RunEnd, Counter>,
    failures: Family<RunEnd, Counter>,
    passes: Family<Outcome, Counter>,
    pass_duration_seconds: Histogram,
    verdicts: Family<CheckVerdict, Counter>,
    alerts: Family<Outcome, Counter>,
    leader: Gauge,
}

impl Telemetry {
    /// Metrics of a controller with this default provider.
    pub fn new(provider: Provider) -> Self {
        let mut telemetry = Self {
            registry: Registry::default(),
            api_requests: ApiRequests::default(),
            known: Mutex::default(),
            missing_caches: Mutex::new(vec!["the controller has not started".to_owned()]),
            total: Family::default(),
            status: Family::default(),
            weight: Family::default(),
            analysis: Family::default(),
            duration_seconds: Family::new_with_constructor(histogram),
            successes: Family::default(),
            failures: Family::default(),
            passes: Family::default(),
            pass_duration_seconds: histogram(),
            verdicts: Family::default(),
            alerts: Family::default(),
            leader: Gauge::default(),
        };
        telemetry.register(provider);
        telemetry
    }

    fn register(&mut self, provider: Provider) {
        let version = env!("CARGO_PKG_VERSION");
        let info = Family::<Info, Gauge>::default();
        info.get_or_create(&Info { version, mesh_provider: provider.as_str() }).set(1);
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version }).set(1);
        let registry = &mut self.registry;
        // The encoder adds `_total` to the names of counters.
        registry.register("flagger_info", "Version and default provider", info);
        registry.register("flagger_canary_total", "Number of Canaries", self.total.clone());
        registry.register("flagger_canary_status", "Last phase: 0 running, 1 well, 2 failed", self.status.clone());
        registry.register("flagger_canary_weight", "Share of traffic in per cent", self.weight.clone());
        registry.register("flagger_canary_metric_analysis", "Last value of each check", self.analysis.clone());
        let help = "Seconds spent on one pass";
        registry.register("flagger_canary_duration_seconds", help, self.duration_seconds.clone());
        registry.register("flagger_canary_successes", "Runs that were promoted", self.successes.clone());
        registry.register("flagger_canary_failures", "Runs that were taken back", self.failures.clone());
        registry.register("serin_passes", "Passes by their end", self.passes.clone());
        registry.register("serin_pass_duration_seconds", help, self.pass_duration_seconds.clone());
        registry.register("serin_api_requests", "Requests to the API server", self.api_requests.family());
        registry.register("serin_check_verdicts", "Judged checks by verdict", self.verdicts.clone());
        registry.register("serin_alerts", "Alerts by delivery", self.alerts.clone());
        registry.register("serin_leader", "Whether this process leads", self.leader.clone());
        registry.register("serin_build_info", "Version", build);
    }

    /// The counters that the Kubernetes client counts in.
    pub fn api_requests(&self) -> ApiRequests {
        self.api_requests.clone()
    }

    /// Brings the gauges of a Canary up to date; saying the same twice changes nothing.
    pub fn record_canary(&self, report: &CanaryReport<'_>) {
        let namespace = &report.key.namespace;
        let mut known = self.known();
        if known.get(report.key).is_some_and(|known| known.is_recorded() && known.target_name != report.target_name) {
            self.forget_in(&mut known, report.key);
        }
        let canary = known.entry(report.key.clone()).or_default();
        report.target_name.clone_into(&mut canary.target_name);
        self.record_checks(report, canary);
        let weight = i64::from(report.status.canary_weight);
        let [primary, target] = workloads(report.target_name, namespace);
        self.weight.get_or_create(&primary).set(100 - weight);
        self.weight.get_or_create(&target).set(weight);
        self.status.get_or_create(&target_labels(report.target_name, namespace)).set(phase_value(report.status.phase));
        self.count_canaries(&known, namespace);
    }

    fn record_checks(&self, report: &CanaryReport<'_>, canary: &mut Known) {
        let labels = |metric: &String| TargetMetric {
            name: report.target_name.to_owned(),
            namespace: report.key.namespace.clone(),
            metric: metric.clone(),
        };
        let values: BTreeMap<&String, f64> =
            report.status.checks.iter().filter_map(|check| Some((&check.name, check.value?))).collect();
        canary.metrics.retain(|metric| {
            let kept = values.contains_key(metric);
            if !kept {
                self.analysis.remove(&labels(metric));
            }
            kept
        });
        for (metric, value) in values {
            self.analysis.get_or_create(&labels(metric)).set(value);
            canary.metrics.insert(metric.clone());
        }
    }

    /// Removes all series of a Canary that was deleted.
    pub fn forget(&self, key: &ObjectKey) {
        let mut known = self.known();
        self.forget_in(&mut known, key);
        self.count_canaries(&known, &key.namespace);
    }

    fn forget_in(&self, known: &mut BTreeMap<ObjectKey, Known>, key: &ObjectKey) {
        let Some(canary) = known.remove(key) else { return };
        let target = target_labels(&canary.target_name, &key.namespace);
        let Target { name, namespace } = target.clone();
        self.status.remove(&target);
        self.duration_seconds.remove(&target);
        for workload in workloads(&name, &namespace) {
            self.weight.remove(&workload);
        }
        for metric in canary.metrics {
            self.analysis.remove(&TargetMetric { name: name.clone(), namespace: namespace.clone(), metric });
        }
        for deployment_strategy in ["canary", "blue-green"] {
            for analysis_status in ["completed", "skipped"] {
                let (name, namespace) = (name.clone(), namespace.clone());
                let end = RunEnd { name, namespace, deployment_strategy, analysis_status };
                self.successes.remove(&end);
                self.failures.remove(&end);
            }
        }
        for (metric, verdict) in canary.verdicts {
            let (name, namespace) = (key.name.clone(), key.namespace.clone());
            self.verdicts.remove(&CheckVerdict { namespace, name, metric, verdict });
        }
    }

    fn count_canaries(&self, known: &BTreeMap<ObjectKey, Known>, namespace: &str) {
        let count = known.iter().filter(|(key, canary)| key.namespace == namespace && canary.is_recorded()).count();
        let labels = Namespace { namespace: namespace.to_owned() };
        if count == 0 {
            self.total.remove(&labels);
        } else {
            self.total.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts one judged check. To be called once for each.
    pub fn count_verdict(&self, key: &ObjectKey, metric: &str, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        };
        self.known().entry(key.clone()).or_default().verdicts.insert((metric.to_owned(), verdict));
        let (name, namespace) = (key.name.clone(), key.namespace.clone());
        self.verdicts.get_or_create(&CheckVerdict { namespace, name, metric: metric.to_owned(), verdict }).inc();
    }

    /// Counts the end of a run. To be called once for each.
    pub fn count_run_end(&self, canary: &ValidatedCanary, promoted: bool) {
        let end = RunEnd {
            name: canary.target_name.clone(),
            namespace: canary.key.namespace.clone(),
            deployment_strategy: match canary.analysis.strategy {
                Strategy::Weighted { .. } => "canary",
                Strategy::BlueGreen { .. } => "blue-green",
            },
            analysis_status: if canary.skip_analysis { "skipped" } else { "completed" },
        };
        let runs = if promoted { &self.successes } else { &self.failures };
        runs.get_or_create(&end).inc();
    }

    /// Counts a pass.
    pub fn count_pass(&self, key: &ObjectKey, duration: Duration, result: PassResult) {
        self.passes.get_or_create(&Outcome { result: result.as_str() }).inc();
        self.pass_duration_seconds.observe(duration.as_secs_f64());
        // Only for Canaries that are there: their series go with them.
        if let Some(canary) = self.known().get(key)
            && canary.is_recorded()
        {
            let target = target_labels(&canary.target_name, &key.namespace);
            self.duration_seconds.get_or_create(&target).observe(duration.as_secs_f64());
        }
    }

    /// Counts an alert that reached its sink, or was given up.
    pub fn count_alert(&self, delivered: bool) {
        self.alerts.get_or_create(&Outcome { result: if delivered { "delivered" } else { "failed" } }).inc();
    }

    /// Tells whether this process leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Tells which caches still wait for their first complete list; none means ready.
    pub fn report_caches(&self, missing: &[&str]) {
        *self.missing_caches.lock().unwrap_or_else(PoisonError::into_inner) =
            missing.iter().map(|name| format!("waiting for the first list of {name}")).collect();
    }

    /// What keeps the caches from being ready, in words; empty when they are.
    pub fn missing_caches(&self) -> Vec<String> {
        self.missing_caches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics in the `OpenMetrics` text format.
    pub fn exposition(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn target_labels(name: &str, namespace: &str) -> Target {
    Target { name: name.to_owned(), namespace: namespace.to_owned() }
}

/// The primary and the target.
fn workloads(target_name: &str, namespace: &str) -> [Workload; 2] {
    [format!("{target_name}-primary"), target_name.to_owned()]
        .map(|workload| Workload { workload, namespace: namespace.to_owned() })
}

/// Flagger's numbers (`SetStatus` of its recorder): everything that neither runs nor failed is 1.
fn phase_value(phase: Phase) -> i64 {
    match phase {
        Phase::Progressing => 0,
        Phase::Failed => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::CheckReport;

    fn check(name: &str, value: Option<f64>) -> CheckReport {
        CheckReport {
            name: name.to_owned(),
            value,
            min: None,
            max: None,
            verdict: Verdict::Pass,
            reason: String::new(),
            sample_size: None,
            dry_run: false,
            time: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn status(phase: Phase, canary_weight: i32, checks: Vec<CheckReport>) -> CanaryStatus {
        CanaryStatus { phase, canary_weight, checks, ..CanaryStatus::default() }
    }

    fn canary(target_name: &str, strategy: Strategy, skip_analysis: bool) -> ValidatedCanary {
        let mut canary = crate::rollout::testing::canary();
        canary.key = ObjectKey::new("shop", "frontend");
        canary.provider = Provider::Kubernetes;
        target_name.clone_into(&mut canary.target_name);
        canary.analysis.strategy = strategy;
        canary.skip_analysis = skip_analysis;
        canary
    }

    /// The samples, without comments, in an order that does not change.
    fn samples(telemetry: &Telemetry) -> Vec<String> {
        let text = telemetry.exposition().unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn everything_has_the_name_and_the_labels_that_dashboards_use() {
        let telemetry = Telemetry::new(Provider::GatewayApi);
        let key = ObjectKey::new("shop", "frontend");
        let checks = vec![check("request-success-rate", Some(99.5)), check("request-duration", None)];
        let status = status(Phase::Progressing, 20, checks);
        telemetry.count_verdict(&key, "request-success-rate", Verdict::Pass);
        telemetry.record_canary(&CanaryReport { key: &key, target_name: "web", status: &status });
        telemetry.count_pass(&key, Duration::from_millis(30), PassResult::Done);
        let weighted = Strategy::Weighted { steps: vec![100], promotion_step: 0 };
        telemetry.count_run_end(&canary("web", weighted, false), true);
        telemetry.count_run_end(&canary("web", Strategy::BlueGreen { iterations: 1 }, true), false);
        telemetry.count_alert(true);
        telemetry.count_alert(false);
        telemetry.set_leader(true);
        telemetry.api_requests().count("patch");
        let (buckets, rest): (Vec<_>, Vec<_>) =
            samples(&telemetry).into_iter().partition(|line| line.contains("_bucket{"));
        insta::assert_snapshot!(rest.join("\n"), @r#"
        flagger_canary_duration_seconds_count{name="web",namespace="shop"} 1
        flagger_canary_duration_seconds_sum{name="web",namespace="shop"} 0.03
        flagger_canary_failures_total{name="web",namespace="shop",deployment_strategy="blue-green",analysis_status="skipped"} 1
        flagger_canary_metric_analysis{name="web",namespace="shop",metric="request-success-rate"} 99.5
        flagger_canary_status{name="web",namespace="shop"} 0
        flagger_canary_successes_total{name="web",namespace="shop",deployment_strategy="canary",analysis_status="completed"} 1
        flagger_canary_total{namespace="shop"} 1
        flagger_canary_weight{workload="web",namespace="shop"} 20
        flagger_canary_weight{workload="web-primary",namespace="shop"} 80
        flagger_info{version="0.1.0",mesh_provider="gatewayapi:v1"} 1
        serin_alerts_total{result="delivered"} 1
        serin_alerts_total{result="failed"} 1
        serin_api_requests_total{verb="patch"} 1
        serin_build_info{version="0.1.0"} 1
        serin_check_verdicts_total{namespace="shop",name="frontend",metric="request-success-rate",verdict="pass"} 1
        serin_leader 1
        serin_pass_duration_seconds_count 1
        serin_pass_duration_seconds_sum 0.03
        serin_passes_total{result="done"} 1
        "#);
        assert_eq!(buckets.len(), 2 * (BUCKETS.len() + 1), "{buckets:?}");
        assert!(buckets.contains(&r#"serin_pass_duration_seconds_bucket{le="0.025"} 0"#.to_owned()), "{buckets:?}");
        assert!(buckets.contains(&r#"serin_pass_duration_seconds_bucket{le="0.05"} 1"#.to_owned()), "{buckets:?}");
        assert!(telemetry.exposition().unwrap().ends_with("# EOF\n"));
    }

    #[test]
    fn a_deleted_canary_leaves_no_series_behind() {
        let telemetry = Telemetry::new(Provider::GatewayApi);
        let before = samples(&telemetry);
        let key = ObjectKey::new("shop", "frontend");
        let status = status(Phase::Failed, 0, vec![check("errors", Some(3.0))]);
        telemetry.record_canary(&CanaryReport { key: &key, target_name: "web", status: &status });
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive] {
            telemetry.count_verdict(&key, "errors", verdict);
        }
        telemetry.count_pass(&key, Duration::from_millis(30), PassResult::Done);
        for promoted in [true, false] {
            telemetry.count_run_end(&canary("web", Strategy::BlueGreen { iterations: 1 }, promoted), promoted);
        }
        telemetry.forget(&key);
        telemetry.count_pass(&key, Duration::from_millis(30), PassResult::Done);
        let of_passes = |line: &String| line.starts_with("serin_pass");
        let after: Vec<_> = samples(&telemetry).into_iter().filter(|line| !of_passes(line)).collect();
        let before: Vec<_> = before.into_iter().filter(|line| !of_passes(line)).collect();
        assert_eq!(after, before);
    }

    #[test]
    fn gauges_follow_the_canary() {
        let telemetry = Telemetry::new(Provider::GatewayApi);
        let key = ObjectKey::new("shop", "frontend");
        let record = |target_name: &str, phase, metric: &str| {
            let status = status(phase, 0, vec![check(metric, Some(1.0))]);
            telemetry.record_canary(&CanaryReport { key: &key, target_name, status: &status });
            samples(&telemetry).into_iter().filter(|line| line.starts_with("flagger_canary_")).collect::<Vec<_>>()
        };
        let expected = |target: &str, status: i32, metric: &str| {
            vec![
                format!(r#"flagger_canary_metric_analysis{{name="{target}",namespace="shop",metric="{metric}"}} 1.0"#),
                format!(r#"flagger_canary_status{{name="{target}",namespace="shop"}} {status}"#),
                r#"flagger_canary_total{namespace="shop"} 1"#.to_owned(),
                format!(r#"flagger_canary_weight{{workload="{target}",namespace="shop"}} 0"#),
                format!(r#"flagger_canary_weight{{workload="{target}-primary",namespace="shop"}} 100"#),
            ]
        };
        assert_eq!(record("web", Phase::Progressing, "errors"), expected("web", 0, "errors"));
        assert_eq!(record("web", Phase::Succeeded, "latency"), expected("web", 1, "latency"), "metric replaced");
        assert_eq!(record("site", Phase::Failed, "latency"), expected("site", 2, "latency"), "target replaced");
    }

    #[test]
    fn phases_have_flaggers_numbers() {
        for (phase, number) in [
            (Phase::New, 1),
            (Phase::Initializing, 1),
            (Phase::Initialized, 1),
            (Phase::Waiting, 1),
            (Phase::Progressing, 0),
            (Phase::WaitingPromotion, 1),
            (Phase::Promoting, 1),
            (Phase::Finalising, 1),
            (Phase::Succeeded, 1),
            (Phase::Failed, 2),
        ] {
            assert_eq!(phase_value(phase), number, "{phase:?}");
        }
    }
}
