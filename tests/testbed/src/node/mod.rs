//! The node: runs each pod that the scheduler binds to it as local processes, and reports what became of them.
//!
//! It does what the rest of the cluster can see of a kubelet: addresses, environments, readiness, restarts, deletion.

mod container;
mod environment;
mod pod;
mod probe;
mod scrape;
mod status;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::testbed::client_from;
use pod::Wanted;
use scrape::ScrapeTargets;

/// The name of the variable that tells the application what its volumes hold.
pub(crate) const VOLUMES_VARIABLE: &str = "SERIN_TESTBED_VOLUMES";

/// The file, in the state folder, that lists the running pods for Prometheus.
pub(crate) const SCRAPE_FILE_NAME: &str = "pods.json";

const NODE_NAME: &str = "testbed";
/// The node's own address; pods get those from 10.244.1.0 on.
const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
const FIRST_POD_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 0);

/// What every pod's task shares.
struct Node {
    client: Client,
    state_dir: PathBuf,
    http: reqwest::Client,
    pods_so_far: AtomicU16,
    scrape_targets: ScrapeTargets,
}

impl Node {
    /// An address that no pod has had before.
    fn next_pod_address(&self) -> Ipv4Addr {
        let offset = u32::from(self.pods_so_far.fetch_add(1, Ordering::Relaxed));
        Ipv4Addr::from_bits(FIRST_POD_ADDRESS.to_bits() + offset)
    }
}

/// Runs the node until SIGTERM; then its pods' processes end with it.
pub(crate) fn run(kubeconfig: &Path, state_dir: PathBuf) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?.block_on(
        async {
            let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
            tokio::select! {
                ended = serve(kubeconfig, state_dir) => ended,
                _ = terminate.recv() => Ok(()),
            }
        },
    )
}

async fn serve(kubeconfig: &Path, state_dir: PathBuf) -> Result<()> {
    let client = client_from(kubeconfig).await?;
    let node = Arc::new(Node {
        client: client.clone(),
        scrape_targets: ScrapeTargets::new(state_dir.join(SCRAPE_FILE_NAME))?,
        state_dir,
        // A probe opens a connection of its own each time, as the kubelet's do.
        http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().context("an HTTP client")?,
        pods_so_far: AtomicU16::new(0),
    });
    register(&client).await?;
    let config = watcher::Config::default().fields(&format!("spec.nodeName={NODE_NAME}"));
    let mut events = pin!(watcher(Api::<Pod>::all(client), config).default_backoff());
    let mut pods = Pods { node, wanted: HashMap::new(), listed: HashSet::new() };
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => pods.observe(event),
            Err(error) => eprintln!("watching pods: {error}"),
        }
    }
    Ok(())
}

/// The pods that run here, by their uid.
struct Pods {
    node: Arc<Node>,
    wanted: HashMap<String, watch::Sender<Wanted>>,
    /// Those that the list in progress has shown so far.
    listed: HashSet<String>,
}

impl Pods {
    fn observe(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Apply(pod) => self.seen(pod),
            watcher::Event::Delete(pod) => self.gone(&pod.uid().unwrap_or_default()),
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(pod) => {
                self.listed.insert(pod.uid().unwrap_or_default());
                self.seen(pod);
            }
            // What went while nobody watched is told by its absence only.
            watcher::Event::InitDone => {
                let missing: Vec<String> =
                    self.wanted.keys().filter(|uid| !self.listed.contains(*uid)).cloned().collect();
                for uid in &missing {
                    self.gone(uid);
                }
            }
        }
    }

    fn seen(&mut self, pod: Pod) {
        let now = if pod.metadata.deletion_timestamp.is_some() { Wanted::Deleted } else { Wanted::Running };
        let uid = pod.uid().unwrap_or_default();
        if let Some(wanted) = self.wanted.get(&uid) {
            if *wanted.borrow() != now {
                wanted.send_replace(now);
            }
            return;
        }
        let (sender, receiver) = watch::channel(now);
        self.wanted.insert(uid, sender);
        tokio::spawn(pod::run(Arc::clone(&self.node), pod, receiver));
    }

    fn gone(&mut self, uid: &str) {
        if let Some(wanted) = self.wanted.remove(uid) {
            wanted.send_replace(Wanted::Gone);
        }
    }
}

async fn register(client: &Client) -> Result<()> {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let node: NodeObject = serde_json::from_value(node_object()).context("the node's own object")?;
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        other => {
            other.context("registering the node")?;
        }
    }
    // The API server taints every new node as not ready; nobody else is here to take that back.
    let untaint = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes.patch(NODE_NAME, &PatchParams::default(), &untaint).await.context("removing the node's taint")?;
    let status = Patch::Merge(node_status());
    nodes.patch_status(NODE_NAME, &PatchParams::default(), &status).await.context("the node's status")?;
    Ok(())
}

fn node_object() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux"}},
    })
}

fn node_status() -> Value {
    let resources = json!({"cpu": "1000", "memory": "1Ti", "pods": "10000", "ephemeral-storage": "1Ti"});
    let now = status::now();
    json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}, {"type": "Hostname", "address": NODE_NAME}],
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "the testbed's node is ready",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }],
    }})
}
