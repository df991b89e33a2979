//! Leader election over a Lease, such that there never are two leaders.
//!
//! - A lease is taken over only after *this* process has seen it unchanged for the whole lease duration on its own
//!   monotonic clock; what time the holder wrote into it means nothing, so clocks may differ.
//! - Every write carries the `resourceVersion` that it was decided from; of two candidates one gets a conflict.
//! - A leader stops trusting itself one renew deadline after it *sent* its last successful renewal. That is earlier than
//!   anybody else's takeover, also for a process that was stopped meanwhile: the clock runs on while it is.
//! - A leader that failed to renew in time never leads again: its process has to end.
//!
//! The rules are those of client-go's `leaderelection`, which counts from the answer of a renewal instead, and takes a
//! lease that somebody deleted at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Name of the Lease.
pub const LEASE_NAME: &str = "serin-leader-election";

/// The longest time for which another's lease is respected, whatever it says.
const LONGEST_DURATION: Duration = Duration::from_secs(3600);

/// How long things take. The lease duration must be longer than the renew deadline, and that longer than the retry
/// period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long an unchanged lease is respected.
    pub lease_duration: Duration,
    /// How long a leader trusts its last renewal.
    pub renew_deadline: Duration,
    /// Time between two renewals, or two looks at somebody else's lease.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Who leads, as far as this process knows.
#[derive(Clone, Debug)]
pub enum Leadership {
    /// Not known yet.
    Unknown {
        /// Why not, for people.
        reason: String,
    },
    /// Somebody else.
    Standby {
        /// Identity of the leader.
        holder: String,
    },
    /// This process, for as long as the guard says so.
    Leading(LeaderGuard),
}

impl Leadership {
    /// Leadership in a process that runs without election.
    pub fn uncontested() -> Self {
        Self::Leading(LeaderGuard { until: None })
    }

    /// Whether this process leads now.
    pub fn is_leader_now(&self) -> bool {
        matches!(self, Self::Leading(guard) if guard.is_leader_now())
    }
}

/// Tells whether this process still leads. To be asked immediately before every write.
#[derive(Clone, Debug)]
pub struct LeaderGuard {
    until: Option<watch::Receiver<Option<Instant>>>,
}

impl LeaderGuard {
    /// Whether the last successful renewal is younger than the renew deadline. Once false, false for good.
    ///
    /// The clock is the monotonic one: it runs on while the process is stopped (SIGSTOP, a frozen cgroup), yet not while
    /// the whole machine sleeps.
    pub fn is_leader_now(&self) -> bool {
        self.until.as_ref().is_none_or(|until| until.borrow().is_some_and(|until| Instant::now() < until))
    }
}

/// What of a Lease matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `spec.holderIdentity`; empty when released.
    pub holder: String,
    /// `spec.leaseDurationSeconds`: what the holder relies on.
    pub duration: Duration,
}

impl LeaseView {
    /// What of this Lease matters; whatever it lacks is empty or zero.
    pub fn of(lease: &Lease) -> Self {
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        Self {
            resource_version: lease.resource_version().unwrap_or_default(),
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        }
    }
}

/// What this process saw last, and since when it has been so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.resourceVersion`; `None` where there is no Lease.
    pub resource_version: Option<String>,
    /// Since when.
    pub since: Instant,
    /// Whether anybody else was ever seen to hold the Lease.
    pub other_seen: bool,
}

impl Observation {
    /// Nothing seen yet.
    pub fn new(now: Instant) -> Self {
        Self { resource_version: None, since: now, other_seen: false }
    }

    /// Takes in what is there now.
    pub fn see(&mut self, lease: Option<&LeaseView>, me: &str, now: Instant) {
        let resource_version = lease.map(|lease| lease.resource_version.clone());
        if self.resource_version != resource_version {
            self.resource_version = resource_version;
            self.since = now;
        }
        self.other_seen |= lease.is_some_and(|lease| !lease.holder.is_empty() && lease.holder != me);
    }
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create it.
    Create,
    /// Write it again: it is ours.
    Renew,
    /// Write our name into it: it was released or is stale.
    TakeOver,
    /// Leave it alone.
    Wait {
        /// When it is stale unless it changes.
        until: Instant,
    },
}

/// What follows from a Lease that was read just now, and that `observed` has taken in.
///
/// A Lease that somebody deleted is not a free one: its holder may not know yet. It is waited for like a held one where
/// anybody else was seen to hold it. (A process that starts right after the deletion can't know; don't delete the
/// Lease of a running controller.)
pub fn evaluate(
    lease: Option<&LeaseView>,
    me: &str,
    observed: &Observation,
    own_duration: Duration,
    now: Instant,
) -> Step {
    let wait_or = |step, duration: Duration| {
        let until = observed.since + duration;
        if now < until { Step::Wait { until } } else { step }
    };
    match lease {
        None if !observed.other_seen => Step::Create,
        None => wait_or(Step::Create, own_duration),
        Some(lease) if lease.holder == me => Step::Renew,
        Some(lease) if lease.holder.is_empty() => Step::TakeOver,
        // No shorter than what the holder relies on.
        Some(lease) => wait_or(Step::TakeOver, lease.duration.clamp(own_duration, LONGEST_DURATION)),
    }
}

/// One candidate's knowledge, without I/O.
#[derive(Clone, Debug)]
struct Candidate {
    me: String,
    timing: Timing,
    observed: Observation,
    /// Until when this process trusts its last renewal; `None` if it doesn't lead.
    until: Option<Instant>,
}

impl Candidate {
    fn new(me: String, timing: Timing, now: Instant) -> Self {
        Self { me, timing, observed: Observation::new(now), until: None }
    }

    /// What to do about a Lease that was read just now.
    fn step(&mut self, lease: Option<&LeaseView>, now: Instant) -> Step {
        self.observed.see(lease, &self.me, now);
        evaluate(lease, &self.me, &self.observed, self.timing.lease_duration, now)
    }

    /// A write of ours went through, which was sent at that time.
    fn wrote(&mut self, sent: Instant) {
        self.until = Some(sent + self.timing.renew_deadline);
    }

    /// Whether it led and can't be sure any more.
    fn is_overdue(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Why the election ended before it was told to. The process has to end.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Nobody could be told in time that we still lead.
    #[error(
        "lost leadership: the Lease {LEASE_NAME} was not renewed within {} s ({reason}); check that the API server \
         answers, then let the process restart",
        renew_deadline.as_secs()
    )]
    Overdue {
        /// Within this time.
        renew_deadline: Duration,
        /// The last failure.
        reason: String,
    },
    /// Somebody else has it.
    #[error("lost leadership: the Lease {LEASE_NAME} is held by {holder} now")]
    Taken {
        /// Who.
        holder: String,
    },
}

/// Runs for leader, and renews while it leads.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    candidate: Candidate,
    /// The Lease as our last write left it, which saves reading it before the next.
    written: Option<Lease>,
    /// Why the last try failed.
    trouble: String,
    until: watch::Sender<Option<Instant>>,
    leadership: watch::Sender<Leadership>,
}

impl Elector {
    /// A candidate named `me`, which must differ for every process (see [`identity`]), for the Lease in `namespace`.
    /// Tells `leadership` what it finds.
    pub fn new(
        client: Client,
        namespace: &str,
        me: String,
        timing: Timing,
        leadership: watch::Sender<Leadership>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            candidate: Candidate::new(me, timing, Instant::now()),
            written: None,
            trouble: "no answer yet".to_owned(),
            until: watch::Sender::new(None),
            leadership,
        }
    }

    /// Runs until `stop`, then gives the Lease back where it is ours. To be stopped only when nothing is written any
    /// more. An error means that leadership is lost.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LeaseError> {
        while !stop.is_cancelled() {
            self.round().await?;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.candidate.timing.retry_period) => {}
            }
        }
        self.release().await;
        Ok(())
    }

    /// One look at the Lease, and one write where it is ours or free.
    async fn round(&mut self) -> Result<(), LeaseError> {
        self.check_deadline()?;
        let mut deadline = Instant::now() + self.candidate.timing.renew_deadline / 2;
        if let Some(until) = self.candidate.until {
            deadline = deadline.min(until);
        }
        let trouble = match tokio::time::timeout_at(deadline, self.campaign()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Trouble::Lost(lost))) => {
                self.until.send_replace(None);
                return Err(lost);
            }
            Ok(Err(Trouble::Call(error))) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!("cannot read or write the Lease {LEASE_NAME}: {trouble}");
        self.note(trouble);
        self.check_deadline()
    }

    fn check_deadline(&self) -> Result<(), LeaseError> {
        if self.candidate.is_overdue(Instant::now()) {
            let renew_deadline = self.candidate.timing.renew_deadline;
            return Err(LeaseError::Overdue { renew_deadline, reason: self.trouble.clone() });
        }
        Ok(())
    }

    fn note(&mut self, trouble: String) {
        self.leadership.send_if_modified(|leadership| {
            let Leadership::Unknown { reason } = leadership else { return false };
            *reason = format!("cannot read or write the Lease {LEASE_NAME}: {trouble}");
            true
        });
        self.trouble = trouble;
    }

    async fn campaign(&mut self) -> Result<(), Trouble> {
        let known = match self.written.take() {
            Some(lease) => Some(lease),
            None => self.api.get_opt(LEASE_NAME).await?,
        };
        let view = known.as_ref().map(LeaseView::of);
        match self.candidate.step(view.as_ref(), Instant::now()) {
            Step::Wait { .. } => self.stand_by(view.map(|view| view.holder).unwrap_or_default()),
            step => self.write(step, known).await,
        }
    }

    fn stand_by(&mut self, holder: String) -> Result<(), Trouble> {
        if self.candidate.until.is_some() {
            return Err(Trouble::Lost(LeaseError::Taken { holder }));
        }
        self.leadership.send_if_modified(|leadership| {
            let news = !matches!(leadership, Leadership::Standby { holder: known } if *known == holder);
            if news {
                tracing::info!(%holder, "standing by");
                *leadership = Leadership::Standby { holder };
            }
            news
        });
        Ok(())
    }

    async fn write(&mut self, step: Step, known: Option<Lease>) -> Result<(), Trouble> {
        let claim = claim(known, step, &self.candidate.me, self.candidate.timing, clock::precise_now());
        let parameters = PostParams::default();
        let sent = Instant::now();
        let answer = if step == Step::Create {
            self.api.create(&parameters, &claim).await
        } else {
            self.api.replace(LEASE_NAME, &parameters, &claim).await
        };
        match answer {
            Ok(lease) => {
                self.written = Some(lease);
                self.lead(sent);
                Ok(())
            }
            // Somebody was faster, or an answer to ourselves got lost: the next look tells.
            Err(error) if is_conflict(&error) => {
                self.trouble = error.to_string();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lead(&mut self, sent: Instant) {
        let first = self.candidate.until.is_none();
        self.candidate.wrote(sent);
        self.until.send_replace(self.candidate.until);
        if first {
            tracing::info!(identity = self.candidate.me, "leading");
            let guard = LeaderGuard { until: Some(self.until.subscribe()) };
            self.leadership.send_replace(Leadership::Leading(guard));
        }
    }

    /// Empties the Lease, so that the next leader need not wait. Failing is harmless: then it waits.
    async fn release(mut self) {
        self.until.send_replace(None);
        if self.candidate.until.is_none() {
            return;
        }
        let Some(mut lease) = self.written.take() else { return };
        lease.spec.get_or_insert_default().holder_identity = Some(String::new());
        if let Err(error) = self.api.replace(LEASE_NAME, &PostParams::default(), &lease).await {
            tracing::warn!("cannot release the Lease {LEASE_NAME}: {error}; the next leader waits until it is stale");
        }
    }
}

enum Trouble {
    Call(kube::Error),
    Lost(LeaseError),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Call(error)
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// The Lease as it is to be written. Keeps what others put on it.
fn claim(known: Option<Lease>, step: Step, me: &str, timing: Timing, now: DateTime<Utc>) -> Lease {
    let now = MicroTime(Timestamp::from_microsecond(now.timestamp_micros()).unwrap_or_default());
    let mut lease = known.unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
    if step != Step::Renew {
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
        spec.acquire_time = Some(now.clone());
    }
    spec.holder_identity = Some(me.to_owned());
    spec.lease_duration_seconds = Some(i32::try_from(timing.lease_duration.as_secs()).unwrap_or(i32::MAX).max(1));
    spec.renew_time = Some(now);
    lease
}

/// A name for this process that no other one has, not even one that runs later in the same pod.
pub fn identity(host: &str) -> String {
    format!("{host}_{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests;
