//! Deletion with `revertOnDeletion`: the target takes over again before the Canary goes.

use super::draft::Draft;
use super::{Action, Scale};
use crate::api::status::Phase;

pub(super) fn decide(draft: &mut Draft<'_>) {
    if !draft.snapshot.canary.has_finalizer {
        return;
    }
    let Some(Ok(target)) = &draft.snapshot.seen.target else {
        draft.act(Action::Finalizer(false));
        return;
    };
    if draft.status.phase != Phase::Terminating {
        draft.forget_steps();
        draft.status.phase = Phase::Terminating;
        draft.status.not_ready_since = Some(draft.now());
        // A route that is not there yet would only send users to a primary that may not serve.
        if draft.snapshot.seen.traffic.canary_weight.is_some() {
            draft.route(0);
        }
        draft.act(Action::CommitStatus);
        draft.inform("Terminating", format!("Terminating canary {}", draft.snapshot.canary.key));
    }
    draft.act(Action::ScaleTarget(Scale::Up));
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = draft.snapshot.due(since, draft.progress_deadline());
    let serves = target.readiness.serves();
    if !serves && draft.now() < deadline {
        draft.progress(format!("Waiting for {} to be ready: {}", draft.target_text(), target.readiness.message));
        draft.look_again(deadline);
        return;
    }
    if !serves {
        draft.warn("Terminating", format!("{} did not become ready, letting it go as it is", draft.target_text()));
    }
    // What is still to be written or told comes first: without its finalizer the Canary is gone.
    draft.act(Action::CommitStatus);
    draft.act(Action::Revert);
    if !draft.status.pending.alerts.is_empty() {
        draft.act(Action::SendAlerts);
    }
    draft.act(Action::Finalizer(false));
}
