//! Bad input of any kind gets a clear answer that names the field and the mend, and disturbs nothing.

mod answers;
mod manifests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use kube::api::{DynamicObject, ListParams, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::{CanaryStatus, Outcome, Phase, Verdict};
use serin_testbed::{Process, Testbed, wait_until};

use self::answers::Answers;
use self::manifests::{Refused, Stalled};
use crate::Scenarios;
use crate::privileges::ACCOUNT;
use crate::scene::{HEALTHY, PATIENCE, Scene, assert_share, merge};

/// What no status, Event or log may ever show.
const PASSWORD: &str = "hunter2";

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("bad_input_names_field_and_mend_and_disturbs_nobody", table));
    trials.push(scenarios.trial("bad_input_in_mid_run_changes_nothing_until_it_is_mended", edited));
    trials.push(scenarios.trial("a_bad_release_is_taken_back_although_a_repair_is_refused", unrepaired));
}

/// All of it at once, in one namespace under one controller, while a healthy Canary goes through a whole run.
async fn table(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "bad-input").await?;
    let mut controller = scene.start_controller_with(&["--no-cross-namespace-refs"]).await?;
    scene.apply_all(&manifests::policy(&scene.namespace)).await?;
    // A first check that comes too early finds nothing, which is not what this is about.
    scene.initialize(&scene.canary(&json!({"threshold": 10}))).await?;
    let users = scene.users().await?;
    let started = Instant::now();

    let stalled = manifests::stalled(&uid_of_frontend(&scene).await?);
    let answers = Answers::start().await?;
    policy_is_in_force(&scene).await?;
    scene.apply_all(&stalled.iter().flat_map(|case| objects(case, &scene.namespace)).collect::<Vec<_>>()).await?;
    scene.apply_all(&answers.objects(&scene.namespace)).await?;
    scene.release("1.1.0", HEALTHY).await?;

    refused(&scene).await?;
    told(&scene, &stalled).await?;
    judged(&scene, &answers).await?;
    alerts(&scene).await?;

    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 10, 20, 30, 40, 50, 0], "the route of the healthy one went {:?}", scene.weights());
    ensure!(status.history.len() == 1, "{:?}", status.history);
    users.ensure_served(started)?;

    mended(&scene).await?;
    deleted(&scene).await?;
    nothing_is_given_away(&scene, &mut controller).await
}

async fn uid_of_frontend(scene: &Scene) -> Result<String> {
    scene.deployments().get("frontend").await?.metadata.uid.context("the Deployment has no uid")
}

fn objects(case: &Stalled, namespace: &str) -> Vec<Value> {
    let mut objects = case.beside.clone();
    objects.push(canary(case.name, &case.spec));
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(namespace);
    }
    objects
}

/// A Canary of a Deployment of the same name, that is well but for the patch of its spec.
fn canary(name: &str, spec: &Value) -> Value {
    let mut canary = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "progressDeadlineSeconds": 10,
            "service": {"port": 80, "targetPort": 8080, "hosts": [format!("{name}.example")]},
            "analysis": {"interval": "2s", "threshold": 2, "maxWeight": 50, "stepWeight": 10},
        },
    });
    merge(&mut canary["spec"], spec);
    canary
}

/// A Deployment that asks for no pods itself; its primary gets one.
fn deployment(name: &str, spec: &Value) -> Value {
    let mut deployment = crate::scene::deployment("", "1.0.0", HEALTHY);
    deployment["metadata"] = json!({"name": name});
    deployment["spec"]["replicas"] = json!(0);
    deployment["spec"]["selector"]["matchLabels"] = json!({"app": name});
    deployment["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
    merge(&mut deployment["spec"], spec);
    deployment
}

/// An admission policy takes a moment until it is in force.
async fn policy_is_in_force(scene: &Scene) -> Result<()> {
    let probe = serde_json::from_value(deployment("policy-primary", &json!({})))?;
    wait_until("the admission policy", PATIENCE, async || {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let answer = scene.deployments().create(&dry_run, &probe).await;
        ensure!(answer.is_err(), "it lets everything through");
        Ok(())
    })
    .await
}

/// What the API server refuses, with words that help.
async fn refused(scene: &Scene) -> Result<()> {
    let mut wrong = Vec::new();
    for Refused { name, mut object, words } in manifests::refused() {
        object["metadata"]["namespace"] = json!(scene.namespace);
        match scene.apply(&object).await {
            Ok(()) => wrong.push(format!("{name}: was accepted")),
            Err(error) => wrong.extend(missing(name, &format!("{error:#}"), words)),
        }
    }
    let nonsense = json!({"status": {"canaryWeight": "most", "phase": "Done"}}).to_string();
    let edit = ["patch", "canary", "frontend", "--subresource=status", "--type=merge", "--patch", &nonsense];
    let namespaced = [&["--namespace", &scene.namespace], &edit[..]].concat();
    match scene.testbed.kubectl(&namespaced).await {
        Ok(_) => wrong.push("a status of nonsense: was accepted".to_owned()),
        Err(error) => wrong.extend(missing(
            "a status of nonsense",
            &format!("{error:#}"),
            &["status.canaryWeight: Invalid value", "status.phase: Unsupported value"],
        )),
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn missing(name: &str, text: &str, words: &[&str]) -> Vec<String> {
    let missing = words.iter().filter(|words| !text.contains(**words));
    missing.map(|words| format!("{name}: no {words:?} in {text:?}")).collect()
}

/// What the API server accepts and Serin can't act upon.
async fn told(scene: &Scene, cases: &[Stalled]) -> Result<()> {
    wait_until("every bad Canary to say so", PATIENCE, async || {
        let found = scene.canaries().list(&ListParams::default()).await?;
        let found: BTreeMap<_, _> = found.items.into_iter().map(|one| (one.metadata.name.clone(), one)).collect();
        let wrong: Vec<_> = cases
            .iter()
            .flat_map(|case| match found.get(&Some(case.name.to_owned())) {
                Some(object) => unlike(case, object),
                None => vec![format!("{}: is gone", case.name)],
            })
            .collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

fn unlike(case: &Stalled, object: &DynamicObject) -> Vec<String> {
    let name = case.name;
    let status: CanaryStatus = match serde_json::from_value(object.data["status"].clone()) {
        Ok(status) => status,
        Err(error) => return vec![format!("{name}: {error}")],
    };
    let is = |kind: &str, value: &str| status.conditions.iter().any(|one| one.kind == kind && one.status == value);
    let Some(stalled) = status.conditions.iter().find(|one| one.kind == "Stalled") else {
        return vec![format!("{name}: has no condition Stalled")];
    };
    if !(is("Stalled", "True") && is("Ready", "False") && is("Reconciling", "False")) || stalled.reason != case.reason {
        return vec![format!("{name}: not stalled with {} but {:?}", case.reason, status.conditions)];
    }
    if status.observed_generation != object.metadata.generation {
        return vec![format!("{name}: the status is not of this generation")];
    }
    missing(name, &stalled.message, case.words)
}

/// Templates, Secrets and answers: each is told in the checks, holds one Canary and fails the other, as they ask for.
async fn judged(scene: &Scene, answers: &Answers) -> Result<()> {
    for name in ["held", "failed"] {
        wait_for(scene, name, "its initialization", |status| status.phase == Phase::Initialized).await?;
    }
    scene.apply_all(&Answers::releases(&scene.namespace)).await?;
    let held = wait_for(scene, "held", "a hold", |status| status.hold_since.is_some()).await?;
    let failed = wait_for(scene, "failed", "its failure", |status| status.phase == Phase::Failed).await?;
    let mut wrong = answers.unlike(&held, Verdict::Inconclusive);
    wrong.extend(answers.unlike(&failed, Verdict::Fail));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let run = failed.history.first().context("no history")?;
    ensure!(run.outcome == Outcome::RolledBack, "{run:?}");
    let first = failed.checks.first().context("no checks")?;
    ensure!(run.reason.contains(&first.name) && run.reason.contains(&first.reason), "{run:?}");

    let next = held.next_check_time.context("no next check")?;
    let now = wait_for(scene, "held", "the next check", |status| status.next_check_time > Some(next)).await?;
    let same = now.phase == Phase::Progressing && (now.iterations, now.failed_checks) == (0, 0);
    ensure!(same && now.hold_since == held.hold_since, "it was not held: {now:?}");
    Ok(())
}

async fn wait_for(scene: &Scene, name: &str, what: &str, is: impl Fn(&CanaryStatus) -> bool) -> Result<CanaryStatus> {
    wait_until(&format!("{what} of {name}"), PATIENCE, async || {
        let status = scene.status_of(name).await?;
        ensure!(is(&status), "its status is {}", serde_json::to_string(&status)?);
        Ok(status)
    })
    .await
}

/// An alert that can't be sent is told by an Event, and keeps no other from being sent.
async fn alerts(scene: &Scene) -> Result<()> {
    scene.alert_with("failed.bad-input was rolled back").await?;
    wait_until("the Events about alerts", PATIENCE, async || {
        let events = scene.events().await?;
        let wrong: Vec<_> = answers::ALERTS
            .iter()
            .filter(|(name, words)| {
                let begin = format!("Alert {name} was not sent: ");
                !events.iter().any(|event| event.starts_with(&begin) && event.contains(words))
            })
            .collect();
        ensure!(wrong.is_empty(), "no Events {wrong:?} in {events:#?}");
        Ok(())
    })
    .await
}

/// What was bad works once it is mended as the message says, without a restart of anything.
async fn mended(scene: &Scene) -> Result<()> {
    let namespace = ["--namespace", &scene.namespace];
    let mut config_map = manifests::config_map("no-config-map");
    config_map["metadata"]["namespace"] = json!(scene.namespace);
    scene.apply(&config_map).await?;
    let rename = json!({"spec": {"service": {"name": "not-taken"}}}).to_string();
    let patch = ["patch", "canary", "service-taken", "--type=merge", "--patch", &rename];
    scene.testbed.kubectl(&[&namespace, &patch[..]].concat()).await?;
    scene.testbed.kubectl(&["delete", "validatingadmissionpolicybinding", "bad-input"]).await?;
    let known = json!({"spec": {"analysis": {"metrics": []}}}).to_string();
    let patch = ["patch", "canary", "held", "--type=merge", "--patch", &known];
    scene.testbed.kubectl(&[&namespace, &patch[..]].concat()).await?;
    for (name, phase) in [
        ("no-config-map", Phase::Initialized),
        ("service-taken", Phase::Initialized),
        ("policy", Phase::Initialized),
        ("held", Phase::Succeeded),
    ] {
        let is_well = |status: &CanaryStatus| {
            status.phase == phase && status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True")
        };
        wait_for(scene, name, "its recovery", is_well).await?;
    }
    Ok(())
}

/// A Canary that can't be used can be deleted all the same.
async fn deleted(scene: &Scene) -> Result<()> {
    let mut leaving = canary("leaving", &json!({"provider": "istio", "revertOnDeletion": true}));
    leaving["metadata"]["namespace"] = json!(scene.namespace);
    leaving["metadata"]["finalizers"] = json!(["finalizer.flagger.app"]);
    scene.apply(&leaving).await?;
    let delete = ["delete", "canaries", "--all", "--timeout=60s", "--namespace", &scene.namespace];
    scene.testbed.kubectl(&delete).await.context("deleting every Canary").map(drop)
}

async fn nothing_is_given_away(scene: &Scene, controller: &mut Process) -> Result<()> {
    ensure!(controller.is_running(), "the controller ended");
    let log = controller.log();
    ensure!(!log.contains("panic"), "something panicked, see {}", controller.log_path().display());
    let events = scene.events().await?;
    if [log, events.join("\n")].iter().any(|text| text.contains(PASSWORD)) {
        bail!("a password is in the log or in an Event");
    }
    let requests = scene.testbed.audit_requests(Some(ACCOUNT), SystemTime::UNIX_EPOCH)?;
    let tries = requests.iter().filter(|request| request.name == "policy-primary" && request.code == 422).count();
    ensure!((1..20).contains(&tries), "what is refused was tried {tries} times");
    Ok(())
}

/// A bad edit lands while the canary has traffic: the weight stays, the run goes on once it is mended.
async fn edited(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "edited").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 25, "threshold": 10}))).await?;
    let users = scene.users().await?;
    let started = Instant::now();
    scene.release("1.1.0", HEALTHY).await?;
    let before = scene
        .reach_when("weight 25 in place", |status| status.canary_weight == 25 && status.traffic_applied_time.is_some())
        .await?;
    let webhook = json!([{"name": "load", "url": "http://loadtester.test/"}]);
    scene.patch_canary(&json!({"spec": {"analysis": {"webhooks": webhook}}})).await?;
    let during = scene
        .reach_when("the refusal", |status| {
            status.conditions.iter().any(|one| one.kind == "Stalled" && one.message.contains("spec.analysis.webhooks"))
        })
        .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let since = Instant::now();
    // Several intervals.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let after = scene.status().await?;
    ensure!(after == during, "the status went on: {after:?}");
    ensure!(after.phase == Phase::Progressing && after.failed_checks == before.failed_checks, "{after:?}");
    ensure!(scene.weights() == [0, 25], "the route went {:?}", scene.weights());
    assert_share(users.share("1.1.0", since), users.since(since).len(), 25)?;

    scene.patch_canary(&json!({"spec": {"analysis": {"webhooks": null}}})).await?;
    let status = scene.reach(Phase::Succeeded).await?;
    ensure!(scene.weights() == [0, 25, 50, 0], "the route went {:?}", scene.weights());
    let outcomes: Vec<_> = status.history.iter().map(|run| run.outcome).collect();
    ensure!(outcomes == [Outcome::Promoted], "{outcomes:?}");
    users.ensure_served(started)
}

/// The cluster does not let Serin repair a Service that somebody changed: that is told, and users don't wait for it.
async fn unrepaired(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "unrepaired").await?;
    let _controller = scene.start_controller().await?;
    scene.initialize(&scene.canary(&json!({"stepWeight": 25}))).await?;
    scene.apply_all(&manifests::no_repairs(&scene.namespace)).await?;
    let label = |value: &str| format!("app={value}");
    let service = ["label", "--overwrite", "--namespace", &scene.namespace, "service", "frontend-canary"];
    let is_refused = |status: &CanaryStatus| {
        let refused = "Service frontend-canary.unrepaired: ";
        let stalled = status.conditions.iter().find(|one| one.kind == "Stalled" && one.status == "True");
        stalled.is_some_and(|one| one.message.contains(refused) && one.message.contains("nobody repairs it"))
    };
    // The policy takes a moment until it is in force, and until then the Service is repaired.
    let mut drift = 0;
    wait_until("a repair to be refused", PATIENCE, async || {
        drift += 1;
        scene.testbed.kubectl(&[&service[..], &[&label(&format!("drifted-{drift}"))]].concat()).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let status = scene.status().await?;
        ensure!(is_refused(&status), "the conditions are {:?}", status.conditions);
        Ok(())
    })
    .await?;

    let users = scene.users().await?;
    scene.release("1.1.0", &[("ERROR_RATE", "1")]).await?;
    let status = scene.reach(Phase::Failed).await?;
    let run = status.history.first().context("no history")?;
    ensure!(run.outcome == Outcome::RolledBack && run.reason.contains("request-success-rate"), "{run:?}");
    ensure!(scene.weights() == [0, 25, 0], "the route went {:?}", scene.weights());
    scene.alert_with("rolled back").await?;
    ensure!(is_refused(&scene.status().await?), "what is refused is not told any more");
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(users.share("1.1.0", since) == 0.0, "users still get the bad release");
    scene.testbed.kubectl(&["delete", "validatingadmissionpolicybinding", "unrepaired"]).await?;
    scene.reach_when("the repair", |status| !is_refused(status)).await?;
    Ok(())
}
