//! Asking a container whether it is ready.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

/// Until a container has been ready once, it is asked this often: a test should not wait for a period to pass.
const IMPATIENT_PERIOD: Duration = Duration::from_millis(100);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// Asks for ever, and calls `tell` with every change of the answer.
pub(super) async fn keep_probing(
    http: &reqwest::Client,
    container: &Container,
    address: SocketAddr,
    tell: impl Fn(bool),
) {
    let probe = container.readiness_probe.clone().unwrap_or_default();
    tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let mut ready = false;
    let mut ever_ready = false;
    let mut streak = 0;
    loop {
        let answer = ask(http, container, &probe, address).await;
        streak = if answer == ready { 0 } else { streak + 1 };
        let threshold = if ready { probe.failure_threshold.unwrap_or(3) } else { probe.success_threshold.unwrap_or(1) };
        if streak >= threshold.max(1) {
            ready = answer;
            ever_ready |= ready;
            streak = 0;
            tell(ready);
        }
        let period = if ever_ready { seconds(probe.period_seconds, 10).min(LONGEST_PERIOD) } else { IMPATIENT_PERIOD };
        tokio::time::sleep(period).await;
    }
}

async fn ask(http: &reqwest::Client, container: &Container, probe: &Probe, address: SocketAddr) -> bool {
    let question = async {
        match &probe.http_get {
            Some(get) => http
                .get(url(container, get, address))
                .send()
                .await
                .is_ok_and(|response| response.status().is_success() || response.status().is_redirection()),
            // Without a probe, and for those that the application cannot answer: ready when it listens.
            None => TcpStream::connect(address).await.is_ok(),
        }
    };
    tokio::time::timeout(seconds(probe.timeout_seconds, 1), question).await.unwrap_or(false)
}

fn url(container: &Container, get: &HTTPGetAction, address: SocketAddr) -> String {
    let port = match &get.port {
        IntOrString::Int(port) => *port,
        IntOrString::String(name) => named_port(container, name).unwrap_or(i32::from(address.port())),
    };
    let path = get.path.as_deref().unwrap_or("/");
    format!("http://{}:{port}/{}", address.ip(), path.trim_start_matches('/'))
}

fn named_port(container: &Container, name: &str) -> Option<i32> {
    let mut ports = container.ports.iter().flatten();
    ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}
