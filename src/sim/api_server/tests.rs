//! What the direct forms and clients see. `tests/api_server_conformance` holds the rest against the real server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::*;
use crate::api::checked::ObjectKey;

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn id(name: &str) -> ResourceId {
    ResourceId::new("v1", "ConfigMap", ObjectKey::new("default", name))
}

fn client(server: &ApiServer) -> Client {
    server.client(Caller { user: "tester".to_owned(), ..Caller::default() })
}

fn api(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn owned_by(owner: &Value, mut object: Value) -> Value {
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]);
    object
}

fn names(server: &ApiServer) -> Vec<String> {
    let objects = server.list("v1", "ConfigMap").into_iter();
    objects.filter_map(|object| object["metadata"]["name"].as_str().map(ToOwned::to_owned)).collect()
}

/// A caller whose requests and events go as told, one after the other; then everything passes.
struct Script {
    plans: Mutex<Vec<Plan>>,
    deliveries: Mutex<Vec<Delivery>>,
    seen: Mutex<Vec<RequestInfo>>,
}

impl Script {
    fn new(plans: &[Plan], deliveries: &[Delivery]) -> Arc<Self> {
        let reversed = |list: &[Plan]| list.iter().rev().cloned().collect();
        let deliveries = deliveries.iter().rev().cloned().collect();
        Arc::new(Self {
            plans: Mutex::new(reversed(plans)),
            deliveries: Mutex::new(deliveries),
            seen: Mutex::default(),
        })
    }
}

impl Interposer for Script {
    fn request(&self, request: &RequestInfo) -> Plan {
        self.seen.lock().unwrap().push(request.clone());
        self.plans.lock().unwrap().pop().unwrap_or(Plan::Pass)
    }

    fn watch_event(&self, _: &str, _: &Value) -> Delivery {
        self.deliveries.lock().unwrap().pop().unwrap_or(Delivery::Now)
    }
}

fn scripted(server: &ApiServer, script: &Arc<Script>) -> Client {
    server.client(Caller { interposer: Some(script.clone()), ..Caller::default() })
}

#[tokio::test(start_paused = true)]
async fn a_client_of_the_controller_tries_again_what_can_be_tried_again() {
    use crate::cluster::client::{ApiRequests, over};
    // What becomes of the tries of a request, how many there are, whether the last one is answered, seconds.
    let table: [(&[Plan], usize, bool, f64); 4] = [
        (&[Plan::Fail(503), Plan::NotSent], 3, true, 0.3),
        (&[Plan::Delay(Duration::from_secs(3))], 1, true, 3.0),
        (&[Plan::Hang], 1, false, 10.0),
        (&[Plan::Fail(500)], 1, false, 0.0),
    ];
    for (plans, tries, is_answered, seconds) in table {
        let (server, script) = (ApiServer::new(), Script::new(plans, &[]));
        server.create(config_map("a", &json!({}))).unwrap();
        let caller = Caller { interposer: Some(script.clone()), ..Caller::default() };
        let client = over(server.service(caller), "default", ApiRequests::default());
        let start = tokio::time::Instant::now();
        let answer = api(&client).get("a").await;
        assert_eq!(answer.is_ok(), is_answered, "{plans:?}: {answer:?}");
        assert_eq!(script.seen.lock().unwrap().len(), tries, "{plans:?}");
        assert!((start.elapsed().as_secs_f64() - seconds).abs() < 0.02, "{plans:?}: {:?}", start.elapsed());
    }
}

#[test]
fn every_resource_has_a_schema() {
    for resource in resources::all() {
        for field in ["apiVersion", "kind", "metadata"] {
            assert!(resource.schema.has_field(field), "{} has no {field}", resource.kind);
        }
        let expected =
            !matches!(resource.kind, "ConfigMap" | "Secret" | "Event" | "Lease" | "AlertProvider" | "MetricTemplate");
        assert_eq!(resource.has_status, expected, "{}", resource.kind);
    }
}

#[test]
fn versions_grow_across_kinds_and_writes_that_change_nothing_have_none() {
    let server = ApiServer::new();
    let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    let first = server.create(config_map("a", &json!({"k": "1"}))).unwrap();
    let second = server.create(config_map("b", &json!({}))).unwrap();
    assert!(version(&second) > version(&first));
    let same = server.patch(&id("a"), &json!({"data": {"k": "1"}})).unwrap();
    assert_eq!(version(&same), version(&first));
    let changed = server.patch(&id("a"), &json!({"data": {"k": "2"}})).unwrap();
    assert!(version(&changed) > version(&second));
}

#[test]
fn generated_names_differ_and_are_the_same_in_each_run() {
    let names = || {
        let server = ApiServer::new();
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}});
        (0..1000).map(|_| server.create(body.clone()).unwrap()["metadata"]["name"].to_string()).collect::<Vec<_>>()
    };
    let mut first = names();
    assert_eq!(first, names());
    assert!(first.iter().all(|name| name.len() == "\"a-\"".len() + 5), "{first:?}");
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 1000);
}

#[test]
fn an_object_with_finalizers_stays_until_they_are_gone() {
    let server = ApiServer::new();
    let mut object = config_map("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.create(object).unwrap();
    server.delete(&id("a")).unwrap();
    assert!(server.get(&id("a")).unwrap()["metadata"]["deletionTimestamp"].is_string());
    let added = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    assert_eq!(server.patch(&id("a"), &added).unwrap_err().code, 422);
    server.patch(&id("a"), &json!({"metadata": {"finalizers": null}})).unwrap();
    assert_eq!(server.get(&id("a")), None);
}

#[test]
fn what_has_no_owner_left_goes_and_what_has_one_stays() {
    let server = ApiServer::new();
    let first = server.create(config_map("first", &json!({}))).unwrap();
    let second = server.create(config_map("second", &json!({}))).unwrap();
    let child = server.create(owned_by(&first, config_map("child", &json!({})))).unwrap();
    server.create(owned_by(&child, config_map("grandchild", &json!({})))).unwrap();
    let mut shared = owned_by(&first, config_map("shared", &json!({})));
    let other = owned_by(&second, json!({"metadata": {}}))["metadata"]["ownerReferences"][0].clone();
    shared["metadata"]["ownerReferences"].as_array_mut().unwrap().push(other);
    server.create(shared).unwrap();
    server.delete(&id("first")).unwrap();
    assert_eq!(names(&server), ["second", "shared"]);
    let left = server.get(&id("shared")).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");

    // Born without an owner: the garbage collector finds it when it looks.
    server.create(owned_by(&first, config_map("late", &json!({})))).unwrap();
    assert_eq!(names(&server), ["late", "second", "shared"]);
    server.collect_garbage();
    assert_eq!(names(&server), ["second", "shared"]);
}

#[test]
fn checks_see_each_committed_write_and_may_read() {
    let server = ApiServer::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, reader) = (seen.clone(), server.clone());
    server.on_write(Arc::new(move |record| {
        let is_there = reader.get(&record.id).is_some();
        let states = (record.before.is_some(), record.after.is_some());
        sink.lock().unwrap().push((record.index, record.verb, record.user.clone(), states, is_there));
    }));
    server.create(config_map("a", &json!({}))).unwrap();
    server.create(config_map("a", &json!({}))).unwrap_err();
    server.patch(&id("a"), &json!({"data": {"k": "v"}})).unwrap();
    server.patch(&id("a"), &json!({"data": {"k": "v"}})).unwrap();
    server.delete(&id("a")).unwrap();
    let admin = || "admin".to_owned();
    let expected = [
        (0, "create", admin(), (false, true), true),
        (1, "patch", admin(), (true, true), true),
        (2, "delete", admin(), (true, false), false),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn changes_come_in_order() {
    let server = ApiServer::new();
    let mut changes = server.changes();
    server.create(config_map("a", &json!({}))).unwrap();
    server.patch(&id("a"), &json!({"data": {"k": "v"}})).unwrap();
    server.delete(&id("a")).unwrap();
    let kinds: Vec<ChangeKind> = std::iter::from_fn(|| changes.try_recv().ok()).map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted]);
}

#[test]
fn objects_of_any_shape_are_refused_and_nothing_breaks() {
    let server = ApiServer::new();
    let before = server.create(config_map("a", &json!({"k": "v"}))).unwrap();
    let bodies = [
        json!(null),
        json!([]),
        json!("text"),
        json!({}),
        json!({"apiVersion": "v1", "kind": "Nonsense"}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": "text"}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": 7}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": []}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": "text"}),
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "annotations": 1}}),
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a"}, "spec": []}),
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a"}, "status": 1}),
    ];
    for body in bodies {
        let refusals = [server.create(body.clone()).err(), server.apply("m", true, body.clone()).err()];
        for refusal in refusals {
            assert!(refusal.as_ref().is_some_and(|status| status.code >= 400), "{body}: {refusal:?}");
        }
    }
    for body in [json!(null), json!([]), json!({"metadata": null}), json!({"metadata": 1}), json!({"data": 1})] {
        assert!(server.patch(&id("a"), &body).is_err(), "{body}");
    }
    assert_eq!(server.peek(&id("a")), Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_client_may_do_what_its_rules_say() {
    let server = ApiServer::new();
    server.create(config_map("a", &json!({}))).unwrap();
    let rule = |verbs: &[&str], names: &[&str]| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".to_owned()]),
        resource_names: Some(names.iter().map(ToString::to_string).collect()),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    };
    let rules = Some(vec![rule(&["get"], &["a"]), rule(&["list"], &[])]);
    let api = api(&server.client(Caller { user: "robot".to_owned(), rules, interposer: None }));
    assert!(api.get("a").await.is_ok());
    assert!(api.list(&ListParams::default()).await.is_ok());
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    };
    let message = "configmaps \"b\" is forbidden: User \"robot\" cannot get resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(refused(api.get("b").await.unwrap_err()), (403, message.to_owned()));
    let error = api.delete("a", &DeleteParams::default()).await.unwrap_err();
    assert_eq!(refused(error).0, 403);
    assert_eq!(names(&server), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn requests_go_as_the_interposer_says() {
    // What happens, whether the object is there then, what the client sees.
    let cases: [(Plan, bool, &str); 7] = [
        (Plan::Pass, true, "ok"),
        (Plan::Delay(Duration::from_secs(3)), true, "ok"),
        (Plan::Fail(500), false, "500"),
        (Plan::Fail(429), false, "429"),
        (Plan::NotSent, false, "broken"),
        (Plan::Lost, true, "broken"),
        (Plan::Hang, false, "silence"),
    ];
    for (plan, is_there, expected) in cases {
        let server = ApiServer::new();
        let script = Script::new(std::slice::from_ref(&plan), &[]);
        let api = api(&scripted(&server, &script));
        let object: ConfigMap = serde_json::from_value(config_map("a", &json!({}))).unwrap();
        let parameters = PostParams::default();
        let creation = api.create(&parameters, &object);
        let seen = match tokio::time::timeout(Duration::from_secs(60), creation).await {
            Err(_) => "silence".to_owned(),
            Ok(Ok(_)) => "ok".to_owned(),
            Ok(Err(kube::Error::Api(status))) => status.code.to_string(),
            Ok(Err(_)) => "broken".to_owned(),
        };
        assert_eq!((seen.as_str(), server.get(&id("a")).is_some()), (expected, is_there), "{plan:?}");
        let request = script.seen.lock().unwrap()[0].clone();
        assert_eq!((request.verb, request.kind.as_str(), request.is_write), ("create", "ConfigMap", true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_write_lands_though_nobody_waits_for_it() {
    let server = ApiServer::new();
    let script = Script::new(&[Plan::Delay(Duration::from_secs(30))], &[]);
    let api = api(&scripted(&server, &script));
    let object: ConfigMap = serde_json::from_value(config_map("a", &json!({}))).unwrap();
    let parameters = PostParams::default();
    assert!(tokio::time::timeout(Duration::from_secs(10), api.create(&parameters, &object)).await.is_err());
    assert_eq!(server.get(&id("a")), None);
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(server.get(&id("a")).is_some());
}

async fn events(server: &ApiServer, script: &Arc<Script>, count: usize) -> Vec<String> {
    let api = api(&scripted(server, script));
    let watch = api.watch(&WatchParams::default(), "1").await.unwrap();
    let read = watch.take(count).map(|event| match event {
        Ok(WatchEvent::Added(object)) => format!("+{}", object.name_any()),
        Ok(WatchEvent::Modified(object)) => format!("~{}", object.name_any()),
        Ok(WatchEvent::Deleted(object)) => format!("-{}", object.name_any()),
        Ok(WatchEvent::Error(status)) => status.code.to_string(),
        other => format!("{other:?}"),
    });
    read.collect().await
}

#[tokio::test(start_paused = true)]
async fn events_arrive_as_the_interposer_says() {
    let late = Delivery::After(Duration::from_secs(5));
    let cases = [
        (vec![], vec!["+a", "+b", "~a", "-b"], 0),
        (vec![Delivery::Now, Delivery::Drop], vec!["+a", "~a", "-b"], 0),
        (vec![Delivery::Twice], vec!["+a", "+a", "+b", "~a", "-b"], 0),
        (vec![Delivery::Now, Delivery::Gone410], vec!["+a", "410"], 0),
        (vec![late.clone(), late], vec!["+a", "+b", "~a", "-b"], 5),
    ];
    for (deliveries, expected, seconds) in cases {
        let server = ApiServer::new();
        let start = tokio::time::Instant::now();
        for name in ["a", "b"] {
            server.create(config_map(name, &json!({}))).unwrap();
        }
        server.patch(&id("a"), &json!({"data": {"k": "v"}})).unwrap();
        server.delete(&id("b")).unwrap();
        let script = Script::new(&[], &deliveries);
        assert_eq!(events(&server, &script, expected.len()).await, expected, "{deliveries:?}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{deliveries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_before_the_history_is_told_so_and_a_watcher_lists_again() {
    let server = ApiServer::new();
    server.create(config_map("a", &json!({}))).unwrap();
    server.compact();
    assert_eq!(events(&server, &Script::new(&[], &[]), 1).await, ["410"]);

    let script = Script::new(&[], &[Delivery::Now, Delivery::Gone410]);
    let watched = watcher(api(&scripted(&server, &script)), watcher::Config::default().any_semantic());
    let mut watched = std::pin::pin!(watched.filter_map(|event| async { event.ok() }));
    let mut seen = Vec::new();
    for step in 0..7 {
        let event = watched.next().await.unwrap();
        seen.push(match event {
            Event::Init => "init".to_owned(),
            Event::InitDone => "done".to_owned(),
            Event::InitApply(object) => format!("={}", object.name_any()),
            Event::Apply(object) => format!("~{}", object.name_any()),
            Event::Delete(object) => format!("-{}", object.name_any()),
        });
        match step {
            2 => drop(server.create(config_map("b", &json!({}))).unwrap()),
            3 => server.delete(&id("a")).unwrap(),
            _ => {}
        }
    }
    assert_eq!(seen, ["init", "=a", "done", "~b", "init", "=b", "done"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_gets_bookmarks_and_ends_when_it_asked_to() {
    let server = ApiServer::new();
    let api = api(&client(&server));
    let start = tokio::time::Instant::now();
    let watch = api.watch(&WatchParams::default().timeout(200), "1").await.unwrap();
    let bookmarks: Vec<_> = watch.try_collect().await.unwrap();
    assert!(bookmarks.iter().all(|event| matches!(event, WatchEvent::Bookmark(_))), "{bookmarks:?}");
    assert_eq!((bookmarks.len(), start.elapsed().as_secs()), (3, 200));
}

#[tokio::test(start_paused = true)]
async fn a_list_in_parts_shows_one_moment() {
    let server = ApiServer::new();
    for name in ["a", "b", "c"] {
        server.create(config_map(name, &json!({}))).unwrap();
    }
    let api = api(&client(&server));
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    server.delete(&id("c")).unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let rest = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    let names: Vec<String> = first.iter().chain(rest.iter()).map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let again = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap_err();
    assert!(matches!(again, kube::Error::Api(status) if status.code == 410));
}

#[tokio::test(start_paused = true)]
async fn two_appliers_share_an_object_and_quarrel_over_a_field() {
    let server = ApiServer::new();
    let api = api(&client(&server));
    let apply = async |manager: &str, force: bool, data: Value| {
        let parameters = PatchParams { force, ..PatchParams::apply(manager) };
        api.patch("a", &parameters, &Patch::Apply(config_map("a", &data)))
            .await
            .map(|object| object.data.unwrap_or_default())
    };
    let data = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    assert_eq!(apply("one", false, json!({"x": "1", "y": "1"})).await.unwrap(), data(&[("x", "1"), ("y", "1")]));
    assert_eq!(apply("two", false, json!({"y": "1", "z": "2"})).await.unwrap().len(), 3);
    let conflict = apply("two", false, json!({"x": "2"})).await.unwrap_err();
    assert!(conflict.to_string().contains("conflict with \"one\": .data.x"), "{conflict}");
    // One drops y, which two still holds, and x, which nobody else does.
    assert_eq!(apply("one", false, json!({})).await.unwrap(), data(&[("y", "1"), ("z", "2")]));
    assert_eq!(apply("one", true, json!({"z": "1"})).await.unwrap(), data(&[("y", "1"), ("z", "1")]));
    assert_eq!(apply("two", false, json!({})).await.unwrap(), data(&[("z", "1")]));
}

#[test]
fn the_same_apply_changes_nothing_the_second_time_and_is_refused_with_a_version() {
    let server = ApiServer::new();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let first = server.apply("one", false, config_map("a", &json!({"x": "1"}))).unwrap();
    let again = server.apply("one", false, config_map("a", &json!({"x": "1"}))).unwrap();
    assert_eq!(version(&first), version(&again));
    // What others do since is seen.
    server.patch(&id("a"), &json!({"data": {"x": "2"}})).unwrap();
    assert_eq!(server.apply("one", true, config_map("a", &json!({"x": "1"}))).unwrap()["data"]["x"], "1");
    let mut named = config_map("a", &json!({"x": "3"}));
    named["metadata"]["resourceVersion"] = version(&server.get(&id("a")).unwrap());
    assert!(server.apply("one", false, named.clone()).is_ok());
    assert_eq!(server.apply("one", false, named).unwrap_err().code, 409);
}
