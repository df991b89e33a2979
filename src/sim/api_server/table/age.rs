//! How long ago something was, as Kubernetes says it (k8s.io/apimachinery/pkg/util/duration).

use chrono::{DateTime, Utc};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time between `then` (RFC 3339) and `now`, in two or three significant figures; `<unknown>` if `then` is empty.
pub fn since(then: &str, now: DateTime<Utc>) -> String {
    if then.is_empty() {
        return "<unknown>".to_owned();
    }
    let Ok(then) = DateTime::parse_from_rfc3339(then) else { return "<invalid>".to_owned() };
    spoken((now - then.with_timezone(&Utc)).num_seconds())
}

fn spoken(seconds: i64) -> String {
    let two = |large: i64, large_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        // Clocks may differ a little.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_figures() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_400, "3h10m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (YEAR, "365d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR + DAY, "8y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(spoken(seconds), expected, "{seconds} s");
        }
    }

    #[test]
    fn ages_are_counted_from_times_that_can_be_read() {
        let now = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").unwrap().with_timezone(&Utc);
        let cases = [
            ("", "<unknown>"),
            ("yesterday", "<invalid>"),
            ("2026-01-02T03:04:00Z", "5s"),
            ("2026-01-02T03:04:00.123456Z", "4s"),
        ];
        for (then, expected) in cases {
            assert_eq!(since(then, now), expected, "{then}");
        }
    }
}
