//! From the first manifest to the last check: how a world is set up, what happens in it, and how it comes to rest.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Outcome;
use super::beginning::SINCE_INITIALIZED;
use super::git::{self, Git};
use super::manifests::{self, NAME, NAMESPACE};
use super::plan::{Begins, Outage, Plan, Quality, Shape, Side, Strategy, What};
use super::process::{self, Network, Time, Wires};
use super::trace::Trace;
use super::weather::Weather;
use super::wire::Wire;
use crate::api::checked::ObjectKey;
use crate::clock::SimulatedClock;
use crate::sim::api_server::{ApiServer, WriteCheck};
use crate::sim::cluster::{Cluster, Fault, Handle};
use crate::sim::prometheus::{self, Prometheus, Queries, Scraping};
use crate::sim::promises::{Broken, Pair, Promise, Promises, Rest, Sight};
use crate::sim::settings::{GatewayDelays, Settings, Users};
use crate::sim::workloads::Pods;

/// How often everything in Git is applied again.
const GITOPS_INTERVAL: Duration = Duration::from_secs(13);
/// How often the garbage collector looks for what names an owner who is gone.
const GARBAGE_INTERVAL: Duration = Duration::from_secs(3);
/// How often a world is looked at while it comes to rest.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long what is there already when a world begins takes to work.
const WARM_UP: Duration = Duration::from_secs(10);
/// How long a world may take to come to rest once nothing is in its way any more.
const REST_LIMIT: Duration = Duration::from_secs(1800);
/// How long a change of the leader takes at most.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long a world at rest is watched for requests that nobody needs.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often Prometheus scrapes.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(2);
/// What the image is called that is shipped when everything is well again.
const LAST_IMAGE: u32 = 99;

/// Runs a world with this server on a runtime of its own.
pub fn run(plan: &Plan, server: ApiServer, is_traced: bool) -> Outcome {
    on_virtual_time(plan, live(plan, server, is_traced)).unwrap_or_else(Outcome::panicked)
}

/// Runs a world in which nothing happens until the Canary is initialized and the controller is gone.
///
/// # Errors
/// What was broken.
pub fn initialize(plan: &Plan) -> Result<ApiServer, Vec<Broken>> {
    let server = ApiServer::new();
    let outcome = run(plan, server.clone(), false);
    // It was given up long ago when a world begins with it.
    let _ = server.delete(&git::lease());
    if outcome.broken.is_empty() { Ok(server) } else { Err(outcome.broken) }
}

fn on_virtual_time(plan: &Plan, world: impl Future<Output = Outcome>) -> Option<Outcome> {
    // What the libraries leave to chance: the jitter of back-offs.
    fastrand::seed(plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime
        .map(|runtime| runtime.block_on(world))
        .inspect_err(|error| tracing::error!("no world without a runtime: {error}"))
        .ok()
}

async fn live(plan: &Plan, server: ApiServer, is_traced: bool) -> Outcome {
    let since = match plan.begins {
        Begins::Empty => Duration::ZERO,
        Begins::Initialized => SINCE_INITIALIZED,
    };
    let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000) + since;
    let clock = SimulatedClock::start(start);
    let mut tasks = JoinSet::new();
    let world = World::new(plan, server, clock, Time::new(start), is_traced, &mut tasks).await;
    world.start(plan, &mut tasks);
    world.play(plan).await;
    world.mend(plan);
    if world.comes_to_rest().await {
        world.stays_at_rest(plan).await;
        if plan.ends_with_release {
            world.takes_a_good_release().await;
        }
    }
    tasks.abort_all();
    world.outcome()
}

/// Queries that were read before, by any world.
static QUERIES: LazyLock<Queries> = LazyLock::new(Queries::default);

struct World {
    clock: SimulatedClock,
    server: ApiServer,
    cluster: Handle,
    gateway: GatewayDelays,
    network: Network,
    weather: Weather,
    promises: Arc<Mutex<Promises>>,
    trace: Arc<Mutex<Trace>>,
    git: Arc<Mutex<Git>>,
    wires: Wires,
}

/// What the checks can see.
struct Eyes {
    cluster: Handle,
    weather: Weather,
}

impl Sight for Eyes {
    fn had_ready_pod_within(&self, workload: &str, time: Duration) -> bool {
        self.cluster.view().workloads.get(&key(workload)).is_some_and(|workload| workload.had_ready_pod_within(time))
    }

    fn lacked_ready_pod_within(&self, workload: &str, time: Duration) -> bool {
        self.cluster.view().workloads.get(&key(workload)).is_none_or(|workload| workload.lacked_ready_pod_within(time))
    }

    fn view_lag(&self) -> Duration {
        self.weather.view_lag()
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(NAMESPACE, name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    async fn new(
        plan: &Plan,
        server: ApiServer,
        clock: SimulatedClock,
        time: Time,
        is_traced: bool,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let weather = Weather::new(plan.seed);
        let prometheus = Arc::new(Mutex::new(Prometheus::new(&prometheus::Settings {
            scrape_interval: SCRAPE_INTERVAL,
            queries: QUERIES.clone(),
            ..prometheus::Settings::default()
        })));
        let counted = prometheus.clone();
        let settings = settings(&plan.shape);
        let gateway = settings.gateway;
        let cluster = Cluster::new(&server, settings)
            .with_on_load(Box::new(move |_, loads| lock(&counted).traffic.set(time.now(), loads)));
        let handle = cluster.handle();
        tasks.spawn(cluster.run());
        if plan.begins == Begins::Initialized {
            // Pods start, and the data plane takes the route.
            sleep(WARM_UP).await;
        }
        let git = Git::new(server.clone(), plan);
        let eyes = Eyes { cluster: handle.clone(), weather: weather.clone() };
        let pair = Pair::new(manifests::canary_key(), git.config_name());
        let promises = Arc::new(Mutex::new(Promises::new(server.clone(), Box::new(eyes), pair)));
        let trace = Arc::new(Mutex::new(Trace::new(is_traced)));
        let network = Network {
            server: server.clone(),
            weather: weather.clone(),
            promises: promises.clone(),
            prometheus,
            trace: trace.clone(),
            time,
            elects_leader: plan.shape.elects_leader,
        };
        let (git, wires) = (Arc::new(Mutex::new(git)), Wires::default());
        Self { clock, server, cluster: handle, gateway, network, weather, promises, trace, git, wires }
    }

    fn start(&self, plan: &Plan, tasks: &mut JoinSet<()>) {
        let trace = self.trace.clone();
        // The books look at the server, which must not keep them in turn: nothing of a world outlives it.
        let promises = Arc::downgrade(&self.promises);
        let check: WriteCheck = Arc::new(move |record| {
            lock(&trace).wrote(record);
            if let Some(promises) = promises.upgrade() {
                lock(&promises).wrote(record);
            }
        });
        self.server.on_write(check);
        match plan.begins {
            Begins::Empty => lock(&self.git).apply_all(),
            Begins::Initialized => lock(&self.promises).learn_what_is_there(),
        }
        let names: &[&str] = if plan.shape.elects_leader { &["serin-a", "serin-b"] } else { &["serin-a"] };
        for name in names {
            tasks.spawn(process::supervise(self.network.clone(), (*name).to_owned(), self.wires.clone()));
        }
        let server = self.server.clone();
        tasks.spawn(async move {
            loop {
                sleep(GARBAGE_INTERVAL).await;
                server.collect_garbage();
            }
        });
        let git = self.git.clone();
        if plan.shape.has_gitops {
            tasks.spawn(async move {
                loop {
                    sleep(GITOPS_INTERVAL).await;
                    lock(&git).apply_all();
                }
            });
        }
    }

    async fn play(&self, plan: &Plan) {
        let start = Instant::now();
        for happening in &plan.happenings {
            sleep_until(start + happening.at).await;
            lock(&self.trace).note(|| format!("--- {:?}", happening.what));
            self.happens(&happening.what);
        }
        sleep_until(start + plan.faults_stop()).await;
    }
}

fn workload(side: Side) -> String {
    match side {
        Side::Canary => NAME.to_owned(),
        Side::Primary => format!("{NAME}-primary"),
    }
}

/// Does something later, if the world is still there.
fn after(time: Duration, act: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(time).await;
        act();
    });
}

fn settings(shape: &Shape) -> Settings {
    let users = Users { service: key(NAME), host: None, requests_per_second: 500.0 };
    // Without weights nobody would meet the canary: somebody tests it under load.
    let tester = Users { service: key(&format!("{NAME}-canary")), host: None, requests_per_second: 100.0 };
    let users = match shape.strategy {
        Strategy::Weights(..) => vec![users],
        Strategy::RoutedIterations(_) | Strategy::Iterations(_) => vec![users, tester],
    };
    let gateway = GatewayDelays {
        acceptance: Some(shape.route_accepted_after),
        programming: Some(shape.route_accepted_after + Duration::from_millis(20)),
    };
    Settings { readiness_delay: shape.pods_ready_after, gateway, users, ..Settings::default() }
}

/// What happens.
impl World {
    fn happens(&self, what: &What) {
        let now = Instant::now();
        let mut git = lock(&self.git);
        match what {
            What::Release(image, quality) => git.release(*image, *quality),
            What::Configure(number) => git.configure(*number),
            What::Edit(edit) => git.edit(edit),
            What::DeleteCanary(away) => git.delete_canary(now + *away),
            What::DeleteTarget(away) => {
                // It comes back with the replicas of Git.
                lock(&self.promises).scaled_by_hand();
                git.delete_target(now + *away);
            }
            What::EditRoute(weight) => git.edit_route(*weight),
            What::DeleteRoute => git.delete_generated("gateway.networking.k8s.io/v1", "HTTPRoute", NAME),
            What::DeletePrimary => git.delete_generated("apps/v1", "Deployment", &workload(Side::Primary)),
            What::EditService => git.edit_service(),
            What::ScaleTarget(replicas) => {
                lock(&self.promises).scaled_by_hand();
                git.scale(*replicas);
            }
            What::CrashPods(side, back) => self.crash_pods(*side, *back),
            What::GatewayStops(time) => {
                self.cluster.inject(Fault::GatewayDelays(GatewayDelays { acceptance: None, programming: None }));
                let (cluster, gateway) = (self.cluster.clone(), self.gateway);
                after(*time, move || cluster.inject(Fault::GatewayDelays(gateway)));
            }
            What::ControllerManagerStops(time) => self.cluster.inject(Fault::PauseControllers(*time)),
            What::Prometheus(Outage::Unscraped, time) => {
                let network = self.network.clone();
                lock(&network.prometheus).set_scraping(network.time.now(), Scraping::Fails);
                after(*time, move || lock(&network.prometheus).set_scraping(network.time.now(), Scraping::Works));
            }
            What::Compaction => {
                self.server.compact();
                self.server.end_watches();
            }
            What::Kill => self.leading_wire().iter().for_each(|wire| wire.cut()),
            What::Freeze(time) => self.leading_wire().iter().for_each(|wire| wire.freeze(*time)),
            What::StealLease(time) => git.steal_lease(*time),
            What::ClockJumps(seconds) => {
                let by = TimeDelta::seconds(*seconds);
                self.clock.jump(by);
                lock(&self.promises).clock_jumped(by);
            }
            _ => {}
        }
        drop(git);
        self.weather.begins(what);
        if let What::WatchesLose(time) = what {
            let server = self.server.clone();
            // What was lost is found by a new list.
            after(*time, move || server.end_watches());
        }
    }

    fn crash_pods(&self, side: Side, back_after: Option<Duration>) {
        self.cluster.inject(Fault::Crash { workload: key(&workload(side)), pods: Pods::All, back_after });
    }

    fn leading_wire(&self) -> Option<Arc<Wire>> {
        lock(&self.wires).first().cloned()
    }

    /// Faults stop, and people mend what only they can mend.
    fn mend(&self, plan: &Plan) {
        lock(&self.trace).note(|| "--- everything is mended".to_owned());
        self.weather.clears_up();
        self.cluster.inject(Fault::GatewayDelays(self.gateway));
        if plan.happenings.iter().any(|happening| matches!(happening.what, What::CrashPods(_, None))) {
            // Those that were to stay away come back.
            self.crash_pods(Side::Canary, Some(Duration::from_secs(1)));
            self.crash_pods(Side::Primary, Some(Duration::from_secs(1)));
        }
        lock(&self.git).mend();
    }
}

/// How it ends.
impl World {
    /// Waits until nothing is left to do; false if that takes too long.
    async fn comes_to_rest(&self) -> bool {
        let limit = Instant::now() + REST_LIMIT;
        let mut quiet = 0;
        while quiet < 3 {
            if Instant::now() > limit {
                let missing = lock(&self.promises).is_settled().err().unwrap_or_default();
                lock(&self.promises).broke(Promise::SettledMeansSettled, missing);
                return false;
            }
            sleep(LOOK_INTERVAL).await;
            lock(&self.git).keep();
            let is_quiet = lock(&self.promises).is_settled().is_ok() && !self.weather.is_anything_on_its_way();
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
        true
    }

    async fn stays_at_rest(&self, plan: &Plan) {
        let rest = Rest {
            everybody_could_be_told: !self.weather.has_failed(),
            has_broken_neighbour: plan.shape.has_broken_neighbour,
        };
        lock(&self.promises).at_rest(rest);
        if plan.shape.elects_leader {
            // A lease that was lost in the last fault may change hands yet.
            sleep(HAND_OVER).await;
        }
        let requests = lock(&self.promises).requests();
        sleep(IDLE_TIME).await;
        lock(&self.promises).was_idle(requests);
    }

    /// Whatever happened before, a good release gets through.
    async fn takes_a_good_release(&self) {
        lock(&self.trace).note(|| "--- a last good release".to_owned());
        lock(&self.git).release(LAST_IMAGE, Quality::Good);
        if self.comes_to_rest().await {
            lock(&self.promises).has_promoted();
        }
    }

    fn outcome(self) -> Outcome {
        let broken = lock(&self.promises).broken().to_vec();
        let trace = std::mem::replace(&mut *lock(&self.trace), Trace::new(false));
        let (trace, writes) = trace.into_parts();
        Outcome { broken, writes, controller_writes: self.weather.writes(), deaths: self.weather.deaths(), trace }
    }
}
