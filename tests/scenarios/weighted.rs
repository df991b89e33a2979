//! The main job: a healthy release is promoted step by step, a bad one is taken back, only what was analysed is promoted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::{Outcome, Phase};
use serin_testbed::{Testbed, Users};

use crate::Scenarios;
use crate::scene::{Behaviour, HEALTHY, Scene, assert_share};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("the_manifest_of_the_readme_promotes_without_a_failed_request", manifest));
    trials.push(scenarios.trial("a_release_with_errors_is_rolled_back_and_the_alert_has_the_numbers", errors));
    trials.push(scenarios.trial("a_slow_release_is_rolled_back", slow));
    for (name, analysis, weights) in sequences() {
        trials.push(scenarios.trial(&format!("weights_go_as_flagger_s_{name}"), move |testbed| async move {
            sequence(testbed, name, analysis, &weights).await
        }));
    }
    trials.push(scenarios.trial("a_newer_release_in_mid_run_starts_over_and_is_the_one_promoted", newer));
    trials.push(scenarios.trial("a_release_that_lands_before_the_promotion_is_not_promoted_unseen", unseen));
}

/// The manifest as it stands in `examples/`, with seconds for minutes.
async fn manifest(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "default").await?;
    let _controller = scene.start_controller().await?;
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/frontend/canary.yaml"))?;
    let mut canary: Value = serde_saphyr::from_str(&text).context("the example")?;
    canary["spec"]["analysis"]["interval"] = json!("3s");
    for metric in canary["spec"]["analysis"]["metrics"].as_array_mut().context("metrics")? {
        metric["interval"] = json!("5s");
    }
    scene.initialize(&canary).await?;
    ensure!(scene.replicas_of("frontend").await? == 0, "the idle canary has replicas");
    let users = scene.users().await?;
    let started = Instant::now();
    scene.release("1.1.0", HEALTHY).await?;
    watch_shares(&scene, &users, "1.1.0").await?;
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 10, 20, 30, 40, 50, 0], "the route went {:?}", scene.weights());
    let image = scene.image_of("frontend-primary").await?;
    ensure!(image == "testbed-app:1.1.0", "the primary runs {image}");
    scene.reach_when("the canary back at zero", |_| true).await?;
    ensure!(scene.replicas_of("frontend").await? == 0, "the canary was not scaled to zero");
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    // Longer than the drain, so that nothing that the scale-down breaks is missed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    users.ensure_served(started)?;
    ensure!(users.share("1.1.0", Instant::now() - Duration::from_secs(1)) > 0.99, "users still see the old release");
    let events = scene.events().await?;
    for text in [
        "New revision detected! Scaling up frontend.default",
        "Starting canary analysis for frontend.default",
        "Advance frontend.default canary weight 30",
        "Copying frontend.default template spec to frontend-primary.default",
        "Promotion completed! Scaling down frontend.default",
    ] {
        ensure!(events.iter().any(|event| event == text), "no Event {text:?} in {events:?}");
    }
    Ok(())
}

/// At each step of the run, the share of real requests that reached the canary is what the weight says.
async fn watch_shares(scene: &Scene, users: &Users, version: &str) -> Result<()> {
    for weight in [10, 20, 30, 40, 50] {
        let status = scene
            .reach_when(&format!("weight {weight} in place"), |status| {
                status.canary_weight >= weight && status.traffic_applied_time.is_some()
            })
            .await?;
        // A moment for the data plane, then as long as the step lasts.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let since = Instant::now();
        scene
            .reach_when("the end of the step", |now| {
                now.canary_weight != status.canary_weight || now.phase != Phase::Progressing
            })
            .await?;
        let hits = users.since(since);
        assert_share(users.share(version, since), hits.len(), status.canary_weight)?;
    }
    Ok(())
}

async fn errors(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "errors").await?;
    let refused = refused(&scene, &[("ERROR_RATE", "0.05")], "request-success-rate").await?;
    let alert = &refused["message"];
    ensure!(alert.as_str().is_some_and(|text| text.contains("< 99")), "the alert has no bound: {alert}");
    Ok(())
}

async fn slow(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "slow").await?;
    let refused = refused(&scene, &[("LATENCY_MS", "800")], "request-duration").await?;
    let alert = &refused["message"];
    ensure!(alert.as_str().is_some_and(|text| text.contains("> 500")), "the alert has no bound: {alert}");
    Ok(())
}

/// Ships a bad release and sees it rolled back in the pass in which the threshold is reached, the route at zero before
/// the alert, the numbers in alert and Event, and no request on the canary afterwards. Returns the alert.
async fn refused(scene: &Scene, behaviour: Behaviour<'_>, metric: &str) -> Result<Value> {
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({}))).await?;
    let users = scene.users().await?;
    scene.release("1.1.0", behaviour).await?;
    let status = scene.reach(Phase::Failed).await?;
    let alert = scene.alert_with("rolled back").await?;
    let zero = scene.timed_weights().into_iter().rev().find(|(_, weight)| *weight == 0).context("no weight 0")?.0;
    ensure!(zero < alert.at, "the alert came before the route was at zero");
    let text = alert.body.to_string();
    ensure!(text.contains(metric) && text.contains("3 of 3 failed checks"), "the alert says {text}");
    let events = scene.event_with("Canary failed!").await?;
    // The first check of a release may find no request counted yet, which fails it too.
    let halts: Vec<_> = events.iter().filter(|event| event.starts_with("Halt ")).collect();
    ensure!(halts.len() == 3, "{} failed checks where the threshold is 3: {events:?}", halts.len());
    ensure!(halts.last().is_some_and(|halt| halt.contains(metric)), "the last failed check is another: {halts:?}");
    let run = status.history.first().context("no history")?;
    ensure!(run.outcome == Outcome::RolledBack && run.reason.contains(metric), "{run:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let share = users.share("1.1.0", since);
    ensure!(share == 0.0, "{share} of the requests reach the refused release");
    ensure!(scene.replicas_of("frontend").await? == 0, "the refused canary was not scaled to zero");
    Ok(alert.body)
}

type Sequence = (&'static str, Value, Vec<i32>);

/// The sequences of Flagger's own scheduler tests (`pkg/controller/scheduler_svc_test.go`, `scheduler_deployment_test.go`).
fn sequences() -> Vec<Sequence> {
    vec![
        ("step_20_max_50", json!({"stepWeight": 20, "maxWeight": 50}), vec![0, 20, 40, 60, 0]),
        ("step_50_max_100", json!({"stepWeight": 50, "maxWeight": 100}), vec![0, 50, 100, 0]),
        (
            "list_1_2_10_80",
            json!({"stepWeight": null, "maxWeight": null, "stepWeights": [1, 2, 10, 80]}),
            vec![0, 1, 2, 10, 80, 0],
        ),
        (
            "list_that_clamps_200",
            json!({"stepWeight": null, "maxWeight": null, "stepWeights": [1, 2, 10, 200]}),
            vec![0, 1, 2, 10, 100, 0],
        ),
        (
            "promotion_by_50",
            json!({"stepWeight": 100, "maxWeight": 100, "stepWeightPromotion": 50}),
            vec![0, 100, 50, 0],
        ),
    ]
}

async fn sequence(testbed: Arc<Testbed>, name: &str, analysis: Value, weights: &[i32]) -> Result<()> {
    let scene = Scene::new(&testbed, &name.replace('_', "-")).await?;
    let _controller = scene.start_controller().await?;
    // One per cent of few requests may be none in a window; whether that fails is not what this is about.
    let mut analysis = analysis;
    analysis["metrics"] = json!([{
        "name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "5s", "onNoData": "Pass",
    }]);
    scene.initialize(&scene.canary(&analysis)).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == weights, "the route went {:?}", scene.weights());
    Ok(())
}

async fn newer(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "newer").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 25}))).await?;
    let _users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 25", |status| status.canary_weight == 25).await?;
    scene.release("1.2.0", HEALTHY).await?;
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 25, 0, 25, 50, 0], "the route went {:?}", scene.weights());
    let image = scene.image_of("frontend-primary").await?;
    ensure!(image == "testbed-app:1.2.0", "the primary runs {image}");
    let outcomes: Vec<Outcome> = status.history.iter().map(|run| run.outcome).collect();
    ensure!(outcomes == [Outcome::Promoted, Outcome::Superseded], "{outcomes:?}");
    Ok(())
}

/// The newer release lands while the last check is being measured: Prometheus answers slowly just then.
async fn unseen(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "unseen").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 50}))).await?;
    let _users = scene.users().await?;
    let primaries = scene.record_primary_images();
    scene.release("1.1.0", HEALTHY).await?;
    let status = scene
        .reach_when("the last check", |status| status.canary_weight == 50 && status.traffic_applied_time.is_some())
        .await?;
    let due = status.next_check_time.context("no check is due")?;
    let left = (due - chrono::Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(left.saturating_sub(Duration::from_millis(30))).await;
    scene.release("1.2.0", &[("ERROR_RATE", "1")]).await?;
    scene.reach(Phase::Failed).await?;
    let images = primaries.images();
    ensure!(!images.contains(&"testbed-app:1.2.0".to_owned()), "the primary ran {images:?}");
    Ok(())
}
