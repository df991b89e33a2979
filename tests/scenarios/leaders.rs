//! Two controllers: one leads, the other takes over when it goes, and a leader that only slept changes nothing more.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use serin::api::status::Phase;
use serin::cluster::lease::{LEASE_NAME, Timing};
use serin_testbed::{Process, Testbed, wait_until};

use crate::Scenarios;
use crate::scene::{HEALTHY, PATIENCE, Scene};

/// Where the shipped Role lets controllers elect a leader.
const LEASE_NAMESPACE: &str = "serin-system";

/// What a handover may take beyond the lease duration and one retry period.
const MARGIN: Duration = Duration::from_secs(6);

/// Time between two steps.
const INTERVAL: Duration = Duration::from_secs(3);

pub fn register(scenarios: &Scenarios, trials: &mut Vec<Trial>) {
    trials.push(scenarios.trial("a_standby_takes_over_and_a_leader_that_wakes_up_changes_nothing", handovers));
}

/// There is one Lease, so both handovers are one scenario.
async fn handovers(testbed: Arc<Testbed>) -> Result<()> {
    let scene = Scene::new(&testbed, "leaders").await?;
    let mut killed = Candidate::start(&scene).await?;
    killed.leads(&testbed, PATIENCE).await?;
    let mut paused = Candidate::start(&scene).await?;
    paused.stands_by().await?;
    scene.initialize(&scene.canary(&json!({"interval": format!("{}s", INTERVAL.as_secs())}))).await?;
    let users = scene.users().await?;
    let started = Instant::now();

    scene.release("1.1.0", HEALTHY).await?;
    scene.reach_when("weight 20", |status| status.canary_weight == 20).await?;
    killed.process.kill();
    paused.leads(&testbed, handover_time()).await?;
    scene.reach(Phase::Succeeded).await?;
    steps_from(&scene, started)?;

    let woken_by = pause_and_wake(&scene, &mut paused).await?;
    changed_nothing(&scene, &paused, &woken_by)?;
    users.ensure_served(started)
}

/// A leader that is frozen in mid-run and wakes when somebody else has led on for a step: its own check was due long ago.
async fn pause_and_wake(scene: &Scene, paused: &mut Candidate) -> Result<Handover> {
    let successor = Candidate::start(scene).await?;
    successor.stands_by().await?;
    let started = Instant::now();
    scene.release("1.2.0", HEALTHY).await?;
    let before = scene.reach_when("weight 20", |status| status.canary_weight == 20).await?;
    paused.process.pause()?;
    successor.leads(&scene.testbed, handover_time()).await?;
    scene.reach_when("the next step", |status| status.canary_weight > before.canary_weight).await?;
    let woken = SystemTime::now();
    paused.process.resume()?;
    let end = paused.process.wait(Duration::from_secs(10))?;
    ensure!(!end.success(), "a leader that lost the lease ended with {end}");
    let log = paused.process.log();
    ensure!(log.contains("lost leadership"), "it does not say why it ended: {log}");
    scene.reach(Phase::Succeeded).await?;
    steps_from(scene, started)?;
    Ok(Handover { woken, successor })
}

struct Handover {
    woken: SystemTime,
    successor: Candidate,
}

/// The API server's own account: no write with the old leader's token since it woke, and those of its successor show
/// that the account tells the two apart. An Event of a step that was committed just before it fell asleep may come late:
/// it is true, and nobody else would tell it (D11).
fn changed_nothing(scene: &Scene, old: &Candidate, handover: &Handover) -> Result<()> {
    let user = format!("system:serviceaccount:{LEASE_NAMESPACE}:serin");
    let mut writes = scene.testbed.audit_requests(Some(&user), handover.woken)?;
    writes.retain(|request| request.is_write() && request.resource != "events");
    let by = |candidate: &Candidate| writes.iter().filter(|write| write.credential == candidate.credential).count();
    ensure!(by(&handover.successor) > 0, "nobody wrote since: {writes:?}");
    ensure!(by(old) == 0, "the old leader wrote: {writes:?}");
    Ok(())
}

fn handover_time() -> Duration {
    let timing = Timing::default();
    timing.lease_duration + timing.retry_period + MARGIN
}

/// Every step of a run once, none before its interval was over.
fn steps_from(scene: &Scene, started: Instant) -> Result<()> {
    let mut steps: Vec<(Instant, i32)> = scene.timed_weights();
    steps.retain(|(time, _)| *time >= started);
    steps.dedup_by_key(|(_, weight)| *weight);
    let weights: Vec<i32> = steps.iter().map(|(_, weight)| *weight).filter(|weight| *weight > 0).collect();
    ensure!(weights == [10, 20, 30, 40, 50], "the route went {weights:?}");
    for pair in steps.windows(2) {
        let [(earlier, from), (later, to)] = pair else { continue };
        // Both were seen with the delays of a busy machine; a step too many would come at once.
        let early = *from > 0 && *to > *from && later.duration_since(*earlier) < INTERVAL / 2;
        ensure!(!early, "from {from} to {to} in {:?}", later.duration_since(*earlier));
    }
    Ok(())
}

/// A controller that runs for leader.
struct Candidate {
    process: Process,
    /// The name by which it is in the Lease.
    identity: String,
    /// The id of its token, by which the audit log knows it.
    credential: String,
}

impl Candidate {
    async fn start(scene: &Scene) -> Result<Self> {
        let namespace = format!("--leader-election-namespace={LEASE_NAMESPACE}");
        let process = scene.start_controller_with(&["--enable-leader-election=true", &namespace]).await?;
        let kubeconfig = scene.testbed.state_dir().join(format!("{}.kubeconfig", process.name()));
        let kubeconfig: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
        let token = kubeconfig.pointer("/users/0/user/token").and_then(Value::as_str).context("a token")?;
        let credential = credential(&scene.testbed, token).await?;
        let identity = wait_until("the candidate's name in its log", PATIENCE, async || {
            let log = process.log();
            let line = log.lines().find(|line| line.contains("running for leader"))?;
            let name = line.split("identity=").nth(1)?;
            name.split_whitespace().next().map(|name| name.trim_matches('"').to_owned())
        })
        .await?;
        Ok(Self { process, identity, credential })
    }

    async fn stands_by(&self) -> Result<()> {
        wait_until("the second candidate to stand by", PATIENCE, async || {
            self.process.log().contains("standing by").then_some(())
        })
        .await
    }

    async fn leads(&self, testbed: &Testbed, within: Duration) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(testbed.client(), LEASE_NAMESPACE);
        wait_until(&format!("the Lease to be held by {}", self.identity), within, async || {
            let holder = leases.get(LEASE_NAME).await?.spec.and_then(|spec| spec.holder_identity);
            ensure!(holder.as_ref() == Some(&self.identity), "it is held by {holder:?}");
            Ok(())
        })
        .await
    }
}

/// What the audit log calls a token.
async fn credential(testbed: &Testbed, token: &str) -> Result<String> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() },
        ..TokenReview::default()
    };
    let reviews: Api<TokenReview> = Api::all(testbed.client());
    let status = reviews.create(&PostParams::default(), &review).await.context("a review of the token")?.status;
    let extra = status.and_then(|status| status.user?.extra).unwrap_or_default();
    extra
        .get("authentication.kubernetes.io/credential-id")
        .and_then(|ids| ids.first().cloned())
        .context("the token has no id")
}
