//! Writes that land late: after another process, or a later pass, went on.

mod stage;

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::stage::{LATE, Process, apex_id, autoscaler_id, canary_id, primary_id, route_id, server, target_id};
use crate::cluster::ClusterError;
use crate::cluster::apply::CarriedOut;
use crate::rollout::{Action, Intent, ResourceId, Scale};
use crate::sim::api_server::ApiServer;

const ZERO: Action = Action::ScaleTarget(Scale::Zero);
const UP: Action = Action::ScaleTarget(Scale::Up);
const SERVICES: Action = Action::Services { apex: true };
const AUTOSCALER: Action = Action::Autoscaler { update: true };

const REPLICAS: &str = "/spec/replicas";
const IMAGE: &str = "/spec/template/spec/containers/0/image";
const CANARY_WEIGHT: &str = "/spec/rules/0/backendRefs/1/weight";

fn route(canary_weight: i32) -> Action {
    Action::Route(Intent { canary_weight, withdrawn: None })
}

fn withdrawal() -> Action {
    Action::Route(Intent { canary_weight: 0, withdrawn: Some("this run".to_owned()) })
}

/// What a person does: a merge patch of an object.
type Edit = (ResourceId, Value);

fn image(number: u32) -> Edit {
    let containers = json!([{"name": "app", "image": format!("frontend:{number}")}]);
    (target_id(), json!({"spec": {"template": {"spec": {"containers": containers}}}}))
}

fn pods_at_most(number: u32) -> Edit {
    (autoscaler_id("frontend"), json!({"spec": {"maxReplicas": number}}))
}

fn selector(app: &str) -> Edit {
    (apex_id(), json!({"spec": {"selector": {"app": app}}}))
}

fn pods(available: u32) -> Edit {
    (target_id(), json!({"status": {"replicas": 2, "readyReplicas": available, "availableReplicas": available}}))
}

fn edit(server: &ApiServer, edit: Option<Edit>) {
    let Some((id, body)) = edit else { return };
    let patched = if body.get("status").is_some() { server.patch_status(&id, &body) } else { server.patch(&id, &body) };
    patched.unwrap();
}

fn found(server: &ApiServer, (id, pointer): &(ResourceId, &str)) -> Value {
    server.get(id).and_then(|object| object.pointer(pointer).cloned()).unwrap_or_default()
}

fn canary_weight(server: &ApiServer) -> Value {
    found(server, &(route_id(), CANARY_WEIGHT))
}

fn is_conflict(done: &CarriedOut) -> bool {
    matches!(done.failure, Some(ClusterError::Conflict { .. }))
}

/// A primary, its Services, autoscaler and route.
async fn set_up(process: &Process) {
    let revision = process.revision().await;
    process.must_act(&[Action::CreatePrimary(revision), SERVICES, AUTOSCALER, route(0)]).await;
    process.requests();
}

/// A write of an old leader that is late, and what goes on before and meanwhile: edits of people, then what the new
/// leader does.
struct Case {
    name: &'static str,
    before: (Option<Edit>, Option<Action>),
    late: Action,
    meanwhile: (Option<Edit>, Option<Action>),
    /// What must be there once all has landed.
    expected: ((ResourceId, &'static str), Value),
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "the scale-down after a run takes no pods from the next one",
            before: (None, None),
            late: ZERO,
            meanwhile: (Some(image(2)), Some(route(10))),
            expected: ((target_id(), REPLICAS), json!(2)),
        },
        Case {
            name: "the scale-up for a run brings no refused revision back",
            before: (None, Some(ZERO)),
            late: UP,
            meanwhile: (Some(image(2)), None),
            expected: ((target_id(), REPLICAS), json!(0)),
        },
        Case {
            name: "a step brings no traffic back after a rollback",
            before: (None, Some(route(10))),
            late: route(20),
            meanwhile: (None, Some(withdrawal())),
            expected: ((route_id(), CANARY_WEIGHT), json!(0)),
        },
        Case {
            name: "nor does the first step, from where the rollback left it",
            before: (None, None),
            late: route(10),
            meanwhile: (None, Some(withdrawal())),
            expected: ((route_id(), CANARY_WEIGHT), json!(0)),
        },
        Case {
            name: "the end of a promotion takes no traffic from the next run",
            before: (None, Some(route(50))),
            late: route(20),
            meanwhile: (None, Some(route(30))),
            expected: ((route_id(), CANARY_WEIGHT), json!(30)),
        },
        Case {
            name: "a repaired Service is not repaired to what was wanted once",
            before: (Some(selector("elsewhere")), None),
            late: SERVICES,
            meanwhile: (Some(selector("anywhere")), None),
            expected: ((apex_id(), "/spec/selector/app"), json!("anywhere")),
        },
        Case {
            name: "an autoscaler does not follow what its original was once",
            before: (Some(pods_at_most(6)), None),
            late: AUTOSCALER,
            meanwhile: (Some(pods_at_most(8)), Some(AUTOSCALER)),
            expected: ((autoscaler_id("frontend-primary"), "/spec/maxReplicas"), json!(8)),
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn what_an_old_leader_wrote_and_lands_late_is_refused() {
    for Case { name, before, late, meanwhile, expected: (place, expected) } in cases() {
        let server = server();
        let (old, new) = (Process::start(&server).await, Process::start(&server).await);
        set_up(&new).await;
        edit(&server, before.0);
        new.must_act(before.1.as_slice()).await;
        sleep(Duration::from_secs(1)).await;

        old.delay(&place.0.kind);
        let actions = [late];
        let start = Instant::now();
        let (late, ()) = tokio::join!(old.act(&actions), async {
            sleep(Duration::from_secs(1)).await;
            edit(&server, meanwhile.0);
            new.must_act(meanwhile.1.as_slice()).await;
        });
        assert!(start.elapsed() >= LATE, "{name}: nothing was late");
        assert_eq!(found(&server, &place), expected, "{name}");
        assert!(is_conflict(&late), "{name}: {late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_promotion_does_not_undo_a_newer_one() {
    let server = server();
    let (old, new) = (Process::start(&server).await, Process::start(&server).await);
    set_up(&new).await;
    edit(&server, Some(image(2)));
    sleep(Duration::from_secs(1)).await;

    let second = [Action::PromotePrimary(old.revision().await)];
    old.delay("Deployment");
    let (late, ()) = tokio::join!(old.act(&second), async {
        sleep(Duration::from_secs(1)).await;
        edit(&server, Some(image(3)));
        sleep(Duration::from_secs(1)).await;
        let third = new.revision().await;
        new.must_act(&[Action::PromotePrimary(third)]).await;
    });
    assert!(is_conflict(&late), "{late:?}");
    assert_eq!(found(&server, &(primary_id(), IMAGE)), "frontend:3");
}

#[tokio::test(start_paused = true)]
async fn a_late_creation_finds_what_is_there_or_goes_with_its_canary() {
    for canary_is_deleted in [false, true] {
        let server = server();
        let (old, new) = (Process::start(&server).await, Process::start(&server).await);
        set_up(&new).await;
        server.delete(&route_id()).unwrap();
        sleep(Duration::from_secs(1)).await;

        old.delay("HTTPRoute");
        let actions = [route(10)];
        let (late, ()) = tokio::join!(old.act(&actions), async {
            sleep(Duration::from_secs(1)).await;
            if canary_is_deleted {
                server.delete(&canary_id()).unwrap();
            } else {
                new.must_act(&[withdrawal()]).await;
            }
        });
        if canary_is_deleted {
            server.collect_garbage();
            assert_eq!(server.get(&route_id()), None);
        } else {
            assert!(is_conflict(&late), "{late:?}");
            assert_eq!(canary_weight(&server), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_leaves_in_the_same_pass_however_busy_the_route_is() {
    let server = server();
    let process = Process::start(&server).await;
    set_up(&process).await;
    process.must_act(&[route(10)]).await;
    process.requests();
    process.way.is_busy.store(true, Ordering::Relaxed);

    let step = process.act(&[route(20)]).await;
    assert!(is_conflict(&step), "{step:?}");
    assert_eq!(canary_weight(&server), 10);
    assert_eq!(process.requests(), ["patch HTTPRoute"]);

    process.must_act(&[withdrawal()]).await;
    assert_eq!(canary_weight(&server), 0);
    assert_eq!(found(&server, &(route_id(), "/metadata/annotations/serin.dev~1withdrawn")), "this run");
}

#[tokio::test(start_paused = true)]
async fn traffic_leaves_though_the_cache_shows_an_old_route_or_none_or_one_that_is_gone() {
    for is_shown in [true, false] {
        for is_there in [true, false] {
            let server = server();
            let (other, process) = (Process::start(&server).await, Process::start(&server).await);
            process.way.lags.store(!is_shown, Ordering::Relaxed);
            set_up(&other).await;
            sleep(Duration::from_secs(1)).await;
            process.way.lags.store(true, Ordering::Relaxed);
            other.must_act(&[route(30)]).await;
            if !is_there {
                server.delete(&route_id()).unwrap();
            }

            process.must_act(&[withdrawal()]).await;
            assert_eq!(canary_weight(&server), 0, "shown: {is_shown}, there: {is_there}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_conflict_the_object_is_read_once_and_the_same_decision_goes_through() {
    let server = server();
    let process = Process::start(&server).await;
    set_up(&process).await;
    process.way.lags.store(true, Ordering::Relaxed);
    server.patch_status(&target_id(), &json!({"status": {"replicas": 2}})).unwrap();

    let expected: [(&[&str], i32); 3] =
        [(&["patch Deployment"], 2), (&["list Deployment", "patch Deployment"], 0), (&[], 0)];
    for (requests, replicas) in expected {
        process.act(&[ZERO]).await;
        assert_eq!(process.requests(), requests);
        assert_eq!(found(&server, &(target_id(), REPLICAS)), replicas);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_leaves_though_another_object_is_in_doubt_and_cannot_be_read() {
    let server = server();
    let process = Process::start(&server).await;
    set_up(&process).await;
    process.must_act(&[route(10)]).await;
    process.way.lags.store(true, Ordering::Relaxed);
    server.patch_status(&target_id(), &json!({"status": {"replicas": 2}})).unwrap();
    process.act(&[ZERO]).await;
    process.requests();

    process.way.fails.store(true, Ordering::Relaxed);
    process.must_act(&[withdrawal()]).await;
    assert_eq!(process.requests(), ["list Deployment", "patch HTTPRoute"]);
    process.way.fails.store(false, Ordering::Relaxed);
    process.must_act(&[ZERO]).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_gone_is_not_made_and_is_seen_to_be_gone() {
    let server = server();
    let process = Process::start(&server).await;
    set_up(&process).await;
    process.way.lags.store(true, Ordering::Relaxed);
    server.delete(&target_id()).unwrap();

    let done = process.act(&[ZERO]).await;
    assert!(is_conflict(&done), "{done:?}");
    assert_eq!(server.get(&target_id()), None);
    assert_eq!(process.observe().await.observed.target, None);
    process.requests();
    assert_eq!(process.observe().await.observed.target, None);
    assert_eq!(process.requests(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_step_costs_two_writes_and_stands_once_it_is_committed() {
    let server = server();
    let process = Process::start(&server).await;
    set_up(&process).await;
    let step = |weight| [Action::CommitStatus, route(weight)];

    process.must_act(&step(10)).await;
    assert_eq!(process.requests(), ["patch Canary", "patch HTTPRoute"]);

    process.way.is_busy.store(true, Ordering::Relaxed);
    let done = process.act(&step(20)).await;
    assert!(done.committed && is_conflict(&done), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_step_is_committed_gets_no_traffic() {
    // name; what happens meanwhile; weight of the route
    let cases: [(&str, Edit, i32); 4] = [
        ("nothing that matters", pods(1), 20),
        ("the pods go", pods(0), 10),
        ("a newer revision comes", image(2), 10),
        ("it is scaled", (target_id(), json!({"spec": {"replicas": 3}})), 10),
    ];
    for (name, meanwhile, expected) in cases {
        let server = server();
        let process = Process::start(&server).await;
        set_up(&process).await;
        edit(&server, Some(pods(2)));
        process.must_act(&[route(10)]).await;

        process.delay("Canary");
        let step = [Action::CommitStatus, route(20)];
        let (done, ()) = tokio::join!(process.act(&step), async {
            sleep(Duration::from_secs(1)).await;
            edit(&server, Some(meanwhile));
        });
        assert!(done.committed && is_conflict(&done) == (expected == 10), "{name}: {done:?}");
        assert_eq!(canary_weight(&server), expected, "{name}");
    }
}
