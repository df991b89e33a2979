//! A small pure cluster: one pair, one route, one clock, and a controller that passes over it and may crash.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::mutants::Mutant;
use super::promises::{Pass, Promises};
use crate::analysis::{Answer, Measurement};
use crate::api::checked::{Provider, ValidatedCanary};
use crate::api::status::{AlertRecord, CanaryStatus, Phase};
use crate::rollout::{
    Action, Decision, Intent, Notice, Readiness, Revision, Scale, Seen, Snapshot, Target, Traffic, decide, needs,
    refuse,
};

pub(super) const PODS: i32 = 2;

/// More passes than any story needs to settle.
pub(super) const MANY_PASSES: usize = 600;

/// Image and configuration: what a revision is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Build {
    pub(super) image: u32,
    pub(super) config: u32,
}

impl Build {
    pub(super) fn revision(self) -> Revision {
        Revision {
            id: format!("v{}c{}", self.image, self.config),
            template_hash: format!("v{}", self.image),
            configs: BTreeMap::from([("configmap/app".to_owned(), format!("c{}", self.config))]),
        }
    }
}

pub(super) fn image(image: u32) -> Build {
    Build { image, config: 1 }
}

/// The pods of one Deployment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pods {
    pub(super) build: Build,
    /// When they are ready; `None` means never.
    pub(super) ready_at: Option<DateTime<Utc>>,
    /// Pods of before serve until these are ready.
    pub(super) old_serve: bool,
}

impl Pods {
    fn ready(&self, now: DateTime<Utc>) -> bool {
        self.ready_at.is_some_and(|at| at <= now)
    }

    fn readiness(&self, now: DateTime<Utc>) -> Readiness {
        let ready = self.ready(now);
        Readiness {
            ready,
            at_rest: false,
            available_pods: if ready || self.old_serve { PODS } else { 0 },
            deadline_exceeded: false,
            message: if ready { String::new() } else { "0 of 2 pods are ready".to_owned() },
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct TargetState {
    pub(super) build: Build,
    pub(super) replicas: i32,
    /// Serin was the last to set them.
    pub(super) scaled_by_us: bool,
    pub(super) pods: Option<Pods>,
    /// When pods that are scaled away are gone.
    pub(super) gone_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub(super) struct PrimaryState {
    /// The annotation that Serin writes.
    pub(super) revision: Option<String>,
    pub(super) pods: Pods,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct RouteState {
    pub(super) intent: Intent,
    /// When the data plane confirms it; `None` means never.
    pub(super) applied_at: Option<DateTime<Utc>>,
}

/// What the metrics say to every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metrics {
    Good,
    Bad,
    Empty,
    Down,
}

/// How slow, stuck or blind the world is. Delays are in seconds; `None` means never.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) pods_ready_after: Option<i64>,
    pub(super) primary_ready_after: Option<i64>,
    pub(super) route_applied_after: Option<i64>,
    pub(super) pods_gone_after: i64,
    pub(super) metrics: Metrics,
    pub(super) obstacle: Option<String>,
    /// Why the spec can't be used.
    pub(super) invalid: Option<String>,
    /// The next pass crashes after so many writes.
    pub(super) crash_after: Option<usize>,
    /// How long it takes until another process begins after a crash.
    pub(super) away_seconds: i64,
    /// Crash in this pass, after so many writes.
    pub(super) crash_at: Option<(usize, usize)>,
    /// The primary is replaced as a whole instead of pod by pod.
    pub(super) primary_recreates: bool,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            pods_ready_after: Some(2),
            primary_ready_after: Some(2),
            route_applied_after: Some(1),
            pods_gone_after: 1,
            metrics: Metrics::Good,
            obstacle: None,
            invalid: None,
            crash_after: None,
            away_seconds: 0,
            crash_at: None,
            primary_recreates: false,
        }
    }
}

/// The target as a cache shows it.
#[derive(Clone, Debug)]
pub(super) struct Cached(Option<Result<Target, String>>);

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) canary: ValidatedCanary,
    pub(super) status: CanaryStatus,
    pub(super) now: DateTime<Utc>,
    /// When the process began.
    pub(super) on_watch_since: DateTime<Utc>,
    pub(super) target: Option<TargetState>,
    pub(super) primary: Option<PrimaryState>,
    pub(super) route: Option<RouteState>,
    pub(super) conditions: Conditions,
    /// What a cache shows that stopped following the target.
    pub(super) stale_target: Option<Cached>,
    pub(super) promises: Promises,
    pub(super) mutant: Option<Mutant>,
    /// Each committed change of phase or weight.
    pub(super) course: Vec<(Phase, i32)>,
    /// Each write that changed something.
    pub(super) writes: Vec<Action>,
    /// Number of writes of each pass.
    pub(super) writes_by_pass: Vec<usize>,
    pub(super) events: Vec<Notice>,
    pub(super) alerts: Vec<AlertRecord>,
    pub(super) reverted: bool,
    pub(super) gone: bool,
    pub(super) passes: usize,
    /// What the last pass saw; anything else wakes the controller.
    awake_for: Option<(Seen, ValidatedCanary, Option<String>)>,
    pub(super) next: Option<DateTime<Utc>>,
}

/// Whether the canary is up in this phase.
fn in_mid_run(phase: Phase) -> bool {
    use Phase::{Finalising, Initializing, New, Progressing, Promoting, WaitingPromotion};
    matches!(phase, New | Initializing | Progressing | WaitingPromotion | Promoting | Finalising)
}

impl World {
    /// A target at this build, with running pods, and nothing of ours.
    pub(super) fn new(canary: ValidatedCanary, build: Build) -> Self {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let pods = Pods { build, ready_at: Some(now), old_serve: false };
        Self {
            canary,
            status: CanaryStatus::default(),
            now,
            on_watch_since: now,
            target: Some(TargetState { build, replicas: PODS, scaled_by_us: false, pods: Some(pods), gone_at: None }),
            primary: None,
            route: None,
            conditions: Conditions::default(),
            stale_target: None,
            promises: Promises::default(),
            mutant: None,
            course: Vec::new(),
            writes: Vec::new(),
            writes_by_pass: Vec::new(),
            events: Vec::new(),
            alerts: Vec::new(),
            reverted: false,
            gone: false,
            passes: 0,
            awake_for: None,
            next: None,
        }
    }

    /// The same, after its initialization.
    pub(super) fn initialized(canary: ValidatedCanary, build: Build) -> Self {
        let mut world = Self::new(canary, build);
        world.settle();
        assert_eq!(world.status.phase, Phase::Initialized);
        world.forget();
        world
    }

    /// What another controller left: a status without our revisions, and a primary without our annotation.
    pub(super) fn adopted(canary: ValidatedCanary, phase: Phase, weight: i32, target: Build, primary: Build) -> Self {
        let mut world = Self::new(canary, target);
        let pods = Pods { build: primary, ready_at: Some(world.now), old_serve: false };
        world.primary = Some(PrimaryState { revision: None, pods });
        let intent = Intent { canary_weight: weight, withdrawn: None };
        let moves = world.canary.provider == Provider::GatewayApi;
        world.route = moves.then_some(RouteState { intent, applied_at: Some(world.now) });
        world.status.phase = phase;
        world.status.canary_weight = if moves { weight } else { 0 };
        world.status.last_applied_spec = "66f9d5c7c".to_owned();
        let tracks_primary =
            matches!(phase, Phase::Initialized | Phase::Succeeded | Phase::Promoting | Phase::Finalising);
        world.status.tracked_configs = if tracks_primary { primary } else { target }.revision().configs;
        if !in_mid_run(phase) {
            world.scale_to_zero();
        }
        world.pods_go();
        world
    }

    /// Forgets what happened so far.
    pub(super) fn forget(&mut self) {
        self.course.clear();
        self.writes.clear();
        self.writes_by_pass.clear();
        self.events.clear();
        self.alerts.clear();
        self.passes = 0;
    }

    fn after(&self, seconds: Option<i64>) -> Option<DateTime<Utc>> {
        seconds.map(|seconds| self.now + TimeDelta::seconds(seconds))
    }

    // What people and the cluster do.

    /// Somebody applies this build to the target.
    pub(super) fn apply(&mut self, build: Build) {
        self.promises.asked_for(&build.revision().id);
        let ready_at = self.after(self.conditions.pods_ready_after);
        let now = self.now;
        let new = TargetState { build, replicas: 0, scaled_by_us: false, pods: None, gone_at: None };
        let target = self.target.get_or_insert(new);
        // Pods of a build that was not acted on have not started yet: configuration that flips in between can't be told.
        let unseen = target.build.revision().id != self.status.revisions.observed;
        let rolls = unseen || target.build.image != build.image;
        target.build = build;
        // A changed template replaces the pods; changed configuration alone leaves them as they are.
        if let Some(pods) = target.pods.as_mut().filter(|_| rolls) {
            let old_serve = pods.readiness(now).available_pods > 0;
            *pods = Pods { build, ready_at, old_serve };
        }
    }

    /// Somebody edits the spec.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut ValidatedCanary)) {
        edit(&mut self.canary);
        self.canary.generation += 1;
    }

    /// The canary's pods are gone, and come back after a while.
    pub(super) fn lose_pods(&mut self, back_after: Option<i64>) {
        let ready_at = self.after(back_after);
        if let Some(pods) = self.target.as_mut().and_then(|target| target.pods.as_mut()) {
            pods.ready_at = ready_at;
            pods.old_serve = false;
        }
    }

    /// The primary's pods are gone, and come back after a while.
    pub(super) fn break_primary(&mut self, back_after: Option<i64>) {
        let ready_at = self.after(back_after);
        if let Some(primary) = &mut self.primary {
            primary.pods.ready_at = ready_at;
            primary.pods.old_serve = false;
        }
    }

    /// Somebody edits the route by hand.
    pub(super) fn edit_route(&mut self, canary_weight: i32) {
        let applied_at = self.after(self.conditions.route_applied_after);
        if let Some(route) = &mut self.route {
            *route = RouteState { intent: Intent { canary_weight, withdrawn: None }, applied_at };
        }
    }

    /// The cache stops following the target.
    pub(super) fn freeze_target(&mut self) {
        self.stale_target.get_or_insert(Cached(self.seen().target));
    }

    // What the controller sees.

    pub(super) fn seen(&self) -> Seen {
        let target = self.target.as_ref().map(|target| Ok(self.seen_target(target)));
        Seen {
            target: self.stale_target.clone().map_or(target, |cached| cached.0),
            primary: self.primary.as_ref().map(|primary| primary.pods.readiness(self.now)),
            primary_revision: self.primary.as_ref().and_then(|primary| primary.revision.clone()),
            traffic: self.seen_traffic(),
            obstacle: self.conditions.obstacle.clone(),
        }
    }

    fn seen_target(&self, target: &TargetState) -> Target {
        let mut readiness = target.pods.as_ref().map(|pods| pods.readiness(self.now)).unwrap_or_default();
        if target.replicas == 0 {
            readiness.ready = false;
            readiness.at_rest = target.pods.is_none();
            readiness.message = "scaled to zero".to_owned();
        }
        Target {
            revision: target.build.revision(),
            replicas: target.replicas,
            scaled_by_us: target.scaled_by_us,
            readiness,
            matches_primary: self
                .primary
                .as_ref()
                .is_some_and(|primary| self.matches(target.build, primary.pods.build)),
        }
    }

    /// Templates are compared, configuration is not; a first meeting is not put to that test.
    fn matches(&self, target: Build, primary: Build) -> bool {
        let first = matches!(self.status.phase, Phase::New | Phase::Initializing);
        target.image == primary.image && (!first || target.config == primary.config)
    }

    fn seen_traffic(&self) -> Traffic {
        let Some(route) = &self.route else { return Traffic { applied: true, ..Traffic::default() } };
        let applied = route.applied_at.is_some_and(|at| at <= self.now);
        Traffic {
            canary_weight: Some(route.intent.canary_weight),
            applied,
            message: if applied { String::new() } else { "not accepted yet".to_owned() },
            withdrawn: route.intent.withdrawn.clone(),
        }
    }

    fn measure(&self) -> Vec<Measurement> {
        let answer = match self.conditions.metrics {
            Metrics::Good => Answer::Value(100.0),
            Metrics::Bad => Answer::Value(95.0),
            Metrics::Empty => Answer::NoData("an empty result".to_owned()),
            Metrics::Down => Answer::Error("connection refused".to_owned()),
        };
        let checks = &self.canary.analysis.checks;
        checks
            .iter()
            .map(|check| Measurement { check: check.name.clone(), answer: answer.clone(), sample_size: Some(250.0) })
            .collect()
    }

    // What the controller does.

    /// One pass: observe, ask, decide, act. A crash drops the rest of the actions.
    pub(super) fn pass(&mut self) -> Decision {
        let seen = self.seen();
        self.awake_for = Some((seen.clone(), self.canary.clone(), self.conditions.invalid.clone()));
        let (decision, measured) = self.decide(&seen);
        let pass = Pass::new(self, &seen, &decision, measured);
        self.promises.decided(&pass, &decision);
        let mut writes = 0;
        let planned = self.conditions.crash_at.filter(|(pass, _)| *pass == self.passes).map(|(_, writes)| writes);
        let limit = planned.or(self.conditions.crash_after.take());
        for action in &decision.actions {
            if limit.is_some_and(|limit| writes >= limit) {
                break;
            }
            if self.carry_out(action, &decision, &pass) {
                writes += 1;
                self.writes.push(action.clone());
            }
        }
        let crashed = limit.is_some_and(|limit| writes >= limit);
        if crashed {
            self.awake_for = None;
            self.now += TimeDelta::seconds(self.conditions.away_seconds);
            self.on_watch_since = self.now;
        } else {
            self.events.extend(decision.notices.iter().cloned());
        }
        self.passes += 1;
        self.writes_by_pass.push(writes);
        self.next = decision.next.filter(|_| !crashed);
        decision
    }

    /// What follows from what is seen, and whether anything was measured for it.
    pub(super) fn decide(&self, seen: &Seen) -> (Decision, bool) {
        if let Some(problem) = &self.conditions.invalid {
            return (refuse(&self.status, self.canary.generation, problem, self.now), false);
        }
        let Self { canary, status, now, .. } = self;
        let on_watch = *now - self.on_watch_since;
        let snapshot = Snapshot { canary, status, seen, measurements: &[], now: *now, on_watch };
        let measured = needs(&snapshot).measurements;
        let mut measurements = if measured { self.measure() } else { Vec::new() };
        if let Some(mutant) = self.mutant {
            mutant.forge(&mut measurements);
        }
        let snapshot = Snapshot { measurements: &measurements, ..snapshot };
        let mut decision = decide(&snapshot);
        if let Some(mutant) = self.mutant {
            mutant.spoil(&snapshot, &mut decision);
        }
        (decision, measured)
    }

    /// Carries one action out, and says whether it changed anything.
    fn carry_out(&mut self, action: &Action, decision: &Decision, pass: &Pass) -> bool {
        match action {
            Action::CommitStatus => self.commit(decision.status.clone(), pass),
            Action::Route(intent) => self.move_traffic(intent, pass),
            Action::CreatePrimary(revision) | Action::PromotePrimary(revision) => {
                self.write_primary(revision, action, pass)
            }
            Action::ScaleTarget(Scale::Up) => self.scale_up(),
            Action::ScaleTarget(Scale::Zero) => self.scale_to_zero(),
            Action::SendAlerts => {
                self.alerts.append(&mut self.status.pending.alerts);
                true
            }
            Action::Revert => !std::mem::replace(&mut self.reverted, true),
            Action::Finalizer(present) => {
                self.gone = self.canary.deleting && !present;
                std::mem::replace(&mut self.canary.has_finalizer, *present) != *present
            }
            Action::Services { .. } | Action::Autoscaler { .. } => false,
        }
    }

    fn commit(&mut self, status: CanaryStatus, pass: &Pass) -> bool {
        assert!(!self.gone, "a status is written to a Canary that is gone");
        self.promises.committed(pass, &self.status, &status);
        let stands = (status.phase, status.canary_weight);
        if self.course.last() != Some(&stands) {
            self.course.push(stands);
        }
        self.status = status;
        true
    }

    fn move_traffic(&mut self, intent: &Intent, pass: &Pass) -> bool {
        self.promises.routed(pass, &self.status, intent);
        let same = self.route.as_ref().is_some_and(|route| route.intent == *intent);
        if same || self.canary.provider == Provider::Kubernetes {
            return false;
        }
        let applied_at = self.after(self.conditions.route_applied_after);
        self.route = Some(RouteState { intent: intent.clone(), applied_at });
        true
    }

    /// Refused where the target has moved on.
    fn write_primary(&mut self, revision: &Revision, action: &Action, pass: &Pass) -> bool {
        let Some(target) = self.target.as_ref().filter(|target| target.build.revision() == *revision) else {
            return false;
        };
        let exists = self.primary.is_some();
        let creates = matches!(action, Action::CreatePrimary(_));
        let same = self.primary.as_ref().is_some_and(|primary| primary.revision.as_ref() == Some(&revision.id));
        if same || creates == exists {
            return false;
        }
        self.promises.wrote_primary(pass, &self.status, revision);
        let serves = |primary: &PrimaryState| primary.pods.readiness(self.now).available_pods > 0;
        let old_serve = !self.conditions.primary_recreates && self.primary.as_ref().is_some_and(serves);
        let ready_at = self.after(self.conditions.primary_ready_after);
        let pods = Pods { build: target.build, ready_at, old_serve };
        self.primary = Some(PrimaryState { revision: Some(revision.id.clone()), pods });
        true
    }

    pub(super) fn scale_up(&mut self) -> bool {
        let ready_at = self.after(self.conditions.pods_ready_after);
        let Some(target) = self.target.as_mut().filter(|target| target.replicas == 0) else { return false };
        (target.replicas, target.scaled_by_us) = (PODS, true);
        // Pods that are not gone yet stay, with the configuration that they started with.
        target.gone_at = None;
        target.pods.get_or_insert(Pods { build: target.build, ready_at, old_serve: false });
        true
    }

    fn scale_to_zero(&mut self) -> bool {
        let gone_at = self.after(Some(self.conditions.pods_gone_after));
        let Some(target) = self.target.as_mut().filter(|target| target.replicas > 0) else { return false };
        (target.replicas, target.scaled_by_us) = (0, true);
        target.gone_at = gone_at;
        true
    }

    // How time goes by.

    /// Lets this much time go by, with a pass whenever something wakes the controller.
    pub(super) fn run_seconds(&mut self, seconds: i64) {
        let end = self.now + TimeDelta::seconds(seconds);
        while self.advance(end) {}
        self.now = self.now.max(end);
        self.pods_go();
    }

    /// Sets the clock of the process by so much. The world goes on as it was, and the process is woken when it asked for it.
    pub(super) fn set_clock(&mut self, seconds: i64) {
        let by = TimeDelta::seconds(seconds);
        let (pods, gone_at) = match &mut self.target {
            Some(target) => (target.pods.as_mut(), target.gone_at.as_mut()),
            None => (None, None),
        };
        let moments = [
            Some(&mut self.now),
            Some(&mut self.on_watch_since),
            self.next.as_mut(),
            gone_at,
            pods.and_then(|pods| pods.ready_at.as_mut()),
            self.primary.as_mut().and_then(|primary| primary.pods.ready_at.as_mut()),
            self.route.as_mut().and_then(|route| route.applied_at.as_mut()),
        ];
        for moment in moments.into_iter().flatten() {
            *moment += by;
        }
    }

    /// Lets time go by until nothing is left to do.
    pub(super) fn settle(&mut self) {
        let end = self.now + TimeDelta::days(1);
        let before = self.passes;
        while !self.gone && self.passes - before < MANY_PASSES && self.advance(end) {}
        let mut promises = std::mem::take(&mut self.promises);
        promises.settled(self, self.passes - before);
        self.promises = promises;
    }

    /// Until `done`, or until nothing is left to do.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let end = self.now + TimeDelta::days(1);
        let before = self.passes;
        while !done(self) {
            assert!(self.passes - before < MANY_PASSES && self.advance(end), "never done: {:?}", self.status);
        }
    }

    /// One pass if there is a reason for it; else the clock goes on to the next reason. False if there is none up to `end`.
    fn advance(&mut self, end: DateTime<Utc>) -> bool {
        self.pods_go();
        let current = Some((self.seen(), self.canary.clone(), self.conditions.invalid.clone()));
        if current != self.awake_for || self.next.is_some_and(|next| next <= self.now) {
            self.pass();
            return !self.gone;
        }
        match self.next_moment().filter(|moment| *moment <= end) {
            Some(moment) => {
                self.now = moment;
                true
            }
            None => false,
        }
    }

    fn next_moment(&self) -> Option<DateTime<Utc>> {
        let target = self.target.as_ref();
        [
            self.next,
            target.and_then(|target| target.pods.as_ref()).and_then(|pods| pods.ready_at),
            target.and_then(|target| target.gone_at),
            self.primary.as_ref().and_then(|primary| primary.pods.ready_at),
            self.route.as_ref().and_then(|route| route.applied_at),
        ]
        .into_iter()
        .flatten()
        .filter(|moment| *moment > self.now)
        .min()
    }

    fn pods_go(&mut self) {
        let now = self.now;
        if let Some(target) = self.target.as_mut().filter(|target| target.gone_at.is_some_and(|at| at <= now)) {
            target.pods = None;
            target.gone_at = None;
        }
    }
}
