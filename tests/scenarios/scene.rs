//! One scenario's own corner of the testbed: a namespace, an application, its users, its controller.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use serin::api::status::{CanaryStatus, Phase};
use serin_testbed::{GATEWAY_NAME, GATEWAY_NAMESPACE, Launch, Process, Sink, Testbed, Users, wait_until};

/// Longest time that anything in a scenario is waited for, unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Requests per second of a scenario's users.
const REQUESTS_PER_SECOND: f64 = 40.0;

/// Each controller serves its health and metrics at a port of its own.
static NEXT_PORT: AtomicU32 = AtomicU32::new(20_000);

/// One scenario's own corner of the testbed.
pub struct Scene {
    pub testbed: Arc<Testbed>,
    pub namespace: String,
    pub sink: Sink,
    weights: Arc<Mutex<Vec<(Instant, i32)>>>,
    recorder: tokio::task::JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.recorder.abort();
    }
}

/// How the application of a release behaves: environment variables of the test application.
pub type Behaviour<'a> = &'a [(&'a str, &'a str)];

/// A release that serves its users well.
pub const HEALTHY: Behaviour<'static> = &[];

impl Scene {
    /// Makes the namespace and begins to record what the route does.
    pub async fn new(testbed: &Arc<Testbed>, namespace: &str) -> Result<Self> {
        let body = json!({"metadata": {"name": namespace}});
        if namespace != "default" {
            Api::<Namespace>::all(testbed.client())
                .create(&PostParams::default(), &serde_json::from_value(body)?)
                .await
                .context("the scenario's namespace")?;
        }
        let weights = Arc::new(Mutex::new(Vec::new()));
        let routes = dynamic(testbed, namespace, "gateway.networking.k8s.io", "v1", "HTTPRoute");
        let recorder = tokio::spawn(record_weights(routes, Arc::clone(&weights)));
        let sink = Sink::start(0).await?;
        Ok(Self { testbed: Arc::clone(testbed), namespace: namespace.to_owned(), sink, weights, recorder })
    }

    /// Starts a controller for this namespace, as the shipped ServiceAccount.
    pub async fn start_controller(&self) -> Result<Process> {
        self.start_controller_with(&[]).await
    }

    /// The same with further arguments, which come last and so win.
    pub async fn start_controller_with(&self, arguments: &[&str]) -> Result<Process> {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let name = format!("serin-{}-{port}", self.namespace);
        let kubeconfig = self.testbed.state_dir().join(format!("{name}.kubeconfig"));
        self.testbed.service_account_kubeconfig("serin-system", "serin", &kubeconfig).await?;
        Launch::new(name.clone(), env!("CARGO_BIN_EXE_serin"), self.testbed.state_dir().join(format!("{name}.log")))
            .argument("controller")
            .argument(format!("--kubeconfig={}", kubeconfig.display()))
            .argument(format!("--namespace={}", self.namespace))
            .argument(format!("--gateway={GATEWAY_NAMESPACE}/{GATEWAY_NAME}"))
            .argument(format!("--metrics-server={}", self.testbed.prometheus_url()))
            .argument("--metrics-profile=contour")
            .argument("--enable-leader-election=false")
            .argument(format!("--port={port}"))
            .arguments(["--log-level=debug", "--log-format=text"])
            .arguments(arguments.iter().copied())
            .spawn()
    }

    /// Creates the application `frontend` with two replicas, and waits for nothing.
    pub async fn deploy(&self, version: &str, behaviour: Behaviour<'_>) -> Result<()> {
        self.apply(&deployment(&self.namespace, version, behaviour)).await
    }

    /// Ships a new release of `frontend` as a person does: by applying the Deployment with a new image.
    pub async fn release(&self, version: &str, behaviour: Behaviour<'_>) -> Result<()> {
        self.deploy(version, behaviour).await
    }

    /// Applies an object as kubectl does.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        self.testbed.apply(&object.to_string()).await.map(drop)
    }

    /// Applies many objects at once.
    pub async fn apply_all(&self, objects: &[Value]) -> Result<()> {
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects})).await
    }

    /// Merges a patch into the Canary `frontend`.
    pub async fn patch_canary(&self, patch: &Value) -> Result<()> {
        let api = self.canaries();
        api.patch("frontend", &PatchParams::default(), &Patch::Merge(patch)).await.context("patching the Canary")?;
        Ok(())
    }

    pub fn canaries(&self) -> Api<DynamicObject> {
        dynamic(&self.testbed, &self.namespace, "flagger.app", "v1beta1", "Canary")
    }

    pub fn routes(&self) -> Api<DynamicObject> {
        dynamic(&self.testbed, &self.namespace, "gateway.networking.k8s.io", "v1", "HTTPRoute")
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.testbed.client(), &self.namespace)
    }

    /// The status of the Canary `frontend`.
    pub async fn status(&self) -> Result<CanaryStatus> {
        self.status_of("frontend").await
    }

    /// The status of a Canary.
    pub async fn status_of(&self, name: &str) -> Result<CanaryStatus> {
        let object = self.canaries().get(name).await.context("the Canary")?;
        let status = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(status).context("its status")
    }

    /// Waits until the Canary `frontend` is in this phase.
    pub async fn reach(&self, phase: Phase) -> Result<CanaryStatus> {
        self.reach_when(&format!("phase {phase:?}"), |status| status.phase == phase).await
    }

    /// Waits until the status of the Canary `frontend` is as described.
    pub async fn reach_when(&self, what: &str, is: impl Fn(&CanaryStatus) -> bool) -> Result<CanaryStatus> {
        let description = format!("{what} in {}", self.namespace);
        wait_until(&description, PATIENCE, async || {
            let status = self.status().await?;
            ensure!(is(&status), "its status is {}", serde_json::to_string(&status)?);
            Ok(status)
        })
        .await
    }

    /// Waits until so many runs have ended and the canary is on its way to zero, however the last one ended.
    pub async fn ended(&self, runs: usize) -> Result<CanaryStatus> {
        self.reach_when(&format!("the end of run {runs}"), |status| {
            status.history.len() >= runs && !status.pending.scale_down
        })
        .await
    }

    /// Whether the route has only had weight 0 since then, and had it when that moment came.
    pub fn closed_since(&self, since: Instant) -> bool {
        let weights = self.timed_weights();
        let last_before = weights.iter().rev().find(|(at, _)| *at < since);
        last_before.is_none_or(|(_, weight)| *weight == 0)
            && weights.iter().filter(|(at, _)| *at >= since).all(|(_, weight)| *weight == 0)
    }

    /// How many alerts with these words the sink has received.
    pub fn count_alerts(&self, words: &str) -> usize {
        self.sink.received().iter().filter(|alert| alert.body.to_string().contains(words)).count()
    }

    /// Users of this scenario's host, who come when it is served.
    pub async fn users(&self) -> Result<Users> {
        Users::start_when_served(self.testbed.gateway_address(), &self.host(), REQUESTS_PER_SECOND).await
    }

    /// The host name of this scenario's application.
    pub fn host(&self) -> String {
        format!("{}.example", self.namespace)
    }

    /// Every weight of the canary that the route `frontend` had so far, in order, without repetitions.
    pub fn weights(&self) -> Vec<i32> {
        let mut weights: Vec<i32> = self.timed_weights().into_iter().map(|(_, weight)| weight).collect();
        weights.dedup();
        weights
    }

    /// The same with the times at which they were seen, repetitions included.
    pub fn timed_weights(&self) -> Vec<(Instant, i32)> {
        self.weights.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The texts of all Events of the Canary `frontend`, oldest first.
    pub async fn events(&self) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.testbed.client(), &self.namespace);
        let mut events = api.list(&ListParams::default()).await?.items;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        Ok(events
            .into_iter()
            .filter(|event| event.regarding.as_ref().is_some_and(|object| object.kind.as_deref() == Some("Canary")))
            .filter_map(|event| event.note)
            .collect())
    }

    /// Waits until there is an Event of the Canary `frontend` whose text contains these words; they are written last,
    /// one by one. Returns the texts of all.
    pub async fn event_with(&self, words: &str) -> Result<Vec<String>> {
        wait_until(&format!("an Event with {words:?}"), Duration::from_secs(20), async || {
            let events = self.events().await?;
            ensure!(events.iter().any(|event| event.contains(words)), "there are {events:?}");
            Ok(events)
        })
        .await
    }

    /// Records every image that the primary is told to run from now on.
    pub fn record_primary_images(&self) -> Images {
        let images = Images(Arc::default());
        let recorded = images.clone();
        let deployments = self.deployments();
        tokio::spawn(async move {
            let config = watcher::Config::default().fields("metadata.name=frontend-primary");
            let mut stream = watcher(deployments, config).default_backoff().touched_objects().boxed();
            while let Some(event) = stream.next().await {
                let containers = event.ok().and_then(|found| found.spec?.template.spec).map(|spec| spec.containers);
                let image = containers.and_then(|containers| containers.into_iter().next()?.image);
                recorded.0.lock().unwrap_or_else(PoisonError::into_inner).extend(image);
            }
        });
        images
    }

    /// The image that a Deployment runs.
    pub async fn image_of(&self, deployment: &str) -> Result<String> {
        let deployment = self.deployments().get(deployment).await?;
        let containers = deployment.spec.map(|spec| spec.template.spec.unwrap_or_default().containers);
        containers
            .and_then(|containers| containers.into_iter().next())
            .and_then(|container| container.image)
            .context("the Deployment has no image")
    }

    /// `spec.replicas` of a Deployment.
    pub async fn replicas_of(&self, deployment: &str) -> Result<i32> {
        let deployment = self.deployments().get(deployment).await?;
        deployment.spec.and_then(|spec| spec.replicas).context("the Deployment has no replicas")
    }

    /// Brings the first release up: application, alert sink, Canary, and the controller's initialisation.
    pub async fn initialize(&self, canary: &Value) -> Result<()> {
        self.deploy("1.0.0", HEALTHY).await?;
        self.apply(&self.alert_provider()).await?;
        self.apply(canary).await?;
        self.reach(Phase::Initialized).await?;
        Ok(())
    }

    /// The Canary of most scenarios: checks every two seconds, steps of 10 up to 50, an alert sink.
    pub fn canary(&self, analysis: &Value) -> Value {
        let mut spec = json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
            "progressDeadlineSeconds": 60,
            "service": {"port": 80, "targetPort": 8080, "hosts": [self.host()]},
            "analysis": {
                "interval": "2s",
                "threshold": 3,
                "maxWeight": 50,
                "stepWeight": 10,
                "metrics": [
                    {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "5s"},
                    {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "5s"},
                ],
                "alerts": [{"name": "sink", "severity": "info", "providerRef": {"name": "sink"}}],
            },
        });
        merge(&mut spec["analysis"], analysis);
        json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "frontend", "namespace": self.namespace},
            "spec": spec,
        })
    }

    /// The sink as an AlertProvider.
    pub fn alert_provider(&self) -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "AlertProvider",
            "metadata": {"name": "sink", "namespace": self.namespace},
            "spec": {"type": "webhook", "address": self.sink.url("/alerts")},
        })
    }

    /// Waits until the sink has received an alert whose text contains these words.
    pub async fn alert_with(&self, words: &str) -> Result<serin_testbed::Received> {
        wait_until(&format!("an alert with {words:?}"), Duration::from_secs(20), async || {
            let received = self.sink.received();
            let found = received.iter().find(|alert| alert.body.to_string().contains(words)).cloned();
            found.with_context(|| {
                format!("the sink has {:?}", received.iter().map(|alert| &alert.body).collect::<Vec<_>>())
            })
        })
        .await
    }
}

/// Images that the primary was told to run.
#[derive(Clone)]
pub struct Images(Arc<Mutex<Vec<String>>>);

impl Images {
    pub fn images(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The Deployment of a release.
pub fn deployment(namespace: &str, version: &str, behaviour: Behaviour<'_>) -> Value {
    let environment: Vec<Value> = behaviour.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "frontend", "namespace": namespace, "labels": {"app": "frontend"}},
        "spec": {
            "selector": {"matchLabels": {"app": "frontend"}},
            "template": {
                "metadata": {"labels": {"app": "frontend"}},
                "spec": {"containers": [{
                    "name": "app",
                    "image": format!("testbed-app:{version}"),
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": environment,
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                }]},
            },
        },
    })
}

/// Objects of a kind without Rust types.
pub fn dynamic(testbed: &Testbed, namespace: &str, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        "Canary" => ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), "canaries"),
        _ => ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
    };
    Api::namespaced_with(testbed.client(), namespace, &resource)
}

/// The weight of the canary that a route asks for.
pub fn canary_weight(route: &DynamicObject) -> Option<i32> {
    let backends = route.data.pointer("/spec/rules/0/backendRefs")?.as_array()?;
    let canary = backends.iter().find(|backend| backend["name"].as_str().is_some_and(|name| name.ends_with("-canary")));
    Some(canary.and_then(|backend| backend["weight"].as_i64()).unwrap_or_default() as i32)
}

async fn record_weights(routes: Api<DynamicObject>, weights: Arc<Mutex<Vec<(Instant, i32)>>>) {
    let config = watcher::Config::default().fields("metadata.name=frontend");
    let mut stream = watcher(routes, config).default_backoff().touched_objects().boxed();
    while let Some(event) = stream.next().await {
        let Ok(route) = event else { continue };
        if let Some(weight) = canary_weight(&route) {
            weights.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), weight));
        }
    }
}

/// Merges like RFC 7386.
pub fn merge(into: &mut Value, patch: &Value) {
    let (Value::Object(into), Value::Object(patch)) = (&mut *into, patch) else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(key);
        } else {
            merge(into.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Asserts that `share` of `requests` is what a weight of `percent` makes likely: within four standard deviations, and
/// two per cent for the moments around a change of weights.
pub fn assert_share(share: f64, requests: usize, percent: i32) -> Result<()> {
    let expected = f64::from(percent) / 100.0;
    let deviation = (expected * (1.0 - expected) / requests.max(1) as f64).sqrt();
    if (share - expected).abs() > 4.0 * deviation + 0.02 {
        bail!("{:.1} % of {requests} requests where {percent} % were due", share * 100.0);
    }
    Ok(())
}
