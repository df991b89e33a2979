//! What can be seen: each scenario as data.

use std::time::Duration;

use crate::api::status::{Outcome, Phase};
use crate::sim::prometheus::Fault;

/// Manifests that people can read and copy.
pub const ALERTS: &str = include_str!("../../../examples/demo/alerts.yaml");
const FRONTEND: &str = include_str!("../../../examples/demo/frontend.yaml");
const PAYMENTS: &str = include_str!("../../../examples/demo/payments.yaml");
const SEARCH: &str = include_str!("../../../examples/demo/search.yaml");

/// One thing to watch.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub shows: &'static str,
    /// What happens, in order.
    pub script: &'static [Act],
    /// How the runs must end: the application, the version, the outcome. In the order of the summary.
    pub endings: &'static [(&'static str, &'static str, Outcome)],
}

/// Something that is done, or waited for.
#[derive(Debug)]
pub enum Act {
    /// Somebody applies the manifests of an application.
    Apply {
        /// The file, as it is called.
        file: &'static str,
        /// What is in it.
        manifests: &'static str,
    },
    /// Somebody ships a release.
    Ship(Release),
    /// Prometheus answers so from now on; the text says it to people.
    Prometheus(Fault, &'static str),
    /// The controller is killed.
    Kill,
    /// The controller is started again.
    Restart,
    /// Nothing happens for so long.
    Wait(Duration),
    /// Until an application's rollout is there.
    Until(&'static str, Mark),
}

/// A release that somebody ships.
#[derive(Debug)]
pub struct Release {
    /// The application.
    pub application: &'static str,
    /// The tag of the image.
    pub version: &'static str,
    /// What is to be known about it.
    pub what: &'static str,
    /// `ERROR_RATE` of its pods.
    pub error_rate: &'static str,
}

/// A point of a rollout.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// In this phase, or past it.
    Phase(Phase),
    /// With this share of the users, in per cent.
    Weight(i32),
    /// This version's run is over, and nothing is left to do.
    Ended(&'static str),
}

const fn seconds(seconds: u64) -> Act {
    Act::Wait(Duration::from_secs(seconds))
}

const fn good(application: &'static str, version: &'static str) -> Act {
    Act::Ship(Release { application, version, what: "a good release", error_rate: "0" })
}

const fn bad(application: &'static str, version: &'static str) -> Act {
    let what = "a release with a bug: it answers every tenth request with an error";
    Act::Ship(Release { application, version, what, error_rate: "0.1" })
}

const APPLY_FRONTEND: Act = Act::Apply { file: "examples/demo/frontend.yaml", manifests: FRONTEND };
const APPLY_PAYMENTS: Act = Act::Apply { file: "examples/demo/payments.yaml", manifests: PAYMENTS };
const APPLY_SEARCH: Act = Act::Apply { file: "examples/demo/search.yaml", manifests: SEARCH };
const FRONTEND_IS_UP: Act = Act::Until("frontend", Mark::Phase(Phase::Initialized));
const PAYMENTS_IS_UP: Act = Act::Until("payments", Mark::Phase(Phase::Initialized));
const SEARCH_IS_UP: Act = Act::Until("search", Mark::Phase(Phase::Initialized));

/// All of them; the first one is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "two-releases",
        shows: "a good release is promoted, a bad one is taken back, at the same time",
        script: &[
            APPLY_FRONTEND,
            APPLY_PAYMENTS,
            FRONTEND_IS_UP,
            PAYMENTS_IS_UP,
            seconds(3),
            good("frontend", "1.1.0"),
            bad("payments", "2.4.0"),
            Act::Until("payments", Mark::Ended("2.4.0")),
            Act::Until("frontend", Mark::Ended("1.1.0")),
        ],
        endings: &[("frontend", "1.1.0", Outcome::Promoted), ("payments", "2.4.0", Outcome::RolledBack)],
    },
    Scenario {
        name: "metrics-outage",
        shows: "Prometheus can't be reached in mid-run: nothing moves until it answers again",
        script: &[
            APPLY_FRONTEND,
            FRONTEND_IS_UP,
            seconds(3),
            good("frontend", "1.1.0"),
            Act::Until("frontend", Mark::Weight(10)),
            Act::Prometheus(Fault::Refuses, "Prometheus can't be reached any more"),
            seconds(15),
            Act::Prometheus(Fault::None, "Prometheus can be reached again"),
            Act::Until("frontend", Mark::Ended("1.1.0")),
        ],
        endings: &[("frontend", "1.1.0", Outcome::Promoted)],
    },
    Scenario {
        name: "controller-killed",
        shows: "the controller is killed in mid-run, and the next one goes on where it was",
        script: &[
            APPLY_FRONTEND,
            FRONTEND_IS_UP,
            seconds(3),
            good("frontend", "1.1.0"),
            Act::Until("frontend", Mark::Weight(10)),
            seconds(2),
            Act::Kill,
            seconds(8),
            Act::Restart,
            Act::Until("frontend", Mark::Ended("1.1.0")),
        ],
        endings: &[("frontend", "1.1.0", Outcome::Promoted)],
    },
    Scenario {
        name: "newer-revision",
        shows: "a newer release comes in mid-run: it is tried from the start, and only it is promoted",
        script: &[
            APPLY_FRONTEND,
            FRONTEND_IS_UP,
            seconds(3),
            good("frontend", "1.1.0"),
            Act::Until("frontend", Mark::Weight(10)),
            seconds(2),
            good("frontend", "1.2.0"),
            Act::Until("frontend", Mark::Ended("1.2.0")),
        ],
        endings: &[("frontend", "1.1.0", Outcome::Superseded), ("frontend", "1.2.0", Outcome::Promoted)],
    },
    Scenario {
        name: "blue-green",
        shows: "without a mesh or a Gateway: checked three times beside the old release, then promoted",
        script: &[
            APPLY_SEARCH,
            SEARCH_IS_UP,
            seconds(3),
            good("search", "3.1.0"),
            Act::Until("search", Mark::Ended("3.1.0")),
        ],
        endings: &[("search", "3.1.0", Outcome::Promoted)],
    },
];

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
