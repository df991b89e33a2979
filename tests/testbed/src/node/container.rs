//! One container of a pod: started, probed, started again when it ends.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::VOLUMES_VARIABLE;
use super::environment::{self, Unresolved};
use super::pod::Home;
use super::probe;
use super::status::now;
use crate::namespace::{PROGRAM_VARIABLE, Program};
use crate::process::Launch;

const DEFAULT_PORT: u16 = 8080;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Far less than the kubelet's five minutes: tests do not wait that long.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
const CONFIG_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);

/// What can be seen of a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ContainerState {
    pub(super) phase: Phase,
    pub(super) ready: bool,
    pub(super) restarts: i32,
    pub(super) last_end: Option<End>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Waiting { reason: String, message: String },
    Running { since: String },
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub(super) exit_code: i32,
    pub(super) started_at: String,
    pub(super) finished_at: String,
}

impl Default for ContainerState {
    fn default() -> Self {
        let phase = Phase::Waiting { reason: "ContainerCreating".to_owned(), message: String::new() };
        Self { phase, ready: false, restarts: 0, last_end: None }
    }
}

type States = watch::Sender<Vec<ContainerState>>;

/// A container and the place where its state is told.
struct Runner {
    home: Arc<Home>,
    index: usize,
    states: Arc<States>,
}

/// Runs a container, again and again, until `stop`.
pub(super) async fn run(home: Arc<Home>, index: usize, states: Arc<States>, stop: CancellationToken) {
    let runner = Runner { home, index, states };
    let Some(container) = runner.home.containers().get(index) else { return };
    if container.image.as_deref().unwrap_or_default().contains("missing") {
        runner.wait_for_image(container);
        return stop.cancelled().await;
    }
    let mut backoff = FIRST_BACKOFF;
    loop {
        let Some(Some(mut child)) = stop.run_until_cancelled(runner.start(container)).await else { return };
        let since = now();
        runner.change(|state| state.phase = Phase::Running { since: since.clone() });
        let ended = tokio::select! {
            ended = child.wait() => ended.ok(),
            () = runner.keep_probing(container) => None,
            () = stop.cancelled() => return terminate(&mut child).await,
        };
        runner.ended(since, ended);
        if stop.run_until_cancelled(tokio::time::sleep(backoff)).await.is_none() {
            return;
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

impl Runner {
    fn change(&self, change: impl FnOnce(&mut ContainerState)) {
        self.states.send_if_modified(|states| {
            let Some(state) = states.get_mut(self.index) else { return false };
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    fn wait(&self, reason: &str, message: &str) {
        self.change(|state| {
            state.phase = Phase::Waiting { reason: reason.to_owned(), message: message.to_owned() };
            state.ready = false;
        });
    }

    fn wait_for_image(&self, container: &Container) {
        let image = container.image.as_deref().unwrap_or_default();
        self.wait("ImagePullBackOff", &format!("Back-off pulling image \"{image}\": not found"));
    }

    /// Starts the process as soon as its configuration can be resolved; `None` if it cannot be started at all.
    async fn start(&self, container: &Container) -> Option<Child> {
        loop {
            match environment::resolve(&self.home, container).await {
                Ok(resolved) => match self.spawn(container, resolved) {
                    Ok(child) => return Some(child),
                    Err(error) => self.wait("CreateContainerError", &format!("{error:#}")),
                },
                Err(Unresolved { reason, message }) => self.wait(reason, &message),
            }
            tokio::time::sleep(CONFIG_RETRY_INTERVAL).await;
        }
    }

    fn spawn(&self, container: &Container, resolved: environment::Resolved) -> Result<Child> {
        let pod = &self.home.pod;
        let log_name = format!("{}.{}.{}.log", pod.namespace().unwrap_or_default(), pod.name_any(), container.name);
        let image = container.image.clone().unwrap_or_default();
        let program = std::env::current_exe().context("the path of this program")?;
        let volumes = serde_json::to_string(&resolved.volumes).context("the volumes")?;
        let launch = Launch::new(&container.name, program, self.home.node.state_dir.join("pods").join(log_name))
            .clear_environment()
            .environment("VERSION", version_of(&image))
            .environment("IMAGE", &image)
            .environment("POD_IP", self.home.address.to_string())
            .environment("PORT", port_of(container).to_string())
            .environment(VOLUMES_VARIABLE, volumes);
        let launch = resolved
            .environment
            .into_iter()
            .fold(launch, |launch, (name, value)| launch.environment(name, value))
            .environment(PROGRAM_VARIABLE, Program::App.name());
        Command::from(launch.command()?).kill_on_drop(true).spawn().context("starting the process")
    }

    /// Asks the readiness probe for ever and tells what it says.
    async fn keep_probing(&self, container: &Container) {
        let address = (self.home.address, port_of(container)).into();
        probe::keep_probing(&self.home.node.http, container, address, |ready| self.change(|state| state.ready = ready))
            .await;
    }

    fn ended(&self, started_at: String, status: Option<ExitStatus>) {
        let exit_code = status.and_then(|status| status.code()).unwrap_or(137);
        self.change(|state| {
            state.last_end = Some(End { exit_code, started_at, finished_at: now() });
            state.restarts += 1;
        });
        self.wait("CrashLoopBackOff", &format!("the container ended with code {exit_code}"));
    }
}

async fn terminate(child: &mut Child) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended in this moment.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The first port that the container declares.
pub(super) fn port_of(container: &Container) -> u16 {
    let port = container.ports.iter().flatten().next().map(|port| port.container_port);
    port.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT)
}

/// An image's tag: `2.0.1` of `registry:5000/app:2.0.1@sha256:...`.
fn version_of(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    last.split_once(':').map_or("latest", |(_, tag)| tag).to_owned()
}

#[cfg(test)]
mod tests {
    use super::version_of;

    #[test]
    fn the_version_is_the_tag() {
        assert_eq!(version_of("app:2.0.1"), "2.0.1");
        assert_eq!(version_of("registry:5000/team/app:2.0.1@sha256:abc"), "2.0.1");
        assert_eq!(version_of("registry:5000/team/app"), "latest");
    }
}
