//! What a world is and what happens in it: pure data, made from a seed, so that it can be printed, replayed and made
//! smaller.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::checked::{OnError, OnNoData};

/// A world and everything that will happen in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What it was made from; it also seeds what the world itself leaves to chance.
    pub seed: u64,
    /// What is there when it begins.
    pub begins: Begins,
    /// The Canary and what is around it.
    pub shape: Shape,
    /// What happens, by time.
    pub happenings: Vec<Happening>,
    /// Once it is at rest, a last good release is shipped, which must get through.
    pub ends_with_release: bool,
}

/// What is there when a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begins {
    /// Nothing: the manifests are applied when the controller starts.
    Empty,
    /// A Canary that was initialized an hour ago, by a process that is gone.
    Initialized,
}

/// The Canary and what is around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent trait of a world, and named where it is made")]
pub struct Shape {
    /// How exposure grows.
    pub strategy: Strategy,
    /// `analysis.interval`, in seconds.
    pub interval_seconds: u32,
    /// `analysis.threshold`.
    pub threshold: u32,
    /// `progressDeadlineSeconds`.
    pub deadline_seconds: u32,
    /// `holdTimeout`, in seconds.
    pub hold_timeout_seconds: u32,
    /// What the checks say of empty answers and of errors, and whether a template is among them.
    pub checks: Checks,
    /// The pods read a ConfigMap.
    pub has_config: bool,
    /// The target has an autoscaler.
    pub has_autoscaler: bool,
    /// `revertOnDeletion`.
    pub reverts_on_deletion: bool,
    /// `skipAnalysis`.
    pub skips_analysis: bool,
    /// Everything in Git is applied over and over.
    pub has_gitops: bool,
    /// Two processes compete for the Lease; else one runs without election.
    pub elects_leader: bool,
    /// A Canary that can't be used is in the same namespace.
    pub has_broken_neighbour: bool,
    /// Pods become ready so long after their start.
    pub pods_ready_after: Duration,
    /// The data plane accepts a route after so long.
    pub route_accepted_after: Duration,
}

/// How exposure grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Gateway API: `stepWeights`, and `stepWeightPromotion` (0 is none).
    Weights(Vec<u32>, u32),
    /// Gateway API, without a change of traffic: `iterations`.
    RoutedIterations(u32),
    /// Without a mesh: `iterations`.
    Iterations(u32),
}

/// What the checks say of empty answers and of errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// `onNoData` of all of them.
    pub on_no_data: OnNoData,
    /// `onError` of all of them.
    pub on_error: OnError,
    /// A `MetricTemplate` is among them.
    pub has_template: bool,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happening {
    /// When, from the moment the world is set up.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// How a build behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Quality {
    /// Well.
    Good,
    /// Every fifth request fails.
    Failing,
    /// Answers take too long.
    Slow,
    /// Its pods never become ready.
    NeverReady,
    /// Its pods crash again and again.
    Crashing,
}

/// One side of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// The target's pods.
    Canary,
    /// The primary's pods.
    Primary,
}

/// How a backend over HTTP fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outage {
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Hangs,
    /// Answers take this many seconds.
    Slow(u32),
    /// Answers with this HTTP status.
    Status(u16),
    /// A page instead of JSON.
    Page,
    /// Prometheus: an empty result.
    Empty,
    /// Prometheus: a result that is not a number.
    NotANumber,
    /// Prometheus: two series instead of one.
    TwoSeries,
    /// Prometheus: a result with the warning that a part is missing.
    Partial,
    /// Prometheus: nothing is scraped any more.
    Unscraped,
}

/// Where a process dies, relative to one of its writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    /// The write is not sent any more.
    Before,
    /// The write is done, and nobody hears the answer.
    Unanswered,
    /// The write is done and answered, and nothing follows.
    After,
}

/// A change of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// `analysis.interval`, in seconds.
    Interval(u32),
    /// `analysis.threshold`.
    Threshold(u32),
    /// `analysis.stepWeights`; ignored by shapes without weights.
    Weights(Vec<u32>),
    /// `skipAnalysis`.
    SkipAnalysis(bool),
    /// `suspend`.
    Suspend(bool),
    /// `service.port: 0`, which can't be used, or the right one again.
    Unusable(bool),
}

/// What may happen. What lasts is over after the given time at the latest when the faults stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Somebody applies an image to the target.
    Release(u32, Quality),
    /// Somebody applies a configuration; ignored by shapes without one.
    Configure(u32),
    /// Somebody edits the spec.
    Edit(Edit),
    /// Somebody deletes the Canary, and applies it again after this time.
    DeleteCanary(Duration),
    /// Somebody deletes the target, and applies it again after this time.
    DeleteTarget(Duration),
    /// Somebody gives the route this canary weight by hand.
    EditRoute(u32),
    /// Somebody deletes the route.
    DeleteRoute,
    /// Somebody deletes the primary.
    DeletePrimary,
    /// Somebody changes the canary's Service.
    EditService,
    /// Somebody scales the target by hand.
    ScaleTarget(u32),
    /// The pods of a side crash, and come back after this time; `None` is not before the faults stop.
    CrashPods(Side, Option<Duration>),
    /// Prometheus fails.
    Prometheus(Outage, Duration),
    /// The receivers of alerts fail.
    Receivers(Outage, Duration),
    /// The data plane takes no route.
    GatewayStops(Duration),
    /// The controllers of Kubernetes do nothing.
    ControllerManagerStops(Duration),
    /// The API server answers this HTTP status to one in so many requests.
    ApiAnswers(u16, u32, Duration),
    /// The API server refuses what is written to Services.
    ServicesRefused(Duration),
    /// One in so many requests breaks before it is sent.
    ApiBreaks(u32, Duration),
    /// One in so many requests is done, and breaks before the answer.
    ApiLosesAnswers(u32, Duration),
    /// Answers of the API server take this long.
    ApiSlow(Duration, Duration),
    /// The events of watches come this much later.
    WatchesLag(Duration, Duration),
    /// The events of watches are lost; afterwards the watches begin anew.
    WatchesLose(Duration),
    /// The events of watches come twice.
    WatchesRepeat(Duration),
    /// The history of the API server is gone: every watch begins anew.
    Compaction,
    /// The leading process dies now.
    Kill,
    /// The process that sends the n-th write from here on dies.
    CrashAtWrite(u32, Crash),
    /// The n-th write from here on takes this long on its way, longer than anybody waits for the answer.
    LateWrite(u32, Duration),
    /// The leading process is frozen: what it sends arrives when it thaws.
    Freeze(Duration),
    /// Somebody else holds the Lease for this long; ignored where there is none.
    StealLease(Duration),
    /// The wall clock jumps by so many seconds.
    ClockJumps(i64),
}

impl Plan {
    /// A world without chance, from the first manifest to a last good release.
    pub fn story(shape: Shape, happenings: Vec<Happening>) -> Self {
        Self { seed: 0, begins: Begins::Empty, shape, happenings, ends_with_release: true }
    }

    /// A world that was kept.
    ///
    /// # Errors
    /// The text is none that [`Self::to_yaml`] made.
    pub fn from_yaml(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }

    /// The world as it is kept.
    ///
    /// # Errors
    /// None that a plan has a reason for.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }

    /// The same world without some of its happenings, by their place.
    #[must_use]
    pub fn without(&self, needless: &[usize]) -> Self {
        let kept = self.happenings.iter().enumerate().filter(|(index, _)| !needless.contains(index));
        Self { happenings: kept.map(|(_, happening)| happening.clone()).collect(), ..self.clone() }
    }

    /// When the last fault stops.
    pub fn faults_stop(&self) -> Duration {
        self.happenings.iter().map(Happening::ends).max().unwrap_or_default()
    }
}

impl Happening {
    /// When it is over.
    pub fn ends(&self) -> Duration {
        self.at + self.what.lasts()
    }
}

impl What {
    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        match self {
            Self::DeleteCanary(time)
            | Self::DeleteTarget(time)
            | Self::Prometheus(_, time)
            | Self::Receivers(_, time)
            | Self::GatewayStops(time)
            | Self::ControllerManagerStops(time)
            | Self::ApiAnswers(_, _, time)
            | Self::ServicesRefused(time)
            | Self::ApiBreaks(_, time)
            | Self::ApiLosesAnswers(_, time)
            | Self::ApiSlow(_, time)
            | Self::WatchesLag(_, time)
            | Self::WatchesLose(time)
            | Self::WatchesRepeat(time)
            | Self::Freeze(time)
            | Self::StealLease(time) => *time,
            Self::CrashPods(_, back) => back.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}
