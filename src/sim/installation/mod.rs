//! A cluster in memory that Serin is installed in: the real controller as the account that ships, a Gateway, Prometheus,
//! and somebody who takes alerts. For people who want to see it work: nothing goes wrong here by itself.

mod backends;
mod process;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use self::backends::Backends;
use self::process::Process;
pub(in crate::sim) use self::process::options;
use super::api_server::ApiServer;
use super::cluster::{Cluster, Fault, Handle};
use super::prometheus::{self, Prometheus};
use super::settings::{Settings, Users};
use super::traffic::Counted;
use crate::api::checked::ObjectKey;
use crate::clock;

/// Where Prometheus is.
const PROMETHEUS_HOST: &str = "prometheus.monitoring";
/// How often it scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

/// A cluster with Serin in it. It lives as long as this value, on the runtime that made it.
pub struct Installation {
    server: ApiServer,
    cluster: Handle,
    backends: Backends,
    controller: Option<Process>,
    /// The cluster's own controllers; dropped with this.
    _tasks: JoinSet<()>,
}

impl Installation {
    /// An empty cluster, without a controller yet, and the alerts that will be posted, as JSON.
    pub fn new() -> (Self, UnboundedReceiver<Value>) {
        let server = ApiServer::new();
        let settings = prometheus::Settings { scrape_interval: SCRAPE_INTERVAL, ..prometheus::Settings::default() };
        let (alerts, received) = unbounded_channel();
        let backends = Backends { prometheus: Arc::new(Mutex::new(Prometheus::new(&settings))), alerts };
        let counting = backends.clone();
        let cluster = Cluster::new(&server, Settings { with_objects: true, ..Settings::default() })
            .with_on_load(Box::new(move |_, loads| counting.prometheus().traffic.set(clock::now(), loads)));
        let handle = cluster.handle();
        let mut tasks = JoinSet::new();
        tasks.spawn(cluster.run());
        (Self { server, cluster: handle, backends, controller: None, _tasks: tasks }, received)
    }

    /// Its API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// Starts the controller, if none runs.
    pub fn start_controller(&mut self) {
        let Self { server, backends, controller, .. } = self;
        controller.get_or_insert_with(|| Process::start(server, Arc::new(backends.clone())));
    }

    /// The controller dies, in the middle of whatever it does.
    pub fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// These are all users from now on.
    pub fn set_users(&self, users: Vec<Users>) {
        self.cluster.inject(Fault::Users(users));
    }

    /// How Prometheus answers from now on; it goes on scraping.
    pub fn set_prometheus(&self, fault: prometheus::Fault) {
        self.backends.prometheus().set_fault(fault);
    }

    /// The requests that a Service got until now.
    pub fn counted(&self, service: &ObjectKey, port: u16) -> Counted {
        self.backends.prometheus().traffic.counted(clock::now(), &service.namespace, &service.name, port)
    }
}
