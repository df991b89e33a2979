//! Times of a status, which anybody may have written: those at the ends of the calendar stay there.

use chrono::{DateTime, TimeDelta, Utc};

/// The time so much later; the end of the calendar where that is beyond it.
pub(super) fn after(since: DateTime<Utc>, length: TimeDelta) -> DateTime<Utc> {
    since.checked_add_signed(length).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Whether something has gone on for at least this long.
pub(super) fn lasted(since: Option<DateTime<Utc>>, now: DateTime<Utc>, limit: TimeDelta) -> bool {
    since.is_some_and(|since| now - since >= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_ends_and_nothing_panics() {
        let (end, start) = (DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC);
        let minute = TimeDelta::minutes(1);
        assert_eq!(after(DateTime::UNIX_EPOCH, minute).timestamp(), 60);
        assert_eq!(after(end, minute), end);
        assert!(after(start, minute) > start);
        assert!(lasted(Some(start), end, minute) && !lasted(Some(end), start, minute) && !lasted(None, end, minute));
    }
}
