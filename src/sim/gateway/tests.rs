use std::time::Duration;

use super::*;
use crate::sim::cluster::Fault;
use crate::sim::settings::Settings;
use crate::sim::testing::{Stage, deployment, key, service, users};

fn id() -> ResourceId {
    ResourceId::new(API_VERSION, KIND, key("frontend"))
}

fn rules(primary: u64, canary: u64) -> Value {
    let backend = |name: &str, weight: u64| json!({"name": name, "port": 80, "weight": weight});
    json!([{"backendRefs": [backend("frontend-primary", primary), backend("frontend-canary", canary)]}])
}

fn route(rules: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": "frontend", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "edge", "namespace": "gateways"}], "rules": rules},
    })
}

/// A cluster with a primary of version 1 and a canary of version 2, which fails a fifth of its requests.
async fn stage(delays: GatewayDelays) -> Stage {
    let mut stage = Stage::new(Settings { gateway: delays, users: users(100.0), ..Settings::default() });
    stage.create(deployment("frontend-primary", 2, &[("VERSION", "1")]));
    stage.create(deployment("frontend", 1, &[("VERSION", "2"), ("ERROR_RATE", "0.2")]));
    stage.create(service("frontend", "frontend-primary"));
    stage.create(service("frontend-primary", "frontend-primary"));
    stage.create(service("frontend-canary", "frontend"));
    stage.pass(10.0).await;
    stage
}

/// Status, reason and generation of a condition.
fn condition(stage: &Stage, kind: &str) -> Option<(String, i64)> {
    let route = stage.server.get(&id()).unwrap();
    let condition = items(&route, "/status/parents/0/conditions").iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| condition[field].as_str().unwrap();
    Some((format!("{} {}", text("status"), text("reason")), condition["observedGeneration"].as_i64().unwrap()))
}

/// The requests in a second that each Service gets, as `frontend-canary 10`.
fn loads(stage: &Stage) -> Vec<String> {
    let view = stage.handle.view();
    view.loads.iter().map(|load| format!("{} {:.0}", load.service, load.requests_per_second)).collect()
}

fn failing_percent(stage: &Stage) -> i64 {
    (stage.handle.view().failing_shares[&key("frontend")] * 100.0).round() as i64
}

const ACCEPTED: &str = "True Accepted";

#[tokio::test(start_paused = true)]
async fn a_route_is_accepted_and_served_each_in_its_time() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let mut stage = stage(GatewayDelays { acceptance: seconds(1), programming: seconds(3) }).await;
    stage.create(route(&rules(100, 0)));
    stage.pass(10.0).await;
    stage.server.patch(&id(), &json!({"spec": {"rules": rules(90, 10)}})).unwrap();
    // After so long: the generation that is accepted, and the canary's weight that is served.
    for (wait, generation, weight) in [(0.5, 1, 0), (1.0, 2, 0), (1.0, 2, 0), (1.0, 2, 10)] {
        stage.pass(wait).await;
        assert_eq!(condition(&stage, "Accepted"), Some((ACCEPTED.to_owned(), generation)));
        assert_eq!(stage.handle.view().weight(&key("frontend"), "frontend-canary"), weight);
    }
    assert_eq!(loads(&stage), ["frontend-primary 90", "frontend-canary 10"]);
    assert_eq!(failing_percent(&stage), 2);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_down_accepts_when_it_is_back() {
    let mut stage = stage(GatewayDelays { acceptance: None, programming: None }).await;
    stage.create(route(&rules(50, 50)));
    stage.pass(600.0).await;
    assert_eq!((condition(&stage, "Accepted"), loads(&stage)), (None, vec!["frontend 100".to_owned()]));
    stage.inject(Fault::GatewayDelays(GatewayDelays::default()));
    stage.pass(1.0).await;
    assert_eq!(condition(&stage, "Accepted"), Some((ACCEPTED.to_owned(), 1)));
    assert_eq!(loads(&stage), ["frontend-primary 50", "frontend-canary 50"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_service_is_told_and_its_requests_fail() {
    let mut stage = stage(GatewayDelays::default()).await;
    let canary = ResourceId::new("v1", "Service", key("frontend-canary"));
    stage.server.delete(&canary).unwrap();
    stage.create(route(&rules(70, 30)));
    stage.pass(1.0).await;
    assert_eq!(condition(&stage, "ResolvedRefs"), Some(("False BackendNotFound".to_owned(), 1)));
    assert_eq!(condition(&stage, "Accepted"), Some((ACCEPTED.to_owned(), 1)));
    assert_eq!(failing_percent(&stage), 30);
    stage.create(service("frontend-canary", "frontend"));
    stage.pass(1.0).await;
    assert_eq!(condition(&stage, "ResolvedRefs"), Some(("True ResolvedRefs".to_owned(), 1)));
    assert_eq!(failing_percent(&stage), 6);
}

#[tokio::test(start_paused = true)]
async fn requests_go_where_the_first_rule_without_headers_sends_them() {
    let to = |service: &str| json!([{"name": service, "port": 80}]);
    let headers = json!([{"name": "x-canary", "value": "yes"}]);
    // Which Services get requests, and how many per cent of them fail.
    let cases: [(&str, Value, &[&str], i64); 6] = [
        (
            "headers are for others",
            json!([
                {"matches": [{"headers": headers}], "backendRefs": to("frontend-canary")},
                {"backendRefs": to("frontend-primary")},
            ]),
            &["frontend-primary 100"],
            0,
        ),
        ("without a weight it is 1", json!([{"backendRefs": to("frontend-canary")}]), &["frontend-canary 100"], 20),
        ("all weights zero", rules(0, 0), &["frontend 100"], 100),
        ("no backends", json!([{"matches": [{"path": {"value": "/"}}]}]), &["frontend 100"], 100),
        ("weights need not sum to 100", rules(1, 3), &["frontend-primary 25", "frontend-canary 75"], 15),
        ("nobody is there", json!([{"backendRefs": to("elsewhere")}]), &["elsewhere 100"], 100),
    ];
    for (name, rules, expected, failing) in cases {
        let mut stage = stage(GatewayDelays::default()).await;
        stage.create(route(&rules));
        stage.pass(1.0).await;
        assert_eq!(
            (loads(&stage), failing_percent(&stage)),
            (expected.iter().map(|one| (*one).to_owned()).collect(), failing),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_route_the_apex_service_gets_everything() {
    let mut stage = stage(GatewayDelays::default()).await;
    assert_eq!((loads(&stage), failing_percent(&stage)), (vec!["frontend 100".to_owned()], 0));
    stage.create(route(&rules(0, 100)));
    stage.pass(1.0).await;
    assert_eq!(loads(&stage), ["frontend-canary 100"]);
    stage.server.delete(&id()).unwrap();
    stage.pass(1.0).await;
    assert_eq!(loads(&stage), ["frontend 100"]);
}

#[tokio::test(start_paused = true)]
async fn users_find_their_route_by_the_host() {
    let mut stage = stage(GatewayDelays::default()).await;
    let mut object = route(&rules(0, 100));
    object["spec"]["hostnames"] = json!(["*.example.com"]);
    stage.create(object);
    let mut people = users(10.0);
    for (host, expected) in [("shop.example.com", "frontend-canary 10"), ("other.org", "frontend 10")] {
        people[0].host = Some(host.to_owned());
        stage.inject(Fault::Users(people.clone()));
        stage.pass(1.0).await;
        assert_eq!(loads(&stage), [expected], "{host}");
    }
}
