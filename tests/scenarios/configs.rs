//! Configuration belongs to a revision: a changed ConfigMap or Secret is analysed and promoted like a changed image.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::Api;
use libtest_mimic::Trial;
use reqwest::header::HOST;
use serde_json::{Value, json};
use serin::api::status::{Outcome, Phase};
use serin_testbed::{Testbed, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, Scene, deployment};

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("a_changed_config_map_or_secret_starts_a_run_and_is_promoted", promoted));
    trials.push(scenarios.trial("configuration_that_goes_back_in_mid_run_ends_it_without_a_promotion", reverted));
    trials.push(scenarios.trial("configuration_that_changes_in_mid_run_is_not_promoted_unseen", unseen));
}

/// What the application is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    greeting: &'static str,
    token: &'static str,
    /// The ConfigMap's `binaryData.logo`, in base64.
    logo: &'static str,
}

const FIRST: Settings = Settings { greeting: "hello", token: "one", logo: "AAEC/w==" };

async fn promoted(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "configs").await?;
    let _controller = scene.start_controller().await?;
    initialize(&scene).await?;
    assert_copies(&scene, FIRST).await?;
    assert_users_see(&scene, FIRST).await?;
    let users = scene.users().await?;
    let started = Instant::now();

    let greeted = Settings { greeting: "good morning", logo: "/wAB", ..FIRST };
    configure(&scene, greeted).await?;
    assert_promoted(&scene, greeted, 1).await?;

    let authorized = Settings { token: "two", ..greeted };
    configure(&scene, authorized).await?;
    assert_promoted(&scene, authorized, 2).await?;

    ensure!(scene.weights() == [0, 50, 0, 50, 0], "the route went {:?}", scene.weights());
    users.ensure_served(started)
}

async fn reverted(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "configs-reverted").await?;
    let _controller = scene.start_controller().await?;
    initialize(&scene).await?;
    let users = scene.users().await?;
    let started = Instant::now();
    let primary = primary_generation(&scene).await?;
    configure(&scene, Settings { greeting: "oops", ..FIRST }).await?;
    scene.reach_when("weight 50", |status| status.canary_weight == 50).await?;
    configure(&scene, FIRST).await?;
    let status = scene.ended(1).await?;
    ensure!(status.phase == Phase::Succeeded, "{status:?}");
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Withdrawn), "{:?}", status.history);
    let since = Instant::now();
    wait_until("the canary at zero", Duration::from_secs(20), async || {
        let replicas = scene.replicas_of("frontend").await?;
        ensure!(replicas == 0, "it has {replicas} replicas");
        Ok(())
    })
    .await?;
    assert_copies(&scene, FIRST).await?;
    assert_users_see(&scene, FIRST).await?;
    let now = primary_generation(&scene).await?;
    ensure!(now == primary, "the primary was written: generation {primary} became {now}");
    // Longer than the drain.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(scene.closed_since(since), "the route went {:?}", scene.weights());
    users.ensure_served(started)
}

/// Environment variables are read when a pod starts. A canary that runs when its configuration changes would be analysed
/// with the old one, and the new one promoted unseen.
async fn unseen(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "configs-unseen").await?;
    let _controller = scene.start_controller().await?;
    initialize(&scene).await?;
    let _users = scene.users().await?;
    configure(&scene, Settings { greeting: "better", ..FIRST }).await?;
    scene.reach_when("weight 50", |status| status.canary_weight == 50).await?;
    let best = Settings { greeting: "best", ..FIRST };
    configure(&scene, best).await?;
    scene.ended(1).await?;
    let status = scene
        .reach_when("weight 50 again", |status| status.canary_weight == 50 && status.traffic_applied_time.is_some())
        .await?;
    let outcome = status.history.first().map(|run| run.outcome);
    ensure!(outcome == Some(Outcome::Superseded), "{:?}", status.history);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seen.insert(greeting_and_token(&scene).await?.0);
    }
    ensure!(
        seen == ["best", "hello"].map(|greeting| Some(greeting.to_owned())).into(),
        "half of the users are on the canary; what users see: {seen:?}"
    );
    assert_promoted(&scene, best, 2).await
}

/// The application reads its configuration in each of the usual ways.
async fn initialize(scene: &Scene) -> Result<()> {
    configure(scene, FIRST).await?;
    let mut application = deployment(&scene.namespace, "1.0.0", HEALTHY);
    let pod = &mut application["spec"]["template"]["spec"];
    pod["containers"][0]["env"] = json!([
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
    ]);
    pod["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "credentials"}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "settings", "mountPath": "/settings"}]);
    pod["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    scene.apply(&application).await?;
    scene.apply(&scene.alert_provider()).await?;
    scene.apply(&scene.canary(&json!({"stepWeight": 50}))).await?;
    scene.reach(Phase::Initialized).await?;
    Ok(())
}

async fn configure(scene: &Scene, settings: Settings) -> Result<()> {
    let metadata = |name: &str| json!({"name": name, "namespace": scene.namespace});
    scene
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("settings"),
            "data": {"greeting": settings.greeting},
            "binaryData": {"logo": settings.logo},
        }))
        .await?;
    scene
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata("credentials"),
            "stringData": {"TOKEN": settings.token},
        }))
        .await
}

async fn assert_promoted(scene: &Scene, settings: Settings, runs: usize) -> Result<()> {
    let status = scene.ended(runs).await?;
    ensure!(status.history.first().is_some_and(|run| run.outcome == Outcome::Promoted), "{:?}", status.history);
    assert_copies(scene, settings).await?;
    assert_users_see(scene, settings).await
}

/// The copies that the primary uses are what this configuration is.
async fn assert_copies(scene: &Scene, settings: Settings) -> Result<()> {
    let client = scene.testbed.client();
    let map = Api::<ConfigMap>::namespaced(client.clone(), &scene.namespace).get("settings-primary").await?;
    let greeting = BTreeMap::from([("greeting".to_owned(), settings.greeting.to_owned())]);
    ensure!(map.data == Some(greeting), "settings-primary has {:?}", map.data);
    let binary = serde_json::to_value(&map.binary_data)?;
    ensure!(binary == json!({"logo": settings.logo}), "settings-primary has the binary data {binary}");
    let secret = Api::<Secret>::namespaced(client, &scene.namespace).get("credentials-primary").await?;
    let token = secret.data.and_then(|mut data| data.remove("TOKEN")).context("credentials-primary has no TOKEN")?;
    ensure!(token.0 == settings.token.as_bytes(), "credentials-primary has {token:?}");
    Ok(())
}

/// Whoever asks is answered by pods that were started with this configuration.
async fn assert_users_see(scene: &Scene, settings: Settings) -> Result<()> {
    let expected = (Some(settings.greeting.to_owned()), Some(settings.token.to_owned()));
    for _ in 0..5 {
        let seen = wait_until("an answer", Duration::from_secs(20), async || greeting_and_token(scene).await).await?;
        ensure!(seen == expected, "users see {seen:?} where {expected:?} was promoted");
    }
    Ok(())
}

/// The greeting and the token of the pod that answers.
async fn greeting_and_token(scene: &Scene) -> Result<(Option<String>, Option<String>)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let address = format!("http://{}/config", scene.testbed.gateway_address());
    let answer = client.get(address).header(HOST, scene.host()).send().await?.error_for_status()?;
    let config: Value = answer.json().await?;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (greeting, in_volume) = (text("/greeting"), text("/volumes/settings/greeting"));
    ensure!(greeting == in_volume, "the environment says {greeting:?}, the volume {in_volume:?}");
    Ok((greeting, text("/environment/TOKEN")))
}

async fn primary_generation(scene: &Scene) -> Result<i64> {
    let primary = scene.deployments().get("frontend-primary").await?;
    primary.metadata.generation.context("the primary has no generation")
}
