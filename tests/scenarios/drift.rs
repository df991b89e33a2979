//! Hands and tools that change what Serin keeps, in mid-run: repaired at once, and exposure never stays above what was
//! earned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::Phase;
use serin_testbed::{Testbed, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, PATIENCE, Scene, deployment};

/// How soon a change is taken back. It is a matter of tens of milliseconds; the machine is a busy one.
const PROMPTLY: Duration = Duration::from_secs(5);

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("a_route_changed_by_hand_in_mid_run_is_repaired", by_hand));
    trials.push(scenarios.trial("a_gitops_tool_that_keeps_applying_the_route_does_not_raise_exposure", by_tool));
    trials.push(scenarios.trial("services_changed_or_deleted_by_hand_are_repaired", services));
    trials.push(scenarios.trial("replicas_that_git_puts_on_the_idle_target_are_left_alone", idle_replicas));
}

/// Steps to 30, so that any weight above is somebody else's.
fn run_to_30(scene: &Scene, interval: &str) -> Value {
    scene.canary(&json!({"interval": interval, "maxWeight": 30, "threshold": 10, "metrics": tolerant()}))
}

/// The first edits may leave the canary without requests for a while.
fn tolerant() -> Value {
    json!([{"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "5s", "onNoData": "Pass"}])
}

async fn by_hand(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "by-hand").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&run_to_30(&scene, "8s")).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 10", |status| status.canary_weight == 10).await?;
    wait_for_route(&scene).await?;
    let backend = |name: &str, weight: i32| json!({"name": format!("frontend-{name}"), "port": 80, "weight": weight});
    let header = json!([{"headers": [{"name": "x-me", "value": "first"}]}]);
    let edits = [
        ("weights 0/100", json!([{"backendRefs": [backend("primary", 0), backend("canary", 100)]}])),
        ("no primary", json!([{"backendRefs": [backend("canary", 1)]}])),
        ("no canary", json!([{"backendRefs": [backend("primary", 1)]}])),
        (
            "one more rule",
            json!([
                {"matches": header, "backendRefs": [backend("canary", 1)]},
                {"backendRefs": [backend("primary", 90), backend("canary", 10)]},
            ]),
        ),
    ];
    for (what, rules) in edits {
        let edit = json!({"spec": {"rules": rules}});
        scene.routes().patch("frontend", &PatchParams::default(), &Patch::Merge(edit)).await.context(what)?;
        wait_for_route(&scene).await.context(what)?;
    }
    scene.routes().delete("frontend", &DeleteParams::default()).await?;
    wait_for_route(&scene).await.context("a deleted route")?;
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(status.history.first().is_some_and(|run| run.weight == 30), "{:?}", status.history);
    stays_within(&scene, 30)
}

/// Flux with `force`: takes every field for itself, each time it comes by.
async fn by_tool(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "by-tool").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&run_to_30(&scene, "3s")).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 10", |status| status.canary_weight == 10).await?;
    let route = serde_json::to_value(scene.routes().get("frontend").await?)?;
    let deadline = Instant::now() + PATIENCE;
    for version in (0..).map(|round| if round % 2 == 0 { [100, 0] } else { [50, 50] }) {
        ensure!(Instant::now() < deadline, "the run does not end: {:?}", scene.status().await?);
        scene.testbed.kubectl_with_input(&FORCED, &of_git(&route, version)?.to_string()).await?;
        wait_for_route(&scene).await?;
        if scene.status().await?.phase == Phase::Succeeded {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(status.history.first().is_some_and(|run| run.weight == 30), "{:?}", status.history);
    let image = scene.image_of("frontend-primary").await?;
    ensure!(image == "testbed-app:1.1.0", "the primary runs {image}");
    stays_within(&scene, 30)
}

/// How kustomize-controller applies.
const FORCED: [&str; 5] =
    ["apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "--filename=-"];

/// The route as an older commit has it.
fn of_git(route: &Value, weights: [i32; 2]) -> Result<Value> {
    let mut spec = route["spec"].clone();
    let backends = spec.pointer_mut("/rules/0/backendRefs").and_then(Value::as_array_mut).context("backends")?;
    for (backend, weight) in backends.iter_mut().zip(weights) {
        backend["weight"] = json!(weight);
    }
    Ok(json!({
        "apiVersion": route["apiVersion"],
        "kind": route["kind"],
        "metadata": {"name": route["metadata"]["name"], "namespace": route["metadata"]["namespace"]},
        "spec": spec,
    }))
}

/// Waits until the route is one rule with both backends at the weights that the status says.
async fn wait_for_route(scene: &Scene) -> Result<()> {
    wait_until("the route as the status says", PROMPTLY, async || {
        let route = scene.routes().get("frontend").await?;
        let weight = scene.status().await?.canary_weight;
        let rules = route.data.pointer("/spec/rules").and_then(Value::as_array).context("no rules")?;
        ensure!(rules.len() == 1, "it has {} rules", rules.len());
        let backends: Vec<(&str, i64)> = rules
            .iter()
            .flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten())
            .map(|backend| (backend["name"].as_str().unwrap_or_default(), backend["weight"].as_i64().unwrap_or(1)))
            .collect();
        let wanted = [("frontend-primary", i64::from(100 - weight)), ("frontend-canary", i64::from(weight))];
        ensure!(backends == wanted, "{backends:?} where {wanted:?} is committed");
        Ok(())
    })
    .await
}

/// Whatever was put on the route above the highest step was taken back promptly.
fn stays_within(scene: &Scene, highest: i32) -> Result<()> {
    let weights = scene.timed_weights();
    let mut intrusions = 0;
    for (index, (time, weight)) in weights.iter().enumerate().filter(|(_, (_, weight))| *weight > highest) {
        let rest = weights.iter().skip(index);
        let (end, _) = rest.clone().find(|(_, later)| *later <= highest).context("it was never taken back")?;
        let lasted = end.duration_since(*time);
        ensure!(lasted < PROMPTLY, "weight {weight} stayed for {lasted:?}");
        intrusions += 1;
    }
    ensure!(intrusions > 0, "nobody raised the weight: {weights:?}");
    Ok(())
}

async fn services(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "services").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&run_to_30(&scene, "8s")).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 10", |status| status.canary_weight == 10).await?;
    let services: Api<Service> = Api::namespaced(testbed.client(), &scene.namespace);
    let expected =
        [("frontend", "frontend-primary"), ("frontend-primary", "frontend-primary"), ("frontend-canary", "frontend")];
    for (name, pods) in expected {
        let port = json!({"name": "http", "port": 80, "targetPort": 9999});
        let edits = [
            Some(json!({"spec": {"selector": {"app": "somebody-else"}}})),
            Some(json!({"spec": {"ports": [port]}})),
            None,
        ];
        for edit in edits {
            match &edit {
                Some(edit) => services.patch(name, &PatchParams::default(), &Patch::Merge(edit)).await.map(drop)?,
                None => services.delete(name, &DeleteParams::default()).await.map(drop)?,
            }
            wait_until(&format!("{name} after {edit:?}"), PROMPTLY, async || {
                let service = serde_json::to_value(services.get(name).await?.spec)?;
                ensure!(service["selector"] == json!({"app": pods}), "it selects {}", service["selector"]);
                ensure!(service["ports"][0]["targetPort"] == 8080, "its ports are {}", service["ports"]);
                Ok(())
            })
            .await?;
        }
    }
    scene.reach(Phase::Succeeded).await?;
    Ok(())
}

/// A manifest with `replicas` puts pods on the idle target. They stay, without traffic and without a run; the next run
/// uses them, the primary gets as many, and the end of the run takes them away.
async fn idle_replicas(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "idle-replicas").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 50}))).await?;
    let users = scene.users().await?;
    let from_git = |version: &str| {
        let mut object = deployment(&scene.namespace, version, HEALTHY);
        object["spec"]["replicas"] = json!(2);
        object.to_string()
    };
    scene.testbed.kubectl_with_input(&FORCED, &from_git("1.0.0")).await?;
    let since = Instant::now();
    wait_until("two idle pods", PATIENCE, async || {
        let status = scene.deployments().get("frontend").await?.status.unwrap_or_default();
        ensure!(status.available_replicas == Some(2), "{:?} are available", status.available_replicas);
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(scene.replicas_of("frontend").await? == 2, "the replicas of Git were taken away");
    ensure!(scene.status().await?.phase == Phase::Initialized, "{:?}", scene.status().await?);
    ensure!(scene.weights() == [0], "the route went {:?}", scene.weights());
    users.ensure_served(since)?;

    scene.testbed.kubectl_with_input(&FORCED, &from_git("1.1.0")).await?;
    scene.reach(Phase::Succeeded).await?;
    let replicas = (scene.replicas_of("frontend-primary").await?, scene.replicas_of("frontend").await?);
    ensure!(replicas == (2, 0), "primary and target have {replicas:?} replicas");
    Ok(())
}
