//! Durations as Flagger's users write them.

/// Seconds of a duration such as `30s`, `1m30s` or `1h`: Go's notation, of which hours, minutes, seconds and
/// milliseconds in whole numbers are read.
///
/// # Errors
/// A sentence for the user when the text is none, is not a whole number of seconds, or is more than a year.
pub fn parse_seconds(text: &str) -> Result<i64, String> {
    const MEND: &str = "write it as 30s, 1m or 1h30m";
    const YEAR_MILLISECONDS: i64 = 366 * 24 * 3_600_000;
    let milliseconds = milliseconds(text).ok_or_else(|| format!("{text:?} is not a duration: {MEND}"))?;
    if milliseconds > YEAR_MILLISECONDS {
        return Err(format!("{text:?} is more than a year: {MEND}"));
    }
    if milliseconds % 1000 != 0 {
        return Err(format!("{text:?} is not a whole number of seconds: {MEND}"));
    }
    Ok(milliseconds / 1000)
}

fn milliseconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        total = number.parse::<i64>().ok()?.checked_mul(scale)?.checked_add(total)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Milliseconds of a Gateway API duration (GEP-2257): up to four numbers of up to five digits, each with `h`, `m`, `s`
/// or `ms`.
///
/// # Errors
/// A sentence for the user when the text is none.
pub fn parse_gateway_milliseconds(text: &str) -> Result<i64, String> {
    let long_number = text.split(|character: char| !character.is_ascii_digit()).any(|number| number.len() > 5);
    let parts = text.split(|character: char| !character.is_ascii_digit()).filter(|number| !number.is_empty()).count();
    milliseconds(text)
        .filter(|_| !long_number && parts <= 4)
        .ok_or_else(|| format!("{text:?} is not a duration of the Gateway API: write it as 500ms, 5s or 1m30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_whole_seconds() {
        let cases = [
            ("1s", Ok(1)),
            ("10s", Ok(10)),
            ("1m", Ok(60)),
            ("1m30s", Ok(90)),
            ("1h", Ok(3600)),
            ("1h30m5s", Ok(5405)),
            ("2000ms", Ok(2)),
            ("0s", Ok(0)),
            ("", Err("not a duration")),
            ("1", Err("not a duration")),
            ("m", Err("not a duration")),
            ("1minute", Err("not a duration")),
            ("1.5m", Err("not a duration")),
            ("-1m", Err("not a duration")),
            ("1m 30s", Err("not a duration")),
            ("1d", Err("not a duration")),
            ("1µs", Err("not a duration")),
            ("500ms", Err("not a whole number of seconds")),
            ("9999999h", Err("more than a year")),
            ("99999999999999999999s", Err("not a duration")),
            ("9223372036854775807h", Err("not a duration")),
        ];
        for (text, expected) in cases {
            match (parse_seconds(text), expected) {
                (Ok(seconds), Ok(expected)) => assert_eq!(seconds, expected, "{text}"),
                (Err(message), Err(expected)) => {
                    assert!(message.contains(expected) && message.contains("1h30m"), "{text}: {message}");
                }
                (got, expected) => panic!("{text}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn gateway_durations_follow_gep_2257() {
        for (text, expected) in [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("1h2m3s4ms", Some(3_723_004)),
            ("0s", Some(0)),
            ("1h1m1s1ms1s", None),
            ("100000s", None),
            ("1.5s", None),
            ("", None),
        ] {
            assert_eq!(parse_gateway_milliseconds(text).ok(), expected, "{text}");
        }
    }
}
