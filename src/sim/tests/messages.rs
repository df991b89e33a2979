//! What people are told holds nothing up.

use std::time::Duration;

use crate::sim::crash_points;
use crate::sim::world::plan::{Happening, What};
use crate::sim::world::{self, Outcome};

/// When which object was written: Events, or all others. Versions aside.
fn course(outcome: &Outcome, of_events: bool) -> Vec<String> {
    let writes = outcome.trace.iter().filter(|line| line.contains(" rv=") && line.contains(" Event ") == of_events);
    writes
        .map(|line| line.split_whitespace().filter(|word| !word.starts_with("rv=")).collect::<Vec<_>>().join(" "))
        .collect()
}

/// The places of Events among the writes that the controller sends.
fn events(outcome: &Outcome) -> Vec<u32> {
    let kind = |line: &String| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [_, "create" | "update" | "patch", kind, ..] => Some((*kind).to_owned()),
        _ => None,
    };
    let kinds = outcome.trace.iter().filter_map(kind);
    (1..).zip(kinds).filter(|(_, kind)| kind == "Event").map(|(place, _)| place).collect()
}

#[test]
fn an_event_that_is_long_on_its_way_holds_nothing_up() {
    let (_, mut story) = crash_points::stories().into_iter().find(|(name, _)| *name == "weights, rolled back").unwrap();
    // The last release would come once the world is at rest, which is later then.
    story.ends_with_release = false;
    let undisturbed = world::run_traced(&story);
    let events = events(&undisturbed);
    assert!(events.len() >= 5, "{events:?}");
    for event in events {
        let mut plan = story.clone();
        let what = What::LateWrite(event, Duration::from_secs(30));
        plan.happenings.insert(0, Happening { at: Duration::ZERO, what });
        let late = world::run_traced(&plan);
        assert_eq!(late.broken, [], "write {event}");
        assert_eq!(course(&late, false), course(&undisturbed, false), "write {event}");
        assert_ne!(course(&late, true), course(&undisturbed, true), "write {event} was not late");
    }
}
