//! `serin controller`: the process around the loop.

mod flags;
mod foreign;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use self::flags::Settings;
use crate::cluster::client::{self, ClientError};
use crate::cluster::lease::{self, Elector, Leadership, LeaseError, Timing};
use crate::controller::{self, ControllerError, logs};
use crate::outbound::Pools;
use crate::server::telemetry::Telemetry;
use crate::server::{self, ServerError, Sources};

pub use self::flags::ControllerArgs;

/// How long running passes may take to finish when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the lease and the HTTP server may take to close after that.
const CLOSE: Duration = Duration::from_secs(3);

/// Why the process ended before it was told to.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] std::io::Error),
    #[error("the task of the {0} ended without being told to")]
    Ended(&'static str),
    #[error("the task of the {0} failed: {1}")]
    Died(&'static str, JoinError),
    #[error("passes were still running {} s after the order to stop; they were abandoned", DRAIN.as_secs())]
    Abandoned,
}

/// Runs the controller until SIGTERM or SIGINT: 0 after an orderly end, 1 when something failed or leadership was
/// lost, 2 when the flags are wrong.
pub fn run(arguments: ControllerArgs) -> ExitCode {
    let settings = match arguments.check(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(errors) => {
            for error in errors {
                let _ = writeln!(std::io::stderr(), "error: {error}");
            }
            return ExitCode::from(2);
        }
    };
    let ended = logs::install(settings.log_level, settings.log_format).map_err(|error| error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = ended.and_then(|()| {
        let runtime = runtime.map_err(|error| format!("cannot start threads: {error}"))?;
        let ended = runtime.block_on(serve(settings));
        // After a lost lease nothing may go on, and nothing is waited for.
        runtime.shutdown_background();
        ended.map_err(|error| error.to_string())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("serin stops: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), ProcessError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = server::bind(settings.port).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), port = settings.port, "serin starts");
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let process = Process::start(settings, listener).await?;
    let told_to_stop = async {
        tokio::select! {
            biased;
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing the running passes"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing the running passes"),
        }
    };
    process.run_until(told_to_stop).await
}

/// The tasks, each watched until its end.
struct Process {
    server: Task<ServerError>,
    lease: Task<LeaseError>,
    controller: Task<ControllerError>,
}

impl Process {
    /// Starts everything, HTTP first: `/healthz` answers while the cluster is not reached yet.
    async fn start(settings: Settings, listener: TcpListener) -> Result<Self, ProcessError> {
        let telemetry = Arc::new(Telemetry::new(settings.options.provider));
        let first = Leadership::Unknown { reason: "no answer from the API server yet".to_owned() };
        let (publish, leadership) = watch::channel(first);
        let sources = Sources { telemetry: telemetry.clone(), leadership: leadership.clone() };
        let server = Task::start("HTTP server", |stop| server::serve(listener, sources, stop));
        let client = client::connect(settings.kubeconfig.as_deref(), telemetry.api_requests()).await?;
        let lease = start_election(&settings, &client, publish);
        let transport = Arc::new(Pools::new());
        let parts = controller::Parts { options: settings.options, telemetry, leadership, client, transport };
        let controller = Task::start("controller", |stop| controller::run(parts, stop));
        Ok(Self { server, lease, controller })
    }

    /// Runs until told to stop, then ends in order: the passes first, then the lease, which until then keeps everybody
    /// else away, then HTTP. If any part ends by itself, all do, at once.
    async fn run_until(mut self, told_to_stop: impl Future<Output = ()>) -> Result<(), ProcessError> {
        // In this order where several happen at once: a lost lease is what must not be missed.
        tokio::select! {
            biased;
            ended = self.lease.ended() => return Err(ended),
            ended = self.controller.ended() => return Err(ended),
            ended = self.server.ended() => return Err(ended),
            () = told_to_stop => {}
        }
        self.controller.stop.cancel();
        tokio::select! {
            biased;
            lost = self.lease.ended() => return Err(lost),
            ended = tokio::time::timeout(DRAIN, self.controller.join()) => ended.map_err(|_| ProcessError::Abandoned)??,
        }
        self.lease.close().await?;
        self.server.close().await
    }
}

fn start_election(settings: &Settings, client: &kube::Client, publish: watch::Sender<Leadership>) -> Task<LeaseError> {
    if !settings.leader_election {
        tracing::warn!("leader election is off: only one process may run for these Canaries");
        publish.send_replace(Leadership::uncontested());
        return Task::start("leader election", async |stop: CancellationToken| {
            // Holds the sender: a closed channel would mean that leadership is lost.
            let _publish = publish;
            stop.cancelled().await;
            Ok(())
        });
    }
    let namespace = settings.lease_namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let me = lease::identity(&host());
    tracing::info!(%namespace, lease = lease::LEASE_NAME, identity = %me, "running for leader");
    let elector = Elector::new(client.clone(), namespace, me, Timing::default(), publish);
    Task::start("leader election", |stop| elector.run(stop))
}

/// The host's name, which is the pod's in a cluster.
fn host() -> String {
    let file = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).or_else(file).unwrap_or_default();
    if name.trim().is_empty() { "serin".to_owned() } else { name.trim().to_owned() }
}

/// A task that ends when it is told to, and is noticed if it does before.
struct Task<E> {
    name: &'static str,
    stop: CancellationToken,
    handle: JoinHandle<Result<(), E>>,
}

impl<E: Send + 'static> Task<E>
where
    ProcessError: From<E>,
{
    fn start<F>(name: &'static str, body: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        Self { name, handle: tokio::spawn(body(stop.clone())), stop }
    }

    /// Waits for its end.
    async fn join(&mut self) -> Result<(), ProcessError> {
        let ended = (&mut self.handle).await.map_err(|error| ProcessError::Died(self.name, error))?;
        Ok(ended?)
    }

    /// Waits for an end that nobody asked for, and says what it was.
    async fn ended(&mut self) -> ProcessError {
        self.join().await.err().unwrap_or(ProcessError::Ended(self.name))
    }

    /// Tells it to end and waits for that, not too long.
    async fn close(mut self) -> Result<(), ProcessError> {
        self.stop.cancel();
        if let Ok(ended) = tokio::time::timeout(CLOSE, self.join()).await {
            return ended;
        }
        tracing::warn!("the task of the {} did not end within {} s", self.name, CLOSE.as_secs());
        Ok(())
    }
}
