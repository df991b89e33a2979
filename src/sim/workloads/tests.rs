//! What others see of workloads: their status, and who is ready.

use std::time::Duration;

use serde_json::{Value, json};

use super::Pods;
use crate::rollout::ResourceId;
use crate::sim::cluster::Fault;
use crate::sim::settings::Settings;
use crate::sim::testing::{Stage, deployment, deployment_id, env, key, template, with_variables};

/// After so many seconds: all, updated, ready and available replicas, and the condition `Progressing`.
type Expected = (f64, [u64; 4], &'static str);

async fn expect(stage: &mut Stage, name: &str, course: &[Expected]) {
    for (at, replicas, progressing) in course {
        stage.pass(at - stage.seconds()).await;
        assert_eq!(stage.replicas(), *replicas, "{name}, after {at} s");
        assert_eq!(stage.condition("Progressing"), *progressing, "{name}, after {at} s");
        let status = &stage.deployment()["status"];
        assert_eq!(status["observedGeneration"], stage.deployment()["metadata"]["generation"], "{name}, after {at} s");
    }
}

const UPDATED: &str = "True ReplicaSetUpdated";
const AVAILABLE: &str = "True NewReplicaSetAvailable";
const EXCEEDED: &str = "False ProgressDeadlineExceeded";

#[tokio::test(start_paused = true)]
async fn a_new_deployment_gets_its_pods_and_they_get_ready() {
    let cases: [(&str, Value, &[Expected]); 6] = [
        (
            "after the readiness delay",
            json!({}),
            &[(0.1, [2, 2, 0, 0], UPDATED), (0.9, [2, 2, 0, 0], UPDATED), (1.2, [2, 2, 2, 2], AVAILABLE)],
        ),
        (
            "and their own start delay",
            with_variables(&[("START_DELAY_MS", "3000")]),
            &[(3.9, [2, 2, 0, 0], UPDATED), (4.2, [2, 2, 2, 2], AVAILABLE)],
        ),
        (
            "available only after minReadySeconds",
            json!({"spec": {"minReadySeconds": 5}}),
            &[(1.2, [2, 2, 2, 0], UPDATED), (5.9, [2, 2, 2, 0], UPDATED), (6.2, [2, 2, 2, 2], AVAILABLE)],
        ),
        (
            "never ready, until the deadline",
            json!({"spec": {"progressDeadlineSeconds": 60, "template": template("frontend", &[("NEVER_READY", "1")])}}),
            &[(59.0, [2, 2, 0, 0], UPDATED), (61.0, [2, 2, 0, 0], EXCEEDED), (999.0, [2, 2, 0, 0], EXCEEDED)],
        ),
        ("without replicas it is complete", json!({"spec": {"replicas": 0}}), &[(0.1, [0, 0, 0, 0], AVAILABLE)]),
        ("paused it makes none", json!({"spec": {"paused": true}}), &[(5.0, [0, 0, 0, 0], "Unknown DeploymentPaused")]),
    ];
    for (name, change, course) in cases {
        let mut stage = Stage::new(Settings::default());
        let mut object = deployment("frontend", 2, &[]);
        json_patch::merge(&mut object, &change);
        stage.create(object);
        expect(&mut stage, name, course).await;
    }
}

async fn rolled_out(settings: Settings, object: Value) -> Stage {
    let mut stage = Stage::new(settings);
    stage.create(object);
    stage.pass(10.0).await;
    assert_eq!(stage.condition("Progressing"), AVAILABLE);
    stage
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_stays_within_its_bounds() {
    let rolling = |surge: i64, unavailable: i64| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    // The most pods and the fewest ready ones on the way.
    let cases = [
        ("the default", 4, json!(null), (5, 3)),
        ("surge alone", 2, rolling(2, 0), (4, 2)),
        ("no surge", 3, rolling(0, 1), (3, 2)),
        ("both", 4, rolling(1, 2), (5, 2)),
        ("one pod by default is never missing", 1, json!(null), (2, 1)),
        ("recreate", 2, json!({"type": "Recreate", "rollingUpdate": null}), (2, 0)),
    ];
    for (name, replicas, strategy, (most, fewest)) in cases {
        let mut stage = rolled_out(Settings::default(), deployment("frontend", replicas, &[("VERSION", "1")])).await;
        let mut change = with_variables(&[("VERSION", "2")]);
        change["spec"]["strategy"] = strategy;
        stage.edit(&change);
        let (mut seen_most, mut seen_fewest) = (0, u64::MAX);
        for _ in 0..200 {
            stage.pass(0.1).await;
            let [all, _, ready, _] = stage.replicas();
            (seen_most, seen_fewest) = (seen_most.max(all), seen_fewest.min(ready));
        }
        assert_eq!((seen_most, seen_fewest), (most, fewest), "{name}");
        assert_eq!(stage.versions("frontend"), vec!["2"; replicas], "{name}");
        assert_eq!(stage.condition("Progressing"), AVAILABLE, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_rollout_keeps_its_old_pods_and_the_old_template_mends_it() {
    let mut stage = rolled_out(Settings::default(), deployment("frontend", 2, &[("VERSION", "1")])).await;
    let mut bad = with_variables(&[("VERSION", "2"), ("NEVER_READY", "1")]);
    bad["spec"]["progressDeadlineSeconds"] = json!(30);
    stage.edit(&bad);
    expect(&mut stage, "bad", &[(11.0, [3, 1, 2, 2], UPDATED), (41.0, [3, 1, 2, 2], EXCEEDED)]).await;
    assert_eq!(stage.condition("Available"), "True MinimumReplicasAvailable");
    stage.edit(&with_variables(&[("VERSION", "1")]));
    expect(&mut stage, "mended", &[(44.0, [2, 2, 2, 2], AVAILABLE)]).await;
}

#[tokio::test(start_paused = true)]
async fn scaled_to_zero_and_back_is_no_rollout() {
    let mut stage = rolled_out(Settings::default(), deployment("frontend", 2, &[("VERSION", "1")])).await;
    stage.edit(&json!({"spec": {"replicas": 0}}));
    expect(&mut stage, "to zero", &[(10.1, [0, 0, 0, 0], AVAILABLE)]).await;
    assert_eq!(stage.ready("frontend"), 0);
    // As in Kubernetes, the deadline does not count here: the template was complete without pods.
    stage.edit(&with_variables(&[("VERSION", "2"), ("NEVER_READY", "1")]));
    stage.edit(&json!({"spec": {"progressDeadlineSeconds": 30}}));
    stage.pass(1.0).await;
    stage.edit(&json!({"spec": {"replicas": 1}}));
    expect(&mut stage, "never ready", &[(12.0, [1, 1, 0, 0], AVAILABLE), (99.0, [1, 1, 0, 0], AVAILABLE)]).await;
    assert_eq!(stage.condition("Available"), "False MinimumReplicasUnavailable");
    stage.edit(&with_variables(&[("VERSION", "1")]));
    stage.edit(&json!({"spec": {"replicas": 3}}));
    expect(&mut stage, "back", &[(120.0, [3, 3, 3, 3], AVAILABLE)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_keeps_its_template() {
    let mut stage = rolled_out(Settings::default(), deployment("frontend", 2, &[("VERSION", "1")])).await;
    stage.edit(&json!({"spec": {"paused": true}}));
    stage.edit(&with_variables(&[("VERSION", "2")]));
    stage.edit(&json!({"spec": {"replicas": 3}}));
    expect(&mut stage, "paused", &[(20.0, [3, 0, 3, 3], "Unknown DeploymentPaused")]).await;
    stage.edit(&json!({"spec": {"paused": false}}));
    expect(&mut stage, "resumed", &[(40.0, [3, 3, 3, 3], AVAILABLE)]).await;
    assert_eq!(stage.versions("frontend"), ["2", "2", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_crashes_restarts_later_each_time() {
    let settings = Settings { readiness_delay: Duration::ZERO, ..Settings::default() };
    let mut stage = Stage::new(settings);
    stage.create(deployment("frontend", 1, &[("CRASH_AFTER_MS", "1000")]));
    // It runs for a second each time; before that it waits for 0, 10, 20 and 40 seconds.
    let course =
        [(0.5, 1), (1.5, 1), (2.5, 0), (11.5, 0), (12.5, 1), (13.5, 0), (32.5, 0), (33.5, 1), (34.5, 0), (74.5, 1)];
    for (at, ready) in course {
        stage.pass(at - stage.seconds()).await;
        assert_eq!(stage.ready("frontend"), ready, "after {at} s");
        assert_eq!(stage.replicas(), [1, 1, ready as u64, ready as u64], "after {at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_crash_on_demand() {
    let back = |seconds| Some(Duration::from_secs(seconds));
    // Ready pods at once, after 20 s and after 40 s.
    let cases = [
        ("all, back after 10 s", Pods::All, back(10), [0, 3, 3]),
        ("one, back after 30 s", Pods::Some(1), back(30), [2, 2, 3]),
        ("two, for ever", Pods::Some(2), None, [1, 1, 1]),
    ];
    for (name, pods, back_after, expected) in cases {
        let mut stage = rolled_out(Settings::default(), deployment("frontend", 3, &[])).await;
        stage.inject(Fault::Crash { workload: key("frontend"), pods, back_after });
        for (seconds, ready) in [0.1, 19.9, 20.0].into_iter().zip(expected) {
            stage.pass(seconds).await;
            assert_eq!(stage.ready("frontend"), ready, "{name}");
            assert_eq!(stage.replicas(), [3, 3, ready as u64, ready as u64], "{name}");
        }
        assert_eq!(stage.condition("Progressing"), AVAILABLE, "{name}: it is no rollout");
    }
}

#[tokio::test(start_paused = true)]
async fn configuration_is_read_when_a_container_starts() {
    let config = |version: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"VERSION": version}});
    let id = ResourceId::new("v1", "ConfigMap", key("settings"));
    let sources = [
        ("envFrom", json!({"envFrom": [{"configMapRef": {"name": "settings"}}]})),
        (
            "a key",
            json!({"env": [{"name": "VERSION", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "VERSION"}}}]}),
        ),
    ];
    for (name, source) in sources {
        let mut stage = Stage::new(Settings::default());
        let mut object = deployment("frontend", 1, &[]);
        json_patch::merge(&mut object["spec"]["template"]["spec"]["containers"][0], &source);
        stage.create(object);
        stage.pass(30.0).await;
        assert_eq!(stage.replicas(), [1, 1, 0, 0], "{name}: it waits for the ConfigMap");
        stage.create(config("1"));
        stage.pass(2.0).await;
        assert_eq!(stage.versions("frontend"), ["1"], "{name}");
        stage.server.patch(&id, &json!({"data": {"VERSION": "2"}})).unwrap();
        stage.pass(60.0).await;
        assert_eq!(stage.versions("frontend"), ["1"], "{name}: it keeps what it started with");
        stage.edit(&json!({"spec": {"replicas": 2}}));
        stage.pass(5.0).await;
        assert_eq!(stage.versions("frontend"), ["1", "2"], "{name}: a new pod reads it anew");
    }
}

#[tokio::test(start_paused = true)]
async fn paused_controllers_do_nothing_and_catch_up() {
    let mut stage = rolled_out(Settings::default(), deployment("frontend", 2, &[("VERSION", "1")])).await;
    stage.inject(Fault::PauseControllers(Duration::from_secs(30)));
    stage.edit(&with_variables(&[("VERSION", "2")]));
    stage.inject(Fault::Crash { workload: key("frontend"), pods: Pods::Some(1), back_after: None });
    stage.pass(29.0).await;
    let object = stage.deployment();
    assert_eq!([&object["metadata"]["generation"], &object["status"]["observedGeneration"]], [2, 1]);
    assert_eq!((stage.replicas(), stage.ready("frontend")), ([2, 2, 2, 2], 1), "pods go on, unseen");
    stage.pass(10.0).await;
    assert_eq!(stage.versions("frontend"), ["2", "2"]);
}

#[tokio::test(start_paused = true)]
async fn the_readiness_delay_of_one_workload_can_be_set() {
    let mut stage = Stage::new(Settings::default());
    stage.inject(Fault::ReadinessDelay { workload: key("frontend"), delay: Some(Duration::from_secs(20)) });
    stage.create(deployment("frontend", 1, &[]));
    stage.create(deployment("other", 1, &[]));
    stage.pass(2.0).await;
    assert_eq!((stage.ready("frontend"), stage.ready("other")), (0, 1));
    stage.pass(20.0).await;
    assert_eq!((stage.ready("frontend"), stage.ready("other")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_deleted_takes_its_pods_with_it_and_comes_back_anew() {
    let mut stage = rolled_out(Settings::default(), deployment("frontend", 2, &[])).await;
    stage.server.delete(&deployment_id()).unwrap();
    stage.create(deployment("frontend", 1, &[]));
    stage.pass(0.5).await;
    assert_eq!(stage.ready("frontend"), 0);
    stage.pass(2.0).await;
    assert_eq!((stage.ready("frontend"), stage.replicas()), (1, [1, 1, 1, 1]));
}

/// A change, then after so many seconds: desired, updated, ready and available pods, and the versions that answer.
type Step = (&'static str, Option<Value>, f64, [u64; 4], &'static [&'static str]);

#[tokio::test(start_paused = true)]
async fn a_daemon_set_has_one_pod_on_each_node_that_its_template_allows() {
    let mut stage = Stage::new(Settings { nodes: 3, ..Settings::default() });
    stage.create(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent", &[("VERSION", "1")])},
    }));
    let id = ResourceId::new("apps/v1", "DaemonSet", key("agent"));
    let edit = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let version =
        |version| edit(json!({"containers": [{"name": "app", "image": "app:1", "env": env(&[("VERSION", version)])}]}));
    let no_node = edit(json!({"nodeSelector": {"flagger.app/scale-to-zero": "true"}}));
    let every_node = edit(json!({"nodeSelector": null}));
    let course: [Step; 8] = [
        ("new", None, 0.5, [3, 3, 0, 0], &[]),
        ("ready", None, 1.0, [3, 3, 3, 3], &["1", "1", "1"]),
        ("one at a time", Some(version("2")), 1.0, [3, 0, 2, 2], &["1", "1"]),
        ("the next one", None, 2.1, [3, 1, 2, 2], &["1", "2"]),
        ("done", None, 20.0, [3, 3, 3, 3], &["2", "2", "2"]),
        ("on no node", Some(no_node), 0.5, [0, 0, 0, 0], &[]),
        ("that stays", None, 100.0, [0, 0, 0, 0], &[]),
        ("on all again", Some(every_node), 2.0, [3, 3, 3, 3], &["2", "2", "2"]),
    ];
    for (name, change, seconds, expected, versions) in course {
        if let Some(change) = change {
            stage.server.patch(&id, &change).unwrap();
        }
        stage.pass(seconds).await;
        let object = stage.server.get(&id).unwrap();
        let fields = ["desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable"];
        assert_eq!(fields.map(|field| object["status"][field].as_u64().unwrap_or(0)), expected, "{name}");
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"], "{name}");
        assert_eq!(stage.versions("agent"), versions, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn replica_sets_and_pods_are_objects_where_people_look() {
    let settings = Settings { with_objects: true, ..Settings::default() };
    let mut stage = rolled_out(settings, deployment("frontend", 2, &[("VERSION", "1")])).await;
    let pods = |stage: &Stage| stage.server.list("v1", "Pod");
    let sets = |stage: &Stage| -> Vec<[Value; 2]> {
        let sets = stage.server.list("apps/v1", "ReplicaSet").into_iter();
        sets.map(|set| [set["spec"]["replicas"].clone(), set["status"]["readyReplicas"].clone()]).collect()
    };
    assert_eq!(sets(&stage), [[json!(2), json!(2)]]);
    let set = stage.server.list("apps/v1", "ReplicaSet").remove(0);
    for pod in pods(&stage) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with(set["metadata"]["name"].as_str().unwrap()), "{name}");
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], set["metadata"]["labels"]["pod-template-hash"]);
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
        let ready = pod["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Ready");
        assert_eq!((&pod["status"]["phase"], &ready.unwrap()["status"]), (&json!("Running"), &json!("True")));
    }
    let name = pods(&stage)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    stage.server.delete(&ResourceId::new("v1", "Pod", key(&name))).unwrap();
    stage.pass(0.5).await;
    assert_eq!((pods(&stage).len(), stage.ready("frontend")), (2, 1), "a deleted pod is replaced");
    stage.inject(Fault::Crash { workload: key("frontend"), pods: Pods::All, back_after: Some(Duration::from_secs(1)) });
    stage.pass(5.0).await;
    let restarts: u64 =
        pods(&stage).iter().map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap()).sum();
    assert_eq!(restarts, 2);
    stage.edit(&with_variables(&[("VERSION", "2")]));
    stage.pass(20.0).await;
    assert_eq!(pods(&stage).len(), 2);
    let mut found = sets(&stage);
    found.sort_by_key(|[replicas, _]| replicas.as_u64());
    assert_eq!(found, [[json!(0), Value::Null], [json!(2), json!(2)]]);
    stage.server.delete(&deployment_id()).unwrap();
    stage.pass(5.0).await;
    assert_eq!((pods(&stage).len(), sets(&stage).len()), (0, 0));
}
