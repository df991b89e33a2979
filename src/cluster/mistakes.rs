//! Mistakes that are made on purpose, in tests only: each must be noticed, by the name of the promise that it breaks
//! (`sim/tests/mistakes.rs`). One thread makes one at a time; a simulated world stays on its thread.

use std::cell::{Cell, RefCell};

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::analysis::{Answer, Measurement};
use crate::api::status::{AlertRecord, CanaryStatus, Phase};
use crate::rollout::{Action, Decision, Intent, Scale, Snapshot, Write};

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistake {
    /// A step up is not committed.
    SkipTheCommit,
    /// A step up is routed before it is committed.
    RouteBeforeCommit,
    /// A commit that was refused as out of date counts as done.
    IgnoreConflicts,
    /// The weight of the route is written whatever version the route has.
    UnguardedRoute,
    /// The route remembers no rollback, and no fence.
    ForgetTheMark,
    /// A rollback is committed before it is routed.
    CommitBeforeRollback,
    /// People are told before anything is done.
    TellFirst,
    /// A rollback takes the pods before the traffic.
    ScaleDownFirst,
    /// The target is scaled whatever version it has.
    UnguardedScale,
    /// The primary's weight in a route is always 100.
    PrimaryKeepsAll,
    /// A promotion puts the route back to what is committed before it goes on.
    SendBackAndForth,
    /// The Services are not made.
    ForgetTheServices,
    /// Traffic goes to a canary without pods.
    IgnorePods,
    /// The primary becomes whatever the target is at.
    PromoteWithoutLook,
    /// The first check that passes promotes.
    PromoteEarly,
    /// A step up without a check.
    AdvanceUnchecked,
    /// A step is left out.
    SkipAStep,
    /// A failed query counts as a good value.
    DownIsGood,
    /// A failed query counts as a bad value.
    DownIsBad,
    /// A check is due two seconds early.
    HurryUp,
    /// A process that starts takes every check to be due.
    HurryAtStart,
    /// A run ends without a record.
    LoseTheRecord,
    /// A new revision is seen, and not analysed.
    LoseTheRevision,
    /// Our own writes are not remembered over what the watches say, and the last write wins.
    TrustTheCache,
    /// A refused revision is tried again.
    RetryTheRefused,
    /// Each alert is sent twice.
    TellTwice,
    /// No alert is sent.
    TellNobody,
    /// Alerts are taken out of the status after they were sent.
    SendBeforeTaking,
    /// What was refused to be repaired counts as done where it was not tried.
    ForgetTheRefusal,
    /// The autoscaler is brought up to date where the primary is written, and not again.
    ForgetTheAutoscaler,
    /// Conditions have no words.
    SayNothing,
    /// `Ready` in mid-run.
    SayReady,
    /// Each Canary is looked at, and its status written, every ten seconds.
    Poll,
    /// A Canary that can't be used says nothing.
    HideTheBroken,
    /// An annotation on the target.
    MarkTheTarget,
    /// A route is read one by one, which the role does not allow.
    ReadTheRoute,
    /// Nobody looks again.
    LoseTheWakeUp,
    /// The canary is not scaled down.
    ForgetTheScaleDown,
    /// A process does not wait for the Lease.
    IgnoreTheLease,
}

thread_local! {
    static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    static WAS_MADE: Cell<bool> = const { Cell::new(false) };
    static IS_FIRST_PASS: Cell<bool> = const { Cell::new(false) };
    static SENT: RefCell<Vec<AlertRecord>> = const { RefCell::new(Vec::new()) };
}

/// This thread makes this mistake from here on, or none.
pub fn make(mistake: Option<Mistake>) {
    MADE.set(mistake);
    WAS_MADE.set(false);
}

/// Of a mistake that would never come to an end, once is enough.
fn is_first_time() -> bool {
    !WAS_MADE.replace(true)
}

/// Whether this mistake is made here.
pub fn is_made(mistake: Mistake) -> bool {
    MADE.get() == Some(mistake)
}

/// What a process remembers is gone.
pub fn process_starts() {
    IS_FIRST_PASS.set(true);
    SENT.take();
}

/// Whether these alerts are to be sent now and taken out later.
pub fn sends_before_taking(alerts: &[AlertRecord]) -> bool {
    let was_sent = SENT.replace(alerts.to_vec()) == alerts;
    is_made(Mistake::SendBeforeTaking) && !was_sent
}

/// The committed status, as it is read.
pub fn misread(status: &CanaryStatus) -> CanaryStatus {
    let mut status = status.clone();
    if IS_FIRST_PASS.replace(false) && is_made(Mistake::HurryAtStart) {
        status.next_check_time = None;
    }
    status
}

/// The measurements, as they are understood.
pub fn forged(mut measurements: Vec<Measurement>) -> Vec<Measurement> {
    let bad = |measurement: &Measurement| if measurement.check == "request-success-rate" { 0.0 } else { 1e6 };
    let good = |measurement: &Measurement| if measurement.check == "request-success-rate" { 100.0 } else { 0.0 };
    for measurement in &mut measurements {
        let is_down = matches!(measurement.answer, Answer::Error(_));
        if is_down && is_made(Mistake::DownIsBad) {
            measurement.answer = Answer::Value(bad(measurement));
        } else if is_down && is_made(Mistake::DownIsGood) {
            measurement.answer = Answer::Value(good(measurement));
        }
    }
    measurements
}

/// The decision, as it is carried out.
pub fn spoilt(snapshot: &Snapshot<'_>, mut decision: Decision) -> Decision {
    let Some(mistake) = MADE.get() else { return decision };
    misorder(mistake, snapshot, &mut decision);
    expose(mistake, snapshot, &mut decision);
    falsify(mistake, snapshot, &mut decision);
    misspeak(mistake, snapshot, &mut decision);
    decision
}

/// Mistakes in what is done, and in which order.
fn misorder(mistake: Mistake, snapshot: &Snapshot<'_>, decision: &mut Decision) {
    let (old, new) = (snapshot.status, &decision.status);
    let rises = new.canary_weight > old.canary_weight;
    let rolls_back = new.phase == Phase::Failed && old.phase != Phase::Failed;
    let is_commit = |action: &Action| *action == Action::CommitStatus;
    let actions = &mut decision.actions;
    match mistake {
        Mistake::SkipTheCommit if rises && is_first_time() => actions.retain(|action| !is_commit(action)),
        Mistake::RouteBeforeCommit if rises => actions.sort_by_key(is_commit),
        Mistake::CommitBeforeRollback if rolls_back => actions.sort_by_key(|action| !is_commit(action)),
        Mistake::ScaleDownFirst if rolls_back => actions.insert(0, Action::ScaleTarget(Scale::Zero)),
        Mistake::SendBackAndForth if old.phase == Phase::Promoting => {
            actions.insert(0, Action::Route(Intent { canary_weight: old.canary_weight, withdrawn: None }));
        }
        Mistake::ForgetTheScaleDown => actions.retain(|action| *action != Action::ScaleTarget(Scale::Zero)),
        Mistake::ForgetTheServices => actions.retain(|action| !matches!(action, Action::Services { .. })),
        Mistake::ForgetTheAutoscaler if !actions.iter().any(|action| matches!(action, Action::PromotePrimary(_))) => {
            actions.retain(|action| !matches!(action, Action::Autoscaler { update: true }));
        }
        Mistake::ForgetTheMark => {
            for action in actions {
                if let Action::Route(Intent { withdrawn, .. }) = action {
                    *withdrawn = None;
                }
            }
        }
        _ => {}
    }
}

/// Mistakes in what the canary gets.
fn expose(mistake: Mistake, snapshot: &Snapshot<'_>, decision: &mut Decision) {
    let (old, new) = (snapshot.status, &mut decision.status);
    let runs = old.phase == Phase::Progressing && new.phase == Phase::Progressing;
    let weight = match mistake {
        Mistake::IgnorePods if runs && old.step == 0 && new.step == 0 => 20,
        Mistake::AdvanceUnchecked if runs && old.canary_weight == 20 && new.canary_weight == 20 => 60,
        Mistake::SkipAStep if runs && old.canary_weight == 0 && new.canary_weight == 20 => 60,
        Mistake::PromoteEarly if runs && old.canary_weight == 20 && new.canary_weight == 60 => {
            *new = CanaryStatus { phase: Phase::Promoting, ..old.clone() };
            decision.actions = vec![Action::CommitStatus];
            decision.next = Some(snapshot.now);
            return;
        }
        _ => return,
    };
    new.canary_weight = weight;
    new.step += 1;
    new.traffic_applied_time = None;
    decision.actions = vec![Action::CommitStatus, Action::Route(Intent { canary_weight: weight, withdrawn: None })];
}

/// Mistakes in the books.
fn falsify(mistake: Mistake, snapshot: &Snapshot<'_>, decision: &mut Decision) {
    let (old, new) = (snapshot.status, &mut decision.status);
    match mistake {
        Mistake::HurryUp if new.next_check_time != old.next_check_time => {
            new.next_check_time = new.next_check_time.map(|due| due - TimeDelta::seconds(2));
            decision.next = new.next_check_time;
        }
        Mistake::LoseTheRecord => new.history.clear(),
        Mistake::LoseTheRevision if new.phase == Phase::Progressing && old.phase != Phase::Progressing => {
            let observed = new.revisions.observed.clone();
            *new = old.clone();
            new.revisions.observed = observed;
            decision.actions = vec![Action::CommitStatus];
            decision.next = None;
        }
        // Once is enough, or it would never end.
        Mistake::RetryTheRefused if new.phase == Phase::Failed && new.history.len() == 1 => {
            "another one".clone_into(&mut new.revisions.observed);
        }
        Mistake::LoseTheWakeUp => decision.next = None,
        Mistake::Poll if !decision.actions.contains(&Action::SendAlerts) => {
            decision.actions.push(Action::CommitStatus);
            let soon = snapshot.now + TimeDelta::seconds(10);
            decision.next = Some(decision.next.map_or(soon, |next| next.min(soon)));
        }
        Mistake::SendBeforeTaking if decision.actions.contains(&Action::SendAlerts) => {
            decision.next = Some(snapshot.now);
        }
        _ => {}
    }
}

/// Mistakes in what people are told.
fn misspeak(mistake: Mistake, snapshot: &Snapshot<'_>, decision: &mut Decision) {
    let Decision { status, actions, .. } = decision;
    match mistake {
        Mistake::SayNothing if status.phase != snapshot.status.phase => {
            status.conditions.iter_mut().for_each(|condition| condition.message.clear());
        }
        Mistake::SayReady if status.canary_weight > snapshot.status.canary_weight => {
            for condition in &mut status.conditions {
                let is_ready = condition.kind == "Ready";
                (if is_ready { "True" } else { "False" }).clone_into(&mut condition.status);
            }
        }
        Mistake::TellNobody => {
            status.pending.alerts.clear();
            actions.retain(|action| *action != Action::SendAlerts);
        }
        _ => {}
    }
}

/// The write, as it is sent.
pub fn misprinted(write: &Write) -> Write {
    let mut write = write.clone();
    match &mut write {
        Write::Apply(target) if is_made(Mistake::UnguardedScale) => forget_version(target),
        Write::Apply(target) if is_made(Mistake::MarkTheTarget) => {
            target["metadata"]["annotations"] = json!({"serin.dev/was-here": "yes"});
        }
        Write::Merge { id, body } if id.kind == "HTTPRoute" && is_made(Mistake::UnguardedRoute) => forget_version(body),
        Write::Merge { id, body } if id.kind == "HTTPRoute" && is_made(Mistake::PrimaryKeepsAll) => {
            if let Some(weight) = body.pointer_mut("/spec/rules/0/backendRefs/0/weight") {
                *weight = json!(100);
            }
        }
        _ => {}
    }
    write
}

fn forget_version(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
}

/// The status as it is written over whatever is there.
pub fn overwriting(mut patch: Value) -> Value {
    if is_made(Mistake::TrustTheCache) {
        forget_version(&mut patch);
    }
    patch
}
