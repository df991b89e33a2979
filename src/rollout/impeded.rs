//! A decision that can't be carried out: what is to be written is refused.

use chrono::{DateTime, Utc};

use super::conditions::{self, Progress};
use super::{Action, Decision, Notice, NoticeKind};
use crate::api::status::CanaryStatus;

/// Longest text of a refusal that a condition carries, in characters: an API server may repeat whole objects.
const LONGEST_PROBLEM: usize = 1024;

/// What follows when a write of a decision was refused: the Canary says so. What was committed stays, what was not done is
/// tried again.
pub fn impeded(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> Decision {
    let mut next = status.clone();
    let problem = shortened(problem);
    conditions::update(&mut next, generation, &stalled(&problem), false, now);
    let mut actions = Vec::new();
    let mut notices = Vec::new();
    if next != *status {
        next.last_transition_time = Some(now);
        actions.push(Action::CommitStatus);
        notices.push(Notice { kind: NoticeKind::Warning, reason: REASON, message: problem });
    }
    Decision { status: next, actions, notices, next: None }
}

/// The same decision once more, with the conditions of one that is still impeded: whether it can be carried out now is not
/// known before it was tried, and until then nothing is said to be well.
pub fn retried(
    decision: Decision,
    before: &CanaryStatus,
    generation: i64,
    problem: &str,
    now: DateTime<Utc>,
) -> Decision {
    let mut decision = decision;
    decision.status.conditions.clone_from(&before.conditions);
    conditions::update(&mut decision.status, generation, &stalled(&shortened(problem)), false, now);
    let stamp = decision.status.last_transition_time;
    decision.status.last_transition_time = before.last_transition_time;
    if decision.status == *before {
        decision.actions.retain(|action| *action != Action::CommitStatus);
    } else {
        decision.status.last_transition_time = stamp;
        if !decision.actions.contains(&Action::CommitStatus) {
            decision.actions.push(Action::CommitStatus);
        }
    }
    decision
}

const REASON: &str = "WriteRefused";

fn stalled(problem: &str) -> Progress {
    Progress::Stalled(REASON, problem.to_owned())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_PROBLEM) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::Phase;

    fn status() -> CanaryStatus {
        CanaryStatus { phase: Phase::Initializing, observed_generation: Some(1), ..CanaryStatus::default() }
    }

    fn conditions(status: &CanaryStatus) -> Vec<String> {
        status.conditions.iter().map(|one| format!("{}={} {}", one.kind, one.status, one.message)).collect()
    }

    #[test]
    fn a_refused_write_is_told_once_and_until_it_succeeds() {
        let now = DateTime::UNIX_EPOCH;
        let later = now + chrono::TimeDelta::seconds(9);
        let first = impeded(&status(), 1, "no quota", now);
        assert_eq!((first.actions.as_slice(), first.notices.len()), (&[Action::CommitStatus][..], 1));
        assert_eq!(
            conditions(&first.status)[..3],
            ["Ready=False no quota", "Reconciling=False no quota", "Stalled=True no quota"]
        );
        let again = impeded(&first.status, 1, "no quota", later);
        assert_eq!((again.actions.as_slice(), again.notices.len(), &again.status), (&[][..], 0, &first.status));

        // The next pass decides as if nothing had happened.
        let mut optimistic = Decision {
            status: first.status.clone(),
            actions: vec![Action::CommitStatus, Action::Services { apex: true }],
            notices: Vec::new(),
            next: None,
        };
        conditions::update(&mut optimistic.status, 1, &Progress::Going(String::new()), false, later);
        optimistic.status.last_transition_time = Some(later);
        let retry = retried(optimistic.clone(), &first.status, 1, "no quota", later);
        assert_eq!(retry.actions, [Action::Services { apex: true }]);
        assert_eq!(retry.status, first.status);

        // One that was not told yet is told now.
        let quiet = Decision { status: status(), actions: Vec::new(), notices: Vec::new(), next: None };
        let retry = retried(quiet, &status(), 1, "no quota", later);
        assert_eq!(retry.actions, [Action::CommitStatus]);
        assert_eq!(conditions(&retry.status)[2], "Stalled=True no quota");

        // What else it decides is committed all the same.
        optimistic.status.canary_weight = 10;
        let retry = retried(optimistic, &first.status, 1, "no quota", later);
        assert_eq!(retry.actions, [Action::CommitStatus, Action::Services { apex: true }]);
        assert_eq!((retry.status.canary_weight, retry.status.last_transition_time), (10, Some(later)));
        assert_eq!(conditions(&retry.status)[2], "Stalled=True no quota");
    }

    #[test]
    fn a_long_refusal_is_shortened() {
        let decision = impeded(&status(), 1, &"ä".repeat(5000), DateTime::UNIX_EPOCH);
        let message = &decision.status.conditions[0].message;
        assert_eq!(message.chars().count(), LONGEST_PROBLEM + 3);
    }
}
