//! What went wrong for users of Flagger and Argo Rollouts, each as a world that Serin must pass: a plan without chance, and
//! what must be seen in it beside the promises.

use std::time::Duration;

use super::crash_points::{happening, shape};
use super::world;
use super::world::plan::{Checks, Edit, Happening, Outage, Plan, Quality, Shape, Side, Strategy, What};
use crate::api::checked::OnNoData;

/// A world, and what must be seen in it.
#[derive(Clone, Debug)]
pub struct Regression {
    /// What users must not meet again.
    pub name: &'static str,
    /// Where they met it.
    pub origin: &'static str,
    /// The world.
    pub plan: Plan,
    /// What its trace must say until the last good release.
    pub expected: Vec<Expected>,
}

/// What a trace must say. Texts are found in one line, their parts between `*` in this order.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// So many lines have this text.
    Times(usize, &'static str),
    /// At most so many lines have this text.
    AtMost(usize, &'static str),
    /// The first line with one text comes at most so many seconds after the first with the other.
    Within(f64, &'static str, &'static str),
    /// Every line with one text comes before every line with the other, and there are both.
    Before(&'static str, &'static str),
    /// Of the lines that have one text, the first one after the first with the other has this as well.
    Next(&'static str, &'static str, &'static str),
}

use Expected::{AtMost, Before, Next, Times, Within};

/// The Canary became this, in the events that people see.
const STARTED: &str = "Event * NewRevision: ";
const PROMOTED: &str = "Event * Promoted: ";
const FAILED: &str = "Event * Failed: ";
const HELD: &str = "Event * Held: ";
/// Somebody was told.
const TOLD_FAILURE: &str = "told: * was rolled back: ";
/// Writes of Serin to the route.
const ROUTE: &str = "serin* HTTPRoute app ";
const ROUTE_0: &str = "serin* HTTPRoute app * app-canary=0";
const ROUTE_20: &str = "serin* HTTPRoute app * app-canary=20";
const ROUTE_60: &str = "serin* HTTPRoute app * app-canary=60";
/// Writes of Serin to the pair.
const PRIMARY: &str = "serin* Deployment app-primary ";
const PRIMARY_2: &str = "serin* Deployment app-primary * app:2-";
const PRIMARY_3: &str = "serin* Deployment app-primary * app:3-";
const SCALED_UP: &str = "serin* Deployment app * replicas Some(1)";
/// Steps as people see them.
const STEP_20: &str = "Event * Advanced: * canary weight 20";
const STEP_60: &str = "Event * Advanced: * canary weight 60";

const GOOD: What = What::Release(2, Quality::Good);
const BAD: What = What::Release(2, Quality::Failing);
const NEWER: What = What::Release(3, Quality::Good);
const BACK: What = What::Release(1, Quality::Good);

impl Regression {
    /// Runs the world and says what is not as it must be.
    pub fn run(&self) -> Vec<String> {
        let outcome = world::run_traced(&self.plan);
        let mut wrong: Vec<String> = outcome.broken.iter().map(|broken| format!("broken: {broken}")).collect();
        let ends = outcome.trace.iter().position(|line| line.ends_with("--- a last good release"));
        let lines = outcome.trace.get(..ends.unwrap_or(outcome.trace.len())).unwrap_or_default();
        wrong.extend(self.expected.iter().filter_map(|expected| expected.missing(lines)));
        wrong
    }
}

impl Expected {
    /// What is not as it must be, in words.
    fn missing(self, lines: &[String]) -> Option<String> {
        let count_of = |text| lines.iter().filter(|line| has(line, text)).count();
        let first = |text| lines.iter().position(|line| has(line, text));
        let last = |text| lines.iter().rposition(|line| has(line, text));
        let seconds = |text| first(text).and_then(|index| lines.get(index)).map(|line| seconds(line));
        let is_so = match self {
            Times(count, text) => count_of(text) == count,
            AtMost(count, text) => count_of(text) <= count,
            Within(limit, start, end) => match (seconds(start), seconds(end)) {
                (Some(start), Some(end)) => (0.0..=limit).contains(&(end - start)),
                _ => false,
            },
            Before(earlier, later) => last(earlier).is_some_and(|one| first(later).is_some_and(|other| one < other)),
            Next(start, kind, text) => {
                let after = first(start).and_then(|index| lines.get(index + 1..)).unwrap_or_default();
                after.iter().find(|line| has(line, kind)).is_some_and(|line| has(line, text))
            }
        };
        (!is_so).then(|| format!("not so: {self:?}"))
    }
}

/// Whether a line has all parts of a text, in this order.
fn has(line: &str, text: &str) -> bool {
    let mut rest = line;
    text.split('*').all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// When a line was written, in seconds from the start of the world.
fn seconds(line: &str) -> f64 {
    line.split_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

/// All of them.
pub fn all() -> Vec<Regression> {
    [
        about_exposure(),
        about_promotion(),
        about_the_primary(),
        about_rollback(),
        about_revisions(),
        about_what_is_not_known(),
        about_people(),
    ]
    .concat()
}

fn weights() -> Shape {
    shape(Strategy::Weights(vec![20, 60], 0))
}

fn regression(
    name: &'static str,
    origin: &'static str,
    shape: Shape,
    happenings: &[(u64, What)],
    expected: &[Expected],
) -> Regression {
    let happenings: Vec<Happening> = happenings.iter().map(|(at, what)| happening(*at, what.clone())).collect();
    Regression { name, origin, plan: Plan::story(shape, happenings), expected: expected.to_vec() }
}

fn time(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// In these worlds the steps are taken 6 s and 12 s after the release, and a good revision is promoted after 17 s.
fn about_exposure() -> Vec<Regression> {
    vec![
        regression(
            "restarts take no step",
            "flagger.md 1.6 d; fluxcd/flagger#1613",
            weights(),
            &[(0, GOOD), (7, What::Kill), (9, What::Kill), (11, What::Kill), (14, What::Kill)],
            &[Times(1, ROUTE_20), Times(1, ROUTE_60), Times(1, STARTED), Times(1, PRIMARY_2)],
        ),
        regression(
            "an edited interval starts no second loop",
            "flagger.md 1.6 e",
            weights(),
            &[(0, GOOD), (7, What::Edit(Edit::Interval(6))), (8, What::Edit(Edit::Interval(7)))],
            &[Times(1, STEP_20), Times(1, STEP_60), Times(1, PROMOTED), Before(STEP_20, STEP_60)],
        ),
        regression(
            "a run that is resumed goes on where it stood",
            "argoproj/argo-rollouts#720, #726",
            weights(),
            &[(0, GOOD), (8, What::Edit(Edit::Suspend(true))), (30, What::Edit(Edit::Suspend(false)))],
            &[Times(1, STEP_20), Times(1, STEP_60), Times(1, STARTED), Times(1, PROMOTED), Times(0, FAILED)],
        ),
        regression(
            "a cache that lags writes nothing back over what is newer",
            "argoproj/argo-rollouts#4073, #4786",
            weights(),
            &[(0, What::WatchesLag(time(3), time(60))), (1, GOOD)],
            &[Times(1, STARTED), Times(1, STEP_20), Times(1, STEP_60), Times(1, PROMOTED)],
        ),
        regression(
            "the weight of the revision before is not the next one's",
            "argoproj/argo-rollouts#4564",
            weights(),
            &[(0, GOOD), (13, NEWER)],
            &[Next("--- Release(3", ROUTE, ROUTE_0), Times(0, PRIMARY_2), Times(1, PROMOTED)],
        ),
        regression(
            "a route that somebody edits is repaired, and the run goes on",
            "flagger.md 1.6 g; fluxcd/flagger#1692",
            weights(),
            &[(0, GOOD), (7, What::EditRoute(0)), (9, What::EditRoute(90)), (13, What::EditRoute(0))],
            &[Times(1, STARTED), Times(1, STEP_20), Times(1, STEP_60), Next("--- EditRoute(90)", ROUTE, ROUTE_20)],
        ),
        regression(
            "a GitOps tool does not start a run over",
            "fluxcd/flagger#1504, #928",
            Shape { has_gitops: true, ..weights() },
            &[(0, GOOD)],
            &[Times(1, STARTED), Times(1, STEP_20), Times(1, STEP_60), Times(1, PROMOTED)],
        ),
    ]
}

fn about_promotion() -> Vec<Regression> {
    let in_steps = || shape(Strategy::Weights(vec![50, 100], 40));
    vec![
        regression(
            "an image that lands during the last query is not promoted unseen",
            "flagger.md 1.6 b",
            weights(),
            &[(0, GOOD), (15, What::Prometheus(Outage::Slow(3), time(5))), (18, NEWER)],
            &[Times(0, PRIMARY_2), Times(1, PRIMARY_3), Times(2, STEP_60), Before(STEP_60, PRIMARY_3)],
        ),
        regression(
            "nor is a configuration",
            "flagger.md 1.6 b, 12 (4)",
            Shape { has_config: true, ..weights() },
            &[(0, What::Configure(2)), (15, What::Prometheus(Outage::Slow(3), time(5))), (18, What::Configure(3))],
            &[Times(2, STEP_60), Before(STEP_60, "serin* patch * ConfigMap app-config-primary"), Times(1, PROMOTED)],
        ),
        regression(
            "a lost event does not leave a promotion half done",
            "argoproj/argo-rollouts#4694",
            weights(),
            &[(0, GOOD), (16, What::WatchesLose(time(10)))],
            &[Times(1, PROMOTED), Times(0, FAILED)],
        ),
        regression(
            "counts that are out of date do not block a promotion",
            "argoproj/argo-rollouts#3316, #2522",
            weights(),
            &[(0, GOOD), (16, What::ControllerManagerStops(time(15)))],
            &[Times(1, PROMOTED), Times(0, FAILED), Before(PRIMARY_2, PROMOTED)],
        ),
        regression(
            "a restart does not return the traffic at once",
            "fluxcd/flagger#635, #381, #1600",
            in_steps(),
            &[(0, GOOD), (19, What::Kill), (24, What::Kill)],
            &[
                Next("app-canary=100", ROUTE, "app-canary=60"),
                Next("app-canary=60", ROUTE, "app-canary=20"),
                Next("app-canary=20", ROUTE, "app-canary=0"),
                // It was created so, and comes back so once.
                Times(2, ROUTE_0),
            ],
        ),
    ]
}

fn about_the_primary() -> Vec<Regression> {
    vec![
        regression(
            "a primary that fails when it is promoted gets no traffic, and the next revision mends it",
            "fluxcd/flagger#1898, #1932, #1588",
            weights(),
            &[(0, GOOD), (17, What::CrashPods(Side::Primary, Some(time(90)))), (60, NEWER)],
            &[Times(1, PRIMARY_3), Times(0, FAILED)],
        ),
        regression(
            "a broken primary does not refuse what mends it",
            "flagger.md 1.6 c; fluxcd/flagger#639",
            weights(),
            &[(0, What::CrashPods(Side::Primary, Some(time(120)))), (45, GOOD)],
            &[Times(1, PRIMARY_2), Times(0, FAILED), Within(30.0, "--- Release(2", PRIMARY_2)],
        ),
        regression(
            "the autoscaler of the primary is not in the way",
            "flagger.md 1.6 a, fluxcd/flagger#634, #591",
            Shape { has_autoscaler: true, ..weights() },
            &[(0, GOOD)],
            &[Times(1, PROMOTED), Times(1, PRIMARY_2)],
        ),
        regression(
            "skipAnalysis is honoured after a failure",
            "fluxcd/flagger#1149",
            weights(),
            &[(0, BAD), (25, What::Edit(Edit::SkipAnalysis(true))), (26, What::Release(3, Quality::Slow))],
            &[Times(1, PRIMARY_3), Times(1, FAILED), Times(1, "was skipped, promotion finished")],
        ),
    ]
}

fn about_rollback() -> Vec<Regression> {
    vec![
        regression(
            "traffic leaves before anything else is done",
            "argoproj/argo-rollouts#4612; flagger.md 12 (2)",
            weights(),
            &[(0, BAD), (60, What::Edit(Edit::Threshold(2)))],
            &[Next("--- Release(2", ROUTE_20, ROUTE_20), Next("Event * Halted: ", "serin*=", ROUTE_0)],
        ),
        regression(
            "traffic leaves at the check that reaches the threshold, though nobody takes alerts and no route is accepted",
            "flagger.md 12 (2), 12 (6)",
            weights(),
            &[
                (0, BAD),
                (10, What::Receivers(Outage::Hangs, time(60))),
                (10, What::GatewayStops(time(30))),
                (10, What::ControllerManagerStops(time(30))),
            ],
            &[Within(5.5, "failed 1 pinned", ROUTE_0_AFTER_20), Times(1, FAILED)],
        ),
        regression(
            "a rolled back revision stays away, whoever edits the route and applies Git",
            "argoproj/argo-rollouts#1665",
            Shape { has_gitops: true, ..weights() },
            &[(0, BAD), (24, What::EditRoute(50)), (30, What::Kill), (34, What::EditRoute(100))],
            &[
                Times(1, STARTED),
                Times(1, ROUTE_20),
                Next("--- EditRoute(50)", ROUTE, ROUTE_0),
                Next("--- EditRoute(100)", ROUTE, ROUTE_0),
                Times(1, SCALED_UP),
            ],
        ),
        regression(
            "going back with nothing in progress touches nothing",
            "argoproj/argo-rollouts#1292",
            weights(),
            &[(0, BAD), (40, BACK), (60, What::Kill)],
            &[Times(1, PRIMARY), Times(1, STARTED), Times(1, SCALED_UP), Times(1, "RevisionWithdrawn: ")],
        ),
        regression(
            "a canary that never becomes ready is rolled back, and people are told",
            "fluxcd/flagger#1663, #1816",
            weights(),
            &[(0, What::Release(2, Quality::NeverReady))],
            &[Times(1, TOLD_FAILURE), Times(0, ROUTE_20), Within(33.0, STARTED, FAILED)],
        ),
        regression(
            "deletion gives the traffic back once",
            "flagger.md 1.6 i; fluxcd/flagger#1448, #1562",
            Shape { reverts_on_deletion: true, ..weights() },
            &[(0, GOOD), (14, What::DeleteCanary(time(20)))],
            &[
                Next("--- DeleteCanary", "serin*=", ROUTE_0),
                Times(0, PRIMARY_2_UPDATE),
                Next("--- DeleteCanary", "serin* Service app ", "Service app "),
            ],
        ),
    ]
}

/// The route at 0 again, which is a patch: at first it is created so.
const ROUTE_0_AFTER_20: &str = "serin* patch * HTTPRoute app * app-canary=0";
/// The primary is written over with the second image.
const PRIMARY_2_UPDATE: &str = "serin* update * Deployment app-primary * app:2-";

fn about_revisions() -> Vec<Regression> {
    vec![
        regression(
            "a revision that comes while the primary is not ready is not lost",
            "flagger.md 1.6 a; devantler-tech/platform#2387",
            weights(),
            &[(0, BAD), (40, What::CrashPods(Side::Primary, Some(time(8)))), (41, NEWER)],
            &[Times(2, STARTED), Times(1, PRIMARY_3), Times(1, PROMOTED)],
        ),
        regression(
            "a revision that comes while the API server fails is not lost",
            "flagger.md 1.6 a",
            weights(),
            &[(0, BAD), (40, What::ApiAnswers(500, 1, time(10))), (41, NEWER)],
            &[Times(1, PRIMARY_3), Times(1, PROMOTED)],
        ),
        regression(
            "going back to the promoted revision in mid-run ends the run",
            "flagger.md 1.6 h",
            weights(),
            &[(0, GOOD), (13, BACK)],
            &[
                Next("--- Release(1", ROUTE, ROUTE_0),
                Times(0, PRIMARY_2),
                Times(0, PROMOTED),
                Times(0, FAILED),
                Times(1, "RevisionWithdrawn: "),
            ],
        ),
        regression(
            "a run that is ended early is no success",
            "argoproj/argo-rollouts#4604",
            weights(),
            &[(0, BAD), (13, NEWER)],
            &[Times(0, PRIMARY_2), Times(1, PRIMARY_3), Times(1, "told: * completed successfully"), Times(2, STEP_20)],
        ),
        regression(
            "after a rollback the next image is taken",
            "argoproj/argo-rollouts#3578, #2109",
            weights(),
            &[(0, BAD), (30, NEWER)],
            &[Times(1, PRIMARY_3), Times(1, PROMOTED), Times(1, FAILED)],
        ),
        regression(
            "a process that starts over starts no run",
            "fluxcd/flagger#1673, #1201",
            Shape { has_config: true, has_autoscaler: true, ..weights() },
            &[(0, What::Kill), (10, What::Kill), (20, What::Compaction), (30, What::Kill)],
            &[Times(0, STARTED), Times(1, PRIMARY)],
        ),
    ]
}

fn about_what_is_not_known() -> Vec<Regression> {
    let idle = |on_no_data| Shape { checks: Checks { on_no_data, ..weights().checks }, ..weights() };
    let mut worlds = vec![
        regression(
            "a service without requests is not refused",
            "fluxcd/flagger#1353, #1035, #361",
            idle(OnNoData::Pass),
            &[(0, GOOD), (5, What::Prometheus(Outage::Empty, time(40)))],
            &[Times(1, PROMOTED), Times(0, FAILED)],
        ),
        regression(
            "nor taken for a good one where it says so",
            "fluxcd/flagger#1011",
            idle(OnNoData::Hold),
            &[(0, GOOD), (5, What::Prometheus(Outage::Empty, time(20)))],
            &[Times(1, HELD), Times(0, FAILED), Times(1, PROMOTED), Before(HELD, STEP_60)],
        ),
    ];
    let outages = [
        ("Prometheus that is down refuses nobody", Outage::Refused),
        ("Prometheus that hangs refuses nobody", Outage::Hangs),
        ("an answer that is no JSON refuses nobody", Outage::Page),
        ("an answer of two series ends no process", Outage::TwoSeries),
        ("a part of an answer refuses nobody", Outage::Partial),
        ("an error of Prometheus refuses nobody", Outage::Status(503)),
    ];
    worlds.extend(outages.map(|(name, outage)| {
        regression(
            name,
            "flagger.md 1.6 j, 12 (3); peers.md 5.4 (6)",
            weights(),
            &[(0, GOOD), (8, What::Prometheus(outage, time(15)))],
            &[Times(1, HELD), Times(0, FAILED), Times(1, PROMOTED), Before(HELD, STEP_60)],
        )
    }));
    worlds
}

fn about_people() -> Vec<Regression> {
    vec![
        regression(
            "a process that dies tells nothing twice",
            "flagger.md 12 (10)",
            weights(),
            &[(0, BAD), (17, What::Kill), (20, What::Kill), (24, What::Kill)],
            &[Times(1, TOLD_FAILURE)],
        ),
        regression(
            "a receiver that is down delays nothing",
            "flagger.md 12 (2)",
            weights(),
            &[(0, What::Receivers(Outage::Hangs, time(60))), (1, GOOD)],
            &[Within(25.0, "--- Release(2", PROMOTED)],
        ),
        regression(
            "no loop runs hot",
            "argoproj/argo-rollouts#2982",
            weights(),
            &[(0, GOOD), (60, What::Edit(Edit::Threshold(3)))],
            &[Times(1, PROMOTED), AtMost(40, "serin* Canary/status app ")],
        ),
        regression(
            "a Canary that can't be used disturbs nobody",
            "flagger.md 1.6 f, 1.6 j, 12 (7)",
            Shape { has_broken_neighbour: true, ..weights() },
            &[(0, GOOD)],
            &[Times(1, PROMOTED), Times(1, "serin* Canary/status neighbour ")],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_users_of_others_met_is_not_met_again() {
        let (worlds, next, wrong) = (all(), AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(world) = worlds.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let Regression { name, origin, .. } = world;
                        let told = |what| format!("{name} ({origin}): {what}");
                        wrong.lock().unwrap().extend(world.run().into_iter().map(told));
                    }
                });
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }

    #[test]
    fn each_expectation_can_fail() {
        let lines: Vec<String> =
            ["1.000 serin-a route one=1", "2.500 serin-a event", "3.000 serin-a route one=2"].map(str::to_owned).into();
        let cases = [
            (Times(2, "serin*route"), true),
            (Times(1, "serin*route"), false),
            (Times(0, "route*serin"), true),
            (AtMost(2, "route"), true),
            (AtMost(1, "route"), false),
            (Within(1.5, "one=1", "event"), true),
            (Within(1.4, "one=1", "event"), false),
            (Within(9.0, "event", "one=1"), false),
            (Within(9.0, "one=1", "absent"), false),
            (Before("one=1", "event"), true),
            (Before("route", "event"), false),
            (Before("absent", "event"), false),
            (Next("event", "route", "one=2"), true),
            (Next("event", "route", "one=1"), false),
            (Next("one=2", "route", "one=2"), false),
        ];
        for (expected, is_so) in cases {
            assert_eq!(expected.missing(&lines).is_none(), is_so, "{expected:?}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let worlds = all();
        let names: std::collections::BTreeSet<&str> = worlds.iter().map(|world| world.name).collect();
        assert_eq!(names.len(), worlds.len());
    }
}
