//! Checks on what is committed to the status.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{Moment, Promise, Promises, Question, name_of};
use crate::api::duration::parse_seconds;
use crate::api::status::{CanaryStatus, Condition, Outcome, Phase};
use crate::rollout::object::{integer, items, text};
use crate::sim::api_server::WriteRecord;

#[derive(Default)]
pub(super) struct Books {
    /// The run that is on: its revision and its start.
    run: String,
    /// When the canary's weight last rose in this run.
    pub(super) last_step: Option<Moment>,
    /// The shortest interval that was asked for since then.
    shortest_interval: TimeDelta,
    /// Revisions that were taken back, unless somebody asked for them again.
    pub(super) refused: BTreeSet<String>,
    /// When somebody last asked for the revision of the run that was on, and which it was.
    asked: Option<(String, Instant)>,
    /// The run that was taken back, as far as only the route tells it: its record follows.
    pub(super) unrecorded: Option<String>,
    /// The highest weight that was routed in this run and not taken back.
    pub(super) routed: Option<i64>,
    /// How often the canary lost its traffic in this run because it had no pods: each counts as a failed check.
    lost_pods: u32,
    pub(super) on_no_data: String,
    pub(super) on_error: String,
    questions: Vec<Question>,
    /// When the run began.
    pub(super) began: Option<Moment>,
}

impl Books {
    /// Somebody asked for this revision (again).
    pub(super) fn asked_for(&mut self, revision: &str) {
        self.refused.remove(revision);
        if self.run.split('@').next() == Some(revision) {
            self.asked = Some((revision.to_owned(), Instant::now()));
        }
    }
}

/// The status of a Canary; empty if there is none, or if it can't be read.
pub(super) fn status_of(canary: &Value) -> CanaryStatus {
    canary.get("status").and_then(|status| CanaryStatus::deserialize(status).ok()).unwrap_or_default()
}

fn run_of(status: &CanaryStatus) -> String {
    let start = status.run_start_time.map(|time| time.to_rfc3339()).unwrap_or_default();
    format!("{}@{start}", status.revisions.pinned)
}

impl Promises {
    /// The committed status of the Canary now; `None` if it is gone.
    pub(super) fn committed(&self) -> Option<CanaryStatus> {
        self.now("flagger.app/v1beta1", "Canary", &self.pair.canary.name).map(|canary| self.read(&canary))
    }

    /// The status of a Canary, which is often the one that was read last.
    pub(super) fn read(&self, canary: &Arc<Value>) -> CanaryStatus {
        let mut last = self.last_read.borrow_mut();
        if let Some((_, status)) = last.as_ref().filter(|(read, _)| Arc::ptr_eq(read, canary)) {
            return status.clone();
        }
        let status = status_of(canary);
        *last = Some((canary.clone(), status.clone()));
        status
    }

    /// Somebody else changed the Canary.
    pub(super) fn canary_edited(&mut self, record: &WriteRecord) {
        let Some(canary) = record.after.as_ref().filter(|canary| name_of(canary) == self.pair.canary.name) else {
            return;
        };
        if record.before.is_none() {
            self.status = Books { refused: std::mem::take(&mut self.status.refused), ..Books::default() };
            self.answers.start_over();
        }
        let interval = interval(canary);
        let books = &mut self.status;
        books.shortest_interval = books.shortest_interval.min(interval);
        let metrics = items(canary, "/spec/analysis/metrics");
        let said = |field: &str| metrics.first().and_then(|metric| text(metric, field)).unwrap_or_default().to_owned();
        (books.on_no_data, books.on_error) = (said("/onNoData"), said("/onError"));
        books.questions = metrics.iter().filter_map(|metric| question(text(metric, "/name")?)).collect();
    }

    pub(super) fn canary_written(&mut self, record: &WriteRecord) {
        let (Some(before), Some(after)) = (&record.before, &record.after) else { return };
        if record.subresource.as_deref() != Some("status") {
            self.only_finalizers_changed(before, after);
            return;
        }
        if name_of(after) != self.pair.canary.name {
            self.explains_itself(after, &status_of(after));
            return;
        }
        let (old, new) = (self.read(before), self.read(after));
        self.explains_itself(after, &new);
        self.owes(&old, &new);
        self.ready_is_true(&new);
        self.refusal_is_told(&record.user, after, &old, &new);
        if let Some(run) = new.history.first().filter(|run| run.outcome == Outcome::Promoted)
            && old.history.first() != Some(run)
        {
            self.autoscaler_follows(&run.revision);
        }
        if new.phase == Phase::Promoting && old.phase != Phase::Promoting {
            self.promotes(after, &old, &new);
        } else if new.phase == Phase::Failed && old.phase != Phase::Failed {
            self.rolls_back(after, &old, &new);
        }
        let lost_traffic = old.canary_weight > 0 && new.canary_weight == 0 && new.failed_checks > old.failed_checks;
        if lost_traffic && self.lacked_pod(&self.pair.canary.name) {
            self.status.lost_pods += 1;
        }
        if run_of(&new) != self.status.run {
            self.run_changes(after, &old, &new);
        } else if new.canary_weight > old.canary_weight {
            self.rises(after, &old, &new);
        } else if new.iterations > old.iterations {
            self.has_passed(&old, &new);
        }
        self.answers.recorded = self.answers.known;
    }

    fn only_finalizers_changed(&mut self, before: &Value, after: &Value) {
        let same = before.get("spec") == after.get("spec")
            && ["labels", "annotations"]
                .iter()
                .all(|field| before["metadata"].get(field) == after["metadata"].get(field));
        self.keep(Promise::GitStaysInCharge, same, || format!("Canary {} was changed", name_of(after)));
    }

    fn run_changes(&mut self, canary: &Value, old: &CanaryStatus, new: &CanaryStatus) {
        let weight = new.canary_weight;
        let kept = weight <= old.canary_weight && self.lacked_pod(&self.pair.primary());
        let told = || format!("a run begins at {weight}");
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, weight == 0 || kept, told);
        if !old.revisions.pinned.is_empty() {
            let record = new.history.first();
            let kept = record.is_some_and(|run| run.revision == old.revisions.pinned);
            self.keep(Promise::NoRevisionIsLost, kept, || format!("{} has no record", old.revisions.pinned));
            if record.is_some_and(|run| run.outcome == Outcome::RolledBack) {
                self.is_taken_back(&old.revisions.pinned);
            }
        }
        let began = self.decided(new.run_start_time);
        let books = &mut self.status;
        books.unrecorded = None;
        books.run = run_of(new);
        books.last_step = None;
        books.routed = None;
        books.began = Some(began);
        books.lost_pods = 0;
        books.shortest_interval = interval(canary);
        self.answers.start_over();
    }

    /// The revision of a run is taken back. Somebody may have gone to another one and back to it, after a pass may have
    /// looked: the next ones see both, and take the second for what it says.
    pub(super) fn is_taken_back(&mut self, revision: &str) {
        let asked = self.status.asked.as_ref();
        if !asked.is_some_and(|(id, at)| id == revision && at.elapsed() <= self.view_age()) {
            self.status.refused.insert(revision.to_owned());
        }
    }

    /// When the pass decided whose decision is committed now, by the time that it wrote: what follows is due from then on,
    /// however long the write was on its way.
    fn decided(&self, at: Option<DateTime<Utc>>) -> Moment {
        let Moment { instant, wall } = Moment::current();
        let took = at.and_then(|at| (wall - at).to_std().ok()).unwrap_or_default();
        let took = took.min(self.view_age());
        Moment { instant: instant.checked_sub(took).unwrap_or(instant), wall: wall - took }
    }

    fn rises(&mut self, canary: &Value, old: &CanaryStatus, new: &CanaryStatus) {
        let (from, to) = (old.canary_weight, new.canary_weight);
        if old.phase == Phase::Promoting && self.lacked_pod(&self.pair.primary()) {
            // The canary passed its analysis, and is all that can serve.
            return;
        }
        let told = || format!("{from} -> {to} of {}", new.revisions.pinned);
        let steps = items(canary, "/spec/analysis/stepWeights");
        let next = steps.iter().filter_map(Value::as_i64).find(|weight| *weight > i64::from(from));
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, next == Some(i64::from(to)), told);
        let refused = self.status.refused.contains(&new.revisions.pinned);
        self.keep(Promise::RefusedNeverRisesAgain, !refused, told);
        let early = self.status.last_step.is_some_and(|last| last.age() < self.status.shortest_interval);
        self.keep(Promise::OneStepPerInterval, !early, told);
        if old.step > 0 || from > 0 {
            self.has_passed(old, new);
        }
        let served = self.had_pod(&self.pair.canary.name);
        self.keep(Promise::NoTrafficWithoutPods, served, || format!("{from} -> {to} without a canary pod"));
        self.status.last_step = Some(self.decided(new.last_transition_time));
        self.status.shortest_interval = interval(canary);
    }

    /// Every check passed since the last step.
    fn has_passed(&mut self, old: &CanaryStatus, new: &CanaryStatus) {
        let since = self.status.last_step.or(self.status.began).map(|moment| moment.instant);
        let passed = self.answers.all_passed_since(&self.status.questions, since, self.sight.view_lag());
        self.keep(Promise::ExposureGrowsOnlyByAPassingVerdict, passed, || {
            let at = |status: &CanaryStatus| (status.canary_weight, status.iterations);
            format!("{:?} -> {:?} of {} without a passing check", at(old), at(new), new.revisions.pinned)
        });
    }

    fn promotes(&mut self, canary: &Value, old: &CanaryStatus, new: &CanaryStatus) {
        let skips = canary.pointer("/spec/skipAnalysis") == Some(&Value::Bool(true));
        if !skips {
            self.has_passed(old, new);
            let last = items(canary, "/spec/analysis/stepWeights").iter().filter_map(Value::as_i64).max();
            let at_end = match integer(canary, "/spec/analysis/iterations").filter(|iterations| *iterations > 0) {
                Some(iterations) => i64::from(new.iterations) >= iterations,
                None => last.is_none_or(|last| i64::from(old.canary_weight) >= last),
            };
            self.keep(Promise::OnlyWhatWasAnalysedIsPromoted, at_end, || {
                format!("{} at {}, iteration {}", new.revisions.pinned, old.canary_weight, new.iterations)
            });
        }
        self.analysed.insert(new.revisions.pinned.clone());
    }

    /// The traffic is gone already, and there was a reason that could be known.
    fn rolls_back(&mut self, canary: &Value, old: &CanaryStatus, new: &CanaryStatus) {
        let routed = self.routed_weight();
        let is_gone = routed.is_none_or(|weight| weight == 0) || self.route_was_just_edited();
        self.keep(Promise::UsersFirst, is_gone, || {
            format!("{} is Failed, and the route is at {routed:?}", old.revisions.pinned)
        });
        let threshold = integer(canary, "/spec/analysis/threshold").unwrap_or(1);
        let failed = i64::from(self.answers.fails + self.status.lost_pods) >= threshold;
        let age_seconds = |moment: Option<Moment>| moment.map_or(0, |moment| moment.age().num_seconds()) + 1;
        let hold = text(canary, "/spec/analysis/holdTimeout").and_then(|text| parse_seconds(text).ok()).unwrap_or(0);
        let unknown = age_seconds(self.answers.last_known().or(self.status.began)) >= hold;
        let deadline = integer(canary, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let unready = old.not_ready_since.is_some() && age_seconds(self.status.began) >= deadline;
        // The next process finishes a rollback whose record was not written. What its reason was is not known any more, and
        // this is the one word of the controller that is taken for it.
        let finished = new.history.first().is_some_and(|run| run.reason.contains("was under way"));
        // An answer that came too late counts as an error, and was not seen here.
        let unseen = self.status.on_error == "Fail" && old.failed_checks > 0;
        let lost = self.lacked_pod(&self.pair.canary.name);
        let known = failed || unseen || lost || finished || unknown || unready;
        let fails = self.answers.fails;
        self.keep(Promise::NotKnowingIsNotFailing, known, || {
            format!("{fails} failing answers of {threshold}: {:?}", new.history.first())
        });
    }

    /// What a process was refused is told until it is done. Before users come it may not be needed yet, and nobody tries it
    /// while the Canary is suspended.
    fn refusal_is_told(&mut self, process: &str, canary: &Value, old: &CanaryStatus, new: &CanaryStatus) {
        let Some((write, refused)) = self.refused_repair.as_ref().filter(|_| self.has_drifted) else { return };
        let was_told = write_refused(old).is_some() && refused == process;
        let is_suspended = canary.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let is_first = matches!(new.phase, Phase::New | Phase::Initializing);
        let kept = !was_told || is_suspended || is_first || new.conditions.iter().any(is_stalled);
        let what = format!("{write} was refused and not done since, which is not told any more");
        self.keep(Promise::EveryDecisionExplainsItself, kept, || what);
    }

    fn ready_is_true(&mut self, status: &CanaryStatus) {
        let ready = status.conditions.iter().any(|one| one.kind == "Ready" && one.status == "True");
        if ready {
            let serves = self.had_pod(&self.pair.primary()) && status.revisions.pinned.is_empty();
            self.keep(Promise::ReadyTellsTheTruth, serves, || "Ready, and the primary can't serve".to_owned());
        }
    }
}

fn is_stalled(condition: &Condition) -> bool {
    condition.kind == "Stalled" && condition.status == "True"
}

/// What was refused to be written, if the Canary says so.
pub(super) fn write_refused(status: &CanaryStatus) -> Option<&str> {
    let refused = status.conditions.iter().find(|one| is_stalled(one) && one.reason == "WriteRefused");
    refused.map(|one| one.message.as_str())
}

fn interval(canary: &Value) -> TimeDelta {
    let seconds = text(canary, "/spec/analysis/interval").and_then(|text| parse_seconds(text).ok()).unwrap_or(60);
    TimeDelta::seconds(seconds)
}

fn question(metric: &str) -> Option<Question> {
    match metric {
        "request-success-rate" => Some(Question::SuccessRate),
        "request-duration" => Some(Question::Duration),
        "error-share" => Some(Question::Template),
        _ => None,
    }
}
