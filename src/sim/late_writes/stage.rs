//! Processes of the controller on an API server in memory, without the loop: what they decide is given to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api::checked::{ObjectKey, Provider, ValidatedCanary};
use crate::api::validate::{Defaults, validate};
use crate::cluster::apply::CarriedOut;
use crate::cluster::cache::Cache;
use crate::cluster::lease::Leadership;
use crate::cluster::observation::Observation;
use crate::cluster::{Cluster, Parts, status_of};
use crate::rollout::{Action, Decision, ResourceId, Revision};
use crate::sim::api_server::{ApiServer, Caller, Delivery, Interposer, Plan, RequestInfo};
use crate::workload::Settings;

/// How long a late write is on its way.
pub const LATE: Duration = Duration::from_secs(30);

fn id(api_version: &str, kind: &str, name: &str) -> ResourceId {
    ResourceId::new(api_version, kind, ObjectKey::new("default", name))
}

pub fn target_id() -> ResourceId {
    id("apps/v1", "Deployment", "frontend")
}

pub fn primary_id() -> ResourceId {
    id("apps/v1", "Deployment", "frontend-primary")
}

pub fn canary_id() -> ResourceId {
    id("flagger.app/v1beta1", "Canary", "frontend")
}

pub fn autoscaler_id(name: &str) -> ResourceId {
    id("autoscaling/v2", "HorizontalPodAutoscaler", name)
}

pub fn apex_id() -> ResourceId {
    id("v1", "Service", "frontend")
}

pub fn route_id() -> ResourceId {
    id("gateway.networking.k8s.io/v1", "HTTPRoute", "frontend")
}

/// What stands between a process and the API server.
pub struct Way {
    server: ApiServer,
    /// The next write of this kind of object is late.
    late: Mutex<Option<String>>,
    /// Events of watches are late.
    pub lags: AtomicBool,
    /// Lists fail.
    pub fails: AtomicBool,
    /// Somebody writes the status of the route just before each write of ours.
    pub is_busy: AtomicBool,
    requests: Mutex<Vec<String>>,
}

impl Interposer for Way {
    fn request(&self, request: &RequestInfo) -> Plan {
        if request.verb != "watch" {
            self.requests.lock().unwrap().push(format!("{} {}", request.verb, request.kind));
        }
        if !request.is_write {
            let fails = request.verb == "list" && self.fails.load(Ordering::Relaxed);
            return if fails { Plan::Fail(500) } else { Plan::Pass };
        }
        if request.kind == "HTTPRoute" && self.is_busy.load(Ordering::Relaxed) {
            self.write_status_of_route();
        }
        match self.late.lock().unwrap().take_if(|kind| **kind == request.kind) {
            Some(_) => Plan::Delay(LATE),
            None => Plan::Pass,
        }
    }

    fn watch_event(&self, _: &str, _: &Value) -> Delivery {
        if self.lags.load(Ordering::Relaxed) { Delivery::After(LATE) } else { Delivery::Now }
    }
}

impl Way {
    fn write_status_of_route(&self) {
        let count = self.requests.lock().unwrap().len();
        let condition = json!({
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": format!("{count}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let parent = json!({
            "parentRef": {"name": "gateway"}, "controllerName": "example.com/gateway", "conditions": [condition],
        });
        self.server.patch_status(&route_id(), &json!({"status": {"parents": [parent]}})).unwrap();
    }
}

/// A process of the controller, with the rights of `deploy/base`.
pub struct Process {
    pub cluster: Cluster,
    pub way: Arc<Way>,
}

impl Process {
    pub async fn start(server: &ApiServer) -> Self {
        let way = Arc::new(Way {
            server: server.clone(),
            late: Mutex::default(),
            lags: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            requests: Mutex::default(),
        });
        let role: ClusterRole = serde_saphyr::from_str(include_str!("../../../deploy/base/cluster_role.yaml")).unwrap();
        let client =
            server.client(Caller { user: "serin".to_owned(), rules: role.rules, interposer: Some(way.clone()) });
        let (cache, streams) = Cache::start(&client, None, &[]);
        for mut stream in streams.into_values() {
            tokio::spawn(async move { while stream.next().await.is_some() {} });
        }
        cache.wait_until_ready().await;
        let Leadership::Leading(guard) = Leadership::uncontested() else { panic!("not leading") };
        let settings = Settings::default();
        let parts = Parts { client, cache, settings, track_configs: true, missing_kinds: Vec::new(), guard };
        let process = Self { cluster: Cluster::new(parts), way };
        process.requests();
        process
    }

    /// The requests since the last time this was asked for, without watches.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.way.requests.lock().unwrap())
    }

    /// The next write of an object of this kind is on its way for a while.
    pub fn delay(&self, kind: &str) {
        *self.way.late.lock().unwrap() = Some(kind.to_owned());
    }

    pub fn canary(&self) -> ValidatedCanary {
        let object = self.way.server.get(&canary_id()).unwrap();
        let gateways = vec![ObjectKey::new("default", "gateway")];
        let defaults = Defaults { provider: Provider::GatewayApi, gateways, no_cross_namespace_refs: false };
        validate(&object, &defaults).unwrap()
    }

    pub async fn observe(&self) -> Arc<Observation> {
        self.cluster.observe(&self.canary()).await.unwrap()
    }

    /// The revision that the target is at.
    pub async fn revision(&self) -> Revision {
        self.observe().await.seen.target.clone().unwrap().unwrap().revision
    }

    /// Observes, and carries out what was decided by somebody else.
    pub async fn act(&self, actions: &[Action]) -> CarriedOut {
        let canary = self.canary();
        let object = self.cluster.canary(&canary.key).await.unwrap().unwrap();
        let observation = self.observe().await;
        let mut status = status_of(&object).unwrap();
        status.canary_weight += 1;
        let decision = Decision { status, actions: actions.to_vec(), notices: Vec::new(), next: None };
        self.cluster.carry_out(object, &canary, &observation.observed, &decision).await
    }

    /// The same where nothing is in the way.
    pub async fn must_act(&self, actions: &[Action]) {
        sleep(Duration::from_millis(1)).await;
        let done = self.act(actions).await;
        assert!(done.failure.is_none() && done.impediment.is_none(), "{actions:?}: {done:?}");
    }
}

/// A target, its autoscaler, and a Canary for them.
pub fn server() -> ApiServer {
    let template = json!({
        "metadata": {"labels": {"app": "frontend"}},
        "spec": {"containers": [{"name": "app", "image": "frontend:1"}]},
    });
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "frontend"});
    let specs = [
        (target_id(), json!({"replicas": 2, "selector": {"matchLabels": {"app": "frontend"}}, "template": template})),
        (autoscaler_id("frontend"), json!({"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4})),
        (
            canary_id(),
            json!({
                "targetRef": target,
                "autoscalerRef": autoscaler,
                "service": {"port": 80},
                "analysis": {"interval": "10s", "threshold": 3, "maxWeight": 50, "stepWeight": 10, "metrics": []},
            }),
        ),
    ];
    let server = ApiServer::new();
    for (id, spec) in specs {
        let metadata = json!({"name": id.key.name, "namespace": id.key.namespace});
        let object = json!({"apiVersion": id.api_version, "kind": id.kind, "metadata": metadata, "spec": spec});
        server.create(object).unwrap();
    }
    server
}
