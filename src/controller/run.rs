//! The loop: what wakes a Canary, how many passes run at a time, and how it ends.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::utils::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::options::Options;
use super::pass::{self, PassError, Passed, pass};
use super::validated::ValidatedCanaries;
use super::{context::Context, failures::Failures, index::Index};
use crate::alerts::Alerts;
use crate::api::checked::ObjectKey;
use crate::api::validate::Defaults;
use crate::clock;
use crate::cluster::cache::{Cache, Touched, missing_kinds};
use crate::cluster::events::Recorder;
use crate::cluster::kinds::Kind;
use crate::cluster::lease::{LeaderGuard, Leadership};
#[cfg(test)]
use crate::cluster::mistakes::{self, Mistake};
use crate::cluster::object::Object;
use crate::cluster::{self, Cluster};
use crate::metrics::{Metrics, Profile};
use crate::outbound::Transport;
use crate::server::telemetry::{PassResult, Telemetry};
use crate::workload::Settings;

/// How long a pass waits for company: the events of one change come together, and one pass answers them all.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// How soon a pass that somebody else was faster than starts over.
const RACE_DELAY: Duration = Duration::from_millis(100);

/// How long Events and alerts that are on their way may take when the process is told to stop.
const MESSAGES_END: Duration = Duration::from_secs(5);

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Nobody publishes leadership any more.
    #[error("the task that holds the leader election lease is gone")]
    LeadershipGone,
    /// The watches ended.
    #[error("the watches ended; the process starts over")]
    WatchesEnded,
}

/// What the loop is made of.
pub struct Parts {
    /// What the command line says.
    pub options: Options,
    /// Where it counts and reports.
    pub telemetry: Arc<Telemetry>,
    /// Says whether this process may write.
    pub leadership: watch::Receiver<Leadership>,
    /// Client of the API server.
    pub client: Client,
    /// The way to metrics backends and receivers of alerts.
    pub transport: Arc<dyn Transport>,
}

/// Runs until `shutdown`; returns when the last pass has ended. A standby waits here and watches nothing.
///
/// # Errors
/// The loop ended before it was told to; the process should end, and start anew.
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), ControllerError> {
    let Parts { options, telemetry, mut leadership, client, transport } = parts;
    #[cfg(test)]
    mistakes::process_starts();
    // A standby has nothing to list, so nothing to wait for.
    telemetry.report_caches(&[]);
    let guard = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        leading = leading(&mut leadership) => leading?,
    };
    telemetry.report_caches(&["every kind"]);
    let missing = missing_kinds(&client).await;
    let (cache, streams) = Cache::start(&client, options.namespace.as_deref(), &missing);
    let cluster = Cluster::new(cluster::Parts {
        client: client.clone(),
        cache,
        settings: Settings {
            selector_labels: options.selector_labels.clone(),
            include_label_prefixes: options.include_label_prefixes.clone(),
        },
        track_configs: options.config_tracking,
        missing_kinds: missing,
        guard,
    });
    let context = Arc::new(context(options, telemetry, cluster, client, &transport));
    let stop = shutdown.clone();
    let watching = watch_all(&context, streams, stop);
    watching.await;
    context.messages.close();
    if tokio::time::timeout(MESSAGES_END, context.messages.wait()).await.is_err() {
        warn!("Events and alerts that nobody took in time are given up");
    }
    if shutdown.is_cancelled() { Ok(()) } else { Err(ControllerError::WatchesEnded) }
}

async fn leading(leadership: &mut watch::Receiver<Leadership>) -> Result<LeaderGuard, ControllerError> {
    #[cfg(test)]
    if mistakes::is_made(Mistake::IgnoreTheLease)
        && let Leadership::Leading(guard) = Leadership::uncontested()
    {
        return Ok(guard);
    }
    let gone = |_| ControllerError::LeadershipGone;
    let now = leadership.wait_for(Leadership::is_leader_now).await.map_err(gone)?;
    match &*now {
        Leadership::Leading(guard) => Ok(guard.clone()),
        _ => Err(ControllerError::LeadershipGone),
    }
}

fn context(
    options: Options,
    telemetry: Arc<Telemetry>,
    cluster: Cluster,
    client: Client,
    transport: &Arc<dyn Transport>,
) -> Context {
    let metrics_profile = options.metrics_profile.as_deref().and_then(|name| Profile::parse(name).ok());
    let defaults = Defaults {
        provider: options.provider,
        gateways: options.gateways.clone(),
        no_cross_namespace_refs: options.no_cross_namespace_refs,
    };
    Context {
        recorder: Recorder::new(client, "serin"),
        cluster,
        validated: ValidatedCanaries::default(),
        defaults,
        telemetry,
        options,
        index: Index::default(),
        failures: Failures::default(),
        metrics: Metrics::new(transport),
        metrics_profile,
        sinks: Alerts::new(Arc::clone(transport)),
        messages: TaskTracker::new(),
        start: Instant::now(),
    }
}

/// Each watch pauses by itself after an error. kube's `Controller` would pause all of them, once for each error and longer
/// each time: after a restart of the API server, which ends every watch at once, for minutes.
struct NoPause;

impl Iterator for NoPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoPause {
    fn reset(&mut self) {}
}

async fn watch_all(context: &Arc<Context>, mut streams: BTreeMap<Kind, Touched>, stop: CancellationToken) {
    let (Some(canaries), Some(store)) = (streams.remove(&Kind::Canary), context.cluster.cache().store(Kind::Canary))
    else {
        return;
    };
    let parallel = u16::try_from(context.options.parallel_passes).unwrap_or(u16::MAX);
    let configuration = controller::Config::default().concurrency(parallel).debounce(DEBOUNCE);
    let mut controller =
        Controller::for_stream_with(canaries, store, Kind::Canary).with_config(configuration).trigger_backoff(NoPause);
    for (kind, stream) in streams {
        let index = Arc::clone(context);
        let canaries_of = move |object: Object| references(&index, kind, &object);
        controller = controller.watches_stream_with(stream, canaries_of, kind);
    }
    let ready = Arc::clone(context);
    let announce = async move {
        ready.cluster.cache().wait_until_ready().await;
        ready.telemetry.report_caches(&[]);
        info!("caches are in sync");
    };
    let passes = controller
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, |_, _, _| Action::await_change(), Arc::clone(context))
        .for_each(|result| {
            finished(context, result);
            futures::future::ready(())
        });
    tokio::join!(passes, announce);
}

fn references(context: &Context, kind: Kind, object: &Object) -> Vec<ObjectRef<Object>> {
    let canaries = context.index.canaries(kind, &object.key());
    canaries.into_iter().map(|key| ObjectRef::new_with(&key.name, Kind::Canary).within(&key.namespace)).collect()
}

type Finished<E> = Result<(ObjectRef<Object>, Action), controller::Error<E, kube::runtime::watcher::Error>>;

fn finished<E: std::error::Error>(context: &Context, result: Finished<E>) {
    match result {
        Ok(_) => {}
        Err(controller::Error::ObjectNotFound(reference)) => {
            let namespace = reference.namespace.clone().unwrap_or_default();
            context.forget(&ObjectKey::new(namespace, &reference.name));
        }
        Err(other) => warn!(error = %other, "a watch failed and is tried again"),
    }
}

async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, std::convert::Infallible> {
    let key = object.key();
    // Every cache must be filled before the first decision: what is not listed yet would look absent.
    context.cluster.cache().wait_until_ready().await;
    let started = tokio::time::Instant::now();
    let result = AssertUnwindSafe(pass(&context, &key)).catch_unwind().await;
    let result = result.unwrap_or_else(|panic| Err(PassError::Panic { message: panic_message(panic.as_ref()) }));
    context.telemetry.count_pass(&key, started.elapsed(), ended(&result));
    Ok(match result {
        // What was told about failures is taken back by a pass of its own.
        Ok(passed) if !passed.impeded && context.failures.clear(&key) => Action::requeue(Duration::ZERO),
        Ok(passed) => passed.next.map_or_else(Action::await_change, |next| {
            Action::requeue((next - clock::now()).to_std().unwrap_or_default())
        }),
        Err(race) if race.is_race() => {
            debug!(canary = %key, reason = %race, "the pass starts over");
            context.cluster.doubt(&key);
            Action::requeue(RACE_DELAY)
        }
        Err(failure) => {
            context.cluster.doubt(&key);
            let delay = pass::failed(&context, &key, &failure).await;
            error!(canary = %key, error = %failure, retry_seconds = delay.as_secs(), "the pass failed");
            Action::requeue(delay)
        }
    })
}

fn ended(result: &Result<Passed, PassError>) -> PassResult {
    match result {
        Ok(passed) if passed.impeded => PassResult::Failed,
        Ok(_) => PassResult::Done,
        Err(PassError::Panic { .. }) => PassResult::Panicked,
        Err(race) if race.is_race() => PassResult::Conflict,
        Err(_) => PassResult::Failed,
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without words".to_owned())
}
