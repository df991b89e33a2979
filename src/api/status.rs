//! `Canary.status`: Flagger's fields, and what Serin adds to them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::checked::Severity;

/// Where a rollout stands. The names are Flagger's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not seen before (an empty string in the API).
    #[default]
    #[serde(rename = "")]
    New,
    /// The primary is being created.
    Initializing,
    /// The primary serves all traffic; nothing was promoted yet.
    Initialized,
    /// A gate holds the start of the run.
    Waiting,
    /// A new revision is being analysed.
    Progressing,
    /// A gate holds the promotion.
    WaitingPromotion,
    /// The analysed revision is being copied to the primary.
    Promoting,
    /// All traffic is on the primary again; the canary is being scaled down.
    Finalising,
    /// The last revision was promoted.
    Succeeded,
    /// The last revision was taken back.
    Failed,
    /// The Canary is being deleted.
    Terminating,
    /// Declared by Flagger, written by nobody.
    Terminated,
}

/// `Canary.status`. Only Serin writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Generation of the Canary that this status speaks of; -1 until the first pass.
    #[serde(default)]
    pub observed_generation: Option<i64>,
    /// Where the rollout stands.
    #[serde(default)]
    pub phase: Phase,
    /// Failed checks of this run.
    #[serde(default, deserialize_with = "at_least_zero")]
    pub failed_checks: i32,
    /// Share of traffic on the canary, in per cent.
    #[serde(default, deserialize_with = "percent")]
    pub canary_weight: i32,
    /// Highest share of traffic that the canary had in this run, in per cent.
    #[serde(default, deserialize_with = "percent", skip_serializing_if = "is_zero")]
    pub highest_weight: i32,
    /// Passed iterations of a run without weights.
    #[serde(default, deserialize_with = "at_least_zero")]
    pub iterations: i32,
    /// Number of steps taken in this run.
    #[serde(default, deserialize_with = "at_least_zero")]
    pub step: i32,
    /// When the current step's traffic was seen applied; the measurement window starts here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_applied_time: Option<DateTime<Utc>>,
    /// When the next check is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_time: Option<DateTime<Utc>>,
    /// Since when it has not been known how the canary does: checks are inconclusive, or the data plane has not confirmed
    /// the step's traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_since: Option<DateTime<Utc>>,
    /// Since when the workload that is waited for has not been ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready_since: Option<DateTime<Utc>>,
    /// When this run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_start_time: Option<DateTime<Utc>>,
    /// When the analysis of this run began: every pod of the canary was ready, and none was left of the revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis_start_time: Option<DateTime<Utc>>,
    /// Checksums of ConfigMaps and Secrets of the last applied revision, by `configmap/NAME` and `secret/NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tracked_configs: BTreeMap<String, String>,
    /// Hash of the target's pod template that was seen last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_applied_spec: String,
    /// Hash of the pod template that was promoted last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_promoted_spec: String,
    /// The revisions that Serin acts on.
    #[serde(default, skip_serializing_if = "Revisions::is_empty")]
    pub revisions: Revisions,
    /// The last check of each metric.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckReport>,
    /// What is still owed after the last decision: cleared once done.
    #[serde(default, skip_serializing_if = "Pending::is_empty")]
    pub pending: Pending,
    /// The last ten runs, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Run>,
    /// When the status was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<DateTime<Utc>>,
    /// `Ready`, `Reconciling`, `Stalled` and `Promoted`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Flagger's session cookie of the run before; kept as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_session_affinity_cookie: Option<String>,
    /// Flagger's session cookie; kept as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_cookie: Option<String>,
    /// Flagger's primary session cookie; kept as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_session_affinity_cookie: Option<String>,
}

/// A share in per cent. Whoever writes into the subresource by hand can write anything; the nearest share is taken.
fn percent<'de, D: Deserializer<'de>>(number: D) -> Result<i32, D::Error> {
    Ok(i32::deserialize(number)?.clamp(0, 100))
}

/// A counter; a negative one would let failed checks pass.
fn at_least_zero<'de, D: Deserializer<'de>>(number: D) -> Result<i32, D::Error> {
    Ok(i32::deserialize(number)?.max(0))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

/// The revisions that Serin acts on: each is the hash of pod template and config checksums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revisions {
    /// The target's revision that was acted on last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed: String,
    /// The revision that the current run is pinned to; empty outside of a run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pinned: String,
    /// The revision that the primary runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub promoted: String,
}

impl Revisions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is still owed after a decision. Written with the decision, cleared when done, so that a crash between loses
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The canary is still to be scaled to zero: for good after a run, and in a run to start pods anew whose
    /// configuration changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scale_down: bool,
    /// Alerts that are still to be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertRecord>,
}

impl Pending {
    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One alert as it is told to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertRecord {
    /// How grave it is.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Details as title and value, in the order of telling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<AlertField>,
    /// When it was decided.
    pub time: DateTime<Utc>,
}

/// A detail of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertField {
    /// What it is.
    pub title: String,
    /// Its value.
    pub value: String,
}

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Within its bounds.
    Pass,
    /// Out of its bounds.
    Fail,
    /// Not known.
    Inconclusive,
}

/// One check as it was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Name of the metric.
    pub name: String,
    /// What was measured; absent without an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lowest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Highest value that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Number of requests that the value rests on, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_size: Option<f64>,
    /// Measured and reported, never decisive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// When it was judged.
    pub time: DateTime<Utc>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The revision became the primary.
    Promoted,
    /// The revision was taken back.
    RolledBack,
    /// A newer revision took its place.
    Superseded,
    /// The target went back to the promoted revision.
    Withdrawn,
}

/// One run of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The revision.
    pub revision: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub reason: String,
    /// Highest weight that it reached, in per cent.
    pub weight: i32,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_time: DateTime<Utc>,
}

/// A condition as Kubernetes users know it, with Flagger's `lastUpdateTime`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling`, `Stalled` or `Promoted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// One sentence.
    #[serde(default)]
    pub message: String,
    /// Generation of the Canary that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When reason or message last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<DateTime<Utc>>,
    /// When `status` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weights_and_counters_out_of_range_are_read_as_the_nearest_in_range() {
        for (written, weight, failed_checks) in [(0, 0, 0), (30, 30, 30), (250, 100, 250), (-7, 0, 0)] {
            let status = json!({"canaryWeight": written, "highestWeight": written, "failedChecks": written,
                "iterations": written, "step": written});
            let read: CanaryStatus = serde_json::from_value(status).unwrap();
            assert_eq!((read.canary_weight, read.highest_weight), (weight, weight), "{written}");
            assert_eq!([read.failed_checks, read.iterations, read.step], [failed_checks; 3], "{written}");
        }
    }
}
