//! The testbed with Serin installed, and what the figures put on it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use serin::api::status::CanaryStatus;
use serin_testbed::{AuditEntry, CONTROLLER_USER, Launch, Options, Process, Testbed, Users, wait_until};

/// Longest time that anything is waited for, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// The port of the only controller that runs at a time.
const PORT: u16 = 20_000;
const REQUESTS_PER_SECOND: f64 = 40.0;

/// The testbed with Serin installed.
pub struct Bed {
    pub testbed: Testbed,
}

impl Bed {
    pub async fn start() -> Result<Self> {
        let testbed = Testbed::start(Options::default()).await?;
        testbed.install(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base")).await?;
        Ok(Self { testbed })
    }

    /// How to run the release binary as the shipped `ServiceAccount`. No controller before it holds the Lease any more.
    pub async fn launch(&self, name: &str) -> Result<Launch> {
        self.testbed.kubectl(&["delete", "leases", "--all", "--namespace=serin-system"]).await?;
        self.testbed.controller(Path::new(env!("CARGO_BIN_EXE_serin")), name, PORT).await
    }

    /// Runs the release binary for one namespace, and waits until it is ready.
    pub async fn controller(&self, namespace: &str) -> Result<Process> {
        let launch = self.launch(&format!("serin-{namespace}")).await?;
        let mut process = launch.argument(format!("--namespace={namespace}")).spawn()?;
        until_ready(&mut process, Duration::from_millis(50)).await?;
        Ok(process)
    }

    pub async fn namespace(&self, name: &str) -> Result<()> {
        self.testbed.kubectl(&["create", "namespace", name]).await.map(drop)
    }

    /// Objects of a kind that Rust has no type for here.
    pub fn objects(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.testbed.client(), namespace, &kind.resource())
    }

    pub async fn status(&self, namespace: &str, name: &str) -> Result<CanaryStatus> {
        status_of(&self.objects(Kind::Canary, namespace).get(name).await?)
    }

    /// Applies these objects as kubectl does.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.testbed.apply(&list.to_string()).await.map(drop)
    }

    /// Users of the application `name` in this namespace.
    pub fn users(&self, namespace: &str, name: &str) -> Result<Users> {
        Users::start(self.testbed.gateway_address(), &host(namespace, name), REQUESTS_PER_SECOND)
    }

    /// What the controller asked the API server for since then, but for its Lease, oldest first.
    pub fn requests(&self, since: SystemTime) -> Result<Vec<AuditEntry>> {
        let mut requests = self.testbed.audit_requests(Some(CONTROLLER_USER), since)?;
        requests.retain(|request| request.resource != "leases");
        requests.sort_by_key(|request| request.time);
        Ok(requests)
    }

    /// Records all versions of an object from now on.
    pub fn record(&self, kind: Kind, namespace: &str, name: &str) -> Record {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let stream = watcher(self.objects(kind, namespace), config).default_backoff().applied_objects();
        let writer = Arc::clone(&seen);
        let task = tokio::spawn(stream.for_each(move |object| {
            if let Ok(object) = object {
                writer.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), object));
            }
            std::future::ready(())
        }));
        Record { seen, task }
    }
}

/// The kinds that are watched here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Canary,
    HttpRoute,
}

impl Kind {
    fn resource(self) -> ApiResource {
        match self {
            Self::Canary => {
                let kind = GroupVersionKind::gvk("flagger.app", "v1beta1", "Canary");
                ApiResource::from_gvk_with_plural(&kind, "canaries")
            }
            Self::HttpRoute => {
                let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
                ApiResource::from_gvk_with_plural(&kind, "httproutes")
            }
        }
    }
}

/// An object's versions as they came; ends when dropped.
pub struct Record {
    seen: Arc<Mutex<Vec<(SystemTime, DynamicObject)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Record {
    /// All versions so far with the times at which they were seen.
    pub fn versions(&self) -> Vec<(SystemTime, DynamicObject)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The canary's weights that a route went through, each with the time at which it was first seen.
    pub fn weights(&self) -> Vec<(SystemTime, i64)> {
        let versions = self.versions();
        let mut weights: Vec<_> = versions.iter().map(|(time, route)| (*time, canary_weight(route))).collect();
        weights.dedup_by_key(|(_, weight)| *weight);
        weights
    }
}

fn canary_weight(route: &DynamicObject) -> i64 {
    let backends = route.data.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array);
    let is_canary = |backend: &&Value| backend["name"].as_str().is_some_and(|name| name.ends_with("-canary"));
    backends.into_iter().flatten().find(is_canary).and_then(|backend| backend["weight"].as_i64()).unwrap_or_default()
}

/// The status of a Canary.
pub fn status_of(canary: &DynamicObject) -> Result<CanaryStatus> {
    let status = canary.data.get("status").cloned().unwrap_or_else(|| json!({}));
    serde_json::from_value(status).with_context(|| format!("the status of {}", canary.name_any()))
}

/// Waits until `/readyz` answers 200, asking this often.
pub async fn until_ready(process: &mut Process, interval: Duration) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().build().context("an HTTP client")?;
    let url = format!("http://127.0.0.1:{PORT}/readyz");
    let ready = async {
        loop {
            if http.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            ensure!(process.is_running(), "the controller ended: {}", process.log());
            tokio::time::sleep(interval).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.context("the controller did not become ready")?
}

/// Waits until the status is as described.
pub async fn reach(
    bed: &Bed,
    namespace: &str,
    name: &str,
    what: &str,
    is: impl Fn(&CanaryStatus) -> bool,
) -> Result<CanaryStatus> {
    wait_until(what, PATIENCE, async || {
        let status = bed.status(namespace, name).await?;
        ensure!(is(&status), "its status is {}", serde_json::to_string(&status)?);
        Ok(status)
    })
    .await
}

fn host(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.example")
}

/// The Deployment of a release; `error_rate` is the share of requests that it answers with an error.
pub fn deployment(namespace: &str, name: &str, version: &str, error_rate: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app",
                    "image": format!("testbed-app:{version}"),
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "ERROR_RATE", "value": error_rate}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
                }]},
            },
        },
    })
}

/// A Canary with both built-in metrics; `analysis` has interval, threshold and weights.
pub fn canary(namespace: &str, name: &str, analysis: &Value) -> Value {
    let mut spec = json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "progressDeadlineSeconds": 120,
        "service": {"port": 80, "targetPort": 8080, "hosts": [host(namespace, name)]},
        "analysis": analysis,
    });
    spec["analysis"]["metrics"] = json!([
        {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "5s"},
        {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "5s"},
    ]);
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}
