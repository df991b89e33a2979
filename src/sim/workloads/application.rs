//! The application that every pod runs: the testbed's test application, as far as others see it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use crate::sim::load::Behaviour;

/// What the variables of a container make of the application.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// How it answers.
    pub behaviour: Behaviour,
    /// `START_DELAY_MS`: how long it takes until it listens.
    pub start_delay: Duration,
    /// `NEVER_READY`: its health check always fails.
    pub is_never_ready: bool,
    /// `CRASH_AFTER_MS`: it ends with an error this long after its start.
    pub crash_after: Option<Duration>,
}

impl Application {
    /// Reads the variables. With one that it can't read, the application ends at once.
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        Self::read(variables).unwrap_or_else(|_| Self {
            behaviour: Behaviour { version: "unknown".to_owned(), error_share: 1.0, latency_milliseconds: 0.0 },
            start_delay: Duration::ZERO,
            is_never_ready: true,
            crash_after: Some(Duration::ZERO),
        })
    }

    fn read(variables: &BTreeMap<String, String>) -> Result<Self, Unreadable> {
        let milliseconds = |name: &str| Ok(parsed(variables, name)?.map(Duration::from_millis));
        let latency = milliseconds("LATENCY_MS")?.unwrap_or_default();
        Ok(Self {
            behaviour: Behaviour {
                version: parsed(variables, "VERSION")?.unwrap_or_else(|| "unknown".to_owned()),
                error_share: parsed(variables, "ERROR_RATE")?.unwrap_or(0.0_f64).clamp(0.0, 1.0),
                latency_milliseconds: latency.as_secs_f64() * 1000.0,
            },
            start_delay: milliseconds("START_DELAY_MS")?.unwrap_or_default(),
            is_never_ready: variables.get("NEVER_READY").is_some_and(|on| !matches!(on.as_str(), "" | "0" | "false")),
            crash_after: milliseconds("CRASH_AFTER_MS")?,
        })
    }
}

/// A variable is not of its type.
struct Unreadable;

/// A variable; an empty one counts as none.
fn parsed<T: FromStr>(variables: &BTreeMap<String, String>, name: &str) -> Result<Option<T>, Unreadable> {
    let text = variables.get(name).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| Unreadable)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables; version, share of errors, start delay, whether it is never ready, and when it crashes.
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str, f64, u64, bool, Option<u64>);

    #[test]
    fn the_environment_says_how_it_behaves() {
        let cases: [Case; 6] = [
            ("nothing said", &[], "unknown", 0.0, 0, false, None),
            ("bad", &[("VERSION", "2"), ("ERROR_RATE", "0.3")], "2", 0.3, 0, false, None),
            ("slow to start", &[("START_DELAY_MS", "700")], "unknown", 0.0, 700, false, None),
            ("never ready", &[("NEVER_READY", "true")], "unknown", 0.0, 0, true, None),
            ("that is a no", &[("NEVER_READY", "false"), ("ERROR_RATE", "")], "unknown", 0.0, 0, false, None),
            ("crashes", &[("CRASH_AFTER_MS", "50")], "unknown", 0.0, 0, false, Some(50)),
        ];
        for (name, variables, version, errors, start, never, crash) in cases {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let expected = Application {
                behaviour: Behaviour { version: version.to_owned(), error_share: errors, latency_milliseconds: 0.0 },
                start_delay: Duration::from_millis(start),
                is_never_ready: never,
                crash_after: crash.map(Duration::from_millis),
            };
            assert_eq!(Application::of(&variables), expected, "{name}");
        }
    }

    #[test]
    fn with_an_environment_that_it_cannot_read_it_ends_at_once() {
        let variables = BTreeMap::from([("ERROR_RATE".to_owned(), "many".to_owned())]);
        assert_eq!(Application::of(&variables).crash_after, Some(Duration::ZERO));
    }
}
