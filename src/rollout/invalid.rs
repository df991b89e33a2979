//! A Canary that can't be used as it is written.

use chrono::{DateTime, Utc};

use super::conditions::{self, Progress};
use super::{Action, Decision, Notice, NoticeKind};
use crate::api::status::CanaryStatus;

/// What follows from a Canary that can't be used as it is written: it says so, and what runs is left as it is.
pub fn refuse(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> Decision {
    let mut next = status.clone();
    let progress = Progress::Stalled("InvalidSpec", problem.to_owned());
    conditions::update(&mut next, generation, &progress, false, now);
    let mut actions = Vec::new();
    let mut notices = Vec::new();
    if next != *status {
        next.last_transition_time = Some(now);
        actions.push(Action::CommitStatus);
        notices.push(warning(problem.to_owned()));
    }
    Decision { status: next, actions, notices, next: None }
}

/// What follows when such a Canary is being deleted: it is let go. Without a usable spec there is no telling to whom the
/// traffic is to be given back, and an object that can't be deleted helps nobody.
pub fn let_go(status: &CanaryStatus, problem: &str) -> Decision {
    let words = format!("Deleted without giving the traffic back to the target, the spec can't be used: {problem}");
    Decision {
        status: status.clone(),
        actions: vec![Action::Finalizer(false)],
        notices: vec![warning(words)],
        next: None,
    }
}

fn warning(message: String) -> Notice {
    Notice { kind: NoticeKind::Warning, reason: "InvalidSpec", message }
}
