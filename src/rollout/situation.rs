//! What a pass in mid-run is about.

use chrono::TimeDelta;

use super::ledger::run_mark;
use super::snapshot::{Snapshot, Target};

/// What a pass in mid-run is about. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Situation {
    /// The route says that this very run was taken back: a crash came between route and status.
    RefusedBefore,
    /// The target is at another revision than the pinned one.
    RevisionChanged,
    /// `spec.suspend`.
    Suspended,
    /// The canary was not ready for too long.
    NeverReady,
    /// Pods of before a change of configuration are still to go.
    PodsOutdated,
    /// The canary has traffic that it earned, and no pod to take it.
    LostPods,
    /// `spec.skipAnalysis`, and the canary is ready (which Flagger too waits for).
    AnalysisSkipped,
    /// No step was taken yet.
    NotStarted,
    /// The step's traffic is not confirmed yet.
    TrafficPending,
    /// The data plane did not confirm the step's traffic in time.
    TrafficStuck,
    /// All is in place and the next check is not due.
    Waiting,
    /// The next check is due.
    CheckDue,
}

pub(super) fn situation(snapshot: &Snapshot<'_>, target: &Target) -> Situation {
    let Snapshot { canary, status, seen, now, .. } = *snapshot;
    if seen.traffic.withdrawn.as_ref() == Some(&run_mark(status)) {
        Situation::RefusedBefore
    } else if target.revision.id != status.revisions.pinned {
        Situation::RevisionChanged
    } else if canary.suspended {
        Situation::Suspended
    } else if never_ready(snapshot, target) {
        Situation::NeverReady
    } else if status.pending.scale_down {
        Situation::PodsOutdated
    } else if status.canary_weight > 0 && status.step > 0 && target.readiness.available_pods == 0 {
        Situation::LostPods
    } else if canary.skip_analysis && target.readiness.serves() {
        Situation::AnalysisSkipped
    } else if status.step == 0 {
        Situation::NotStarted
    } else if status.traffic_applied_time.is_none() {
        traffic(snapshot)
    } else if status.next_check_time.is_some_and(|due| now < due) {
        Situation::Waiting
    } else {
        Situation::CheckDue
    }
}

fn never_ready(snapshot: &Snapshot<'_>, target: &Target) -> bool {
    let deadline = TimeDelta::seconds(snapshot.canary.progress_deadline_seconds);
    // A Deployment at zero may still carry what became of its last pods.
    let given_up = (target.replicas > 0 && target.readiness.deadline_exceeded)
        || snapshot.is_due(snapshot.status.not_ready_since, deadline);
    !target.readiness.serves() && given_up
}

fn traffic(snapshot: &Snapshot<'_>) -> Situation {
    let timeout = TimeDelta::seconds(snapshot.canary.analysis.hold_timeout_seconds);
    let in_place = snapshot.carries(snapshot.status.canary_weight);
    if !in_place && snapshot.is_due(snapshot.status.hold_since, timeout) {
        Situation::TrafficStuck
    } else {
        Situation::TrafficPending
    }
}
