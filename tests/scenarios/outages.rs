//! Not knowing is not failing: a metrics outage holds the run, and an alert sink holds nothing up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::{CanaryStatus, Outcome, Phase};
use serin_testbed::Testbed;

use crate::Scenarios;
use crate::scene::{HEALTHY, Scene};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("a_run_is_held_while_prometheus_is_down_and_then_resumes", held));
    trials.push(scenarios.trial("a_run_that_is_held_for_too_long_is_rolled_back", held_too_long));
    trials.push(scenarios.trial("slow_and_dead_alert_sinks_hold_nothing_up", slow_sinks));
}

async fn held(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "held").await?;
    let mut prometheus = testbed.start_prometheus("prometheus-of-held", 9191).await?;
    let _controller = scene.start_controller_with(&[&format!("--metrics-server={}", prometheus.url())]).await?;
    // A Prometheus that was just started has no numbers for some checks, which fails those.
    scene.initialize(&scene.canary(&json!({"threshold": 10, "stepWeight": 25}))).await?;
    let users = scene.users().await?;
    let started = Instant::now();
    scene.release("1.1.0", HEALTHY).await?;
    scene
        .reach_when("weight 25 in place", |status| status.canary_weight == 25 && status.traffic_applied_time.is_some())
        .await?;
    prometheus.stop();
    let before = scene.reach_when("a hold", |status| status.hold_since.is_some()).await?;
    // Five intervals.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = scene.status().await?;
    ensure!(status.phase == Phase::Progressing && status.canary_weight == 25, "it was not held: {status:?}");
    ensure!(status.hold_since == before.hold_since, "the hold began anew: {status:?}");
    ensure!(status.failed_checks == before.failed_checks, "not knowing counted as failing: {status:?}");
    ensure!(scene.weights() == [0, 25], "the route went {:?}", scene.weights());
    assert_condition_says(
        &status,
        "Reconciling",
        "Hold frontend.held at weight 25: request-success-rate query failed",
    )?;
    scene.alert_with("Hold frontend.held").await?;

    prometheus.start().await?;
    let status = scene.ended(1).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    ensure!(scene.weights() == [0, 25, 50, 0], "the route went {:?}", scene.weights());
    ensure!(scene.count_alerts("Hold") == 1, "{} alerts about one hold", scene.count_alerts("Hold"));
    users.ensure_served(started)
}

/// This Prometheus is not gone but frozen: it takes questions and never answers.
async fn held_too_long(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "held-too-long").await?;
    let mut prometheus = testbed.start_prometheus("prometheus-of-held-too-long", 9192).await?;
    let _controller = scene.start_controller_with(&[&format!("--metrics-server={}", prometheus.url())]).await?;
    scene.initialize(&scene.canary(&json!({"threshold": 10, "stepWeight": 25, "holdTimeout": "8s"}))).await?;
    let users = scene.users().await?;
    scene.release("1.1.0", HEALTHY).await?;
    scene
        .reach_when("weight 25 in place", |status| status.canary_weight == 25 && status.traffic_applied_time.is_some())
        .await?;
    prometheus.process().pause()?;
    let status = scene.ended(1).await?;
    let run = status.history.first().context("no history")?;
    ensure!(status.phase == Phase::Failed && run.outcome == Outcome::RolledBack, "{status:?}");
    ensure!(run.weight == 25, "the run reached {} %", run.weight);
    let reason = "request-success-rate not known for 8s: query failed: ";
    ensure!(run.reason.contains(reason), "the reason is {:?}", run.reason);
    assert_condition_says(&status, "Stalled", reason)?;
    let alert = scene.alert_with("rolled back").await?;
    ensure!(alert.body.to_string().contains(reason), "the alert says {}", alert.body);
    ensure!(scene.weights() == [0, 25, 0], "the route went {:?}", scene.weights());
    ensure!(scene.count_alerts("Hold") == 1, "{} alerts about one hold", scene.count_alerts("Hold"));
    ensure!(scene.count_alerts("rolled back") == 1, "{} alerts about one end", scene.count_alerts("rolled back"));
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let share = users.share("1.1.0", since);
    ensure!(share == 0.0, "{share} of the requests reach the refused release");
    Ok(())
}

/// Two people are told: one takes 20 s for an answer, the other is not there.
async fn slow_sinks(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "slow-sinks").await?;
    let _controller = scene.start_controller().await?;
    let answer_time = Duration::from_secs(20);
    let mut dead = scene.alert_provider();
    dead["metadata"]["name"] = json!("dead");
    // A reserved port, where nobody listens.
    dead["spec"]["address"] = json!("http://127.0.0.1:1/alerts");
    scene.apply(&dead).await?;
    let alerts: Vec<Value> = ["sink", "dead"]
        .iter()
        .map(|name| json!({"name": name, "severity": "info", "providerRef": {"name": name}}))
        .collect();
    scene.initialize(&scene.canary(&json!({"interval": "1s", "threshold": 2, "alerts": alerts}))).await?;
    let _users = scene.users().await?;
    scene.alert_with("initialization completed").await?;
    scene.sink.clear();
    scene.sink.answer_after(answer_time);
    scene.release("1.1.0", &[("ERROR_RATE", "1")]).await?;
    let status = scene.reach(Phase::Failed).await?;
    ensure!(status.history.first().is_some_and(|run| run.weight > 0), "the release got no traffic: {status:?}");
    let zero = scene.timed_weights().into_iter().rev().find(|(_, weight)| *weight == 0).context("no weight 0")?.0;
    scene.ended(1).await?;
    ensure!(scene.replicas_of("frontend").await? == 0, "the refused canary was not scaled to zero");
    let settled = Instant::now();
    scene.alert_with("rolled back").await?;
    let first = scene.sink.received().into_iter().next().context("no alert")?;
    ensure!(first.body.to_string().contains("New revision detected"), "the first alert is {}", first.body);
    let answered = first.at + answer_time;
    ensure!(zero < answered, "the route was at zero only {:?} after the first alert's answer", zero - answered);
    ensure!(settled < answered, "it was settled only {:?} after the first alert's answer", settled - answered);
    Ok(())
}

fn assert_condition_says(status: &CanaryStatus, kind: &str, words: &str) -> Result<()> {
    let condition = status.conditions.iter().find(|condition| condition.kind == kind).context("no such condition")?;
    ensure!(
        condition.status == "True" && condition.message.contains(words),
        "{kind} is {} and says {:?}",
        condition.status,
        condition.message
    );
    Ok(())
}
