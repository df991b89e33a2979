//! A decision in the making: one place that keeps status, actions and words together.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::conditions::{self, Progress};
use super::ledger::run_mark;
use super::snapshot::Snapshot;
use super::{Action, Decision, Intent, Notice, NoticeKind, refusal, time};
use crate::api::checked::{ObjectKey, Severity};
use crate::api::status::{AlertField, AlertRecord, CanaryStatus};

/// Longest time that connections get to drain between traffic leaving the canary and its scale-down.
const DRAIN_SECONDS: i64 = 5;

/// What is waited for changes with every pod; it is told at most so often.
const WORDS_SECONDS: i64 = 5;

/// Alerts that are kept where none can be sent; the oldest go first.
const OWED_ALERTS_LIMIT: usize = 20;

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
            status: time::by_our_clock(snapshot.status.clone(), snapshot.now),
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

    /// Adds an action. A status is committed once, where it was asked for first; traffic goes where it was sent last, and
    /// nowhere else before.
    pub(super) fn act(&mut self, action: Action) {
        let is_route = |action: &Action| matches!(action, Action::Route(_));
        let once = is_route(&action) || action == Action::CommitStatus;
        if once && self.actions.contains(&action) {
            return;
        }
        if is_route(&action) {
            self.actions.retain(|earlier| !is_route(earlier));
        }
        self.actions.push(action);
    }

    /// Sends the canary this share of the traffic.
    pub(super) fn route(&mut self, canary_weight: i32) {
        let withdrawn = if canary_weight == 0 { self.fence() } else { None };
        self.act(Action::Route(Intent { canary_weight, withdrawn }));
    }

    /// A mark for a route that shows no traffic while a step was promised: the write of that step may still be on its way,
    /// and only a change of the route has it refused. It names no run that could be running, so that it takes nothing back;
    /// a mark that does so stays.
    fn fence(&self) -> Option<String> {
        let (before, traffic) = (self.snapshot.status, &self.snapshot.seen.traffic);
        if before.canary_weight == 0 || traffic.canary_weight != Some(0) {
            return None;
        }
        let run = run_mark(before);
        if traffic.withdrawn.as_ref() == Some(&run) {
            return Some(run);
        }
        Some(format!("{run} until {}", self.now().to_rfc3339_opts(SecondsFormat::Millis, true)))
    }

    /// Keeps the route at this share; a mark of an earlier rollback stays where it is.
    pub(super) fn keep_route(&mut self, canary_weight: i32) {
        let withdrawn = self.snapshot.seen.traffic.withdrawn.clone();
        self.act(Action::Route(Intent { canary_weight, withdrawn }));
    }

    /// Keeps the pair and the route as the status says; does nothing where nothing drifted.
    pub(super) fn heal(&mut self) {
        if let Some(Ok(target)) = &self.snapshot.seen.target {
            self.forgo(target);
        }
        self.act(Action::Services { apex: true });
        self.act(Action::Autoscaler { update: false });
        self.keep_route(self.status.canary_weight);
    }

    /// Takes the traffic back from a canary that can't be trusted with it any more, if the primary can serve; every step
    /// is earned anew. Says whether there was traffic to take.
    pub(super) fn retreat(&mut self) -> bool {
        let retreats = self.status.canary_weight > 0 && self.primary_can_serve();
        if retreats {
            self.forget_steps();
            self.route(0);
            self.act(Action::CommitStatus);
        }
        retreats
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
            let alert = AlertRecord { severity, message, fields, time: self.now() };
            let owed = &mut self.status.pending.alerts;
            owed.push(alert);
            owed.drain(..owed.len().saturating_sub(OWED_ALERTS_LIMIT));
        }
    }

    /// What is being done, in words for the conditions.
    pub(super) fn progress(&mut self, message: impl Into<String>) {
        self.progress = Progress::Going(message.into());
    }

    /// Nothing goes on until somebody mends this.
    pub(super) fn stall(&mut self, reason: &'static str, message: impl Into<String>) {
        self.progress = Progress::Stalled(reason, message.into());
    }

    /// Stalls, and tells people once.
    pub(super) fn stuck(&mut self, reason: &'static str, message: String) {
        let told = conditions::stalled(self.snapshot.status).is_some_and(|told| told.reason == reason);
        if !told {
            self.warn(reason, message.clone());
            self.alert(Severity::Error, message.clone(), refusal::run_fields(self));
        }
        self.stall(reason, message);
    }

    /// Stalls where a part is missing beside the target, and says so.
    pub(super) fn obstructed(&mut self) -> bool {
        let Some(obstacle) = &self.snapshot.seen.obstacle else { return false };
        self.stall("Obstacle", obstacle.clone());
        true
    }

    /// Looks again at `time`, or earlier where something else wants that.
    pub(super) fn look_again(&mut self, time: DateTime<Utc>) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    pub(super) fn interval(&self) -> TimeDelta {
        TimeDelta::seconds(self.snapshot.canary.analysis.interval_seconds)
    }

    /// How long connections get to drain.
    pub(super) fn drain(&self) -> TimeDelta {
        self.interval().min(TimeDelta::seconds(DRAIN_SECONDS))
    }

    pub(super) fn progress_deadline(&self) -> TimeDelta {
        TimeDelta::seconds(self.snapshot.canary.progress_deadline_seconds)
    }

    pub(super) fn hold_timeout(&self) -> TimeDelta {
        TimeDelta::seconds(self.snapshot.canary.analysis.hold_timeout_seconds)
    }

    /// Whether the primary has a pod that can take traffic.
    pub(super) fn primary_can_serve(&self) -> bool {
        self.snapshot.seen.primary.as_ref().is_some_and(|primary| primary.available_pods > 0)
    }

    /// Whether the primary serves what the target asks for.
    fn serves_what_is_asked_for(&self) -> bool {
        let asked = matches!(&self.snapshot.seen.target, Some(Ok(target)) if target.revision.id == self.status.revisions.promoted);
        asked && self.primary_can_serve()
    }

    /// Where nothing but the words of what goes on would be written, and others were written only just, they wait: most of
    /// what is waited for is there before.
    fn put_off_words(&mut self) {
        let before = self.snapshot.status;
        let goes_on = matches!(self.progress, Progress::Going(_));
        if !goes_on || !conditions::differ_in_words_only(&before.conditions, &self.status.conditions) {
            return;
        }
        let written = before.conditions.iter().filter_map(|condition| condition.last_update_time).max();
        // Words from the future come from a clock that was set back.
        let Some(written) = written.filter(|written| *written <= self.now()) else { return };
        let due = time::after(written, TimeDelta::seconds(WORDS_SECONDS));
        if self.now() >= due {
            return;
        }
        let words = std::mem::replace(&mut self.status.conditions, before.conditions.clone());
        if self.status == *before {
            self.look_again(due);
        } else {
            self.status.conditions = words;
        }
    }

    /// Closes the decision: conditions, timestamps, a commit where the status changed and none was placed, and what no
    /// traffic may wait for.
    pub(super) fn finish(mut self) -> Decision {
        let canary = self.snapshot.canary;
        let serves = self.serves_what_is_asked_for();
        conditions::update(&mut self.status, canary.generation, &self.progress, serves, self.snapshot.now);
        self.put_off_words();
        commit_if_changed(self.snapshot.status, &mut self.status, &mut self.actions, self.snapshot.now);
        if !canary.deleting && canary.revert_on_deletion != canary.has_finalizer {
            self.actions.push(Action::Finalizer(canary.revert_on_deletion));
        }
        if !self.status.pending.alerts.is_empty() && !self.actions.contains(&Action::SendAlerts) {
            self.actions.push(Action::SendAlerts);
        }
        Decision { status: self.status, actions: self.actions, notices: self.notices, next: self.next }
    }
}

/// Stamps a changed status and makes sure that it is committed; takes the commit of an unchanged one away.
pub(super) fn commit_if_changed(
    old: &CanaryStatus,
    new: &mut CanaryStatus,
    actions: &mut Vec<Action>,
    now: DateTime<Utc>,
) {
    if *new == *old {
        actions.retain(|action| *action != Action::CommitStatus);
        return;
    }
    new.last_transition_time = Some(now);
    if !actions.contains(&Action::CommitStatus) {
        actions.push(Action::CommitStatus);
    }
}
