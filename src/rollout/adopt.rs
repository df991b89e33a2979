//! Taking over what another controller left.

use super::draft::Draft;
use super::snapshot::Target;
use crate::api::status::Phase;

/// A Canary that another controller left has no revisions of ours. A change of controllers starts no run of its own: what
/// the primary was seen to run is the promoted revision, and a refused one is taken to be the one that is there. A run
/// that was under way begins again, its evidence is not ours.
pub(super) fn baseline(draft: &mut Draft<'_>, target: &Target) {
    if !draft.status.revisions.observed.is_empty() {
        return;
    }
    match draft.status.phase {
        Phase::Failed => draft.observe(&target.revision),
        // In these phases Flagger's checksums are those of the primary.
        Phase::Initialized | Phase::Succeeded | Phase::Promoting | Phase::Finalising => {
            let tracked = &draft.status.tracked_configs;
            if target.matches_primary && (tracked.is_empty() || *tracked == target.revision.configs) {
                draft.observe(&target.revision);
                draft.promoted();
            }
        }
        _ => {}
    }
}
