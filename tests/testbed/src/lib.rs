//! A Kubernetes cluster of real components, without containers, for Serin's tests.
//!
//! [`enter`] first in `main`, then [`Testbed::start`]: a real API server, controller-manager and scheduler, a node that
//! runs pods as local processes, Envoy behind Contour's Gateway API, Prometheus. [`Users`] send real requests through
//! it; a [`Sink`] receives real alerts; a [`Process`] is a controller that a test kills, freezes and starts again.

mod app;
mod audit;
mod components;
mod control_plane;
mod gateway;
mod namespace;
mod node;
mod process;
mod prometheus;
mod shipped;
mod sink;
mod state;
mod testbed;
mod users;
mod wait;

pub use audit::AuditEntry;
pub use gateway::{GATEWAY_NAME, GATEWAY_NAMESPACE};
pub use namespace::{enter, is_own_program};
pub use process::{Launch, Process};
pub use prometheus::PrometheusProcess;
pub use shipped::CONTROLLER_USER;
pub use sink::{Received, Sink};
pub use testbed::{Options, Testbed};
pub use users::{Hit, Users};
pub use wait::{Observation, wait_until};

/// The path of a component, such as `kubectl`, for tests that need no cluster. [`enter`] must have been called.
pub fn component(name: &str) -> anyhow::Result<std::path::PathBuf> {
    Ok(components::Components::from_environment()?.path(name)?.to_owned())
}

/// Runs the node against the API server of this kubeconfig until SIGTERM.
pub fn run_node(kubeconfig: &std::path::Path, state_dir: std::path::PathBuf) -> anyhow::Result<()> {
    node::run(kubeconfig, state_dir)
}

/// Runs the test application in this process, as its environment says, until SIGTERM.
pub fn run_app() -> anyhow::Result<()> {
    app::run()
}
