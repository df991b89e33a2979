//! Promotion: the pinned revision goes to the primary, traffic follows once it is ready, the canary goes to zero.

use super::draft::Draft;
use super::snapshot::{Readiness, Target};
use super::time::after;
use super::{Action, Scale, refusal, run};
use crate::api::checked::{Provider, Severity, Strategy};
use crate::api::status::{Outcome, Phase};

pub(super) fn start(draft: &mut Draft<'_>, target: &Target) {
    draft.status.phase = Phase::Promoting;
    draft.status.next_check_time = None;
    draft.status.hold_since = None;
    draft.status.not_ready_since = Some(draft.now());
    draft.act(Action::CommitStatus);
    write_primary(draft, target);
    draft.inform("Promoting", format!("Copying {} template spec to {}", draft.target_text(), draft.primary_text()));
    draft.progress(format!("Waiting for {} to be ready", draft.primary_text()));
    draft.look_again(draft.now());
}

pub(super) fn decide(draft: &mut Draft<'_>, target: &Target) {
    let current = target.revision.id == draft.status.revisions.pinned;
    let written = draft.snapshot.seen.primary_revision.as_ref() == Some(&draft.status.revisions.pinned);
    if written {
        draft.promoted();
    } else if !current {
        // What is promoted next must be analysed first.
        run::changed(draft, target);
        return;
    }
    keep_users_served(draft, target, current);
    if written && current {
        // Nobody knows whether the pass that wrote the primary got this far.
        draft.act(Action::Autoscaler { update: true });
    }
    if draft.snapshot.canary.suspended {
        draft.status.not_ready_since = None;
        draft.progress("Suspended: clear spec.suspend to go on");
    } else if !written {
        if !draft.obstructed() {
            write_primary(draft, target);
            wait(draft, target, "not written yet", false);
        }
    } else if draft.status.phase == Phase::Finalising {
        finalise(draft);
    } else {
        match &draft.snapshot.seen.primary {
            Some(primary) if primary.serves() => return_traffic(draft),
            Some(Readiness { message, deadline_exceeded, .. }) => wait(draft, target, message, *deadline_exceeded),
            None => {}
        }
    }
}

fn write_primary(draft: &mut Draft<'_>, target: &Target) {
    draft.act(match draft.snapshot.seen.primary {
        Some(_) => Action::PromotePrimary(target.revision.clone()),
        None => Action::CreatePrimary(target.revision.clone()),
    });
    draft.act(Action::Autoscaler { update: true });
}

/// A canary that runs what nobody looked at, or nothing at all, loses its traffic; its newer revision gets a run of its
/// own after this promotion. The other way round, a primary that can't serve at all loses its traffic to the canary,
/// which passed its analysis. Where neither can, the traffic stays where it is.
fn keep_users_served(draft: &mut Draft<'_>, target: &Target, current: bool) {
    draft.act(Action::Services { apex: true });
    let trusted = current && target.readiness.available_pods > 0;
    if !trusted {
        if draft.retreat() {
            return;
        }
        draft.forgo(target);
    }
    if draft.primary_can_serve() {
        draft.keep_route(at_most_routed(draft, draft.status.canary_weight));
        return;
    }
    let rescues =
        trusted && draft.status.phase == Phase::Promoting && draft.snapshot.canary.provider == Provider::GatewayApi;
    if rescues && draft.status.canary_weight < 100 {
        draft.grant(100);
        draft.act(Action::CommitStatus);
    }
    draft.route(draft.status.canary_weight);
}

/// The way back is one way: a pass that did not live to commit it may have sent back more already, and so may a person.
fn at_most_routed(draft: &Draft<'_>, weight: i32) -> i32 {
    draft.snapshot.seen.traffic.canary_weight.map_or(weight, |routed| weight.min(routed))
}

/// A primary that does not become ready gets no more traffic than it has. A newer revision may be what mends it, so past
/// the deadline that one gets its run.
fn wait(draft: &mut Draft<'_>, target: &Target, what: &str, given_up: bool) {
    let since = *draft.status.not_ready_since.get_or_insert(draft.snapshot.now);
    let deadline = after(since, draft.progress_deadline());
    if draft.now() < deadline && !given_up {
        draft.look_again(deadline);
        draft.progress(format!("Waiting for {} to be ready: {what}", draft.primary_text()));
    } else if target.revision.id == draft.status.revisions.pinned {
        let message = format!("Promotion failed, primary not ready: {} {what}", draft.primary_text());
        draft.stuck("PromotionStuck", message);
    } else {
        run::changed(draft, target);
    }
}

/// Traffic returns to the primary, at once or by `stepWeightPromotion` per interval.
fn return_traffic(draft: &mut Draft<'_>) {
    draft.status.not_ready_since = None;
    if let Some(due) = draft.status.next_check_time.filter(|due| draft.now() < *due) {
        draft.look_again(due);
        return;
    }
    let step = match draft.snapshot.canary.analysis.strategy {
        Strategy::Weighted { promotion_step, .. } if promotion_step > 0 => promotion_step,
        _ => 100,
    };
    let weight = at_most_routed(draft, draft.status.canary_weight.saturating_sub(step).max(0));
    let pause = if weight > 0 {
        let (canary, primary_weight) = (&draft.snapshot.canary.key, 100 - weight);
        draft.inform("Advanced", format!("Advance {canary} primary weight {primary_weight}"));
        draft.interval()
    } else {
        draft.status.phase = Phase::Finalising;
        draft.inform("Finalising", "Routing all traffic to primary".to_owned());
        draft.drain()
    };
    let due = after(draft.now(), pause);
    draft.status.canary_weight = weight;
    draft.status.next_check_time = Some(due);
    draft.look_again(due);
    draft.route(weight);
    draft.act(Action::CommitStatus);
}

fn finalise(draft: &mut Draft<'_>) {
    let due = draft.status.next_check_time.unwrap_or(draft.snapshot.now);
    if draft.now() < due {
        draft.look_again(due);
    } else if draft.snapshot.carries(0) {
        complete(draft);
    } else {
        wait_for_route(draft);
    }
}

fn wait_for_route(draft: &mut Draft<'_>) {
    let message = format!("Waiting for the route: {}", draft.snapshot.seen.traffic.message);
    let since = draft.status.next_check_time.unwrap_or(draft.snapshot.now);
    let deadline = after(since, draft.progress_deadline());
    if draft.now() < deadline {
        draft.look_again(deadline);
        draft.progress(message);
    } else {
        draft.stuck("RouteNotApplied", message);
    }
}

fn complete(draft: &mut Draft<'_>) {
    let (reason, event, alert) = if draft.snapshot.canary.skip_analysis {
        (
            "the analysis was skipped",
            "Canary analysis was skipped for",
            "Canary analysis was skipped, promotion finished.",
        )
    } else {
        ("every check passed", "Scaling down", "Canary analysis completed successfully, promotion finished.")
    };
    let fields = refusal::run_fields(draft);
    draft.end_run(Phase::Succeeded, Outcome::Promoted, reason.to_owned());
    draft.act(Action::ScaleTarget(Scale::Zero));
    draft.act(Action::CommitStatus);
    draft.inform("Promoted", format!("Promotion completed! {event} {}", draft.target_text()));
    draft.alert(Severity::Info, alert.to_owned(), fields);
    // A revision that came in the meantime is looked at now.
    draft.look_again(draft.now());
}
