//! One process of the controller. What is killed is cut off at once, whatever it was doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::PROMETHEUS_HOST;
use crate::api::checked::{ObjectKey, Provider};
use crate::cluster::client;
use crate::cluster::lease::Leadership;
use crate::controller::{self, Parts, options::Options};
use crate::outbound::Transport;
use crate::server::telemetry::Telemetry;
use crate::sim::api_server::{ApiServer, Caller, Delivery, Interposer, Plan, RequestInfo};
use crate::sim::roles;

/// Who the controller is.
const ACCOUNT: &str = "system:serviceaccount:serin-system:serin";
/// Where it lives.
const NAMESPACE: &str = "serin-system";

/// A running controller.
pub(super) struct Process {
    line: Arc<Line>,
    tasks: JoinSet<()>,
}

impl Process {
    /// Starts one, as the only one.
    pub(super) fn start(server: &ApiServer, transport: Arc<dyn Transport>) -> Self {
        let (line, mut tasks) = (Arc::new(Line::default()), JoinSet::new());
        let telemetry = Arc::new(Telemetry::new(Provider::GatewayApi));
        let rules = Some(roles::shipped().to_vec());
        let caller = Caller { user: ACCOUNT.to_owned(), rules, interposer: Some(line.clone()) };
        let client = client::over(server.service(caller), NAMESPACE, telemetry.api_requests());
        let (publish, leadership) = watch::channel(Leadership::uncontested());
        let parts = Parts {
            options: options(format!("http://{PROMETHEUS_HOST}:9090"), ObjectKey::new("projectcontour", "contour")),
            telemetry,
            leadership,
            client,
            transport,
        };
        tasks.spawn(async move {
            // A closed channel would mean that leadership is lost.
            let _publish = publish;
            if let Err(error) = controller::run(parts, CancellationToken::new()).await {
                tracing::error!("the controller ended: {error}");
            }
        });
        Self { line, tasks }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.line.is_cut.store(true, Ordering::Relaxed);
        self.tasks.abort_all();
    }
}

/// The line between a process and the API server.
#[derive(Default)]
struct Line {
    is_cut: AtomicBool,
}

impl Interposer for Line {
    fn request(&self, _: &RequestInfo) -> Plan {
        if self.is_cut.load(Ordering::Relaxed) { Plan::Hang } else { Plan::Pass }
    }

    fn watch_event(&self, _: &str, _: &Value) -> Delivery {
        if self.is_cut.load(Ordering::Relaxed) { Delivery::Drop } else { Delivery::Now }
    }
}

/// The flags of a controller in memory: all as they are by default, but for the two addresses.
pub(in crate::sim) fn options(metrics_server: String, gateway: ObjectKey) -> Options {
    Options {
        namespace: None,
        metrics_server,
        metrics_profile: None,
        provider: Provider::GatewayApi,
        gateways: vec![gateway],
        selector_labels: vec!["app".to_owned(), "name".to_owned(), "app.kubernetes.io/name".to_owned()],
        include_label_prefixes: Vec::new(),
        cluster_name: None,
        no_cross_namespace_refs: false,
        config_tracking: true,
        parallel_passes: 16,
    }
}
