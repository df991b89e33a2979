//! Conditions as `kstatus`, `kubectl wait` and people read them.

use chrono::{DateTime, Utc};

use crate::api::status::{CanaryStatus, Condition, Phase};

pub(super) const READY: &str = "Ready";
pub(super) const RECONCILING: &str = "Reconciling";
pub(super) const STALLED: &str = "Stalled";
pub(super) const PROMOTED: &str = "Promoted";

/// What goes on, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All is on its way; the text says what is being done or waited for, and may be empty.
    Going(String),
    /// Nothing goes on until somebody mends this: one word and one sentence.
    Stalled(&'static str, String),
}

/// Brings the four conditions up to date. `Ready` is true exactly when the primary serves what was asked for and no run is
/// on; it is unknown while that is on its way, and false after a refusal.
pub(super) fn update(
    status: &mut CanaryStatus,
    generation: i64,
    progress: &Progress,
    serves_what_is_asked_for: bool,
    now: DateTime<Utc>,
) {
    status.observed_generation = Some(generation);
    let phase_reason = reason(status.phase);
    let (ready, reconciling, stalled) = match (progress, status.phase) {
        (Progress::Stalled(..), _) | (_, Phase::Failed) => ("False", "False", "True"),
        (Progress::Going(_), Phase::Initialized | Phase::Succeeded) if serves_what_is_asked_for => {
            ("True", "False", "False")
        }
        (Progress::Going(_), _) => ("Unknown", "True", "False"),
    };
    let (reason, message) = match progress {
        Progress::Stalled(reason, message) => (*reason, message.clone()),
        Progress::Going(message) if message.is_empty() => (phase_reason, phase_message(status)),
        Progress::Going(message) => (phase_reason, message.clone()),
    };
    for (kind, value) in [(READY, ready), (RECONCILING, reconciling), (STALLED, stalled)] {
        set(status, generation, kind, value, reason, message.clone(), now);
    }
    if status.phase != Phase::New {
        set(status, generation, PROMOTED, promoted(status.phase), phase_reason, promoted_message(status.phase), now);
    }
}

/// The condition that says why nothing goes on until a person mends something, if so it is.
pub(super) fn stalled(status: &CanaryStatus) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.kind == STALLED && condition.status == "True")
}

/// Whether all that is new is what is said, not what is so.
pub(super) fn differ_in_words_only(before: &[Condition], after: &[Condition]) -> bool {
    let is_same = |(before, after): (&Condition, &Condition)| {
        (&before.kind, &before.status, &before.reason, before.observed_generation)
            == (&after.kind, &after.status, &after.reason, after.observed_generation)
    };
    before != after && before.len() == after.len() && before.iter().zip(after).all(is_same)
}

fn set(
    status: &mut CanaryStatus,
    generation: i64,
    kind: &str,
    value: &str,
    reason: &str,
    message: String,
    now: DateTime<Utc>,
) {
    let wanted = Condition {
        kind: kind.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_update_time: Some(now),
        last_transition_time: Some(now),
    };
    let Some(present) = status.conditions.iter_mut().find(|condition| condition.kind == kind) else {
        status.conditions.push(wanted);
        return;
    };
    let same_text = present.reason == wanted.reason && present.message == wanted.message;
    let same_status = present.status == wanted.status;
    present.observed_generation = wanted.observed_generation;
    if same_text && same_status {
        return;
    }
    if !same_status {
        present.last_transition_time = wanted.last_transition_time;
    }
    present.status = wanted.status;
    present.reason = wanted.reason;
    present.message = wanted.message;
    present.last_update_time = wanted.last_update_time;
}

/// `Promoted` by phase, as Flagger has it (its `pkg/canary/status.go`).
fn promoted(phase: Phase) -> &'static str {
    match phase {
        Phase::Initialized | Phase::Succeeded => "True",
        Phase::Failed => "False",
        _ => "Unknown",
    }
}

fn reason(phase: Phase) -> &'static str {
    match phase {
        Phase::New => "New",
        Phase::Initializing => "Initializing",
        Phase::Initialized => "Initialized",
        Phase::Waiting => "Waiting",
        Phase::Progressing => "Progressing",
        Phase::WaitingPromotion => "WaitingPromotion",
        Phase::Promoting => "Promoting",
        Phase::Finalising => "Finalising",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Terminating => "Terminating",
        Phase::Terminated => "Terminated",
    }
}

/// Flagger's sentences: pipelines wait for them.
fn promoted_message(phase: Phase) -> String {
    match phase {
        Phase::New | Phase::Initializing => "New Deployment detected, starting initialization.",
        Phase::Initialized => "Deployment initialization completed.",
        Phase::Waiting | Phase::WaitingPromotion => "Waiting for approval.",
        Phase::Progressing => "New revision detected, progressing canary analysis.",
        Phase::Promoting => "Canary analysis completed, starting primary rolling update.",
        Phase::Finalising => "Canary analysis completed, routing all traffic to primary.",
        Phase::Succeeded => "Canary analysis completed successfully, promotion finished.",
        Phase::Failed => "Canary analysis failed, Deployment scaled to zero.",
        Phase::Terminating | Phase::Terminated => "The Canary is being deleted.",
    }
    .to_owned()
}

fn phase_message(status: &CanaryStatus) -> String {
    match status.phase {
        Phase::Failed => status.history.first().map_or_else(
            || promoted_message(Phase::Failed),
            |run| format!("Revision {} was rolled back: {}", run.revision, run.reason),
        ),
        Phase::Progressing => format!(
            "Analysing revision {} at weight {}, {} failed checks so far",
            status.revisions.pinned, status.canary_weight, status.failed_checks
        ),
        phase => promoted_message(phase),
    }
}
