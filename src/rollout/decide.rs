//! The one place where a phase leads to another.

use super::draft::Draft;
use super::situation::{Situation, situation};
use super::snapshot::{Snapshot, Target};
use super::{Decision, adopt, idle, initialize, promote, run, terminate};
use crate::api::status::Phase;

/// Whether a pass wants its checks measured before it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Measure every check of the analysis.
    pub measurements: bool,
}

/// Says what [`decide`] wants to know beyond what was observed; the snapshot's measurements are ignored. Both are asked
/// with the same time: a check that becomes due in between would find no answer.
pub fn needs(snapshot: &Snapshot<'_>) -> Needs {
    let running = matches!(snapshot.status.phase, Phase::Progressing | Phase::WaitingPromotion);
    let measurements = running
        && !snapshot.canary.deleting
        && matches!(&snapshot.seen.target, Some(Ok(target)) if situation(snapshot, target) == Situation::CheckDue);
    Needs { measurements }
}

/// Decides what follows from a snapshot. Total: every snapshot has an answer. A function of what was observed and
/// committed, so a restart changes nothing.
pub fn decide(snapshot: &Snapshot<'_>) -> Decision {
    let mut draft = Draft::new(snapshot);
    if snapshot.canary.deleting {
        terminate::decide(&mut draft);
        return draft.finish();
    }
    match &snapshot.seen.target {
        Some(Ok(target)) => by_phase(&mut draft, target),
        Some(Err(problem)) => without_target(&mut draft, "TargetUnusable", problem),
        None => {
            let problem = format!(
                "Deployment {} does not exist; create it or mend spec.targetRef.name",
                snapshot.canary.target_name
            );
            without_target(&mut draft, "TargetMissing", &problem);
        }
    }
    draft.finish()
}

fn by_phase(draft: &mut Draft<'_>, target: &Target) {
    let phase = draft.status.phase;
    if matches!(phase, Phase::New | Phase::Initializing) {
        initialize::decide(draft, target);
        return;
    }
    adopt::baseline(draft, target);
    match phase {
        Phase::Progressing | Phase::WaitingPromotion => run::decide(draft, target),
        Phase::Promoting | Phase::Finalising => promote::decide(draft, target),
        _ => idle::decide(draft, target),
    }
}

/// A target that is gone or can't be used takes no traffic; everything else waits for it.
fn without_target(draft: &mut Draft<'_>, reason: &'static str, problem: &str) {
    draft.retreat();
    draft.stall(reason, problem);
}
