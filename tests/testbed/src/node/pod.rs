//! One pod, from its binding to its deletion.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::container::{self, ContainerState};
use super::status::Reporter;

/// From being unready to SIGTERM: long enough for the gateway to hear of it.
const DRAIN: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// What the API server wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Running,
    /// Marked for deletion: to be drained, ended, and taken out of the API.
    Deleted,
    /// No longer in the API: to be ended at once.
    Gone,
}

/// Where and for whom a pod's containers run.
pub(super) struct Home {
    pub(super) node: Arc<Node>,
    pub(super) pod: Pod,
    pub(super) address: Ipv4Addr,
}

impl Home {
    pub(super) fn containers(&self) -> &[Container] {
        self.pod.spec.as_ref().map_or(&[], |spec| spec.containers.as_slice())
    }

    /// `namespace/name`, for messages.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.pod.namespace().unwrap_or_default(), self.pod.name_any())
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), &self.pod.namespace().unwrap_or_default())
    }
}

/// Runs a pod until it is gone.
pub(super) async fn run(node: Arc<Node>, pod: Pod, mut wanted: watch::Receiver<Wanted>) {
    let address = node.next_pod_address();
    let home = Arc::new(Home { node, pod, address });
    let stop = CancellationToken::new();
    let (states, mut changes) = watch::channel(vec![ContainerState::default(); home.containers().len()]);
    let states = Arc::new(states);
    let mut containers = JoinSet::new();
    let mut reporter = Reporter::default();
    if *wanted.borrow() == Wanted::Running {
        for index in 0..home.containers().len() {
            containers.spawn(container::run(Arc::clone(&home), index, Arc::clone(&states), stop.clone()));
        }
        report_until_unwanted(&home, &mut reporter, &mut changes, &mut wanted).await;
        home.node.scrape_targets.remove(&home);
    }
    if *wanted.borrow() == Wanted::Deleted && changes.borrow().iter().any(|state| state.ready) {
        let mut last = changes.borrow().clone();
        for state in &mut last {
            state.ready = false;
        }
        report(&home, &mut reporter, &last).await;
        let _ = tokio::time::timeout(DRAIN, wanted.wait_for(|wanted| *wanted == Wanted::Gone)).await;
    }
    stop.cancel();
    containers.join_all().await;
    if *wanted.borrow() != Wanted::Gone {
        delete(&home).await;
    }
}

async fn report_until_unwanted(
    home: &Home,
    reporter: &mut Reporter,
    changes: &mut watch::Receiver<Vec<ContainerState>>,
    wanted: &mut watch::Receiver<Wanted>,
) {
    loop {
        let states = changes.borrow_and_update().clone();
        home.node.scrape_targets.update(home, &states);
        tokio::select! {
            () = report(home, reporter, &states) => {}
            _ = wanted.wait_for(|wanted| *wanted != Wanted::Running) => return,
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = wanted.wait_for(|wanted| *wanted != Wanted::Running) => return,
        }
    }
}

/// Writes the pod's status; tries again until it is written or the pod is gone.
async fn report(home: &Home, reporter: &mut Reporter, states: &[ContainerState]) {
    let patch = Patch::Merge(reporter.status(home, states));
    loop {
        match home.api().patch_status(&home.pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => return,
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => return,
            Err(error) => eprintln!("reporting {}: {error}", home.full_name()),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

async fn delete(home: &Home) {
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        // A StatefulSet may have made another one of this name.
        preconditions: Some(Preconditions { uid: home.pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    loop {
        match home.api().delete(&home.pod.name_any(), &parameters).await {
            Ok(_) => return,
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => return,
            Err(error) => eprintln!("deleting {}: {error}", home.full_name()),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}
