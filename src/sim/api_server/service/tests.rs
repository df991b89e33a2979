//! What kubectl asks for. `tests/kubectl` runs it; `tests/api_server_conformance` holds the rest against the real server.

use futures::StreamExt;
use http::Request;

use super::*;

/// Sends a request; media types are those of a client that says nothing else.
async fn ask(server: &ApiServer, method: &str, path: &str, accept: &str, body: &Value) -> (u16, Value) {
    let media_type = match method {
        "PATCH" => "application/strategic-merge-patch+json",
        _ => JSON,
    };
    let request =
        Request::builder().method(method).uri(path).header("accept", accept).header("content-type", media_type);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let connection = server.connection(Caller { user: "tester".to_owned(), ..Caller::default() });
    let response = connection.answer(parts, body).await.unwrap();
    let code = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap())
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "app", "image": "app:1"}, {"name": "log", "image": "log:1"}]},
            },
        },
    })
}

fn with_deployment() -> ApiServer {
    let server = ApiServer::new();
    server.create(deployment()).unwrap();
    server
}

#[tokio::test]
async fn a_scale_reads_and_writes_the_replicas_and_nothing_else() {
    let server = with_deployment();
    let path = format!("{DEPLOYMENTS}/a/scale");
    let (code, scale) = ask(&server, "GET", &path, JSON, &Value::Null).await;
    assert_eq!((code, &scale["spec"], &scale["status"]["selector"]), (200, &json!({"replicas": 2}), &json!("app=a")));

    let mut change = scale.clone();
    change["spec"]["replicas"] = json!(4);
    change["metadata"]["labels"] = json!({"not": "there"});
    let (code, scale) = ask(&server, "PUT", &path, JSON, &change).await;
    assert_eq!((code, &scale["spec"]), (200, &json!({"replicas": 4})));
    let workload = &server.list("apps/v1", "Deployment")[0];
    assert_eq!((&workload["spec"]["replicas"], &workload["metadata"]["generation"]), (&json!(4), &json!(2)));
    assert_eq!(workload["metadata"]["labels"], Value::Null);
    let managers = workload["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.iter().filter(|entry| entry["subresource"] == "scale").count(), 1, "{managers:?}");

    // Zeros are left out, and nobody owns what isn't there.
    let (_, scale) = ask(&server, "PATCH", &path, JSON, &json!({"spec": {"replicas": 0}})).await;
    assert_eq!(scale["spec"], json!({}));
    assert!(!server.list("apps/v1", "Deployment")[0]["metadata"]["managedFields"].to_string().contains("f:replicas"));

    // The version, a negative number, and a workload that isn't there.
    assert_eq!(ask(&server, "PUT", &path, JSON, &change).await.0, 409);
    assert_eq!(ask(&server, "PATCH", &path, JSON, &json!({"spec": {"replicas": -1}})).await.0, 422);
    assert_eq!(ask(&server, "PATCH", &path, JSON, &json!({"spec": {"replicas": 3}})).await.1["spec"]["replicas"], 3);
    assert_eq!(ask(&server, "GET", &format!("{DEPLOYMENTS}/b/scale"), JSON, &Value::Null).await.0, 404);
    assert_eq!(ask(&server, "DELETE", &path, JSON, &Value::Null).await.0, 405);
}

#[tokio::test]
async fn strategic_patches_merge_lists_of_built_in_kinds_only() {
    let server = with_deployment();
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "log", "image": "log:2"}]}}}});
    let (code, patched) = ask(&server, "PATCH", &format!("{DEPLOYMENTS}/a"), JSON, &patch).await;
    assert_eq!(code, 200, "{patched}");
    let images: Vec<&Value> = patched["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|container| &container["image"])
        .collect();
    assert_eq!(images, ["app:1", "log:2"]);
    let canary = "/apis/flagger.app/v1beta1/namespaces/default/canaries/a";
    let (code, refusal) = ask(&server, "PATCH", canary, JSON, &json!({})).await;
    assert_eq!(code, 415, "{refusal}");
}

#[tokio::test]
async fn tables_have_the_columns_of_the_kind_and_metadata() {
    let server = with_deployment();
    let (_, table) = ask(&server, "GET", DEPLOYMENTS, TABLE, &Value::Null).await;
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(8));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert!(table["metadata"]["resourceVersion"].is_string());
    let (_, one) = ask(&server, "GET", &format!("{DEPLOYMENTS}/a?includeObject=Object"), TABLE, &Value::Null).await;
    assert_eq!(one["rows"][0]["object"]["spec"]["replicas"], 2);
    let (code, _) = ask(&server, "GET", &format!("{DEPLOYMENTS}/a?includeObject=Half"), TABLE, &Value::Null).await;
    assert_eq!(code, 400);
    assert_eq!(ask(&server, "GET", &format!("{DEPLOYMENTS}/b"), TABLE, &Value::Null).await.1["kind"], "Status");
}

#[tokio::test]
async fn a_watch_of_tables_defines_its_columns_once() {
    let server = with_deployment();
    let request = Request::get("/apis/apps/v1/deployments?watch=true").header("accept", TABLE);
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let response = server.connection(Caller::default()).answer(parts, Bytes::new()).await.unwrap();
    let id =
        crate::rollout::ResourceId::new("apps/v1", "Deployment", crate::api::checked::ObjectKey::new("default", "a"));
    server.patch(&id, &json!({"spec": {"replicas": 3}})).unwrap();
    server.delete(&id).unwrap();
    let mut lines = response.into_body().into_data_stream();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event: Value = serde_json::from_slice(&lines.next().await.unwrap().unwrap()).unwrap();
        let cell = event["object"]["rows"][0]["cells"][1].clone();
        seen.push(json!([event["type"], event["object"]["columnDefinitions"].is_array(), cell]));
    }
    assert_eq!(json!(seen), json!([["ADDED", true, "0/2"], ["MODIFIED", false, "0/3"], ["DELETED", false, "0/3"]]));
}

#[tokio::test]
async fn events_are_in_both_groups() {
    let server = ApiServer::new();
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "it happened",
        "regarding": {"kind": "Canary", "name": "a"}, "reportingController": "serin",
    });
    server.create(event).unwrap();
    let core = "/api/v1/namespaces/default/events";
    let (_, one) = ask(&server, "GET", &format!("{core}/e"), JSON, &Value::Null).await;
    assert_eq!((&one["apiVersion"], &one["message"]), (&json!("v1"), &json!("it happened")));
    for (selector, count) in
        [("involvedObject.name%3Da", 1), ("involvedObject.name%3Db", 0), ("reportingComponent%3Dserin", 1)]
    {
        let (_, list) = ask(&server, "GET", &format!("{core}?fieldSelector={selector}"), JSON, &Value::Null).await;
        assert_eq!(
            (&list["kind"], list["items"].as_array().unwrap().len()),
            (&json!("EventList"), count),
            "{selector}"
        );
    }
    assert_eq!(ask(&server, "POST", core, JSON, &json!({})).await.0, 405);
    assert_eq!(ask(&server, "DELETE", &format!("{core}/e"), JSON, &Value::Null).await.0, 200);
    assert!(server.list("events.k8s.io/v1", "Event").is_empty());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let server = with_deployment();
    let before = server.list("apps/v1", "Deployment");
    let mut other = deployment();
    other["metadata"]["name"] = json!("b");
    assert_eq!(ask(&server, "POST", &format!("{DEPLOYMENTS}?dryRun=All"), JSON, &other).await.0, 201);
    let patch = json!({"spec": {"replicas": 7}});
    let (code, patched) = ask(&server, "PATCH", &format!("{DEPLOYMENTS}/a?dryRun=All"), JSON, &patch).await;
    assert_eq!((code, &patched["spec"]["replicas"]), (200, &json!(7)));
    assert_eq!(ask(&server, "DELETE", &format!("{DEPLOYMENTS}/a?dryRun=All"), JSON, &Value::Null).await.0, 200);
    assert_eq!(server.list("apps/v1", "Deployment"), before);
}

#[tokio::test]
async fn discovery_is_told_in_one_document_to_whoever_reads_that() {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let server = ApiServer::new();
    let (_, groups) = ask(&server, "GET", "/apis", AGGREGATED, &Value::Null).await;
    let canaries =
        groups["items"].as_array().unwrap().iter().find(|group| group["metadata"]["name"] == "flagger.app").unwrap();
    let canaries = &canaries["versions"][0]["resources"][1];
    assert_eq!((&canaries["resource"], &canaries["shortNames"]), (&json!("canaries"), &json!(["can"])));
    assert_eq!(canaries["categories"], json!(["all"]));
    let (_, list) = ask(&server, "GET", "/apis", JSON, &Value::Null).await;
    assert_eq!(list["kind"], "APIGroupList");
    let (_, resources) = ask(&server, "GET", "/apis/apps/v1", AGGREGATED, &Value::Null).await;
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().filter_map(|entry| entry["name"].as_str()).collect();
    assert!(names.contains(&"deployments/scale") && !names.contains(&"daemonsets/scale"), "{names:?}");
}

#[tokio::test]
async fn unknown_fields_are_told_to_whoever_asks() {
    let server = with_deployment();
    let patch = json!({"spec": {"replica": 7}});
    for (validation, expected) in [("Strict", 400), ("Ignore", 200), ("Warn", 200)] {
        let place = format!("{DEPLOYMENTS}/a?fieldValidation={validation}");
        assert_eq!(ask(&server, "PATCH", &place, JSON, &patch).await.0, expected, "{validation}");
    }
    let (code, refusal) = ask(&server, "GET", "/api/v1/namespaces/default/pods/a/log", JSON, &Value::Null).await;
    assert_eq!(code, 404);
    assert!(refusal["message"].as_str().unwrap().contains("run no program"), "{refusal}");
}
