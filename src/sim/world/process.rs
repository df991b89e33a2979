//! Processes of the controller: the real loop and the real election, on wires that can be cut. One that dies is started
//! again, as a Deployment's pod is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::backends::Backends;
use super::manifests::{NAMESPACE, PROMETHEUS};
use super::trace::Trace;
use super::weather::Weather;
use super::wire::Wire;
use crate::api::checked::{ObjectKey, Provider};
use crate::cluster::client;
use crate::cluster::lease::{Elector, Leadership, Timing};
use crate::controller::{self, Parts};
use crate::server::telemetry::Telemetry;
use crate::sim::api_server::{ApiServer, Caller};
use crate::sim::installation::options;
use crate::sim::prometheus::Prometheus;
use crate::sim::promises::Promises;
use crate::sim::roles;

/// How long it takes until a process that died runs again.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// What every process is connected to.
#[derive(Clone)]
pub struct Network {
    pub server: ApiServer,
    pub weather: Weather,
    pub promises: Arc<Mutex<Promises>>,
    pub prometheus: Arc<Mutex<Prometheus>>,
    pub trace: Arc<Mutex<Trace>>,
    pub time: Time,
    pub elects_leader: bool,
}

/// The time of everybody whose clock never jumps.
#[derive(Clone, Copy)]
pub struct Time {
    start: DateTime<Utc>,
    since: Instant,
}

impl Time {
    /// It is `start` now.
    pub fn new(start: DateTime<Utc>) -> Self {
        Self { start, since: Instant::now() }
    }

    /// What time it is.
    pub fn now(self) -> DateTime<Utc> {
        self.start + TimeDelta::from_std(self.since.elapsed()).unwrap_or(TimeDelta::MAX)
    }
}

/// The wires of the processes that run now, by their names.
pub type Wires = Arc<Mutex<Vec<Arc<Wire>>>>;

/// Keeps a process running until its task is dropped.
pub async fn supervise(network: Network, name: String, wires: Wires) {
    for incarnation in 0_u32.. {
        let wire = Arc::new(Wire::new(&network));
        wires.lock().unwrap_or_else(PoisonError::into_inner).push(wire.clone());
        let mut tasks = start(&network, &format!("{name}-{incarnation}"), &wire);
        tokio::select! {
            biased;
            () = wire.killed.notified() => {}
            _ = tasks.join_next() => {}
        }
        wire.cut();
        tasks.abort_all();
        wires.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &wire));
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

fn start(network: &Network, name: &str, wire: &Arc<Wire>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let telemetry = Arc::new(Telemetry::new(Provider::GatewayApi));
    let client = connect(network, name, wire, &telemetry);
    let (publish, leadership) = watch::channel(Leadership::Unknown { reason: "just started".to_owned() });
    if network.elects_leader {
        let elector = Elector::new(client.clone(), NAMESPACE, name.to_owned(), Timing::default(), publish);
        tasks.spawn(async move {
            // An end is an end, whatever the reason.
            let _ = elector.run(CancellationToken::new()).await;
        });
    } else {
        publish.send_replace(Leadership::uncontested());
        tasks.spawn(async move {
            // A closed channel would mean that leadership is lost.
            let _publish = publish;
            std::future::pending::<()>().await;
        });
    }
    let transport = Arc::new(Backends::new(network, wire.clone()));
    let options = options(PROMETHEUS.to_owned(), ObjectKey::new("infra", "public"));
    let parts = Parts { options, telemetry, leadership, client, transport };
    tasks.spawn(async move {
        let _ = controller::run(parts, CancellationToken::new()).await;
    });
    tasks
}

/// The client as the real process has it, with its time limits and tries, as the account that ships.
fn connect(network: &Network, name: &str, wire: &Arc<Wire>, telemetry: &Telemetry) -> Client {
    let caller =
        Caller { user: name.to_owned(), rules: Some(roles::shipped().to_vec()), interposer: Some(wire.clone()) };
    let connection = network.server.service(caller);
    let (promises, process) = (network.promises.clone(), Arc::<str>::from(name));
    let watched = tower::service_fn(move |request: http::Request<Body>| {
        let (connection, promises, process) = (connection.clone(), promises.clone(), process.clone());
        let what = format!("{} {}", request.method(), request.uri().path());
        async move {
            let answer = connection.oneshot(request).await?;
            let told = || promises.lock().unwrap_or_else(PoisonError::into_inner);
            match answer.status() {
                http::StatusCode::FORBIDDEN => told().forbidden(&what),
                http::StatusCode::UNPROCESSABLE_ENTITY => told().refused(&process, &what),
                _ => {}
            }
            Ok(answer)
        }
    });
    client::over(watched, NAMESPACE, telemetry.api_requests())
}
