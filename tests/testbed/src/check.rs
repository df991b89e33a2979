//! Checks that the testbed's parts do together what the tests rely on.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use serin_testbed::{GATEWAY_NAME, GATEWAY_NAMESPACE, Process, Sink, Testbed, Users, wait_until};

const HOST: &str = "app.example.com";
const TIMEOUT: Duration = Duration::from_secs(30);
const REQUESTS: usize = 500;
const REQUESTS_PER_SECOND: f64 = 100.0;

/// Runs all checks; prints what it saw.
pub async fn run(testbed: &Testbed) -> Result<()> {
    let start = SystemTime::now();
    testbed.kubectl(&["create", "namespace", "check"]).await?;
    testbed.apply(&manifests().to_string()).await?;
    traffic_follows_the_weights(testbed).await?;
    numbers_reach_prometheus(testbed).await?;
    configuration_is_resolved(testbed).await?;
    crashes_are_seen(testbed).await?;
    autoscalers_keep_their_minimum(testbed).await?;
    deletion_hurts_nobody(testbed).await?;
    roles_hold(testbed).await?;
    sinks_receive().await?;
    prometheus_stops_and_starts(testbed).await?;
    outages_pass(testbed).await?;
    let requests = testbed.audit_requests(Some("admin"), start)?;
    ensure!(requests.iter().any(serin_testbed::AuditEntry::is_write), "the audit log knows no write of ours");
    println!("audit: {} requests of admin", requests.len());
    println!("all checks passed");
    Ok(())
}

async fn traffic_follows_the_weights(testbed: &Testbed) -> Result<()> {
    let start = Instant::now();
    let users = Users::start(testbed.gateway_address(), HOST, REQUESTS_PER_SECOND)?;
    wait_until("the first answer", TIMEOUT, async || {
        users.since(start).into_iter().find(serin_testbed::Hit::is_success)
    })
    .await?;
    println!("first answer {:?} after the manifests", start.elapsed());
    wait_for_deployment(testbed, "blue", 2).await?;
    wait_for_deployment(testbed, "green", 2).await?;
    share_is(&users, 0.3, Instant::now()).await?;
    for green in [80, 0, 100] {
        let changed = Instant::now();
        testbed.apply(&route(green).to_string()).await?;
        let served = wait_until("the new weights", TIMEOUT, async || share_settled(&users, green, changed)).await?;
        println!("weight {green} served within {served:?} of kubectl apply's start");
        share_is(&users, f64::from(green) / 100.0, Instant::now()).await?;
    }
    testbed.apply(&route(30).to_string()).await?;
    let failed = users.failed(start).into_iter().filter(|hit| hit.at > start + Duration::from_secs(10)).count();
    ensure!(failed == 0, "{failed} requests failed while weights changed");
    Ok(())
}

/// Whether ten answers in a row are possible with these weights and the last ones are not with the others.
fn share_settled(users: &Users, green: i32, changed: Instant) -> Option<Duration> {
    let hits = users.since(changed + Duration::from_millis(500));
    let recent = hits.rchunks(20).next()?;
    let share = recent.iter().filter(|hit| hit.version == "green").count() as f64 / recent.len() as f64;
    let settled = recent.len() == 20 && (share - f64::from(green) / 100.0).abs() < 0.3;
    settled.then(|| changed.elapsed())
}

/// Takes the next 500 answers and holds green's share against five standard deviations.
async fn share_is(users: &Users, expected: f64, since: Instant) -> Result<()> {
    wait_until("500 answers", TIMEOUT, async || (users.since(since).len() >= REQUESTS).then_some(())).await?;
    let hits = users.since(since);
    let share = users.share("green", since);
    let band = 5.0 * (expected * (1.0 - expected) / hits.len() as f64).sqrt();
    users.ensure_served(since)?;
    ensure!((share - expected).abs() <= band, "green has {share:.3}, not {expected} ± {band:.3}");
    println!("green has {share:.3} of {} requests; expected {expected} ± {band:.3}", hits.len());
    Ok(())
}

async fn numbers_reach_prometheus(testbed: &Testbed) -> Result<()> {
    for query in [
        r#"sum by (envoy_cluster_name) (envoy_cluster_upstream_rq{envoy_cluster_name=~"check_.*"})"#,
        r#"sum by (envoy_cluster_name) (envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"check_.*",le="+Inf"})"#,
        r#"sum by (app, status) (http_request_duration_seconds_count{kubernetes_namespace="check"})"#,
    ] {
        let result = wait_until(query, TIMEOUT, async || {
            let result = ask_prometheus(testbed, query).await?;
            ensure!(result.as_array().is_some_and(|series| series.len() >= 2), "the answer is {result}");
            Ok(result)
        })
        .await?;
        for series in result.as_array().into_iter().flatten() {
            println!("prometheus: {} = {}", series["metric"], series["value"][1]);
        }
    }
    let labels = ask_prometheus(testbed, r#"envoy_cluster_upstream_rq{envoy_cluster_name=~"check_.*"}"#).await?;
    println!("labels of envoy_cluster_upstream_rq: {}", labels[0]["metric"]);
    Ok(())
}

async fn ask_prometheus(testbed: &Testbed, query: &str) -> Result<Value> {
    let url = format!("{}/api/v1/query", testbed.prometheus_url());
    let url = reqwest::Url::parse_with_params(&url, [("query", query)]).context("Prometheus' address")?;
    let answer: Value = reqwest::get(url).await?.json().await?;
    Ok(answer["data"]["result"].clone())
}

async fn configuration_is_resolved(testbed: &Testbed) -> Result<()> {
    let mut object = deployment("configured", 1);
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]);
    testbed.apply(&object.to_string()).await?;
    wait_until("a container that lacks its ConfigMap", TIMEOUT, async || {
        waiting_reason(testbed, "configured", "CreateContainerConfigError").await
    })
    .await?;
    testbed.kubectl(&["create", "--namespace=check", "configmap", "settings", "--from-literal=greeting=hello"]).await?;
    wait_for_deployment(testbed, "configured", 1).await?;
    let query = ["get", "pods", "--namespace=check", "--selector=app=configured", "--output=jsonpath={..podIP}"];
    let address = testbed.kubectl(&query).await?;
    let config: Value = reqwest::get(format!("http://{address}:9898/config")).await?.json().await?;
    ensure!(config["greeting"] == "hello" && config["environment"]["WHERE"] == "check", "the pod got {config}");
    println!("a missing ConfigMap held the container; then it got its value");
    Ok(())
}

async fn crashes_are_seen(testbed: &Testbed) -> Result<()> {
    let mut object = deployment("crashing", 1);
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "CRASH_AFTER_MS", "value": "300"}]);
    testbed.apply(&object.to_string()).await?;
    let mut object = deployment("unpullable", 1);
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example.com/missing:1");
    testbed.apply(&object.to_string()).await?;
    wait_until("a crash", TIMEOUT, async || waiting_reason(testbed, "crashing", "CrashLoopBackOff").await).await?;
    wait_until("a missing image", TIMEOUT, async || waiting_reason(testbed, "unpullable", "ImagePullBackOff").await)
        .await?;
    testbed.kubectl(&["delete", "--namespace=check", "deployment", "crashing", "unpullable"]).await?;
    println!("a crash and a missing image were seen");
    Ok(())
}

async fn waiting_reason(testbed: &Testbed, app: &str, expected: &str) -> Result<()> {
    let selector = format!("--selector=app={app}");
    let path = "--output=jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}";
    let reason = testbed.kubectl(&["get", "pods", "--namespace=check", &selector, path]).await?;
    ensure!(reason == expected, "the reason is {reason:?}");
    Ok(())
}

async fn autoscalers_keep_their_minimum(testbed: &Testbed) -> Result<()> {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "green", "namespace": "check"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "green"},
            "minReplicas": 3,
            "maxReplicas": 5,
        },
    });
    testbed.apply(&autoscaler.to_string()).await?;
    let start = Instant::now();
    wait_for_deployment(testbed, "green", 3).await?;
    println!("the autoscaler enforced its minimum within {:?}", start.elapsed());
    Ok(())
}

async fn deletion_hurts_nobody(testbed: &Testbed) -> Result<()> {
    let users = Users::start(testbed.gateway_address(), HOST, REQUESTS_PER_SECOND)?;
    let start = Instant::now();
    testbed.kubectl(&["scale", "--namespace=check", "deployment", "blue", "--replicas=5"]).await?;
    wait_for_deployment(testbed, "blue", 5).await?;
    testbed.kubectl(&["scale", "--namespace=check", "deployment", "blue", "--replicas=1"]).await?;
    wait_for_deployment(testbed, "blue", 1).await?;
    testbed.kubectl(&["rollout", "restart", "--namespace=check", "deployment", "blue"]).await?;
    testbed.kubectl(&["rollout", "status", "--namespace=check", "deployment", "blue"]).await?;
    wait_until("the pods to go", TIMEOUT, async || {
        let pods =
            testbed.kubectl(&["get", "pods", "--namespace=check", "--selector=app=blue", "--output=name"]).await?;
        ensure!(pods.lines().count() == 1, "there are {pods}");
        Ok(())
    })
    .await?;
    users.ensure_served(start)?;
    let all = users.since(start).len();
    println!("scaling up, down and a restart: none of {all} requests failed, in {:?}", start.elapsed());
    Ok(())
}

async fn roles_hold(testbed: &Testbed) -> Result<()> {
    testbed.kubectl(&["create", "--namespace=check", "serviceaccount", "nobody"]).await?;
    let path = testbed.state_dir().join("nobody.kubeconfig");
    testbed.service_account_kubeconfig("check", "nobody", &path).await?;
    let since = SystemTime::now();
    let kubeconfig = format!("--kubeconfig={}", path.display());
    let refused =
        testbed.kubectl(&[&kubeconfig, "get", "pods"]).await.err().context("a ServiceAccount without a role got in")?;
    let user = "system:serviceaccount:check:nobody";
    ensure!(refused.to_string().contains(user), "the refusal is {refused:#}");
    let refused = testbed.audit_requests(Some(user), since)?.iter().filter(|request| request.code == 403).count();
    ensure!(refused == 1, "the audit log has {refused} refusals");
    println!("a ServiceAccount without a role was refused");
    Ok(())
}

async fn prometheus_stops_and_starts(testbed: &Testbed) -> Result<()> {
    let mut prometheus = testbed.start_prometheus("second", 9091).await?;
    let query = format!("{}/api/v1/query?query=up", prometheus.url());
    reqwest::get(&query).await?.error_for_status()?;
    prometheus.stop();
    ensure!(reqwest::get(&query).await.is_err(), "a stopped Prometheus answers");
    prometheus.start().await?;
    reqwest::get(&query).await?.error_for_status()?;
    println!("a second Prometheus was stopped and started");
    Ok(())
}

/// The API server goes and comes back; a frozen Contour thaws; users do not notice.
async fn outages_pass(testbed: &Testbed) -> Result<()> {
    let users = Users::start(testbed.gateway_address(), HOST, REQUESTS_PER_SECOND)?;
    let start = Instant::now();
    testbed.with_component("kube-apiserver", Process::kill)?;
    testbed.with_component("contour", |contour| contour.pause())??;
    tokio::time::sleep(Duration::from_secs(2)).await;
    testbed.with_component("contour", |contour| contour.resume())??;
    testbed.with_component("kube-apiserver", Process::restart)??;
    let scale = ["scale", "--namespace=check", "deployment", "blue", "--replicas=3"];
    wait_until("the API server", TIMEOUT, async || testbed.kubectl(&scale).await).await?;
    let back = start.elapsed();
    wait_for_deployment(testbed, "blue", 3).await?;
    users.ensure_served(start)?;
    let all = users.since(start).len();
    println!(
        "the API server was back after {back:?}, a scaling done after {:?}; none of {all} requests failed",
        start.elapsed()
    );
    Ok(())
}

async fn sinks_receive() -> Result<()> {
    let sink = Sink::start(0).await?;
    sink.answer_with(503, "busy")?;
    let answer = reqwest::Client::new().post(sink.url("/alert")).json(&json!({"text": "hello"})).send().await?;
    ensure!(answer.status() == 503, "the sink answered {}", answer.status());
    ensure!(sink.received().first().is_some_and(|received| received.body["text"] == "hello"), "nothing received");
    Ok(())
}

async fn wait_for_deployment(testbed: &Testbed, name: &str, replicas: usize) -> Result<()> {
    wait_until(&format!("{replicas} ready pods of {name}"), TIMEOUT, async || {
        let path = "--output=jsonpath={.status.readyReplicas}/{.status.replicas}";
        let seen = testbed.kubectl(&["get", "deployment", "--namespace=check", name, path]).await?;
        ensure!(seen == format!("{replicas}/{replicas}"), "ready are {seen}");
        Ok(())
    })
    .await
}

fn manifests() -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        deployment("blue", 2), service("blue"), deployment("green", 2), service("green"), route(30),
    ]})
}

fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "check"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app",
                    "image": format!("registry.example.com/app:{name}"),
                    "ports": [{"name": "http", "containerPort": 9898}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
                }]},
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "check"},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    })
}

/// Sends `green` percent to green and the rest to blue.
fn route(green: i32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "check"},
        "spec": {
            "parentRefs": [{"name": GATEWAY_NAME, "namespace": GATEWAY_NAMESPACE}],
            "hostnames": [HOST],
            "rules": [{"backendRefs": [
                {"name": "blue", "port": 80, "weight": 100 - green},
                {"name": "green", "port": 80, "weight": green},
            ]}],
        },
    })
}
