//! Times of a status, which anybody may have written: those at the ends of the calendar stay there.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::status::CanaryStatus;

/// The time so much later; the end of the calendar where that is beyond it.
pub(super) fn after(since: DateTime<Utc>, length: TimeDelta) -> DateTime<Utc> {
    since.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A status as our own clock would have written it. One that was written in the future comes from a clock that was set
/// back since, or from another process whose clock is ahead: what was to last a minute would last an hour. What was left
/// of each wait at the time of writing stays, so nothing comes earlier.
pub(super) fn by_our_clock(mut status: CanaryStatus, now: DateTime<Utc>) -> CanaryStatus {
    let ahead = status.last_transition_time.map_or(TimeDelta::zero(), |written| written - now);
    if ahead > TimeDelta::zero() {
        let times = [&mut status.next_check_time, &mut status.hold_since, &mut status.not_ready_since];
        for time in times.into_iter().flatten() {
            *time = time.checked_sub_signed(ahead).unwrap_or(now);
        }
        // The drain of the last run is counted from its end.
        if let Some(run) = status.history.first_mut().filter(|run| run.end_time > now) {
            run.end_time = run.end_time.checked_sub_signed(ahead).unwrap_or(now);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::status::{Outcome, Run};

    #[test]
    fn what_a_fast_clock_wrote_is_waited_for_as_long_as_it_meant() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let at = |seconds: i64| Some(now + TimeDelta::seconds(seconds));
        let cases = [
            // seconds from now: status written, next check, hold since; what is left of them
            (0, 10, -5, 10, -5),
            (-30, 10, -5, 10, -5),
            (3600, 3610, 3595, 10, -5),
            (2, 12, -3, 10, -5),
        ];
        for (written, check, hold, expected_check, expected_hold) in cases {
            let status = CanaryStatus {
                last_transition_time: at(written),
                next_check_time: at(check),
                hold_since: at(hold),
                ..CanaryStatus::default()
            };
            let seen = by_our_clock(status, now);
            assert_eq!((seen.next_check_time, seen.hold_since), (at(expected_check), at(expected_hold)), "{written}");
        }
    }

    #[test]
    fn the_end_of_the_last_run_is_not_in_the_future() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let at = |seconds: i64| now + TimeDelta::seconds(seconds);
        // seconds from now: status written, run ended; as it is seen
        for (written, ended, expected) in [(0, -5, -5), (-30, -40, -40), (3600, 3598, -2), (3600, -60, -60)] {
            let run = Run {
                revision: "a".into(),
                outcome: Outcome::RolledBack,
                reason: String::new(),
                weight: 0,
                start_time: None,
                end_time: at(ended),
            };
            let status =
                CanaryStatus { last_transition_time: Some(at(written)), history: vec![run], ..CanaryStatus::default() };
            assert_eq!(by_our_clock(status, now).history[0].end_time, at(expected), "{written}, {ended}");
        }
    }

    #[test]
    fn the_calendar_ends_and_nothing_panics() {
        let (end, start) = (DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC);
        let minute = TimeDelta::minutes(1);
        assert_eq!(after(DateTime::UNIX_EPOCH, minute).timestamp(), 60);
        assert_eq!(after(end, minute), end);
        assert!(after(start, minute) > start);
    }
}
