//! Autoscaled targets: the primary gets an autoscaler of its own, and nobody fights over replicas.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::Phase;
use serin_testbed::{Testbed, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, PATIENCE, Scene};

/// Longer than several rounds of the autoscaler (one second each) and of the controller.
const SEVERAL_ROUNDS: Duration = Duration::from_secs(5);

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("the_primary_s_autoscaler_follows_and_replicas_are_not_fought_over", followed));
}

/// The target's autoscaler wants at least 2, the primary's by override at least 3.
async fn followed(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "autoscaling").await?;
    let _controller = scene.start_controller().await?;
    scene.apply(&autoscaler(&scene)).await?;
    let mut canary = scene.canary(&json!({"stepWeight": 25}));
    canary["spec"]["autoscalerRef"] = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "name": "frontend",
        "primaryScalerReplicas": {"minReplicas": 3},
    });
    let target = record_replicas(&scene, "frontend");
    let primary = record_replicas(&scene, "frontend-primary");
    scene.initialize(&canary).await?;
    reach_replicas(&scene, "frontend-primary", 3).await?;
    let copy = scaler(&scene, "frontend-primary").await?;
    ensure!(copy["scaleTargetRef"]["name"] == "frontend-primary", "the copy scales {}", copy["scaleTargetRef"]);
    ensure!(copy["minReplicas"] == 3 && copy["maxReplicas"] == 4, "the copy's bounds: {copy}");
    ensure!(scene.replicas_of("frontend").await? == 0, "the idle canary has replicas");
    let (target_before, primary_before) = (target.seen().len(), primary.seen().len());

    let change = json!({"spec": {"maxReplicas": 6, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}}}});
    scalers(&scene).patch("frontend", &PatchParams::default(), &Patch::Merge(change)).await?;
    tokio::time::sleep(SEVERAL_ROUNDS).await;
    let copy = scaler(&scene, "frontend-primary").await?;
    ensure!(copy["maxReplicas"] == 4, "the copy follows what was not promoted: {copy}");

    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 25", |status| status.canary_weight == 25).await?;
    let replicas = scene.replicas_of("frontend").await?;
    ensure!(replicas == 2, "the canary runs with {replicas} replicas where its autoscaler's minimum is 2");
    scene.reach(Phase::Succeeded).await?;
    let copy = scaler(&scene, "frontend-primary").await?;
    ensure!(copy["minReplicas"] == 3 && copy["maxReplicas"] == 6, "the copy's bounds after promotion: {copy}");
    ensure!(copy["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 7, "the copy's behaviour: {copy}");
    tokio::time::sleep(SEVERAL_ROUNDS).await;
    let target: Vec<i32> = target.seen().split_off(target_before);
    let primary: Vec<i32> = primary.seen().split_off(primary_before);
    ensure!(target == [2, 0], "the target's replicas went {target:?} from 0");
    ensure!(primary.is_empty(), "the primary's replicas went {primary:?} from 3");
    Ok(())
}

fn autoscaler(scene: &Scene) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "frontend", "namespace": scene.namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
            }}],
        },
    })
}

fn scalers(scene: &Scene) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(scene.testbed.client(), &scene.namespace)
}

/// The spec of an autoscaler.
async fn scaler(scene: &Scene, name: &str) -> Result<Value> {
    let scaler = scalers(scene).get(name).await.context("the autoscaler")?;
    serde_json::to_value(scaler.spec).context("its spec")
}

async fn reach_replicas(scene: &Scene, deployment: &str, wanted: i32) -> Result<()> {
    wait_until(&format!("{deployment} to have {wanted} replicas"), PATIENCE, async || {
        let replicas = scene.replicas_of(deployment).await?;
        ensure!(replicas == wanted, "it has {replicas}");
        Ok(())
    })
    .await
}

/// Every number of replicas that a Deployment was told to have, in order, without repetitions.
struct Replicas(Arc<Mutex<Vec<i32>>>);

impl Replicas {
    fn seen(&self) -> Vec<i32> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.dedup();
        seen
    }
}

fn record_replicas(scene: &Scene, deployment: &str) -> Replicas {
    let replicas = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&replicas);
    let deployments = scene.deployments();
    let config = watcher::Config::default().fields(&format!("metadata.name={deployment}"));
    tokio::spawn(async move {
        let mut stream = watcher(deployments, config).default_backoff().touched_objects().boxed();
        while let Some(event) = stream.next().await {
            let wanted = event.ok().and_then(|found| found.spec?.replicas);
            recorded.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
        }
    });
    Replicas(replicas)
}
