//! A decision that can't be carried out: what is to be written is refused.

use chrono::{DateTime, Utc};

use super::conditions::{self, Progress};
use super::draft::commit_if_changed;
use super::time::by_our_clock;
use super::{Action, Decision, Notice, NoticeKind};
use crate::api::status::CanaryStatus;

/// Longest text of a refusal that a condition carries, in characters: an API server may repeat whole objects.
const LONGEST_PROBLEM: usize = 1024;

/// What follows when a write of a decision was refused: the Canary says so. What was committed stays, what was not done is
/// tried again.
pub fn impeded(status: &CanaryStatus, generation: i64, problem: &str, now: DateTime<Utc>) -> Decision {
    told(status, generation, REASON, &shortened(problem), now)
}

/// What follows where nothing goes on until a person mends something: the Canary says so, once, and all else stays.
pub(super) fn told(
    status: &CanaryStatus,
    generation: i64,
    reason: &'static str,
    problem: &str,
    now: DateTime<Utc>,
) -> Decision {
    let mut next = by_our_clock(status.clone(), now);
    let progress = Progress::Stalled(reason, problem.to_owned());
    conditions::update(&mut next, generation, &progress, false, now);
    let is_news = next.conditions != status.conditions;
    let message = problem.to_owned();
    let notices = if is_news { vec![Notice { kind: NoticeKind::Warning, reason, message }] } else { Vec::new() };
    let mut actions = Vec::new();
    commit_if_changed(status, &mut next, &mut actions, now);
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

/// What people were told about a refused write, if nothing succeeded since.
pub fn refused(status: &CanaryStatus) -> Option<&str> {
    let told = conditions::stalled(status).filter(|told| told.reason == REASON)?;
    Some(&told.message)
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
        assert_eq!((refused(&status()), refused(&first.status)), (None, Some("no quota")));
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

    /// What is written gets the time of our clock, and with it what was left of each wait would be an hour longer.
    #[test]
    fn what_a_fast_clock_wrote_is_waited_for_as_long_as_it_meant() {
        let now = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let at = |seconds: i64| Some(now + chrono::TimeDelta::seconds(seconds));
        // seconds from now: status written, not ready since; as it is committed
        for (written, since, expected) in [(-10, -30, -30), (3600, 3580, -20)] {
            let before = CanaryStatus { last_transition_time: at(written), not_ready_since: at(since), ..status() };
            let decision = impeded(&before, 1, "no quota", now);
            assert_eq!((decision.actions.as_slice(), decision.notices.len()), (&[Action::CommitStatus][..], 1));
            let after = decision.status;
            assert_eq!((after.last_transition_time, after.not_ready_since), (Some(now), at(expected)), "{written}");
        }
        let waiting = CanaryStatus { not_ready_since: at(3600), ..status() };
        let told = impeded(&waiting, 1, "no quota", now + chrono::TimeDelta::hours(1)).status;
        let again = impeded(&told, 1, "no quota", now);
        assert_eq!((again.actions.as_slice(), again.notices.len()), (&[Action::CommitStatus][..], 0));
    }

    #[test]
    fn a_long_refusal_is_shortened() {
        let decision = impeded(&status(), 1, &"ä".repeat(5000), DateTime::UNIX_EPOCH);
        let message = &decision.status.conditions[0].message;
        assert_eq!(message.chars().count(), LONGEST_PROBLEM + 3);
    }
}
