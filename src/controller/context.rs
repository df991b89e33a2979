//! What every pass needs at hand.

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::failures::Failures;
use super::index::Index;
use super::options::Options;
use super::validated::ValidatedCanaries;
use crate::alerts::Alerts;
use crate::api::checked::ObjectKey;
use crate::api::validate::Defaults;
use crate::cluster::Cluster;
use crate::cluster::events::Recorder;
use crate::metrics::{Metrics, Profile};
use crate::server::telemetry::Telemetry;

/// What every pass needs at hand.
pub struct Context {
    pub(super) cluster: Cluster,
    pub(super) validated: ValidatedCanaries,
    pub(super) recorder: Recorder,
    pub(super) metrics: Metrics,
    pub(super) metrics_profile: Option<Profile>,
    pub(super) sinks: Alerts,
    /// Events and alerts that are on their way.
    pub(super) messages: TaskTracker,
    pub(super) telemetry: std::sync::Arc<Telemetry>,
    pub(super) index: Index,
    pub(super) failures: Failures,
    pub(super) defaults: Defaults,
    pub(super) options: Options,
    /// When this process began to look after Canaries.
    pub(super) start: Instant,
}

impl Context {
    /// For how long this process has looked after Canaries.
    pub(super) fn on_watch(&self) -> TimeDelta {
        TimeDelta::from_std(self.start.elapsed()).unwrap_or(TimeDelta::MAX)
    }

    /// Forgets a Canary that is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.index.remove(key);
        self.failures.forget(key);
        self.cluster.forget(key);
        self.validated.forget(key);
        self.telemetry.forget(key);
    }
}
