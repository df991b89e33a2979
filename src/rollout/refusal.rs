//! Taking a revision back, and saying why.

use super::draft::Draft;
use super::ledger::run_mark;
use super::{Action, Intent};
use crate::api::checked::Severity;
use crate::api::status::{AlertField, CheckReport, Outcome, Phase};

/// Why a revision is taken back.
pub(super) struct Refusal {
    /// One sentence, with the numbers.
    pub(super) reason: String,
    /// The check that decided, if one did.
    pub(super) report: Option<CheckReport>,
}

impl Refusal {
    pub(super) fn new(reason: String) -> Self {
        Self { reason, report: None }
    }
}

/// Users first: the route, then the record, then people; the canary is scaled down once it is seen without traffic.
/// The route remembers the refusal, so that a crash before the record is written can't bring the traffic back.
pub(super) fn roll_back(draft: &mut Draft<'_>, refusal: &Refusal) {
    let withdrawn = Some(run_mark(&draft.status));
    let fields = refusal_fields(draft, refusal);
    let failed_checks = draft.status.failed_checks;
    draft.end_run(Phase::Failed, Outcome::RolledBack, refusal.reason.clone());
    draft.status.pending.scale_down = true;
    draft.act(Action::Route(Intent { canary_weight: 0, withdrawn }));
    draft.act(Action::CommitStatus);
    let canary = &draft.snapshot.canary.key;
    if failed_checks >= draft.snapshot.canary.analysis.threshold {
        draft.warn("RolledBack", format!("Rolling back {canary} failed checks threshold reached {failed_checks}"));
    }
    draft.warn("RolledBack", format!("Rolling back {canary}: {}", refusal.reason));
    draft.warn("Failed", format!("Canary failed! Scaling down {canary}"));
    draft.alert(Severity::Error, format!("Canary {canary} was rolled back: {}", refusal.reason), fields);
    draft.progress("");
    draft.look_again(draft.now());
}

/// What every alert of a run tells.
pub(super) fn run_fields(draft: &Draft<'_>) -> Vec<AlertField> {
    let canary = draft.snapshot.canary;
    [
        ("Target", format!("Deployment/{}", draft.target_text())),
        ("Revision", draft.status.revisions.pinned.clone()),
        ("Weight reached", format!("{} %", draft.status.highest_weight)),
        ("Traffic routing", canary.provider.as_str().to_owned()),
        ("Failed checks threshold", canary.analysis.threshold.to_string()),
        ("Progress deadline", format!("{}s", canary.progress_deadline_seconds)),
    ]
    .into_iter()
    .map(field)
    .collect()
}

fn refusal_fields(draft: &Draft<'_>, refusal: &Refusal) -> Vec<AlertField> {
    let mut fields = Vec::new();
    if let Some(report) = &refusal.report {
        fields.push(field(("Metric", report.name.clone())));
        fields.push(field(("Value", report.value.map_or_else(|| report.reason.clone(), |value| value.to_string()))));
        fields.push(field(("Bound", bound(report))));
        if let Some(requests) = report.sample_size {
            fields.push(field(("Requests", format!("{requests:.0}"))));
        }
    }
    fields.extend(run_fields(draft));
    let mend = format!(
        "All traffic is on {}. Look at the canary's logs and at status.checks, then apply a mended revision; the same \
         revision is not tried again by itself.",
        draft.primary_text()
    );
    fields.push(field(("What to do", mend)));
    fields
}

fn bound(report: &CheckReport) -> String {
    match (report.min, report.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "none".to_owned(),
    }
}

fn field((title, value): (&str, String)) -> AlertField {
    AlertField { title: title.to_owned(), value }
}
