//! Runs that don't shift traffic by weight, and what goes around a run: no mesh, no analysis, suspension, deletion,
//! adoption, and what another controller left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::{Outcome, Phase};
use serin_testbed::{GATEWAY_NAME, GATEWAY_NAMESPACE, Testbed, Users, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, PATIENCE, Scene, deployment};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("without_a_mesh_iterations_are_counted_and_promoted", without_mesh));
    trials.push(scenarios.trial("skipped_analysis_promotes_at_once_but_never_a_release_that_is_not_ready", skipped));
    trials.push(scenarios.trial("suspension_holds_a_run_and_lets_it_go_on", suspended));
    trials.push(scenarios.trial("deletion_gives_the_target_its_users_back_before_the_canary_goes", reverted));
    trials.push(scenarios.trial("an_existing_service_keeps_its_other_port", adopted));
    for phase in ["Initialized", "Succeeded"] {
        let name = format!("a_canary_that_flagger_left_{}_starts_no_run", phase.to_lowercase());
        trials.push(scenarios.trial(&name, move |testbed| async move { left_by_flagger(testbed, phase).await }));
    }
}

/// Blue/green on Services alone: testers see the canary, users see the primary until it is promoted.
async fn without_mesh(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "without-mesh").await?;
    let _controller = scene.start_controller_with(&["--metrics-profile=application"]).await?;
    let mut canary = scene.canary(&json!({"stepWeight": null, "maxWeight": null, "iterations": 3}));
    canary["spec"]["provider"] = json!("kubernetes");
    for metric in canary["spec"]["analysis"]["metrics"].as_array_mut().context("metrics")? {
        // The testers' first requests may take a while to be counted.
        metric["onNoData"] = json!("Hold");
    }
    scene.initialize(&canary).await?;
    let users = users_of(&scene, "frontend").await?;
    let _testers = users_of(&scene, "frontend-canary").await?;
    answers(&users, "1.0.0").await?;
    let started = Instant::now();
    scene.release("1.1.0", HEALTHY).await?;
    for iteration in 1..3 {
        scene.reach_when(&format!("iteration {iteration}"), |status| status.iterations == iteration).await?;
        ensure!(selector_of(&scene, "frontend").await? == json!({"app": "frontend-primary"}), "the apex moved");
        ensure!(users.share("1.1.0", started) == 0.0, "users see a release that is not promoted");
    }
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    let image = scene.image_of("frontend-primary").await?;
    ensure!(image == "testbed-app:1.1.0", "the primary runs {image}");
    ensure!(scene.replicas_of("frontend").await? == 0, "the canary was not scaled to zero");
    answers(&users, "1.1.0").await?;
    for (service, pods) in
        [("frontend", "frontend-primary"), ("frontend-primary", "frontend-primary"), ("frontend-canary", "frontend")]
    {
        let selector = selector_of(&scene, service).await?;
        ensure!(selector == json!({"app": pods}), "Service {service} selects {selector}");
    }
    users.ensure_served(started)?;
    let events = scene.events().await?;
    let text = "Advance frontend.without-mesh canary iteration 2/3";
    ensure!(events.iter().any(|event| event == text), "no Event {text:?} in {events:?}");
    let route = scene.routes().get_opt("frontend").await?;
    ensure!(route.is_none(), "there is a route where none was asked for: {route:?}");
    Ok(())
}

/// Without analysis nothing is measured, yet a release whose pods don't get ready does not replace the primary's.
async fn skipped(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "skipped").await?;
    let _controller = scene.start_controller().await?;
    let mut canary = scene.canary(&json!({}));
    canary["spec"]["skipAnalysis"] = json!(true);
    canary["spec"]["progressDeadlineSeconds"] = json!(10);
    scene.initialize(&canary).await?;
    let users = scene.users().await?;
    let primaries = scene.record_primary_images();
    scene.release("1.1.0", &[("ERROR_RATE", "0.5")]).await?;
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0], "the route went {:?}", scene.weights());
    ensure!(status.checks.is_empty(), "something was measured: {:?}", status.checks);
    let image = scene.image_of("frontend-primary").await?;
    ensure!(image == "testbed-app:1.1.0", "the primary runs {image}");
    scene.alert_with("Canary analysis was skipped, promotion finished.").await?;

    scene.release("1.2.0", &[("NEVER_READY", "1")]).await?;
    let status = scene.reach(Phase::Failed).await?;
    ensure!(status.history.first().is_some_and(|run| run.reason.contains("not ready")), "{:?}", status.history);
    let images = primaries.images();
    ensure!(!images.contains(&"testbed-app:1.2.0".to_owned()), "the primary was told to run {images:?}");
    let unanswered: Vec<_> = users.snapshot().into_iter().filter(|hit| hit.version.is_empty()).collect();
    ensure!(unanswered.is_empty(), "{} requests met no pod: {:?}", unanswered.len(), unanswered.first());
    Ok(())
}

async fn suspended(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "suspended").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({}))).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 20", |status| status.canary_weight == 20).await?;
    scene.patch_canary(&json!({"spec": {"suspend": true}})).await?;
    let held = scene
        .reach_when("the suspension seen", |status| {
            status.conditions.iter().any(|condition| condition.message.contains("Suspended"))
        })
        .await?;
    // Five intervals.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = scene.status().await?;
    ensure!(status.canary_weight == held.canary_weight, "the weight went on to {}", status.canary_weight);
    ensure!(status.phase == Phase::Progressing && status.failed_checks == held.failed_checks, "{status:?}");
    scene.patch_canary(&json!({"spec": {"suspend": false}})).await?;
    scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 10, 20, 30, 40, 50, 0], "the route went {:?}", scene.weights());
    Ok(())
}

/// Users of a Service that was there before the Canary, through a route that is there without it.
async fn reverted(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "reverted").await?;
    let _controller = scene.start_controller().await?;
    scene.apply(&service(&scene, &json!([{"port": 80, "targetPort": 8080}]))).await?;
    let mut canary = scene.canary(&json!({}));
    canary["spec"]["revertOnDeletion"] = json!(true);
    scene.initialize(&canary).await?;
    let users = users_of(&scene, "frontend").await?;
    answers(&users, "1.0.0").await?;
    let since = Instant::now();
    scene.canaries().delete("frontend", &DeleteParams::default()).await?;
    wait_until("the Canary to go", PATIENCE, async || {
        let left = scene.canaries().get_opt("frontend").await?;
        let Some(canary) = left else { return Ok(()) };
        Err(anyhow::anyhow!("its status is {}", canary.data["status"]))
    })
    .await?;
    // The Canary held on until all was given back.
    let selector = selector_of(&scene, "frontend").await?;
    ensure!(selector == json!({"app": "frontend"}), "the Service selects {selector}");
    let ready = scene.deployments().get("frontend").await?.status.and_then(|status| status.available_replicas);
    ensure!(ready == Some(1), "the target has {ready:?} ready pods");
    wait_until("the primary to go", PATIENCE, async || {
        let left = scene.deployments().get_opt("frontend-primary").await?;
        ensure!(left.is_none(), "it is still there");
        Ok(())
    })
    .await?;
    // Longer than the primary's pods need to drain and go.
    tokio::time::sleep(Duration::from_secs(3)).await;
    answers(&users, "1.0.0").await?;
    users.ensure_served(since)
}

async fn adopted(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "adopted").await?;
    let _controller = scene.start_controller().await?;
    scene.apply(&service(&scene, &json!([{"name": "admin", "port": 9090, "targetPort": 8081}]))).await?;
    scene.initialize(&scene.canary(&json!({}))).await?;
    let apex = services(&scene).get("frontend").await?;
    ensure!(apex.metadata.owner_references.is_none(), "an adopted Service would go with the Canary");
    let spec = serde_json::to_value(apex.spec)?;
    let ports: Vec<_> = spec["ports"].as_array().into_iter().flatten().collect();
    let ports: Vec<_> = ports.iter().map(|port| (&port["name"], &port["port"], &port["targetPort"])).collect();
    let expected = [(&json!("admin"), &json!(9090), &json!(8081)), (&json!("http"), &json!(80), &json!(8080))];
    ensure!(ports == expected, "its ports are {ports:?}");
    ensure!(spec["selector"] == json!({"app": "frontend-primary"}), "it selects {}", spec["selector"]);
    Ok(())
}

/// All objects as Flagger 1.4x leaves them: no run of its own, nothing restarted; the next release is analysed.
async fn left_by_flagger(testbed: Arc<Testbed>, phase: &str) -> Result<()> {
    let scene = Scene::new(&testbed, &format!("flagger-{}", phase.to_lowercase())).await?;
    scene.apply(&scene.alert_provider()).await?;
    let canary = scene.canary(&json!({"stepWeight": 50}));
    scene.apply(&canary).await?;
    let uid = scene.canaries().get("frontend").await?.metadata.uid.context("a uid")?;
    for object in of_flagger(&scene, &uid) {
        // With Flagger's user agent this is the name of the field manager.
        let arguments = ["create", "--field-manager=flagger", "--filename=-"];
        scene.testbed.kubectl_with_input(&arguments, &object.to_string()).await?;
    }
    let status = json!({"status": status_of_flagger(phase)});
    scene.canaries().patch_status("frontend", &PatchParams::default(), &Patch::Merge(status)).await?;
    let before = scene.deployments().get("frontend-primary").await?;

    let _controller = scene.start_controller().await?;
    scene.reach_when("a status of ours", |status| !status.revisions.observed.is_empty()).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = scene.status().await?;
    ensure!(format!("{:?}", status.phase) == phase && status.history.is_empty(), "{status:?}");
    ensure!(scene.replicas_of("frontend").await? == 0, "the target was scaled up");
    let after = scene.deployments().get("frontend-primary").await?;
    ensure!(before.metadata.generation == after.metadata.generation, "the primary was changed");
    let events = scene.events().await?;
    ensure!(!events.iter().any(|event| event.contains("New revision")), "{events:?}");

    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("promotion", |status| !status.history.is_empty() && status.phase == Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 50, 0], "the route went {:?}", scene.weights());
    Ok(())
}

fn status_of_flagger(phase: &str) -> Value {
    json!({
        "phase": phase,
        "canaryWeight": 0,
        "failedChecks": 0,
        "iterations": 0,
        "lastAppliedSpec": "5978589476",
        "lastPromotedSpec": "5978589476",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "trackedConfigs": {},
        "conditions": [{
            "type": "Promoted",
            "status": "True",
            "reason": phase,
            "message": "Canary analysis completed successfully, promotion finished.",
            "lastUpdateTime": "2026-01-02T03:04:05Z",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }],
    })
}

/// The target at zero, and what Flagger made of it (`pkg/canary/deployment_controller.go`, `pkg/router/kubernetes_default.go`,
/// `pkg/router/gateway_api.go`).
fn of_flagger(scene: &Scene, uid: &str) -> Vec<Value> {
    let namespace = &scene.namespace;
    let owner = json!([{
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "frontend", "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    let marks = json!({
        "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
        "helm.toolkit.fluxcd.io/driftDetection": "disabled",
    });
    let mut target = deployment(namespace, "1.0.0", HEALTHY);
    target["spec"]["replicas"] = json!(0);
    let mut primary = deployment(namespace, "1.0.0", HEALTHY);
    primary["metadata"] = json!({
        "name": "frontend-primary", "namespace": namespace, "labels": {"app": "frontend-primary"},
        "annotations": marks, "ownerReferences": owner,
    });
    primary["spec"]["replicas"] = json!(1);
    primary["spec"]["selector"] = json!({"matchLabels": {"app": "frontend-primary"}});
    primary["spec"]["template"]["metadata"] = json!({
        "labels": {"app": "frontend-primary"},
        "annotations": {"flagger-id": "2f9f4b0c-3c1f-4a52-8d0a-7a1e0b5c9d3e"},
    });
    let service = |name: &str, pods: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name, "namespace": namespace, "labels": {"app": name}, "annotations": marks,
                "ownerReferences": owner,
            },
            "spec": {
                "type": "ClusterIP",
                "selector": {"app": pods},
                "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            },
        })
    };
    let backend =
        |name: &str, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight});
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "frontend", "namespace": namespace, "annotations": marks, "ownerReferences": owner},
        "spec": {
            "parentRefs": [{"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}],
            "hostnames": [scene.host()],
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [backend("frontend-primary", 100), backend("frontend-canary", 0)],
            }],
        },
    });
    let services =
        [("frontend", "frontend-primary"), ("frontend-primary", "frontend-primary"), ("frontend-canary", "frontend")]
            .map(|(name, pods)| service(name, pods));
    [target, primary].into_iter().chain(services).chain([route]).collect()
}

/// A Service `frontend` for the target, as a person makes it.
fn service(scene: &Scene, ports: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "frontend", "namespace": scene.namespace},
        "spec": {"selector": {"app": "frontend"}, "ports": ports},
    })
}

fn services(scene: &Scene) -> Api<Service> {
    Api::namespaced(scene.testbed.client(), &scene.namespace)
}

async fn selector_of(scene: &Scene, name: &str) -> Result<Value> {
    let service = services(scene).get(name).await.with_context(|| format!("Service {name}"))?;
    Ok(json!(service.spec.and_then(|spec| spec.selector)))
}

/// Users who come in by a route of their own to one Service.
async fn users_of(scene: &Scene, service: &str) -> Result<Users> {
    let host = format!("{service}.{}.example", scene.namespace);
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": format!("to-{service}"), "namespace": scene.namespace},
        "spec": {
            "parentRefs": [{"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
        },
    });
    scene.apply(&route).await?;
    Users::start(scene.testbed.gateway_address(), &host, 20.0)
}

/// Waits until these users get answers of this version, and of no other.
async fn answers(users: &Users, version: &str) -> Result<()> {
    wait_until(&format!("answers of {version}"), PATIENCE, async || {
        let since = Instant::now() - Duration::from_secs(1);
        let (hits, share) = (users.since(since).len(), users.share(version, since));
        ensure!(hits > 10 && share > 0.999, "it has {share} of {hits}");
        Ok(())
    })
    .await
}
