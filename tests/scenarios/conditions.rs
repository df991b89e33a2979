//! What pipelines and people read: conditions as `kubectl wait` sees them, and the columns of `kubectl get`.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use serin::api::status::{CanaryStatus, Phase};
use serin_testbed::{Testbed, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, PATIENCE, Scene};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("conditions_mean_what_they_say_at_each_stage", stages));
    trials.push(scenarios.trial("every_canary_that_was_there_before_the_controller_is_looked_at", there_before));
}

/// Long enough for several looks at one step.
const INTERVAL: &str = "10s";

/// Conditions as `kubectl wait` is asked for them: type and value. `Unknown` is neither true nor false.
type Conditions = [(&'static str, &'static str); 4];

const SETTLED: Conditions = [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False"), ("Promoted", "True")];
const RUNNING: Conditions =
    [("Ready", "Unknown"), ("Reconciling", "True"), ("Stalled", "False"), ("Promoted", "Unknown")];
const REFUSED: Conditions = [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True"), ("Promoted", "False")];

async fn stages(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "conditions").await?;
    scene.deploy("1.0.0", HEALTHY).await?;
    scene.apply(&scene.alert_provider()).await?;
    scene.apply(&scene.canary(&json!({"interval": INTERVAL, "stepWeight": 50, "threshold": 1}))).await?;
    unseen(&scene).await?;

    let _controller = scene.start_controller().await?;
    let _users = scene.users().await?;
    // As a pipeline does: it waits from the moment of applying, across the whole initialisation.
    kubectl_wait(&scene, "Ready", "True", "120s").await?;
    stage(&scene, "initialised", &SETTLED).await?;
    ensure!(scene.status().await?.phase == Phase::Initialized, "{:?}", scene.status().await?);
    columns(&scene, &["Initialized", "0"], &["0", INTERVAL, "50", "50"]).await?;

    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 50", |status| status.canary_weight == 50).await?;
    stage(&scene, "in mid-run", &RUNNING).await?;
    columns(&scene, &["Progressing", "50"], &["0", INTERVAL, "50", "50"]).await?;
    kubectl_wait(&scene, "Promoted", "True", "120s").await?;
    stage(&scene, "promoted", &SETTLED).await?;
    ensure!(scene.status().await?.phase == Phase::Succeeded, "{:?}", scene.status().await?);
    columns(&scene, &["Succeeded", "0"], &["0", INTERVAL, "50", "50"]).await?;

    invalid(&scene).await?;
    stage(&scene, "mended", &SETTLED).await?;

    scene.release("1.2.0", &[("ERROR_RATE", "0.5")]).await?;
    kubectl_wait(&scene, "Stalled", "True", "120s").await?;
    stage(&scene, "rolled back", &REFUSED).await?;
    let status = scene.status().await?;
    for condition in ["Ready", "Stalled"] {
        let message = message_of(&status, condition)?;
        ensure!(message.contains("request-success-rate") && message.contains("< 99"), "{condition} says {message}");
    }
    columns(&scene, &["Failed", "0"], &["0", INTERVAL, "50", "50"]).await
}

/// Their first passes all wait for the same first lists.
async fn there_before(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "there-before").await?;
    let names: Vec<String> = (0..20).map(|number| format!("canary-{number}")).collect();
    for name in &names {
        let mut canary = scene.canary(&json!({"alerts": null}));
        canary["metadata"]["name"] = json!(name);
        canary["spec"]["targetRef"]["name"] = json!(format!("{name}-target"));
        scene.apply(&canary).await?;
    }
    let _controller = scene.start_controller().await?;
    for name in &names {
        wait_until(&format!("{name} to be looked at"), PATIENCE, async || {
            let message = message_of(&scene.status_of(name).await?, "Stalled")?;
            ensure!(message.contains(&format!("Deployment {name}-target does not exist")), "it says {message}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A Canary that no controller has seen is not ready, and says so to whoever compares generations.
async fn unseen(scene: &Scene) -> Result<()> {
    let object = scene.canaries().get("frontend").await?;
    let observed = object.data.pointer("/status/observedGeneration");
    ensure!(observed == Some(&json!(-1)), "a fresh Canary has observedGeneration {observed:?}");
    for condition in ["Ready", "Promoted"] {
        ensure!(!holds(scene, condition, "True").await, "a fresh Canary is {condition}");
    }
    Ok(())
}

/// An edit that the schema lets through and Serin can't use, and its mend.
async fn invalid(scene: &Scene) -> Result<()> {
    let falling = json!({"spec": {"analysis": {"stepWeight": null, "stepWeights": [50, 10]}}});
    scene.patch_canary(&falling).await?;
    kubectl_wait(scene, "Stalled", "True", "30s").await?;
    stage(
        scene,
        "an invalid edit",
        &[("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True"), ("Promoted", "True")],
    )
    .await?;
    let status = scene.status().await?;
    let message = message_of(&status, "Stalled")?;
    ensure!(message.contains("spec.analysis.stepWeights[1]"), "it does not name the field: {message}");
    let mend = json!({"spec": {"analysis": {"stepWeight": 50, "stepWeights": null}}});
    scene.patch_canary(&mend).await?;
    kubectl_wait(scene, "Ready", "True", "30s").await
}

/// Every condition has its value and speaks of the Canary as it is now.
async fn stage(scene: &Scene, stage: &str, expected: &Conditions) -> Result<()> {
    // At once, for a step does not last for ever. A condition has one value, so what is Unknown or False is not True.
    let waits = expected.iter().map(async |(condition, value)| {
        let kubectl = kubectl_wait(scene, condition, value, "5s").await;
        kubectl.with_context(|| format!("{stage}: {condition} is not {value}"))
    });
    futures::future::try_join_all(waits).await?;
    let object = scene.canaries().get("frontend").await?;
    let status = scene.status().await?;
    let generations: Vec<Option<i64>> =
        status.conditions.iter().map(|condition| condition.observed_generation).collect();
    ensure!(
        status.observed_generation == object.metadata.generation
            && generations.iter().all(|generation| *generation == object.metadata.generation),
        "{stage}: at generation {:?} the status speaks of {:?} and its conditions of {generations:?}",
        object.metadata.generation,
        status.observed_generation
    );
    Ok(())
}

fn message_of(status: &CanaryStatus, condition: &str) -> Result<String> {
    let found = status.conditions.iter().find(|found| found.kind == condition);
    found.map(|found| found.message.clone()).with_context(|| format!("there is no condition {condition}"))
}

async fn kubectl_wait(scene: &Scene, condition: &str, value: &str, timeout: &str) -> Result<()> {
    let arguments = [
        "wait",
        "canary/frontend",
        &format!("--namespace={}", scene.namespace),
        &format!("--for=condition={condition}={value}"),
        &format!("--timeout={timeout}"),
    ];
    scene.testbed.kubectl(&arguments).await.map(drop)
}

/// Whether `kubectl wait` finds it so at its first look.
async fn holds(scene: &Scene, condition: &str, value: &str) -> bool {
    kubectl_wait(scene, condition, value, "0s").await.is_ok()
}

/// The columns of `kubectl get canaries`, Flagger's: values that are there in each, and those that `-o wide` adds.
async fn columns(scene: &Scene, narrow: &[&str], wide: &[&str]) -> Result<()> {
    let narrow_names = ["NAME", "STATUS", "WEIGHT", "LASTTRANSITIONTIME"];
    let wide_names = [
        "NAME",
        "STATUS",
        "WEIGHT",
        "SUSPENDED",
        "FAILEDCHECKS",
        "INTERVAL",
        "MIRROR",
        "STEPWEIGHT",
        "STEPWEIGHTS",
        "MAXWEIGHT",
        "LASTTRANSITIONTIME",
    ];
    let narrow_values = [&["frontend"], narrow].concat();
    let wide_values = [&["frontend"], narrow, wide].concat();
    for (option, names, values) in
        [("--output=", &narrow_names[..], narrow_values), ("--output=wide", &wide_names[..], wide_values)]
    {
        wait_until(&format!("kubectl get {option}"), PATIENCE, async || {
            let namespace = format!("--namespace={}", scene.namespace);
            let printed = scene.testbed.kubectl(&["get", "canaries", &namespace, option]).await?;
            let mut lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let (header, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            ensure!(header == names, "the columns are {header:?}");
            // The last one is a time; what is not set prints nothing.
            let (time, shown) = row.split_last().context("an empty row")?;
            ensure!(shown == values && time.starts_with("20"), "the row is {row:?} where {values:?} is expected");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
