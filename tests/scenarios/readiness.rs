//! Pods that are not ready: a canary that never is, a canary that dies in mid-run, a primary that is broken already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::json;
use serin::api::status::{Outcome, Phase};
use serin_testbed::{Testbed, Users, wait_until};

use crate::Scenarios;
use crate::scene::{Behaviour, HEALTHY, Scene};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    for (name, version, behaviour) in NEVER_READY {
        trials.push(
            scenarios.trial(&format!("a_canary_that_{name}_fails_by_the_deadline"), move |testbed| async move {
                never_ready(testbed, name, version, behaviour).await
            }),
        );
    }
    trials.push(scenarios.trial("a_canary_that_loses_its_pods_loses_its_traffic_and_earns_it_anew", recovers));
    trials.push(scenarios.trial("a_canary_whose_pods_die_again_and_again_is_rolled_back", dies));
    trials.push(scenarios.trial("a_first_release_that_is_broken_can_be_mended", first_release));
    trials.push(scenarios.trial("a_mend_gets_through_to_a_broken_primary", broken_primary));
}

/// Canaries that never get a ready pod: what they are called, their image's tag, their environment.
const NEVER_READY: [(&str, &str, Behaviour<'static>); 3] = [
    ("is_never_healthy", "1.1.0", &[("NEVER_READY", "1")]),
    ("has_no_image", "missing", HEALTHY),
    ("crashes", "1.1.0", &[("START_DELAY_MS", "5000"), ("CRASH_AFTER_MS", "300")]),
];

async fn never_ready(testbed: Arc<Testbed>, name: &str, version: &str, behaviour: Behaviour<'_>) -> Result<()> {
    let scene = Scene::new(&testbed, &format!("unready-{}", name.replace('_', "-"))).await?;
    let _controller = scene.start_controller().await?;
    let mut canary = scene.canary(&json!({}));
    canary["spec"]["progressDeadlineSeconds"] = json!(8);
    scene.initialize(&canary).await?;
    let users = scene.users().await?;
    let started = Instant::now();
    scene.release(version, behaviour).await?;
    let status = scene.ended(1).await?;
    let run = status.history.first().context("no history")?;
    ensure!(status.phase == Phase::Failed && run.outcome == Outcome::RolledBack, "{status:?}");
    let reason = "not ready within 8s: waiting for pods to become available";
    ensure!(run.reason.contains(reason), "the reason is {:?}", run.reason);
    let alert = scene.alert_with("rolled back").await?;
    ensure!(alert.body["severity"] == "error", "the alert is {}", alert.body);
    ensure!(alert.body.to_string().contains(reason), "the alert says {}", alert.body);
    scene.event_with(reason).await?;
    ensure!(scene.replicas_of("frontend").await? == 0, "the refused canary was not scaled to zero");
    ensure!(scene.weights() == [0], "the route went {:?}", scene.weights());
    tokio::time::sleep(Duration::from_secs(1)).await;
    users.ensure_served(started)?;
    ensure!(users.share("1.0.0", started) >= 1.0, "somebody saw another release");
    Ok(())
}

/// All pods are lost at once, and the new ones take three seconds to come up.
async fn recovers(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "recovers").await?;
    let _controller = scene.start_controller().await?;
    // Requests that were lost with the pods fail checks as long as they are in the metrics' window.
    scene.initialize(&scene.canary(&json!({"stepWeight": 25, "threshold": 20}))).await?;
    let users = scene.users().await?;
    scene.release("1.1.0", &[("START_DELAY_MS", "3000")]).await?;
    scene
        .reach_when("weight 50 in place", |status| status.canary_weight == 50 && status.traffic_applied_time.is_some())
        .await?;
    let pods: Api<Pod> = Api::namespaced(testbed.client(), &scene.namespace);
    pods.delete_collection(&DeleteParams::default(), &ListParams::default().labels("app=frontend")).await?;
    let lost = Instant::now();
    let zero = wait_until("weight 0", Duration::from_secs(20), async || {
        let weights = scene.timed_weights();
        let zero = weights.iter().find(|(at, weight)| *at > lost && *weight == 0).map(|(at, _)| *at);
        zero.with_context(|| format!("the route went {:?}", scene.weights()))
    })
    .await?;
    let status = scene.ended(1).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    ensure!(scene.weights() == [0, 25, 50, 0, 25, 50, 0], "the route went {:?}", scene.weights());
    assert_nobody_harmed_while_closed(&scene, &users, zero)?;
    scene.event_with("lost all ready pods at weight 50").await?;
    Ok(())
}

/// The application ends with an error some seconds after each start.
async fn dies(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "dies").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 25}))).await?;
    let users = scene.users().await?;
    scene.release("1.1.0", &[("CRASH_AFTER_MS", "4000")]).await?;
    let status = scene.ended(1).await?;
    let run = status.history.first().context("no history")?;
    ensure!(status.phase == Phase::Failed && run.outcome == Outcome::RolledBack, "{status:?}");
    let weights = scene.weights();
    ensure!(weights.starts_with(&[0, 25]) && weights.ends_with(&[0]), "the route went {weights:?}");
    let alert = scene.alert_with("rolled back").await?;
    ensure!(alert.body.to_string().contains(&run.reason), "the alert says {}", alert.body);
    let zero = scene.timed_weights().into_iter().rev().find(|(_, weight)| *weight > 0).context("no weight")?.0;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let since = zero.max(Instant::now() - Duration::from_secs(1));
    users.ensure_served(since).context("after the rollback")?;
    ensure!(scene.replicas_of("frontend").await? == 0, "the refused canary was not scaled to zero");
    Ok(())
}

/// Between a moment after `zero` and the next rise of the canary's weight, every request succeeds.
fn assert_nobody_harmed_while_closed(scene: &Scene, users: &Users, zero: Instant) -> Result<()> {
    // A moment for the data plane.
    let from = zero + Duration::from_millis(500);
    let weights = scene.timed_weights();
    let until = weights.iter().find(|(at, weight)| *at > zero && *weight > 0).context("the weight never rose again")?.0;
    let failed: Vec<_> = users.failed(from).into_iter().filter(|hit| hit.at < until).collect();
    ensure!(failed.is_empty(), "{} requests failed at weight 0, the first: {:?}", failed.len(), failed.first());
    Ok(())
}

async fn first_release(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "first-release").await?;
    let _controller = scene.start_controller().await?;
    scene.deploy("1.0.0", &[("NEVER_READY", "1")]).await?;
    scene.apply(&scene.alert_provider()).await?;
    let mut canary = scene.canary(&json!({}));
    canary["spec"]["progressDeadlineSeconds"] = json!(5);
    scene.apply(&canary).await?;
    let status = scene
        .reach_when("a stall", |status| {
            status.conditions.iter().any(|condition| condition.kind == "Stalled" && condition.status == "True")
        })
        .await?;
    let stalled = status.conditions.iter().find(|condition| condition.kind == "Stalled").context("not stalled")?;
    ensure!(
        stalled.reason == "PrimaryNotReady" && stalled.message.contains("frontend-primary.first-release"),
        "{stalled:?}"
    );
    scene.alert_with("Initialization of frontend.first-release is stuck").await?;
    scene.release("1.0.1", HEALTHY).await?;
    scene.reach(Phase::Initialized).await?;
    ensure!(scene.image_of("frontend-primary").await? == "testbed-app:1.0.1", "the primary was not mended");
    ensure!(scene.count_alerts("is stuck") == 1, "{} alerts about one stall", scene.count_alerts("is stuck"));
    let users = scene.users().await?;
    assert_served_by(&users, "1.0.1").await?;
    scene.release("1.1.0", HEALTHY).await?;
    let status = scene.ended(1).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    assert_served_by(&users, "1.1.0").await
}

/// Somebody broke the primary: it has no pods any more. The canary's checks are about the canary, so the mend is
/// analysed and promoted as any release is.
async fn broken_primary(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "broken-primary").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 25}))).await?;
    let users = scene.users().await?;
    assert_served_by(&users, "1.0.0").await?;
    let broken = json!({"spec": {
        "strategy": {"type": "Recreate", "rollingUpdate": null},
        "template": {"spec": {"containers": [{"name": "app", "image": "testbed-app:missing"}]}},
    }});
    let primaries: Api<Deployment> = scene.deployments();
    primaries.patch("frontend-primary", &PatchParams::default(), &Patch::Strategic(&broken)).await?;
    wait_until("users without an answer", Duration::from_secs(20), async || {
        let share = users.share("1.0.0", Instant::now() - Duration::from_secs(1));
        ensure!(share == 0.0, "{share} of the requests are still answered");
        Ok(())
    })
    .await?;
    scene.release("1.1.0", HEALTHY).await?;
    let status = scene.ended(1).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    ensure!(scene.image_of("frontend-primary").await? == "testbed-app:1.1.0", "the primary was not mended");
    assert_served_by(&users, "1.1.0").await
}

/// Waits until every request of a second succeeds and is answered by this version.
async fn assert_served_by(users: &Users, version: &str) -> Result<()> {
    wait_until(&format!("users who all see {version}"), Duration::from_secs(20), async || {
        let since = Instant::now() - Duration::from_secs(1);
        let share = users.share(version, since);
        ensure!(share >= 1.0, "its share is {share}");
        Ok(())
    })
    .await
}
