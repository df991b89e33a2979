//! What the tests of the models share: a cluster, the passing of time, and objects.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::api_server::ApiServer;
use super::cluster::{Cluster, Fault, Handle};
use super::settings::{Settings, Users};
use crate::api::checked::ObjectKey;
use crate::rollout::ResourceId;

/// A cluster whose time passes when the test says so.
pub struct Stage {
    pub server: ApiServer,
    pub cluster: Cluster,
    pub handle: Handle,
    began: Instant,
}

impl Stage {
    pub fn new(settings: Settings) -> Self {
        let server = ApiServer::new();
        let cluster = Cluster::new(&server, settings);
        let handle = cluster.handle();
        Self { server, cluster, handle, began: Instant::now() }
    }

    /// Lets so many seconds pass.
    pub async fn pass(&mut self, seconds: f64) {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while let Some(due) = self.cluster.step().filter(|due| *due <= end) {
            sleep_until(due).await;
        }
        sleep_until(end).await;
        self.cluster.step();
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn create(&self, object: Value) {
        self.server.create(object).unwrap();
    }

    pub fn inject(&mut self, fault: Fault) {
        self.handle.inject(fault);
        self.cluster.step();
    }

    pub fn deployment(&self) -> Value {
        self.server.get(&deployment_id()).unwrap()
    }

    /// Changes the Deployment.
    pub fn edit(&self, change: &Value) {
        self.server.patch(&deployment_id(), change).unwrap();
    }

    /// All, updated, ready and available replicas in the status of the Deployment.
    pub fn replicas(&self) -> [u64; 4] {
        let status = &self.deployment()["status"];
        ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
            .map(|field| status[field].as_u64().unwrap_or(0))
    }

    /// The reason of a condition of the Deployment, with its status.
    pub fn condition(&self, kind: &str) -> String {
        let status = &self.deployment()["status"]["conditions"];
        let found = status.as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
        found.map_or("none".to_owned(), |found| {
            format!("{} {}", found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
        })
    }

    /// How many pods of a workload get requests.
    pub fn ready(&self, workload: &str) -> usize {
        self.handle.view().ready_pods(&key(workload))
    }

    /// The versions of the ready pods of a workload.
    pub fn versions(&self, workload: &str) -> Vec<String> {
        let view = self.handle.view();
        let pods = view.workloads.get(&key(workload)).into_iter().flat_map(|workload| &workload.pods);
        let mut versions: Vec<String> = pods
            .filter(|pod| pod.is_ready)
            .filter_map(|pod| pod.behaviour.as_ref().map(|behaviour| behaviour.version.clone()))
            .collect();
        versions.sort();
        versions
    }
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

pub fn deployment_id() -> ResourceId {
    ResourceId::new("apps/v1", "Deployment", key("frontend"))
}

/// A Deployment `name` of this version, with these further variables.
pub fn deployment(name: &str, replicas: usize, variables: &[(&str, &str)]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, variables),
        },
    })
}

pub fn template(name: &str, variables: &[(&str, &str)]) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "app:1", "env": env(variables)}]},
    })
}

pub fn env(variables: &[(&str, &str)]) -> Value {
    variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// A patch that gives the container of `frontend` these variables.
pub fn with_variables(variables: &[(&str, &str)]) -> Value {
    json!({"spec": {"template": template("frontend", variables)}})
}

pub fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80}]},
    })
}

pub fn users(requests_per_second: f64) -> Vec<Users> {
    vec![Users { service: key("frontend"), host: None, requests_per_second }]
}
