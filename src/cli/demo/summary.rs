//! The books of the runs, and what they say at the end.

use std::time::Duration;

use super::rollout::Rollout;
use super::screen::Tone;
use super::tally::{Requests, Tally, whole};
use super::words;
use crate::api::status::{CheckReport, Outcome, Phase, Run, Verdict};

/// One run.
#[derive(Debug)]
struct Record {
    application: String,
    revision: String,
    version: String,
    began: Moment,
    /// When it got its first traffic.
    exposed: Option<Moment>,
    ended: Option<Ended>,
    /// What users had met when nothing was left to do.
    settled: Option<Requests>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Duration,
    tally: Tally,
}

#[derive(Debug)]
struct Ended {
    moment: Moment,
    run: Run,
    checks: Vec<CheckReport>,
    promoted: String,
}

/// The runs, in the order in which they began.
#[derive(Debug, Default)]
pub struct Books {
    records: Vec<Record>,
}

impl Books {
    /// Takes in a change of a rollout at a time of the demo.
    pub fn note(&mut self, before: Option<&Rollout>, now: &Rollout, at: Duration, tally: Tally) {
        let moment = Moment { at, tally };
        let (pinned, weight) = (&now.status.revisions.pinned, now.status.canary_weight);
        if let Some(run) = now.status.history.first()
            && before.and_then(|before| before.status.history.first()) != Some(run)
            && let Some(record) = self.open(&now.name, &run.revision)
        {
            let (checks, promoted) = (now.status.checks.clone(), now.promoted.clone());
            record.ended = Some(Ended { moment, run: run.clone(), checks, promoted });
            record.settled = now.is_running().then_some(tally.users);
        }
        if now.is_running() && before.is_none_or(|before| before.status.revisions.pinned != *pinned) {
            self.records.push(Record {
                application: now.name.clone(),
                revision: pinned.clone(),
                version: now.tried().to_owned(),
                began: moment,
                exposed: None,
                ended: None,
                settled: None,
            });
        }
        if weight > 0
            && let Some(record) = self.open(&now.name, pinned)
        {
            record.exposed.get_or_insert(moment);
        }
        if now.status.pending.is_empty() && matches!(now.status.phase, Phase::Failed | Phase::Succeeded) {
            for record in self.records.iter_mut().filter(|record| record.application == now.name) {
                record.settled.get_or_insert(tally.users);
            }
        }
    }

    fn open(&mut self, application: &str, revision: &str) -> Option<&mut Record> {
        let mut records = self.records.iter_mut().rev();
        records
            .find(|record| record.application == application && record.revision == revision && record.ended.is_none())
    }

    /// A paragraph for each run that is over.
    pub fn summary(&self) -> Vec<(Tone, String)> {
        self.records.iter().filter_map(|record| Some(record.told(record.ended.as_ref()?))).collect()
    }
}

impl Record {
    fn told(&self, ended: &Ended) -> (Tone, String) {
        let Self { application, version, .. } = self;
        let seconds = ended.moment.at.saturating_sub(self.began.at).as_secs_f64();
        let met = self.settled.unwrap_or(ended.moment.tally.users) - self.began.tally.users;
        let users = format!("{} requests of its users failed in that time", met.text());
        match ended.run.outcome {
            Outcome::Promoted => {
                (Tone::Good, format!("{application} {version} was promoted in {seconds:.0} s. {users}."))
            }
            Outcome::RolledBack => (Tone::Bad, self.rolled_back(ended, seconds, met)),
            Outcome::Superseded => (
                Tone::Plain,
                format!("{application} {version} was tried for {seconds:.0} s, until a newer one came. {users}."),
            ),
            Outcome::Withdrawn => {
                (Tone::Plain, format!("{application} {version} was withdrawn after {seconds:.0} s. {users}."))
            }
        }
    }

    fn rolled_back(&self, ended: &Ended, seconds: f64, met: Requests) -> String {
        let Self { application, version, .. } = self;
        let failed: Vec<String> =
            ended.checks.iter().filter(|check| check.verdict == Verdict::Fail).map(words::measured).collect();
        let why = if failed.is_empty() { ended.run.reason.clone() } else { failed.join(", and ") };
        let first =
            format!("{application} {version} was rolled back to {} in {seconds:.0} s, because {why}.", ended.promoted);
        let Some(exposed) = self.exposed else { return format!("{first} It got no traffic.") };
        let share = (ended.moment.tally.canary - exposed.tally.canary).failing_share();
        let requests = ended.moment.tally.users - exposed.tally.users;
        let time = ended.moment.at.saturating_sub(exposed.at).as_secs_f64();
        format!(
            "{first} While it had traffic, for {time:.0} s, {} requests of its users failed. Had it simply been rolled out \
             to everybody, about {} would have, and more until somebody noticed.",
            Requests { all: requests.all, failed: met.failed }.text(),
            whole(requests.all * share)
        )
    }
}
