//! What a pass observed, and what the one before it did.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

use super::cache::Cache;
use super::kinds::Kind;
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::object::{find, is_same_but_scale};
use crate::rollout::{Intent, Revision, Seen};
use crate::workload::{ConfigKind, ExistingServices};

/// Everything around one Canary as it is now, as plain JSON.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The target Deployment.
    pub target: Option<Arc<Value>>,
    /// The primary Deployment.
    pub primary: Option<Arc<Value>>,
    /// The three Services.
    pub services: ExistingServices,
    /// Whether all three are there and as they should be.
    pub services_are_right: bool,
    /// The target's autoscaler.
    pub autoscaler: Option<Arc<Value>>,
    /// The primary's autoscaler.
    pub primary_autoscaler: Option<Arc<Value>>,
    /// The routing object.
    pub route: Option<Arc<Value>>,
    /// The intent that the routing object was found to be at, if one was: most passes leave it there.
    pub(super) route_is_at: OnceLock<Intent>,
    /// Metadata of the target's tracked configuration, and of what has the name of its copy.
    pub configs: Vec<(ConfigKind, Arc<Value>, Option<Arc<Value>>)>,
    /// All objects that matter to the Canary, there or not: a change of any of them is a reason for a pass.
    pub watched: Vec<(Kind, ObjectKey)>,
    /// What was found of each of those.
    pub(super) found: Vec<Option<Arc<Value>>>,
}

impl Observed {
    /// Notes an object that matters to the Canary.
    pub(super) fn note(&mut self, kind: Kind, key: ObjectKey, found: Option<Arc<Value>>) {
        self.watched.push((kind, key));
        self.found.push(found);
    }

    /// Takes over what was found out about the routing object when it was looked at before.
    pub(super) fn recall_route(&mut self, before: &Self) {
        if let (Some(then), Some(now)) = (&before.route, &self.route)
            && (Arc::ptr_eq(then, now) || is_same_version(then, now))
        {
            self.route_is_at.clone_from(&before.route_is_at);
        }
    }

    /// Whether everything that was looked at is as it was: there or not, and the same version.
    pub(super) fn is_unchanged(&self, cache: &Cache) -> bool {
        let mut pairs = self.watched.iter().zip(&self.found);
        pairs.all(|((kind, key), then)| match (cache.value(*kind, key), then) {
            (None, None) => true,
            (Some(now), Some(then)) => Arc::ptr_eq(&now, then) || is_same_version(&now, then),
            _ => false,
        })
    }
}

/// Our own answer and the watch may both have it.
fn is_same_version(one: &Value, other: &Value) -> bool {
    ["/metadata/uid", "/metadata/resourceVersion"].into_iter().all(|field| find(one, field) == find(other, field))
}

/// What was observed around a Canary, and what it means.
#[derive(Debug)]
pub struct Observation {
    pub(super) canary: ValidatedCanary,
    /// The objects.
    pub observed: Observed,
    /// What they mean.
    pub seen: Seen,
    pub(super) pairing: Option<Arc<Pairing>>,
}

/// What follows from the target, its primary, their configuration and their Services, whatever their status and their
/// replicas.
#[derive(Debug)]
pub(super) struct Pairing {
    /// The target at its configuration.
    pub revision: Revision,
    /// Whether the primary is the target's already; or why it can't be.
    pub matches_primary: Result<bool, String>,
    /// Whether the Services are as they should be; or why they can't be.
    pub services_are_right: Result<bool, String>,
}

impl Observation {
    /// What followed from the same objects, whatever their status and their replicas were then.
    pub(super) fn pairing_of(&self, observed: &Observed, configs: &BTreeMap<String, String>) -> Option<Arc<Pairing>> {
        let (before, now) = (&self.observed, observed);
        let pairs = [
            (&before.target, &now.target),
            (&before.primary, &now.primary),
            (&before.services.apex, &now.services.apex),
            (&before.services.primary, &now.services.primary),
            (&before.services.canary, &now.services.canary),
        ];
        let is_same = pairs.into_iter().all(|(before, now)| match (before, now) {
            (None, None) => true,
            (Some(before), Some(now)) => Arc::ptr_eq(before, now) || is_same_but_scale(before, now),
            _ => false,
        });
        self.pairing.clone().filter(|pairing| is_same && pairing.revision.configs == *configs)
    }
}

/// The last observation of each Canary. Most passes find everything as the pass before left it, and what that means was
/// worked out then.
#[derive(Default)]
pub struct Observations(Mutex<HashMap<ObjectKey, Arc<Observation>>>);

impl Observations {
    /// The last one of a Canary that was then as it is now.
    pub fn of(&self, canary: &ValidatedCanary) -> Option<Arc<Observation>> {
        let known = self.lock().get(&canary.key).cloned();
        known.filter(|known| known.canary == *canary)
    }

    /// Keeps an observation for the next pass.
    pub fn keep(&self, observation: Arc<Observation>) {
        self.lock().insert(observation.canary.key.clone(), observation);
    }

    /// Forgets what was observed around a Canary.
    pub fn forget(&self, canary: &ObjectKey) {
        self.lock().remove(canary);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Observation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
