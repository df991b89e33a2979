//! Checks on what is written to the route.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Promise, Promises, name_of};
use crate::api::status::Phase;
use crate::rollout::object::{integer, items, text};
use crate::sim::api_server::WriteRecord;

/// How long anybody waits for an answer of the API server.
const PATIENCE: Duration = Duration::from_secs(10);

/// API version of the route.
pub(super) const API_VERSION: &str = "gateway.networking.k8s.io/v1";

/// The weight of the canary's Service, summed over all rules.
pub(super) fn canary_weight(route: &Value, canary: &str) -> i64 {
    let backends = items(route, "/spec/rules").iter().flat_map(|rule| items(rule, "/backendRefs"));
    let is_canary = |backend: &&Value| {
        text(backend, "/name").is_some_and(|name| name.strip_suffix("-canary").is_some_and(|apex| apex == canary))
    };
    backends.filter(is_canary).map(|backend| integer(backend, "/weight").unwrap_or(1)).sum()
}

impl Promises {
    pub(super) fn route_written(&mut self, record: &WriteRecord) {
        let Some(route) = &record.after else {
            self.keep(Promise::GitStaysInCharge, false, || "the route was deleted".to_owned());
            return;
        };
        if name_of(route) != self.pair.canary.name {
            return;
        }
        self.adds_up(route);
        if record.before.is_none() && self.is_orphan(route) {
            // Made from a view that still shows the Canary before this one, with which it goes.
            return;
        }
        let before = record.before.as_ref().map(|route| canary_weight(route, &self.pair.canary.name));
        let after = canary_weight(route, &self.pair.canary.name);
        if after > before.unwrap_or(0) {
            self.route_rises(before, after);
        } else if before.is_some_and(|before| after < before) {
            self.status.routed = Some(after);
            self.route_falls(after);
        }
    }

    /// A run that failed its checks, and from which the traffic is taken, is refused from here on: the record follows.
    /// (Traffic also leaves a canary that lost its pods, and one whose target was changed. And whoever sent what was long on
    /// its way may have given it up, and decided anew.)
    fn route_falls(&mut self, after: i64) {
        let Some(canary) = self.now("flagger.app/v1beta1", "Canary", &self.pair.canary.name) else { return };
        let status = self.read(&canary);
        let threshold = integer(&canary, "/spec/analysis/threshold").unwrap_or(1);
        let pinned = &status.revisions.pinned;
        let is_refused = after == 0
            && status.phase == Phase::Progressing
            && i64::from(self.answers.fails) >= threshold
            && self.sight.view_lag() < PATIENCE
            && canary.pointer("/metadata/deletionTimestamp").is_none()
            && !self.lacked_pod(&self.pair.canary.name)
            && self.asked_for().is_some_and(|(asked, _)| asked == *pinned);
        if is_refused {
            self.status.unrecorded = Some(pinned.clone());
            self.is_taken_back(pinned);
        }
    }

    /// Somebody else wrote the route. With a route that is deleted goes what only it remembered.
    pub(super) fn route_edited(&mut self, record: &WriteRecord) {
        self.last_edit_of_route = Some(Instant::now());
        if record.after.is_none()
            && let Some(revision) = self.status.unrecorded.take()
        {
            self.status.refused.remove(&revision);
        }
    }

    fn adds_up(&mut self, route: &Value) {
        let is_orphan = self.is_orphan(route);
        for rule in items(route, "/spec/rules") {
            let backends = items(rule, "/backendRefs");
            let sum: i64 = backends.iter().map(|backend| integer(backend, "/weight").unwrap_or(1)).sum();
            self.keep(Promise::WeightsAddUp, sum == 100, || format!("weights of {sum}"));
            for backend in backends {
                let name = text(backend, "/name").unwrap_or_default();
                // A pass that looked not too long ago may have seen one that is gone.
                let existed = self.now("v1", "Service", name).is_some()
                    || self.services_gone.get(name).is_some_and(|gone| gone.elapsed() <= self.view_age());
                self.keep(Promise::WeightsAddUp, existed || is_orphan, || format!("no Service {name}"));
            }
        }
    }

    fn route_rises(&mut self, before: Option<i64>, after: i64) {
        let Some(status) = self.committed() else { return };
        let committed = i64::from(status.canary_weight);
        let told = || format!("route {before:?} -> {after}, committed is {committed}");
        self.keep(Promise::ExposureIsCommittedBeforeItIsRouted, after <= committed, told);
        let refused = self.status.refused.contains(&status.revisions.pinned) && !status.revisions.pinned.is_empty();
        self.keep(Promise::RefusedNeverRisesAgain, !refused, || {
            format!("route {before:?} -> {after} for {}", status.revisions.pinned)
        });
        // What is only put back as it was committed needs no pods: somebody edited the route.
        let restored = self.status.routed.is_some_and(|routed| after <= routed);
        let served = restored || self.had_pod(&self.pair.canary.name);
        self.keep(Promise::NoTrafficWithoutPods, served, || {
            format!("route {before:?} -> {after} without a canary pod")
        });
        // The way back is one way, whatever dies on it, unless the primary is the one that can't serve.
        let returns = matches!(status.phase, Phase::Promoting | Phase::Finalising);
        let kept = !returns || restored || self.lacked_pod(&self.pair.primary());
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, kept, || {
            format!("route {before:?} -> {after} while the traffic returns to the primary")
        });
        self.status.routed = Some(after);
    }
}
