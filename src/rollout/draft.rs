//! A decision in the making: one place that keeps status, actions and words together.

use chrono::{DateTime, TimeDelta, Utc};

use super::conditions::{self, Progress};
use super::snapshot::{Revision, Snapshot, Target};
use super::{Action, Decision, Intent, Notice, NoticeKind};
use crate::api::checked::{ObjectKey, Severity};
use crate::api::status::{AlertField, AlertRecord, CanaryStatus, Outcome, Phase, Run};

/// Runs that `status.history` keeps.
const HISTORY_LIMIT: usize = 10;

/// A decision in the making.
pub(super) struct Draft<'a> {
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) status: CanaryStatus,
    progress: Progress,
    actions: Vec<Action>,
    notices: Vec<Notice>,
    next: Option<DateTime<Utc>>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(snapshot: &'a Snapshot<'a>) -> Self {
        Self {
            snapshot,
            status: snapshot.status.clone(),
            progress: Progress::Going(String::new()),
            actions: Vec::new(),
            notices: Vec::new(),
            next: None,
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.snapshot.now
    }

    /// The target as event texts name it: `frontend.default`.
    pub(super) fn target_text(&self) -> ObjectKey {
        ObjectKey::new(&self.snapshot.canary.key.namespace, &self.snapshot.canary.target_name)
    }

    /// The primary as event texts name it.
    pub(super) fn primary_text(&self) -> ObjectKey {
        ObjectKey::new(&self.snapshot.canary.key.namespace, self.snapshot.canary.primary_name())
    }

    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Keeps the pair and the route as the committed status says; does nothing where nothing drifted.
    pub(super) fn heal(&mut self, withdrawn: Option<String>) {
        self.act(Action::Services { apex: true });
        self.act(Action::Autoscaler { update: false });
        self.act(Action::Route(Intent { canary_weight: self.status.canary_weight, withdrawn }));
    }

    pub(super) fn inform(&mut self, reason: &'static str, message: String) {
        self.notices.push(Notice { kind: NoticeKind::Normal, reason, message });
    }

    pub(super) fn warn(&mut self, reason: &'static str, message: String) {
        self.notices.push(Notice { kind: NoticeKind::Warning, reason, message });
    }

    /// Queues an alert, if anybody wants one of this severity.
    pub(super) fn alert(&mut self, severity: Severity, message: String, fields: Vec<AlertField>) {
        let wanted = self.snapshot.canary.analysis.alerts.iter().any(|alert| severity >= alert.severity);
        if wanted {
            self.status.pending.alerts.push(AlertRecord { severity, message, fields, time: self.now() });
        }
    }

    /// What is being done or waited for, for the conditions.
    pub(super) fn progress(&mut self, message: impl Into<String>) {
        self.progress = Progress::Going(message.into());
    }

    /// Nothing goes on until somebody mends this.
    pub(super) fn stall(&mut self, reason: &'static str, message: impl Into<String>) {
        self.progress = Progress::Stalled(reason, message.into());
    }

    /// Whether the last committed status was stalled for this reason already.
    pub(super) fn was_stalled(&self, reason: &str) -> bool {
        self.snapshot.status.conditions.iter().any(|condition| {
            condition.kind == conditions::STALLED && condition.status == "True" && condition.reason == reason
        })
    }

    /// Looks again at `time`, or earlier where something else wants that.
    pub(super) fn look_again(&mut self, time: DateTime<Utc>) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    pub(super) fn interval(&self) -> TimeDelta {
        TimeDelta::seconds(self.snapshot.canary.analysis.interval_seconds)
    }

    pub(super) fn progress_deadline(&self) -> TimeDelta {
        TimeDelta::seconds(self.snapshot.canary.progress_deadline_seconds)
    }

    /// Whether the primary has a pod that can take traffic.
    pub(super) fn primary_can_serve(&self) -> bool {
        self.snapshot.seen.primary.as_ref().is_some_and(|primary| primary.available_pods > 0)
    }

    /// Remembers this revision as the one that was acted on.
    pub(super) fn observe(&mut self, revision: &Revision) {
        self.status.revisions.observed.clone_from(&revision.id);
        self.status.last_applied_spec.clone_from(&revision.template_hash);
        self.status.tracked_configs.clone_from(&revision.configs);
    }

    /// Remembers this revision as the one that the primary runs.
    pub(super) fn promoted(&mut self, revision_id: &str) {
        revision_id.clone_into(&mut self.status.revisions.promoted);
        self.status.last_promoted_spec.clone_from(&self.status.last_applied_spec);
    }

    /// Resets what belongs to one run, and pins the next one to the target's revision.
    pub(super) fn pin(&mut self, target: &Target) {
        let now = self.now();
        self.clear_run();
        self.observe(&target.revision);
        self.status.phase = Phase::Progressing;
        self.status.revisions.pinned.clone_from(&target.revision.id);
        self.status.run_start_time = Some(now);
        self.status.not_ready_since = Some(now);
        self.status.checks.clear();
        self.status.pending.scale_down = false;
    }

    /// Ends the run: its record goes to the history, and the weight to zero.
    pub(super) fn end_run(&mut self, phase: Phase, outcome: Outcome, reason: String) {
        let record = Run {
            revision: self.status.revisions.pinned.clone(),
            outcome,
            reason,
            weight: self.status.canary_weight.max(self.snapshot.status.canary_weight),
            start_time: self.status.run_start_time,
            end_time: self.now(),
        };
        self.status.history.insert(0, record);
        self.status.history.truncate(HISTORY_LIMIT);
        self.clear_run();
        self.status.phase = phase;
    }

    fn clear_run(&mut self) {
        let status = &mut self.status;
        status.revisions.pinned.clear();
        status.failed_checks = 0;
        status.canary_weight = 0;
        status.iterations = 0;
        status.step = 0;
        status.traffic_applied_time = None;
        status.next_check_time = None;
        status.hold_since = None;
        status.not_ready_since = None;
        status.run_start_time = None;
    }

    /// Closes the decision: conditions, timestamps, and a commit where the status changed and none was placed.
    pub(super) fn finish(mut self) -> Decision {
        let canary = self.snapshot.canary;
        conditions::update(&mut self.status, canary.generation, &self.progress, self.snapshot.now);
        commit_if_changed(self.snapshot.status, &mut self.status, &mut self.actions, self.snapshot.now);
        if !self.status.pending.alerts.is_empty() && !self.actions.contains(&Action::SendAlerts) {
            self.actions.push(Action::SendAlerts);
        }
        Decision { status: self.status, actions: self.actions, notices: self.notices, next: self.next }
    }
}

/// Stamps a changed status and makes sure that it is committed; takes the commit of an unchanged one away.
fn commit_if_changed(old: &CanaryStatus, new: &mut CanaryStatus, actions: &mut Vec<Action>, now: DateTime<Utc>) {
    if *new == *old {
        actions.retain(|action| *action != Action::CommitStatus);
        return;
    }
    new.last_transition_time = Some(now);
    if !actions.contains(&Action::CommitStatus) {
        actions.push(Action::CommitStatus);
    }
}

/// What follows from a Canary that can't be used as it is written: it says so, and what runs is left as it is.
pub fn refuse(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> Decision {
    let mut next = status.clone();
    let progress = Progress::Stalled("InvalidSpec", problem.to_owned());
    conditions::update(&mut next, generation, &progress, now);
    let mut actions = Vec::new();
    let mut notices = Vec::new();
    if next != *status {
        next.last_transition_time = Some(now);
        actions.push(Action::CommitStatus);
        notices.push(Notice { kind: NoticeKind::Warning, reason: "InvalidSpec", message: problem.to_owned() });
    }
    Decision { status: next, actions, notices, next: None }
}
