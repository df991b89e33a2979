//! The promises of `ARCHITECTURE.md` as checks on every write, every answer and the end of a world. They know the
//! controller only from outside: by what it asks, writes and tells.

mod answers;
mod leader;
mod pair;
mod people;
mod rest;
mod status;
mod traffic;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::time::Instant;

pub use self::answers::{Answer, Question};
pub use self::rest::{BROKEN_NEIGHBOUR, Rest};
use self::status::Books as StatusBooks;
use crate::api::checked::ObjectKey;
use crate::api::status::CanaryStatus;
use crate::clock;
use crate::rollout::ResourceId;
use crate::rollout::object::{items, text};
use crate::sim::api_server::{ApiServer, WriteRecord};

/// Something that always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// I1: traffic leaves a refused canary before anything else is done about it.
    UsersFirst,
    /// I2: weights sum to 100, and name Services that exist.
    WeightsAddUp,
    /// I2: no side gets traffic that has no ready pod.
    NoTrafficWithoutPods,
    /// I3: what the primary gets was analysed.
    OnlyWhatWasAnalysedIsPromoted,
    /// I4: exposure is committed before it is routed.
    ExposureIsCommittedBeforeItIsRouted,
    /// I4: exposure grows by the next step, after a passing verdict.
    ExposureGrowsOnlyByAPassingVerdict,
    /// I4: at most one step in an interval.
    OneStepPerInterval,
    /// I5: a revision is analysed, or its refusal is recorded.
    NoRevisionIsLost,
    /// I6: a rollback has a reason that could be known.
    NotKnowingIsNotFailing,
    /// I7: the weight of a refused revision never rises again.
    RefusedNeverRisesAgain,
    /// I7: pods are not taken from a canary that has traffic.
    PodsStayWhileThereIsTraffic,
    /// I8: conditions, Events and alerts say what happened, and alerts say it once.
    EveryDecisionExplainsItself,
    /// I8, I11: `Ready` says that the primary serves what was asked for.
    ReadyTellsTheTruth,
    /// I9: nothing is asked or written where nothing is to be done.
    IdleIsFree,
    /// I10: a broken Canary says so, and disturbs nobody.
    OneBrokenCanaryHurtsOnlyItself,
    /// I11: nothing is written that Git owns.
    GitStaysInCharge,
    /// I12: the shipped role is enough.
    LeastPrivilege,
    /// Once faults stop, the run is promoted or rolled back, and stays.
    SettledMeansSettled,
    /// D9: where somebody else has led for long, a process writes nothing.
    OnlyTheLeaderWrites,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::UsersFirst,
        Self::WeightsAddUp,
        Self::NoTrafficWithoutPods,
        Self::OnlyWhatWasAnalysedIsPromoted,
        Self::ExposureIsCommittedBeforeItIsRouted,
        Self::ExposureGrowsOnlyByAPassingVerdict,
        Self::OneStepPerInterval,
        Self::NoRevisionIsLost,
        Self::NotKnowingIsNotFailing,
        Self::RefusedNeverRisesAgain,
        Self::PodsStayWhileThereIsTraffic,
        Self::EveryDecisionExplainsItself,
        Self::ReadyTellsTheTruth,
        Self::IdleIsFree,
        Self::OneBrokenCanaryHurtsOnlyItself,
        Self::GitStaysInCharge,
        Self::LeastPrivilege,
        Self::SettledMeansSettled,
        Self::OnlyTheLeaderWrites,
    ];
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub promise: Promise,
    /// When, from the start of the world.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} at {:.3} s: {}", self.promise, self.at.as_secs_f64(), self.what)
    }
}

/// What the checks can see of the world beside the API server.
pub trait Sight: Send {
    /// Whether a workload had a ready pod at some time in this long before now.
    fn had_ready_pod_within(&self, workload: &str, time: Duration) -> bool;

    /// Whether a workload was without a ready pod at some time in this long before now.
    fn lacked_ready_pod_within(&self, workload: &str, time: Duration) -> bool;

    /// How far behind the controller's view of the world may be now: what lags, and what is on its way.
    fn view_lag(&self) -> Duration;
}

/// A moment, by both clocks: the wall clock may jump.
#[derive(Clone, Copy)]
struct Moment {
    instant: Instant,
    wall: DateTime<Utc>,
}

impl Moment {
    fn current() -> Self {
        Self { instant: Instant::now(), wall: clock::now() }
    }

    /// How long ago it was by the clock that says more.
    fn age(self) -> TimeDelta {
        let by_timers = TimeDelta::from_std(self.instant.elapsed()).unwrap_or(TimeDelta::MAX);
        by_timers.max(clock::now() - self.wall)
    }
}

/// The names of the pair whose promises are checked. All are in one namespace.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The Canary.
    pub canary: ObjectKey,
    /// Name of the ConfigMap that the pods read, where there is one.
    pub config: String,
}

impl Pair {
    /// A Canary whose target has its name.
    pub fn new(canary: ObjectKey, config: &str) -> Self {
        Self { canary, config: config.to_owned() }
    }

    fn id(&self, api_version: &str, kind: &str, name: &str) -> ResourceId {
        ResourceId::new(api_version, kind, ObjectKey::new(&self.canary.namespace, name))
    }

    fn primary(&self) -> String {
        format!("{}-primary", self.canary.name)
    }
}

/// The books: what was seen so far, and what was broken.
pub struct Promises {
    server: ApiServer,
    sight: Box<dyn Sight>,
    pair: Pair,
    start: Instant,
    broken: Vec<Broken>,
    status: StatusBooks,
    answers: answers::Books,
    people: people::Books,
    leader: leader::Books,
    /// Images and configurations by the revision that they make.
    revisions: BTreeMap<String, pair::Content>,
    /// Revisions that may become the primary.
    analysed: BTreeSet<String>,
    requests: u64,
    is_scaled_by_hand: bool,
    /// When somebody else last changed the route.
    last_edit_of_route: Option<Instant>,
    /// When people last wrote the autoscaler.
    last_edit_of_autoscaler: Option<Instant>,
    /// Whether somebody else changed a Service, and it was not repaired since.
    has_drifted: bool,
    /// The last write that was refused, and to which process: only Services are refused.
    refused_repair: Option<(String, String)>,
    /// When Services went, by their names.
    services_gone: BTreeMap<String, Instant>,
    /// The Canary whose status was read last, and the status: the same one is asked for again and again.
    last_read: RefCell<Option<(Arc<Value>, CanaryStatus)>>,
    /// The same of the target, its ConfigMap, and what they ask for.
    last_asked: RefCell<Option<pair::Asked>>,
}

impl Promises {
    /// Empty books about a pair on this server.
    pub fn new(server: ApiServer, sight: Box<dyn Sight>, pair: Pair) -> Self {
        Self {
            server,
            sight,
            pair,
            start: Instant::now(),
            broken: Vec::new(),
            status: StatusBooks::default(),
            answers: answers::Books::default(),
            people: people::Books::default(),
            leader: leader::Books::default(),
            revisions: BTreeMap::new(),
            analysed: BTreeSet::new(),
            requests: 0,
            is_scaled_by_hand: false,
            last_edit_of_route: None,
            last_edit_of_autoscaler: None,
            has_drifted: false,
            refused_repair: None,
            services_gone: BTreeMap::new(),
            last_read: RefCell::default(),
            last_asked: RefCell::default(),
        }
    }

    /// Takes what is there already as if people had just applied it.
    pub fn learn_what_is_there(&mut self) {
        let (canary, config) = (self.pair.canary.name.clone(), self.pair.config.clone());
        let objects = [
            ("v1", "ConfigMap", &config),
            ("apps/v1", "Deployment", &canary),
            ("flagger.app/v1beta1", "Canary", &canary),
        ];
        for (api_version, kind, name) in objects {
            let id = self.pair.id(api_version, kind, name);
            if let Some(object) = self.server.peek(&id) {
                self.wrote(&WriteRecord::added(id, object));
            }
        }
    }

    /// The wall clock jumped. What passed before it went back has passed.
    pub fn clock_jumped(&mut self, by: TimeDelta) {
        if by < TimeDelta::zero() {
            let (status, answers) = (&mut self.status, &mut self.answers);
            let moments = [&mut status.last_step, &mut status.began, &mut answers.known, &mut answers.recorded];
            moments.into_iter().flatten().for_each(|moment| moment.wall += by);
        }
    }

    /// Somebody scaled the target by hand.
    pub fn scaled_by_hand(&mut self) {
        self.is_scaled_by_hand = true;
    }

    /// What was broken so far.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// Looks at a committed write.
    pub fn wrote(&mut self, record: &WriteRecord) {
        let by_serin = record.user.starts_with(SERIN);
        if record.id.kind == "Lease" {
            self.lease_written(record);
        } else if by_serin {
            self.leads(&record.user);
        }
        match record.id.kind.as_str() {
            "Canary" if by_serin => self.canary_written(record),
            "HTTPRoute" if by_serin => self.route_written(record),
            "HTTPRoute" if record.subresource.is_none() => self.route_edited(record),
            "Deployment" if by_serin => self.deployment_written(record),
            "ConfigMap" if by_serin => self.config_written(record),
            "Event" if by_serin => self.event_written(record),
            "Canary" => self.canary_edited(record),
            "Service" => self.service_written(record),
            "Deployment" | "ConfigMap" => self.learn_revision(record),
            "HorizontalPodAutoscaler" | "MetricTemplate" | "AlertProvider" if by_serin => self.foreign_written(record),
            "HorizontalPodAutoscaler" => self.autoscaler_edited(record),
            _ => {}
        }
    }

    /// Counts a request of the controller that is no look at the Lease and no watch, or a question to Prometheus.
    pub fn requested(&mut self) {
        self.requests += 1;
    }

    /// A request of the controller was answered with 403.
    pub fn forbidden(&mut self, what: &str) {
        self.keep(Promise::LeastPrivilege, false, || format!("{what} is not allowed"));
    }

    /// A request of a process was answered with 422.
    pub fn refused(&mut self, process: &str, what: &str) {
        self.refused_repair = Some((what.to_owned(), process.to_owned()));
    }

    fn keep(&mut self, promise: Promise, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            let at = self.start.elapsed();
            self.broken.push(Broken { promise, at, what: what() });
        }
    }

    /// The object as it is now.
    fn now(&self, api_version: &str, kind: &str, name: &str) -> Option<Arc<Value>> {
        self.server.peek(&self.pair.id(api_version, kind, name))
    }

    /// Whether an object was made for a Canary that is gone: the garbage collector takes it. One without an owner is none.
    fn is_orphan(&self, object: &Value) -> bool {
        let canary = self.now("flagger.app/v1beta1", "Canary", &self.pair.canary.name);
        let uid = canary.as_ref().map(|canary| &canary["metadata"]["uid"]);
        let owners = items(object, "/metadata/ownerReferences");
        !owners.is_empty() && owners.iter().all(|owner| Some(&owner["uid"]) != uid)
    }

    /// The canary weight that the route says now; `None` without a route.
    fn routed_weight(&self) -> Option<i64> {
        let route = self.now(traffic::API_VERSION, "HTTPRoute", &self.pair.canary.name)?;
        Some(traffic::canary_weight(&route, &self.pair.canary.name))
    }

    /// Whether somebody edited the route after a pass may have looked at it, so that the pass could not know.
    fn route_was_just_edited(&self) -> bool {
        self.last_edit_of_route.is_some_and(|edited| edited.elapsed() <= self.view_age())
    }

    /// Whether a pass that looked not too long ago may have seen a ready pod.
    fn had_pod(&self, workload: &str) -> bool {
        self.sight.had_ready_pod_within(workload, self.view_age())
    }

    /// Whether a pass that looked not too long ago may have seen none.
    fn lacked_pod(&self, workload: &str) -> bool {
        self.sight.lacked_ready_pod_within(workload, self.view_age())
    }

    /// How old the view of a pass may be: what lags, and a moment for the pass itself.
    fn view_age(&self) -> Duration {
        self.sight.view_lag() + Duration::from_secs(1)
    }

    /// A write to something that only others write.
    fn foreign_written(&mut self, record: &WriteRecord) {
        let name = &record.id.key.name;
        let ours = name.ends_with("-primary");
        self.keep(Promise::GitStaysInCharge, ours, || format!("{} {} {name}", record.verb, record.id.kind));
    }
}

/// How the names of the controller's processes begin.
pub const SERIN: &str = "serin";

fn name_of(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}
