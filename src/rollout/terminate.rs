//! Deletion with `revertOnDeletion`: the target takes over again before the Canary goes.

use super::draft::Draft;
use super::{Action, Intent, Scale};
use crate::api::status::Phase;

pub(super) fn decide(draft: &mut Draft<'_>) {
    let canary = draft.snapshot.canary;
    if !canary.has_finalizer {
        return;
    }
    let Some(Ok(target)) = &draft.snapshot.seen.target else {
        draft.act(Action::Finalizer(false));
        return;
    };
    if draft.status.phase != Phase::Terminating {
        draft.status.phase = Phase::Terminating;
        draft.status.canary_weight = 0;
        draft.status.not_ready_since = Some(draft.now());
        draft.act(Action::Route(Intent { canary_weight: 0, withdrawn: None }));
        draft.act(Action::CommitStatus);
        draft.inform("Terminating", format!("Terminating canary {}", canary.key));
    }
    draft.act(Action::ScaleTarget(Scale::Up));
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = since + draft.progress_deadline();
    let ready = target.readiness.ready && target.replicas > 0;
    if !ready && draft.now() < deadline {
        draft.progress(format!("Waiting for {} to be ready: {}", draft.target_text(), target.readiness.message));
        draft.look_again(deadline);
        return;
    }
    if !ready {
        draft.warn("Terminating", format!("{} did not become ready, letting it go as it is", draft.target_text()));
    }
    draft.act(Action::Revert);
    draft.act(Action::Finalizer(false));
}
