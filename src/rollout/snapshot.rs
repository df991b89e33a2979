//! What one pass knows.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::time::after;
use crate::analysis::Measurement;
use crate::api::checked::{Provider, ValidatedCanary};
use crate::api::status::CanaryStatus;

/// Everything that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// What the user asks for.
    pub canary: &'a ValidatedCanary,
    /// The last committed status.
    pub status: &'a CanaryStatus,
    /// What is there now.
    pub seen: &'a Seen,
    /// Answers to what [`needs`](super::needs) asked for, in the order of the checks; empty when it asked for nothing.
    pub measurements: &'a [Measurement],
    /// The time of this pass.
    pub now: DateTime<Utc>,
    /// For how long this process has looked after Canaries: before that nobody may have.
    pub on_watch: TimeDelta,
}

/// What is there now. It may lag behind what others did, but never behind Serin's own writes: a routing object or a
/// primary from before a write of ours would let a decision be taken twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The target Deployment, or why it can't be used, in words for the user.
    pub target: Option<Result<Target, String>>,
    /// Readiness of the primary Deployment; `None` if it does not exist.
    pub primary: Option<Readiness>,
    /// Revision that the primary was written for (annotation `serin.dev/revision` on it).
    pub primary_revision: Option<String>,
    /// Where traffic goes.
    pub traffic: Traffic,
    /// A part that must exist beside the target and doesn't, or can't be used: in words for the user. Holds everything.
    pub obstacle: Option<String>,
}

/// The target Deployment as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its revision.
    pub revision: Revision,
    /// `spec.replicas`.
    pub replicas: i32,
    /// Nobody changed them since Serin set them.
    pub scaled_by_us: bool,
    /// Whether its pods are ready.
    pub readiness: Readiness,
    /// Whether the primary's pod template is what this target's would become: used once, to adopt what another
    /// controller left.
    pub matches_primary: bool,
}

/// Identity of what a target would run: its pod template and the content of what the template refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Hash of the two below.
    pub id: String,
    /// Hash of the pod template.
    pub template_hash: String,
    /// Flagger's checksums by `configmap/NAME` and `secret/NAME`.
    pub configs: BTreeMap<String, String>,
}

/// Readiness of one Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Rolled out at its newest generation, no old replicas left, and at least the threshold of pods available.
    pub ready: bool,
    /// No pod of it is left but those that are on their way out, and its controller has seen that none is wanted.
    pub at_rest: bool,
    /// Pods that can take traffic now.
    pub available_pods: i32,
    /// The Deployment reports `ProgressDeadlineExceeded`.
    pub deadline_exceeded: bool,
    /// What is missing, in words for the user; empty when ready.
    pub message: String,
}

/// Where traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Share of the canary in per cent as the routing object says; `None` where there is no such object (yet).
    pub canary_weight: Option<i32>,
    /// The data plane confirmed the routing object as it is now. Always true without a routing object to confirm.
    pub applied: bool,
    /// What the data plane objects to, or what is waited for; empty when applied.
    pub message: String,
    /// The run from which a rollback took the traffic, as the routing object itself remembers it: the last
    /// [`Intent::withdrawn`](super::Intent::withdrawn) that was written, letter by letter.
    pub withdrawn: Option<String>,
}

impl Snapshot<'_> {
    /// When a canary or a data plane had long enough, from this time on, to do what is asked of it. While nobody was on
    /// watch it may not have been asked: a process that dies after it committed a step has not routed it yet.
    pub(super) fn due(&self, since: DateTime<Utc>, limit: TimeDelta) -> DateTime<Utc> {
        let on_watch_since = self.now.checked_sub_signed(self.on_watch).unwrap_or(DateTime::<Utc>::MIN_UTC);
        after(since.max(on_watch_since), limit)
    }

    /// Whether a wait that began at this time, if any, is over by [`Self::due`].
    pub(super) fn is_due(&self, since: Option<DateTime<Utc>>, limit: TimeDelta) -> bool {
        since.is_some_and(|since| self.now >= self.due(since, limit))
    }

    /// Whether the canary has just this share of the traffic (per cent), and the data plane confirmed it.
    pub(super) fn carries(&self, canary_weight: i32) -> bool {
        let traffic = &self.seen.traffic;
        let in_place = match self.canary.provider {
            Provider::GatewayApi => traffic.canary_weight == Some(canary_weight),
            Provider::Kubernetes => true,
        };
        in_place && traffic.applied
    }
}

impl Readiness {
    /// Whether all is rolled out and there is a pod to take traffic: with a threshold of zero, none may be ready.
    pub(super) fn serves(&self) -> bool {
        self.ready && self.available_pods > 0
    }
}
