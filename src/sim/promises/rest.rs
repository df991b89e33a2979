//! Checks on a world in which nothing happens any more.

use serde_json::Value;

use super::pair::Content;
use super::status::write_refused;
use super::{Promise, Promises};
use crate::api::status::{CanaryStatus, Outcome, Phase};
use crate::rollout::object::{integer, items, text};
use crate::workload;

/// What is known of a world that came to rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Nothing in the way of alerts and Events ever failed or died.
    pub everybody_could_be_told: bool,
    /// A Canary that can't be used is there.
    pub has_broken_neighbour: bool,
}

impl Promises {
    /// Whether there is nothing left to do for the pair; in words what is missing.
    ///
    /// # Errors
    /// It did not come to rest (yet).
    pub fn is_settled(&self) -> Result<(), String> {
        let status = self.committed().ok_or("the Canary is gone")?;
        if self.waits_for_people(&status) {
            return Ok(());
        }
        let canary = self.now("flagger.app/v1beta1", "Canary", &self.pair.canary.name);
        if status.observed_generation != canary.and_then(|canary| integer(&canary, "/metadata/generation")) {
            return Err("the spec was not looked at".to_owned());
        }
        if let Some(refused) = write_refused(&status) {
            return Err(format!("still refused: {refused}"));
        }
        let phase = status.phase;
        if !matches!(phase, Phase::Initialized | Phase::Succeeded | Phase::Failed) {
            let message = status.conditions.first().map_or("", |one| one.message.as_str());
            return Err(format!("{phase:?}: {message}"));
        }
        if !status.pending.is_empty() {
            return Err(format!("still owed: {:?}", status.pending));
        }
        let (asked, _) = self.asked_for().ok_or("the target is gone")?;
        if status.revisions.observed != asked {
            return Err(format!("{asked} is asked for, {} was looked at", status.revisions.observed));
        }
        let target = self.now("apps/v1", "Deployment", &self.pair.canary.name).ok_or("the target is gone")?;
        let primary = self.now("apps/v1", "Deployment", &self.pair.primary()).ok_or("the primary is gone")?;
        if is_starting(&primary) {
            return Err("the pods of the primary start".to_owned());
        }
        match integer(&target, "/spec/replicas") {
            Some(0) => {}
            // Whoever scaled it by hand may keep it.
            _ if self.is_scaled_by_hand => {}
            replicas => return Err(format!("the canary has {replicas:?} replicas")),
        }
        match self.routed_weight() {
            None | Some(0) => Ok(()),
            Some(weight) => Err(format!("the canary has {weight} % of the traffic")),
        }
    }

    /// Nothing can go on before people do something, and the Canary says so: a first image that does not work, one that
    /// crashes now and then and passed its analysis in between, or a primary that somebody deleted while the target was at
    /// another revision already.
    pub(super) fn waits_for_people(&self, status: &CanaryStatus) -> bool {
        let stalled = status.conditions.iter().find(|one| one.kind == "Stalled" && one.status == "True");
        let is_good = self.asked_for().is_some_and(|(_, content)| content.is_good());
        stalled.is_some_and(|one| match one.reason.as_str() {
            "PrimaryMissing" => true,
            _ => matches!(status.phase, Phase::Initializing | Phase::Promoting) && !is_good,
        })
    }

    /// Looks at a world at rest.
    pub fn at_rest(&mut self, rest: Rest) {
        self.no_revision_is_lost();
        if rest.everybody_could_be_told {
            let untold = self.untold();
            self.keep(Promise::EveryDecisionExplainsItself, untold.is_empty(), || format!("not told: {untold:?}"));
            let (told, alerted) = (self.told_of_rollbacks(), self.alerted_of_rollbacks());
            let decided = self.people.rollbacks;
            self.keep(Promise::EveryDecisionExplainsItself, told.min(alerted) >= decided, || {
                format!("{decided} rollbacks, {told} Events and {alerted} alerts")
            });
        }
        if rest.has_broken_neighbour {
            self.neighbour_says_so();
        }
    }

    /// Looks at what was asked since [`Self::at_rest`].
    pub fn was_idle(&mut self, requests_before: u64) {
        let primary = self.now("apps/v1", "Deployment", &self.pair.primary());
        if !primary.is_some_and(|primary| Content::of(&primary).is_good()) {
            // Pods that crash again and again are something to tell.
            return;
        }
        let requests = self.requests - requests_before;
        self.keep(Promise::IdleIsFree, requests == 0, || format!("{requests} requests with nothing to do"));
    }

    /// Requests so far that were no look at the Lease and no watch.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Looks at a world at rest whose last release was a good one.
    pub fn has_promoted(&mut self) {
        let status = self.committed().unwrap_or_default();
        let promoted = matches!(status.phase, Phase::Succeeded | Phase::Initialized) || self.waits_for_people(&status);
        self.keep(Promise::SettledMeansSettled, promoted, || "a good release was not promoted".to_owned());
        self.no_revision_is_lost();
    }

    /// A promise was broken that somebody else checks.
    pub fn broke(&mut self, promise: Promise, what: String) {
        self.keep(promise, false, || what);
    }

    fn no_revision_is_lost(&mut self) {
        let (Some(status), Some((asked, _))) = (self.committed(), self.asked_for()) else { return };
        if self.waits_for_people(&status) {
            return;
        }
        let primary = self.now("apps/v1", "Deployment", &self.pair.primary());
        let runs = primary.as_ref().and_then(|primary| text(primary, "/metadata/annotations/serin.dev~1revision"));
        let told = || format!("{asked} is asked for, {:?}, the primary runs {runs:?}", status.phase);
        let kept = if status.phase == Phase::Failed {
            status.history.iter().any(|run| run.revision == asked && run.outcome == Outcome::RolledBack)
        } else {
            runs == Some(&asked) && status.revisions.promoted == asked
        };
        let what = told();
        self.keep(Promise::NoRevisionIsLost, kept, || what);
    }

    fn neighbour_says_so(&mut self) {
        let canary = self.now("flagger.app/v1beta1", "Canary", BROKEN_NEIGHBOUR);
        let says = canary.as_ref().is_some_and(|canary| {
            items(canary, "/status/conditions").iter().any(|one| {
                text(one, "/type") == Some("Stalled")
                    && text(one, "/status") == Some("True")
                    && text(one, "/message").is_some_and(|message| message.contains("spec."))
            })
        });
        let what = format!("{:?}", canary.as_ref().and_then(|canary| canary.get("status")));
        self.keep(Promise::OneBrokenCanaryHurtsOnlyItself, says, || what);
    }
}

/// Whether a Deployment is to have pods that work, and has none yet: that it has is told.
fn is_starting(deployment: &Value) -> bool {
    let works = Content::of(deployment).is_good();
    works && integer(deployment, "/spec/replicas") != Some(0) && !workload::can_serve(deployment)
}

/// Name of the Canary that can't be used.
pub const BROKEN_NEIGHBOUR: &str = "neighbour";
