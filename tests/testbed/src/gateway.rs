//! Where users come in: Contour, which reads Gateway API objects, and Envoy, which carries the traffic.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::components::Components;
use crate::control_plane::{Credentials, User};
use crate::process::{Launch, Process};
use crate::state::StateDir;

/// The namespace of the Gateway and of the Service that stands for Envoy.
pub const GATEWAY_NAMESPACE: &str = "projectcontour";
/// The name of the Gateway; routes name it in their `parentRefs`.
pub const GATEWAY_NAME: &str = "contour";

/// Where users come in: Contour has Envoy listen 8000 above the port of the Gateway's listener, so that it needs no root.
pub(crate) const GATEWAY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), LISTENER_PORT + 8000);
/// Where Prometheus reads Envoy's numbers.
pub(crate) const STATS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8002);
const LISTENER_PORT: u16 = 80;
const DISCOVERY_PORT: &str = "8001";

/// The objects that Contour wants to find.
pub(crate) fn objects() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": GATEWAY_NAMESPACE},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "envoy", "namespace": GATEWAY_NAMESPACE},
            "spec": {"ports": [{"name": "http", "port": LISTENER_PORT, "targetPort": GATEWAY_ADDRESS.port()}]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": GATEWAY_NAME},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE},
            "spec": {
                "gatewayClassName": GATEWAY_NAME,
                "listeners": [{
                    "name": "http",
                    "protocol": "HTTP",
                    "port": LISTENER_PORT,
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }],
            },
        },
    ]})
}

/// Starts Contour; its CRDs and objects must be there.
pub(crate) fn start_contour(components: &Components, state: &StateDir, credentials: &Credentials) -> Result<Process> {
    let gateway = json!({"gateway": {"gatewayRef": {"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}}});
    let config = state.write("contour.yaml", gateway.to_string())?;
    Launch::new("contour", components.path("contour")?, state.join("contour.log"))
        .arguments(["serve", "--insecure", "--disable-leader-election"])
        .argument(format!("--kubeconfig={}", credentials.kubeconfig(User::Contour).display()))
        .argument(format!("--config-path={}", config.display()))
        .arguments(["--xds-address=127.0.0.1", &format!("--xds-port={DISCOVERY_PORT}")])
        .arguments(["--http-address=127.0.0.1", "--http-port=8003"])
        .arguments(["--health-address=127.0.0.1", "--health-port=8004"])
        .arguments(["--debug-http-address=127.0.0.1", "--debug-http-port=8005"])
        .argument(format!("--envoy-service-http-address={}", GATEWAY_ADDRESS.ip()))
        .argument(format!("--envoy-service-http-port={}", GATEWAY_ADDRESS.port()))
        .argument(format!("--envoy-service-namespace={GATEWAY_NAMESPACE}"))
        .argument(format!("--stats-address={}", STATS_ADDRESS.ip()))
        .argument(format!("--stats-port={}", STATS_ADDRESS.port()))
        .arguments(["--kubernetes-client-qps=200", "--kubernetes-client-burst=400"])
        .spawn()
}

/// Starts Envoy, which asks Contour until that answers.
pub(crate) fn start_envoy(components: &Components, state: &StateDir) -> Result<Process> {
    let bootstrap = write_bootstrap(components, state)?;
    Launch::new("envoy", components.path("envoy")?, state.join("envoy.log"))
        .argument("--config-path")
        .argument(bootstrap)
        .arguments(["--service-cluster", GATEWAY_NAMESPACE, "--service-node", "envoy"])
        .arguments(["--concurrency", "1", "--disable-hot-restart"])
        .spawn()
}

fn write_bootstrap(components: &Components, state: &StateDir) -> Result<PathBuf> {
    let path = state.join("envoy.json");
    let output = Command::new(components.path("contour")?)
        .args(["bootstrap", "--xds-address=127.0.0.1"])
        .arg(format!("--xds-port={DISCOVERY_PORT}"))
        .arg(format!("--admin-address={}", state.join("envoy.sock").display()))
        .arg(&path)
        .output()
        .context("running contour bootstrap")?;
    ensure!(output.status.success(), "contour bootstrap: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&path).context("reading Envoy's bootstrap file")?;
    let mut bootstrap: Value = serde_json::from_str(&text).context("Envoy's bootstrap file")?;
    // Latency histograms move only this often; the default of 5 s is longer than many a test's interval.
    bootstrap["stats_flush_interval"] = json!("1s");
    fs::write(&path, bootstrap.to_string()).context("writing Envoy's bootstrap file")?;
    Ok(path)
}
