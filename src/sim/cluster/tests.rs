use super::*;
use crate::sim::testing::{Stage, deployment, key, service, users, with_variables};

fn settings() -> Settings {
    Settings { users: users(100.0), ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn it_drives_itself_in_a_task_and_tells_of_each_new_load() {
    let server = ApiServer::new();
    server.create(deployment("frontend", 2, &[("VERSION", "1")])).unwrap();
    server.create(service("frontend", "frontend")).unwrap();
    let began = Instant::now();
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let cluster = Cluster::new(&server, settings()).with_on_load(Box::new(move |at, loads| {
        let pods = loads.iter().map(|load| load.ready_pods.len()).sum::<usize>();
        lock(&teller).push(((at - began).as_secs_f64(), pods));
    }));
    let handle = cluster.handle();
    let task = tokio::spawn(cluster.run());
    tokio::time::sleep(Duration::from_secs(60)).await;
    handle.inject(Fault::Crash { workload: key("frontend"), pods: Pods::Some(1), back_after: None });
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.delete(&crate::sim::testing::deployment_id()).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    task.abort();
    let expected = [(0.0, 0), (1.0, 2), (60.0, 1), (120.0, 0)];
    let told = lock(&told).clone();
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((at, pods), (expected_at, expected_pods)) in told.into_iter().zip(expected) {
        assert!((at - expected_at).abs() < 0.1 && pods == expected_pods, "{pods} pods after {at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn it_knows_when_the_last_ready_pod_was_lost() {
    let mut stage = Stage::new(settings());
    stage.create(deployment("frontend", 2, &[]));
    stage.pass(5.0).await;
    let lost = |stage: &Stage| stage.handle.view().workloads[&key("frontend")].lost_last_ready_at;
    assert_eq!(lost(&stage), None);
    let crash = |pods| Fault::Crash { workload: key("frontend"), pods, back_after: Some(Duration::from_secs(10)) };
    stage.inject(crash(Pods::Some(1)));
    stage.pass(1.0).await;
    assert_eq!(lost(&stage), None);
    let at = Instant::now();
    stage.inject(crash(Pods::All));
    stage.pass(1.0).await;
    assert_eq!(lost(&stage), Some(at));
    stage.pass(30.0).await;
    assert_eq!((lost(&stage), stage.ready("frontend")), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn in_mid_rollout_each_version_has_its_share() {
    let mut stage = Stage::new(settings());
    stage.create(service("frontend", "frontend"));
    stage.create(deployment("frontend", 4, &[("VERSION", "1")]));
    stage.pass(5.0).await;
    stage.edit(&with_variables(&[("VERSION", "2"), ("ERROR_RATE", "0.5")]));
    stage.pass(1.03).await;
    let view = stage.handle.view();
    let mut shares: Vec<_> = view
        .loads
        .iter()
        .map(|load| (load.behaviour.version.as_str(), load.ready_pods.len(), load.requests_per_second))
        .collect();
    shares.sort_by_key(|(version, ..)| *version);
    let pods: usize = shares.iter().map(|(_, pods, _)| pods).sum();
    for (version, own, requests_per_second) in &shares {
        assert!((requests_per_second - 100.0 * *own as f64 / pods as f64).abs() < 1e-9, "{version}");
    }
    assert_eq!(shares.iter().map(|(version, pods, _)| (*version, *pods)).collect::<Vec<_>>(), [("1", 3), ("2", 2)]);
    assert!((view.failing_shares[&key("frontend")] - 0.2).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn the_same_things_happen_in_each_run() {
    let run = async || {
        let mut stage = Stage::new(Settings { with_objects: true, ..settings() });
        stage.create(service("frontend", "frontend"));
        stage.create(deployment("frontend", 3, &[("CRASH_AFTER_MS", "40000")]));
        stage.pass(30.0).await;
        stage.edit(&with_variables(&[("VERSION", "2")]));
        stage.inject(Fault::Crash { workload: key("frontend"), pods: Pods::Some(2), back_after: None });
        stage.pass(100.0).await;
        let pods = stage.server.list("v1", "Pod").into_iter().map(|pod| pod["metadata"]["name"].clone());
        (pods.collect::<Vec<_>>(), stage.deployment()["metadata"]["resourceVersion"].clone())
    };
    assert_eq!(run().await, run().await);
}

#[tokio::test(start_paused = true)]
async fn a_settled_cluster_writes_nothing_and_has_nothing_due() {
    let mut stage = Stage::new(settings());
    stage.create(service("frontend", "frontend"));
    stage.create(deployment("frontend", 3, &[]));
    stage.pass(60.0).await;
    let before = stage.deployment();
    assert_eq!(stage.cluster.step(), None);
    stage.pass(3600.0).await;
    assert_eq!(stage.deployment(), before);
}
