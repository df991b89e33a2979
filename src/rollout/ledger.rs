//! The books of a run: what is observed, pinned and promoted, and how runs ended.

use chrono::SecondsFormat;

use super::Action;
use super::draft::Draft;
use super::snapshot::{Revision, Target};
use crate::api::status::{CanaryStatus, Outcome, Phase, Run};

/// Runs that `status.history` keeps.
const HISTORY_LIMIT: usize = 10;

/// What the routing object remembers when this run is taken back. It names the run, not only its revision: the same
/// revision may be tried again.
pub(super) fn run_mark(status: &CanaryStatus) -> String {
    let start = status.run_start_time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
    format!("{}@{}", status.revisions.pinned, start.unwrap_or_default())
}

impl Draft<'_> {
    /// Remembers this revision as the one that was acted on.
    pub(super) fn observe(&mut self, revision: &Revision) {
        self.status.revisions.observed.clone_from(&revision.id);
        self.status.last_applied_spec.clone_from(&revision.template_hash);
        self.status.tracked_configs.clone_from(&revision.configs);
    }

    /// Remembers the revision that was acted on as the one that the primary runs.
    pub(super) fn promoted(&mut self) {
        self.status.revisions.promoted.clone_from(&self.status.revisions.observed);
        self.status.last_promoted_spec.clone_from(&self.status.last_applied_spec);
    }

    /// Share of the canary in the traffic where nobody else can serve: what is committed, but without pods no more than it
    /// has. A step may not have been routed, or have been taken back by a pass that did not live to commit that.
    fn kept_weight(&self, target: &Target) -> i32 {
        let committed = self.snapshot.status.canary_weight;
        if target.readiness.available_pods > 0 {
            return committed;
        }
        committed.min(self.snapshot.seen.traffic.canary_weight.unwrap_or(0))
    }

    /// Gives up traffic that the canary does not have, and could not serve.
    pub(super) fn forgo(&mut self, target: &Target) {
        let weight = self.kept_weight(target);
        if weight < self.status.canary_weight {
            self.status.canary_weight = weight;
            self.act(Action::CommitStatus);
        }
    }

    /// Begins the books of a run of the target's revision. Where the primary can't serve, the canary keeps the traffic
    /// that it has.
    pub(super) fn pin(&mut self, target: &Target) {
        let weight = if self.primary_can_serve() { 0 } else { self.kept_weight(target) };
        let configs_changed = self.status.tracked_configs != target.revision.configs;
        let now = self.now();
        self.close_books();
        self.observe(&target.revision);
        let status = &mut self.status;
        status.phase = Phase::Progressing;
        status.revisions.pinned.clone_from(&target.revision.id);
        status.canary_weight = weight;
        status.highest_weight = weight;
        status.run_start_time = Some(now);
        status.not_ready_since = Some(now);
        status.checks.clear();
        // A pod that runs already keeps the configuration that it started with.
        status.pending.scale_down = configs_changed && !target.readiness.at_rest;
    }

    /// Ends the run: its record goes to the history, and the weight to zero. A run of another controller leaves none.
    pub(super) fn end_run(&mut self, phase: Phase, outcome: Outcome, reason: String) {
        if !self.status.revisions.pinned.is_empty() {
            let record = Run {
                revision: self.status.revisions.pinned.clone(),
                outcome,
                reason,
                weight: self.status.highest_weight,
                start_time: self.status.run_start_time,
                end_time: self.now(),
            };
            self.status.history.insert(0, record);
            self.status.history.truncate(HISTORY_LIMIT);
        }
        self.close_books();
        self.status.phase = phase;
    }

    /// Gives the canary this share of the traffic, in the books.
    pub(super) fn grant(&mut self, weight: i32) {
        self.status.canary_weight = weight;
        self.status.highest_weight = self.status.highest_weight.max(weight);
    }

    /// Back to the beginning of the run: every step is earned anew.
    pub(super) fn forget_steps(&mut self) {
        let status = &mut self.status;
        status.canary_weight = 0;
        status.iterations = 0;
        status.step = 0;
        status.traffic_applied_time = None;
        status.hold_since = None;
    }

    fn close_books(&mut self) {
        self.forget_steps();
        let status = &mut self.status;
        status.revisions.pinned.clear();
        status.failed_checks = 0;
        status.highest_weight = 0;
        status.next_check_time = None;
        status.not_ready_since = None;
        status.run_start_time = None;
        status.analysis_start_time = None;
    }
}
