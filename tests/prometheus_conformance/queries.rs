//! What is asked.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{Method, Uri};
use serin::api::checked::{Check, CheckSource, OnError, OnNoData};
use serin::metrics::{Metrics, Profile, Source, Subject};
use serin::sim::prometheus::{Outcome, Prometheus, Settings};

/// Everything else that the simulated one understands, and what both refuse.
pub const OTHERS: &[&str] = &[
    "envoy_cluster_upstream_rq",
    "http_request_duration_seconds_count",
    r#"http_request_duration_seconds_count{pod=~"web-5d.*"}[1m]"#,
    "sum(http_request_duration_seconds_count)",
    "count(http_request_duration_seconds_bucket) by (pod, status)",
    "count(http_request_duration_seconds_count offset 1m)",
    "sum without (le, pod) (rate(http_request_duration_seconds_bucket[2m]))",
    "avg(rate(envoy_cluster_upstream_rq[90s]))",
    "max(increase(envoy_cluster_upstream_rq[5m]))",
    "min(increase(envoy_cluster_upstream_rq[5m]))",
    "rate(envoy_cluster_upstream_rq[30s])",
    "rate(envoy_cluster_upstream_rq[31s])",
    "rate(envoy_cluster_upstream_rq[44s])",
    "increase(envoy_cluster_upstream_rq[3m] offset 47s)",
    "irate(http_request_duration_seconds_count[1m])",
    "delta(http_request_duration_seconds_count[1m])",
    "rate(http_request_duration_seconds_sum[1m]) / rate(http_request_duration_seconds_count[1m])",
    "sum(rate(http_request_duration_seconds_sum[1m])) / sum(rate(http_request_duration_seconds_count[1m]))",
    "histogram_quantile(0.5, sum by (le, app) (rate(http_request_duration_seconds_bucket[1m])))",
    "histogram_quantile(0.95, rate(envoy_cluster_upstream_rq_time_bucket[1m]))",
    "histogram_quantile(0.99, envoy_cluster_upstream_rq_time_bucket)",
    "histogram_quantile(0, envoy_cluster_upstream_rq_time_bucket)",
    "histogram_quantile(1, envoy_cluster_upstream_rq_time_bucket)",
    "histogram_quantile(1.5, envoy_cluster_upstream_rq_time_bucket)",
    "histogram_quantile(0.9, istio_requests_total)",
    r#"histogram_quantile(0.9, sum by (le) (envoy_cluster_upstream_rq_time_bucket{le!="+Inf"}))"#,
    r#"sum(rate(envoy_cluster_upstream_rq{envoy_response_code="503"}[1m])) or vector(0)"#,
    r#"sum(rate(envoy_cluster_upstream_rq{envoy_response_code=~"5.."}[1m])) / sum(rate(envoy_cluster_upstream_rq[1m]))"#,
    "envoy_cluster_upstream_rq > 500",
    "envoy_cluster_upstream_rq > bool 500",
    "1000 < envoy_cluster_upstream_rq",
    "-envoy_cluster_upstream_rq ^ 2",
    "envoy_cluster_upstream_rq % 7 + 1",
    "envoy_cluster_upstream_rq / 0",
    "(envoy_cluster_upstream_rq - envoy_cluster_upstream_rq) / 0",
    "http_request_duration_seconds_count / ignoring (x) http_request_duration_seconds_count",
    "sum by (pod) (http_request_duration_seconds_count) / on (pod) sum by (pod) (istio_requests_total)",
    r#"http_request_duration_seconds_count{status="500"} / ignoring (status) http_request_duration_seconds_count{status="200"}"#,
    "http_request_duration_seconds_count / on (pod) http_request_duration_seconds_count",
    r#"envoy_cluster_upstream_rq and envoy_cluster_upstream_rq{envoy_response_code="200"}"#,
    r#"envoy_cluster_upstream_rq unless envoy_cluster_upstream_rq{envoy_response_code="200"}"#,
    r#"envoy_cluster_upstream_rq{envoy_response_code="500"} or istio_requests_total"#,
    "sum_over_time(envoy_cluster_upstream_rq[1m])",
    "avg_over_time(envoy_cluster_upstream_rq[1m])",
    "max_over_time(envoy_cluster_upstream_rq[1m])",
    "count_over_time(envoy_cluster_upstream_rq[5m])",
    "last_over_time(envoy_cluster_upstream_rq[1m])",
    r#"sum_over_time({__name__=~"istio_requests_total|response_total"}[1m])"#,
    r#"rate({__name__=~"http_request_duration_seconds_(count|sum)"}[1m])"#,
    "absent(envoy_cluster_upstream_rq)",
    r#"absent(nothing{a="b",c=~"d"})"#,
    "clamp_min(envoy_cluster_upstream_rq, 100)",
    "ceil(rate(envoy_cluster_upstream_rq[1m])) - floor(rate(envoy_cluster_upstream_rq[1m]))",
    "scalar(sum(envoy_cluster_upstream_rq)) * 2",
    "time()",
    "1 + 2 * 3 ^ 2 ^ 0.5 - 4 / 3 % 2",
    "1 / 0",
    "2 > bool 1",
    "vector(NaN)",
    "\"text\"",
    "5m",
    "nothing",
    "sum(nothing)",
    r#"{job="envoy"}"#,
    // Refused.
    "",
    "sum(",
    "up}",
    "rate(up)",
    "sum(up[1m])",
    "unknown(up)",
    "{a=\"\"}",
    "up{a=~\"(\"}",
    "1 > 2",
    "1 or up",
    "up[1m] + 1",
    "sum(up)[1m]",
    "up{__name__=\"x\"}",
    "rate(up[1m], 2)",
    "up + bool up",
    "up[5parsecs]",
];

/// The queries of both built-in checks and of their sample sizes, for every data plane: what Serin sent.
pub async fn built_in() -> Result<Vec<String>> {
    let prometheus = Arc::new(Mutex::new(Prometheus::new(&Settings::default())));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let app = Router::new().fallback(answer).with_state(Arc::clone(&prometheus));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let metrics = Metrics::new();
    for profile in ["contour", "envoy-gateway", "istio", "linkerd", "application"] {
        let subject = Subject {
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            target: "web".to_owned(),
            service: "web".to_owned(),
            ingress: "web".to_owned(),
            route: "web".to_owned(),
            port: 80,
            profile: Profile::parse(profile).map_err(anyhow::Error::msg)?,
        };
        for source in [CheckSource::RequestSuccessRate, CheckSource::RequestDuration] {
            for window in ["1m", "30s", "5m"] {
                let backend = Source::server(&address, "address")?;
                metrics.measure(&subject, &check(source.clone(), window), Ok(backend)).await;
            }
        }
    }
    server.abort();
    let prometheus = prometheus.lock().unwrap_or_else(PoisonError::into_inner);
    let mut texts: Vec<String> = prometheus.answers().map(|answered| answered.query.clone()).collect();
    texts.sort();
    texts.dedup();
    anyhow::ensure!(texts.len() == 45, "{} built-in queries", texts.len());
    Ok(texts)
}

fn check(source: CheckSource, window: &str) -> Check {
    Check {
        name: "check".to_owned(),
        source,
        window: window.to_owned(),
        min: None,
        max: None,
        on_no_data: OnNoData::Fail,
        on_error: OnError::Hold,
        dry_run: false,
    }
}

/// Serves the simulated Prometheus by real HTTP.
async fn answer(
    State(prometheus): State<Arc<Mutex<Prometheus>>>,
    method: Method,
    uri: Uri,
    body: String,
) -> Result<(axum::http::StatusCode, String), String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut prometheus = prometheus.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = prometheus.answer(&method, path, body.as_bytes(), serin::clock::now());
    let Outcome::Answer(answer) = reply.outcome else { return Err("no answer".to_owned()) };
    let status = axum::http::StatusCode::from_u16(answer.status).context("a status").map_err(|e| e.to_string())?;
    Ok((status, answer.body))
}
