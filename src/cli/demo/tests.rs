//! The scenarios, from their first line to their last, on a clock that leaps: the same lines each time.

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::api::status::Outcome;

fn arguments(scenario: &str) -> DemoArgs {
    DemoArgs {
        scenario: scenario.to_owned(),
        list: false,
        speed: 1.0,
        kubeconfig_out: None,
        stay: None,
        program: "serin".to_owned(),
    }
}

/// What a scenario prints where it is no terminal, and how it ends.
fn played(scenario: &'static Scenario) -> (String, Result<(), DemoError>) {
    let mut out = Vec::new();
    let ended = pace::run(Pace::Leaping, async {
        fastrand::seed(0);
        let _clock = SimulatedClock::start(DateTime::UNIX_EPOCH + TimeDelta::days(20_000));
        let mut show = Show::new(scenario, Screen::new(&mut out, Look::PLAIN), 1.0);
        super::played(&arguments(scenario.name), scenario, &mut show).await
    });
    (String::from_utf8(out).unwrap(), ended.unwrap())
}

/// The same lines, with those of one moment by application: two whose passes fall together take turns by chance.
fn by_application(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for moment in lines.chunk_by_mut(|one, other| one.get(..10) == other.get(..10) && one.get(7..10) == Some("s  ")) {
        moment.sort_by_key(|line| line.get(10..18));
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_first_scenario_reads_so() {
    let (text, ended) = played(&SCENARIOS[0]);
    ended.unwrap();
    let text = by_application(&text);
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("two_releases", text);
    });
}

#[test]
fn each_scenario_ends_as_promised_in_less_than_a_minute() {
    // What must be said besides, in this order.
    let said: [(&str, &[&str]); 5] = [
        (
            "two-releases",
            &[
                "payments check  9",
                "requests succeeded (at least 99 %), and 99 % took 1",
                "failed, 1 of 2, so the traffic stays as it is, 10 %",
                "failed, 2 of 2, so 2.4.0 is taken back: all traffic is on 2.3.0 again",
                "alert  error: Canary payments.default was rolled back",
                "passed, and it was the last one, so frontend-primary gets 1.1.0",
                "payments 2.4.0 was rolled back to 2.3.0 in 1",
                "frontend 1.1.0 was promoted in 3",
                "What to try next",
            ],
        ),
        (
            "metrics-outage",
            &[
                "fault  Prometheus can't be reached any more",
                "nothing is known (query failed",
                "not knowing is not failing, so 1.1.0 is held: the traffic stays as it is, 10 %",
                "fault  Prometheus can be reached again",
                "passed, so 25 % of the traffic goes to 1.1.0",
                "0 of",
            ],
        ),
        (
            "controller-killed",
            &["the controller is killed", "a new controller starts", "passed, so 25 % of the traffic goes to 1.1.0"],
        ),
        (
            "newer-revision",
            &[
                "ship   1.2.0 is shipped",
                "1.1.0 is out of date, so 1.2.0 is tried from the start",
                "passed, so 5",
                "so frontend-primary gets 1.2.0",
                "1.1.0 was tried for",
                "1.2.0 was promoted",
            ],
        ),
        (
            "blue-green",
            &["passed, 1 of 3; all users stay on 3.0.0", "passed, 2 of 3", "so search-primary gets 3.1.0", "promoted"],
        ),
    ];
    assert_eq!(said.map(|(name, _)| name).to_vec(), SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>());
    for (scenario, (name, said)) in SCENARIOS.iter().zip(said) {
        let (text, ended) = played(scenario);
        ended.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        let mut rest = text.as_str();
        for part in said {
            let found = rest.find(part).unwrap_or_else(|| panic!("{name} does not say {part:?} there:\n{text}"));
            rest = &rest[found + part.len()..];
        }
        let seconds: Vec<f64> =
            text.lines().filter_map(|line| line.split_once(" s  ")?.0.trim().parse().ok()).collect();
        assert!(seconds.last().is_some_and(|last| *last < 60.0), "{name} takes too long:\n{text}");
    }
}

#[test]
fn a_run_that_ends_otherwise_is_no_success() {
    let wrong = Box::leak(Box::new(Scenario {
        name: "wrong",
        shows: "a promise that is not kept",
        script: SCENARIOS[0].script,
        endings: &[("payments", "2.4.0", Outcome::Promoted)],
    }));
    let error = played(wrong).1.unwrap_err();
    let expected = "payments 2.4.0 should have ended as Promoted, and ended as Some(RolledBack)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_list_has_a_line_for_each_scenario() {
    let mut out = Vec::new();
    run(&DemoArgs { list: true, ..arguments("two-releases") }, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), SCENARIOS.len());
    for scenario in SCENARIOS {
        assert!(text.contains(&format!("{:<18} {}\n", scenario.name, scenario.shows)), "{text}");
    }
}
