//! The test application: what every pod of the testbed runs. Its environment says how well it behaves.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The upper bounds of the latency histogram, in seconds: those of Prometheus' client libraries.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Requests that are still being answered at the end get this long.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How the application behaves, from its environment.
#[derive(Debug)]
struct Behaviour {
    /// `VERSION`: the name it answers with.
    version: String,
    /// `ERROR_RATE`: the share of requests, 0 to 1, that it answers with 500.
    error_rate: f64,
    /// `LATENCY_MS`: how long each answer takes.
    latency: Duration,
    /// `START_DELAY_MS`: how long it takes until it listens.
    start_delay: Duration,
    /// `NEVER_READY`: its health check always fails.
    never_ready: bool,
    /// `CRASH_AFTER_MS`: it ends with an error this long after its start.
    crash_after: Option<Duration>,
    /// `POD_IP` and `PORT`: where it listens.
    address: (IpAddr, u16),
}

impl Behaviour {
    fn from_environment() -> Result<Self> {
        Ok(Self {
            version: variable("VERSION")?.unwrap_or_else(|| "unknown".to_owned()),
            error_rate: variable("ERROR_RATE")?.unwrap_or(0.0),
            latency: milliseconds("LATENCY_MS")?.unwrap_or_default(),
            start_delay: milliseconds("START_DELAY_MS")?.unwrap_or_default(),
            never_ready: env::var("NEVER_READY").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false")),
            crash_after: milliseconds("CRASH_AFTER_MS")?,
            address: (
                variable("POD_IP")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                variable("PORT")?.unwrap_or(8080),
            ),
        })
    }
}

/// A variable of the environment; an empty one counts as none.
fn variable<T: FromStr>(name: &str) -> Result<Option<T>> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map(Some).map_err(|_| anyhow!("{name} is not valid: {text:?}")),
        _ => Ok(None),
    }
}

fn milliseconds(name: &str) -> Result<Option<Duration>> {
    Ok(variable(name)?.map(Duration::from_millis))
}

#[derive(Debug)]
struct App {
    behaviour: Behaviour,
    requests: AtomicU64,
    draining: AtomicBool,
    latencies: Mutex<BTreeMap<u16, Histogram>>,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum_seconds: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        for (count, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum_seconds += seconds;
    }
}

/// Runs the application until SIGTERM; then it finishes the requests it has.
pub fn run() -> Result<()> {
    let behaviour = Behaviour::from_environment()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(serve(behaviour))
}

async fn serve(behaviour: Behaviour) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let crash = crash(behaviour.crash_after);
    tokio::pin!(crash);
    tokio::select! {
        () = tokio::time::sleep(behaviour.start_delay) => {}
        error = &mut crash => return Err(error),
        _ = terminate.recv() => return Ok(()),
    }
    let listener =
        TcpListener::bind(behaviour.address).await.with_context(|| format!("binding {:?}", behaviour.address))?;
    let app = Arc::new(App {
        behaviour,
        requests: AtomicU64::new(0),
        draining: AtomicBool::new(false),
        latencies: Mutex::default(),
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = axum::serve(listener, router(Arc::clone(&app))).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.context("the server panicked")?.context("serving"),
        error = &mut crash => return Err(error),
        _ = terminate.recv() => {}
    }
    app.draining.store(true, Ordering::Relaxed);
    let _ = stop.send(());
    let _ = tokio::time::timeout(DRAIN_LIMIT, server).await;
    Ok(())
}

async fn crash(after: Option<Duration>) -> anyhow::Error {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
    anyhow!("crashing, as CRASH_AFTER_MS asks")
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", routing::get(health))
        .route("/config", routing::get(config))
        .route("/metrics", routing::get(metrics))
        .fallback(answer)
        .with_state(app)
}

async fn answer(State(app): State<Arc<App>>, _uri: Uri) -> Response {
    let start = Instant::now();
    let number = app.requests.fetch_add(1, Ordering::Relaxed) + 1;
    tokio::time::sleep(app.behaviour.latency).await;
    let status =
        if is_error(number, app.behaviour.error_rate) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    app.latencies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(status.as_u16())
        .or_default()
        .observe(start.elapsed().as_secs_f64());
    (status, [("x-version", app.behaviour.version.clone())], app.behaviour.version.clone()).into_response()
}

/// Whether request `number` (from 1) is among the errors: exactly every 20th for a rate of 0.05.
fn is_error(number: u64, rate: f64) -> bool {
    // The small term takes back what binary fractions lose.
    let errors_until = |number: u64| (number as f64 * rate + 1e-9).floor();
    errors_until(number) > errors_until(number - 1)
}

async fn health(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.behaviour.never_ready || app.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    } else {
        (StatusCode::OK, "ready")
    }
}

/// What the pod was configured with: `GREETING`, the whole environment, and the files of its volumes.
async fn config() -> Json<Value> {
    let environment: BTreeMap<String, String> = env::vars().collect();
    let volumes: Value = environment
        .get(crate::node::VOLUMES_VARIABLE)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    Json(json!({"greeting": environment.get("GREETING"), "environment": environment, "volumes": volumes}))
}

async fn metrics(State(app): State<Arc<App>>) -> String {
    let mut text = String::from("# TYPE http_request_duration_seconds histogram\n");
    let latencies = app.latencies.lock().unwrap_or_else(PoisonError::into_inner);
    for (status, histogram) in &*latencies {
        let name = "http_request_duration_seconds";
        let labels = format!("method=\"GET\",path=\"root\",status=\"{status}\"");
        for (bound, count) in BUCKETS.iter().zip(histogram.buckets) {
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count);
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}", histogram.sum_seconds);
        let _ = writeln!(text, "{name}_count{{{labels}}} {}", histogram.count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_error;

    #[test]
    fn errors_are_an_exact_share() {
        for (rate, expected) in [(0.0, 0), (0.05, 50), (0.1, 100), (0.3, 300), (0.5, 500), (1.0, 1000)] {
            let errors = (1..=1000).filter(|number| is_error(*number, rate)).count();
            assert_eq!(errors, expected, "rate {rate}");
        }
        let first = (1..=100).find(|number| is_error(*number, 0.05));
        assert_eq!(first, Some(20));
    }
}
