//! A Canary that can't be used as it is written.

use chrono::{DateTime, Utc};

use super::impeded::told;
use super::{Action, Decision, Notice, NoticeKind};
use crate::api::status::CanaryStatus;

/// What follows from a Canary that can't be used as it is written: it says so, and what runs is left as it is.
pub fn refuse(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> Decision {
    told(status, generation, REASON, problem, now)
}

/// What follows when such a Canary is being deleted: it is let go. Without a usable spec there is no telling to whom the
/// traffic is to be given back, and an object that can't be deleted helps nobody.
pub fn let_go(status: &CanaryStatus, problem: &str) -> Decision {
    let words = format!("Deleted without giving the traffic back to the target, the spec can't be used: {problem}");
    Decision {
        status: status.clone(),
        actions: vec![Action::Finalizer(false)],
        notices: vec![Notice { kind: NoticeKind::Warning, reason: REASON, message: words }],
        next: None,
    }
}

const REASON: &str = "InvalidSpec";
