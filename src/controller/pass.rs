//! One pass over one Canary: observe, ask, decide, carry out, tell.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::context::Context;
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::api::status::CanaryStatus;
use crate::clock;
use crate::cluster::apply::uid_of;
#[cfg(test)]
use crate::cluster::mistakes::{self, Mistake};
use crate::cluster::object::Object;
use crate::cluster::{ClusterError, status_of};
use crate::rollout::{self, Snapshot};

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A request to Kubernetes failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The status on the API server is not what Serin or Flagger writes.
    #[error("status of Canary {key} can't be read: {source}; mend it with kubectl edit --subresource=status")]
    Status {
        /// The Canary.
        key: ObjectKey,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The code panicked; only this Canary is affected.
    #[error("the pass panicked: {message}; this is a bug in Serin, please report it")]
    Panic {
        /// The panic's words.
        message: String,
    },
}

impl PassError {
    /// Whether starting over at once is the answer: somebody else was faster.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Cluster(ClusterError::Conflict { .. } | ClusterError::TargetMoved { .. }))
    }

    /// What a person has to mend, if that is what it takes; an API server that is down or slow is not.
    fn problem(&self) -> Option<String> {
        match self {
            Self::Cluster(error) if error.is_refusal() => Some(error.to_string()),
            Self::Panic { .. } => Some(self.to_string()),
            Self::Cluster(_) | Self::Status { .. } => None,
        }
    }
}

/// How a pass ended that came to its end.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// When the next one is due without being woken.
    pub next: Option<DateTime<Utc>>,
    /// Something is left undone until a person mends what the Canary says.
    pub impeded: bool,
}

/// Makes one pass.
///
/// # Errors
/// What is described in [`PassError`]; everything that was not done is done by a later pass.
pub async fn pass(context: &Arc<Context>, key: &ObjectKey) -> Result<Passed, PassError> {
    let Some(object) = context.cluster.canary(key).await? else {
        context.forget(key);
        return Ok(Passed { next: None, impeded: false });
    };
    let status = status_of(&object).map_err(|source| PassError::Status { key: key.clone(), source })?;
    match context.validated.validate(key, object.json(), &context.defaults) {
        Ok(canary) => run(context, object, &canary, &status).await,
        Err(invalid) => refuse(context, object, key, &status, &invalid.to_string()).await,
    }
}

/// A Canary that can't be used as it is written says so; what runs is left as it is.
async fn refuse(
    context: &Arc<Context>,
    object: Object,
    key: &ObjectKey,
    status: &CanaryStatus,
    problem: &str,
) -> Result<Passed, PassError> {
    #[cfg(test)]
    if mistakes::is_made(Mistake::HideTheBroken) {
        return Ok(Passed { next: None, impeded: false });
    }
    let uid = uid_of(&object);
    let decision = if object.is_being_deleted() {
        rollout::let_go(status, problem)
    } else {
        rollout::refuse(status, object.generation(), problem, clock::now())
    };
    context.cluster.carry_out_alone(object, &decision).await?;
    context.publish(key, &uid, &decision.notices);
    Ok(Passed { next: decision.next, impeded: false })
}

/// Has a Canary say what a person must mend before its pass can succeed, and returns how long it is left alone.
pub async fn failed(context: &Arc<Context>, key: &ObjectKey, failure: &PassError) -> Duration {
    let problem = tell_problem(context, key, failure).await;
    context.failures.failed(key, problem)
}

async fn tell_problem(context: &Arc<Context>, key: &ObjectKey, failure: &PassError) -> Option<String> {
    let problem = failure.problem()?;
    if let Err(error) = tell(context, key, &problem).await {
        warn!(canary = %key, %error, "the Canary could not be told why its pass failed");
    }
    Some(problem)
}

async fn tell(context: &Arc<Context>, key: &ObjectKey, problem: &str) -> Result<(), PassError> {
    let Some(object) = context.cluster.canary(key).await? else { return Ok(()) };
    let status = status_of(&object).map_err(|source| PassError::Status { key: key.clone(), source })?;
    let generation = object.generation();
    let uid = uid_of(&object);
    let decision = rollout::impeded(&status, generation, problem, clock::now());
    context.cluster.carry_out_alone(object, &decision).await?;
    context.publish(key, &uid, &decision.notices);
    Ok(())
}

async fn run(
    context: &Arc<Context>,
    object: Object,
    canary: &ValidatedCanary,
    status: &CanaryStatus,
) -> Result<Passed, PassError> {
    #[cfg(test)]
    let status = &mistakes::misread(status);
    let before = context.cluster.observe(canary).await?;
    context.index.set(&canary.key, &before.observed.watched);
    let (now, on_watch) = (clock::now(), context.on_watch());
    let first = Snapshot { canary, status, seen: &before.seen, measurements: &[], now, on_watch };
    // Without answers to wait for, the time stays the same too: what is not due was not measured.
    let (measurements, observation, now) = if rollout::needs(&first).measurements {
        let measurements = context.measure(canary, status, now).await;
        // It may have taken seconds, in which the pods may have gone that the next step is for.
        (measurements, context.cluster.observe(canary).await?, clock::now())
    } else {
        (Vec::new(), before.clone(), now)
    };
    let observed = &observation.observed;
    #[cfg(test)]
    let measurements = mistakes::forged(measurements);
    let snapshot = Snapshot { seen: &observation.seen, measurements: &measurements, now, ..first };
    let mut decision = rollout::decide(&snapshot);
    let goes_on = !canary.suspended && !decision.is_stalled();
    if let Some(problem) = context.failures.problem(&canary.key, rollout::refused(status)) {
        decision = rollout::retried(decision, status, canary.generation, &problem, now);
    }
    #[cfg(test)]
    let decision = mistakes::spoilt(&snapshot, decision);
    #[cfg(test)]
    if mistakes::is_made(Mistake::TellFirst) {
        context.tell_first(canary, &decision.notices).await;
    }
    let done = context.cluster.carry_out(object, canary, observed, &decision).await;
    // A decision that is in the status stands whatever failed after it, and no later pass would tell of it.
    if done.committed || done.failure.is_none() {
        context.report(canary, status, &decision);
        context.send_alerts(canary, &done.alerts);
        #[cfg(test)]
        if mistakes::is_made(Mistake::TellTwice) {
            context.send_alerts(canary, &done.alerts);
        }
        context.publish(&canary.key, &canary.uid, &decision.notices);
    }
    if let Some(failure) = done.failure {
        return Err(failure.into());
    }
    let Some((repair, refusal)) = done.impediment else {
        // A refused repair that was not tried here stays undone until a later pass tries it, where there will be one.
        let undone = goes_on && context.failures.repair(&canary.key).is_some_and(|repair| !decision.tries(repair));
        #[cfg(test)]
        let undone = undone && !mistakes::is_made(Mistake::ForgetTheRefusal);
        return Ok(Passed { next: decision.next, impeded: undone });
    };
    let problem = tell_problem(context, &canary.key, &refusal.into()).await;
    let again = clock::now() + context.failures.impeded(&canary.key, repair, problem);
    Ok(Passed { next: Some(decision.next.map_or(again, |next| next.min(again))), impeded: true })
}
