//! Checks on what people are told: conditions, Events, alerts.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde_json::Value;
use tokio::time::Instant;

use super::{Promise, Promises, name_of};
use crate::api::status::{AlertRecord, CanaryStatus, Phase};
use crate::rollout::object::{integer, text};
use crate::sim::api_server::WriteRecord;

#[derive(Default)]
pub(super) struct Books {
    /// Alerts by time and text: how often they were owed, and how often somebody took them.
    alerts: BTreeMap<(String, String), Tally>,
    /// Events by reason.
    pub(super) events: BTreeMap<String, u32>,
    /// Rollbacks that were committed.
    pub(super) rollbacks: u32,
    /// When the last of them was.
    rolled_back: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    owed: u32,
    taken: u32,
}

impl Promises {
    /// Exactly one of the three answers is true, in words, about this generation.
    pub(super) fn explains_itself(&mut self, canary: &Value, status: &CanaryStatus) {
        let of = |kind: &str| status.conditions.iter().find(|one| one.kind == kind);
        let answers = ["Ready", "Reconciling", "Stalled"].map(of);
        let is_told =
            answers.iter().all(|one| one.is_some_and(|one| !one.message.is_empty() && !one.reason.is_empty()));
        let is_one = answers.iter().filter(|one| one.is_some_and(|one| one.status == "True")).count() == 1;
        let is_current = status.observed_generation == integer(canary, "/metadata/generation");
        let kept = is_told && is_one && is_current;
        self.keep(Promise::EveryDecisionExplainsItself, kept, || {
            format!("{}: {:?}", name_of(canary), status.conditions)
        });
        // A panic is caught in the pass, and told.
        let panicked = status.conditions.iter().find(|one| one.message.contains("the pass panicked"));
        self.keep(Promise::OneBrokenCanaryHurtsOnlyItself, panicked.is_none(), || format!("{panicked:?}"));
        if status.phase == Phase::Failed {
            let why = status.history.first().map_or("adopted", |run| run.reason.as_str());
            self.keep(Promise::EveryDecisionExplainsItself, !why.is_empty(), || "Failed without a reason".to_owned());
        }
    }

    /// Takes note of what a commit promises to tell.
    pub(super) fn owes(&mut self, old: &CanaryStatus, new: &CanaryStatus) {
        if new.phase == Phase::Failed && old.phase != Phase::Failed {
            self.people.rollbacks += 1;
            self.people.rolled_back = Some(Instant::now());
        }
        let is_new = |alert: &&AlertRecord| !old.pending.alerts.contains(alert);
        for alert in new.pending.alerts.iter().filter(is_new) {
            let time = alert.time.to_rfc3339_opts(SecondsFormat::Secs, true);
            self.people.alerts.entry((time, alert.message.clone())).or_default().owed += 1;
        }
    }

    /// A receiver took an alert with this text, decided at this time.
    pub fn alerted(&mut self, message: &str, time: &str) {
        let tally = self.people.alerts.entry((time.to_owned(), message.to_owned())).or_default();
        tally.taken += 1;
        let Tally { owed, taken } = *tally;
        self.keep(Promise::EveryDecisionExplainsItself, taken <= owed, || {
            format!("told {taken} times, decided {owed} times: {message}")
        });
    }

    /// Nobody may be told before the traffic is gone.
    pub(super) fn event_written(&mut self, record: &WriteRecord) {
        let Some(event) = &record.after else { return };
        let reason = text(event, "/reason").unwrap_or_default();
        *self.people.events.entry(reason.to_owned()).or_default() += 1;
        let is_ours = text(event, "/regarding/name") == Some(&self.pair.canary.name);
        let is_failed = self.committed().is_some_and(|status| status.phase == Phase::Failed);
        if is_ours && reason == "Failed" {
            let (told, decided) = (self.told_of_rollbacks(), self.people.rollbacks);
            self.keep(Promise::UsersFirst, told <= decided, || {
                format!("{told} rollbacks were told, {decided} decided")
            });
        }
        if is_ours && reason == "RolledBack" && is_failed {
            let routed = self.routed_weight().unwrap_or(0);
            // The Event may come late, and somebody may have edited the route meanwhile.
            let is_edited = self.route_was_just_edited()
                || self.last_edit_of_route.is_some_and(|edited| self.people.rolled_back.is_some_and(|at| at < edited));
            self.keep(Promise::UsersFirst, routed == 0 || is_edited, || {
                format!("told of a rollback with the route at {routed}")
            });
        }
    }

    /// Rollbacks that Events told of.
    pub(super) fn told_of_rollbacks(&self) -> u32 {
        self.people.events.get("Failed").copied().unwrap_or_default()
    }

    /// Rollbacks that a receiver of alerts heard of.
    pub(super) fn alerted_of_rollbacks(&self) -> u32 {
        let is_rollback = |message: &str| message.contains(" was rolled back: ");
        let alerts = self.people.alerts.iter().filter(|((_, message), _)| is_rollback(message));
        alerts.map(|(_, tally)| tally.taken).sum()
    }

    /// Alerts that were decided and that nobody took.
    pub(super) fn untold(&self) -> Vec<String> {
        let untold = self.people.alerts.iter().filter(|(_, tally)| tally.taken < tally.owed);
        untold.map(|((_, message), tally)| format!("{message} ({} of {})", tally.taken, tally.owed)).collect()
    }
}
