//! Every Kubernetes call there is.

pub mod apply;
mod bounded;
pub mod cache;
pub mod client;
pub mod events;
pub mod kinds;
pub mod lease;
#[cfg(test)]
pub mod mistakes;
pub mod object;
pub mod observation;
mod observe;
mod traffic;
mod vanished;
mod watch_retries;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use kube::Client;
use kube::api::{Api, ListParams};
use serde::Deserialize;
use serde_json::Value;

use self::cache::Cache;
use self::kinds::Kind;
use self::lease::LeaderGuard;
use self::object::Object;
use self::observation::Observations;
use self::observe::Checksums;
use crate::api::alert_provider::AlertProviderSpec;
use crate::api::checked::ObjectKey;
use crate::api::metric_template::MetricTemplateSpec;
use crate::api::status::CanaryStatus;
use crate::workload::{Settings, WorkloadError};

/// Why a request to Kubernetes did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Somebody else made, changed or deleted the object since it was looked at.
    #[error("{kind} {key} is not as it was seen any more; the pass starts again")]
    Conflict {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
    },
    /// The target is not at the revision that was decided on.
    #[error("Deployment {target} or its configuration changed since it was analysed; the pass starts again")]
    TargetMoved {
        /// The target.
        target: ObjectKey,
    },
    /// This process may not write any more.
    #[error("this process does not hold the leader lease any more; it writes nothing")]
    NotLeading,
    /// The API server may not let us.
    #[error(
        "not allowed to {verb} {kind} {key}: {message}; raise the quota or change the policy that says so, or, if it is RBAC, compare the ClusterRole with deploy/base"
    )]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// The API server's words.
        message: String,
    },
    /// The request failed.
    #[error("could not {verb} {kind} {key}: {source}")]
    Request {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// What happened.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object could not be put into JSON or taken from it.
    #[error("could not encode {what}: {source}")]
    Encode {
        /// Which object.
        what: String,
        /// What happened.
        #[source]
        source: serde_json::Error,
    },
    /// A plan names a kind that Serin does not handle.
    #[error("{kind} {key} is of a kind that Serin does not handle; this is a bug in Serin, please report it")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// The object.
        key: ObjectKey,
    },
    /// The workload can't be paired.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
}

impl ClusterError {
    /// Whether a person has to mend something before the same request can succeed: the API server understood it and said
    /// no, or it can't be made at all.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Forbidden { .. } | Self::Workload(_) | Self::UnknownKind { .. } | Self::Encode { .. } => true,
            Self::Request { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429)
            }
            Self::Conflict { .. } | Self::TargetMoved { .. } | Self::NotLeading => false,
        }
    }
}

/// The cluster as Serin sees and changes it.
pub struct Cluster {
    client: Client,
    cache: Cache,
    checksums: Checksums,
    observations: Observations,
    settings: Settings,
    track_configs: bool,
    missing_kinds: Vec<Kind>,
    guard: LeaderGuard,
    /// Canaries that were read from the API server or written since this process leads: for those, the cache with our
    /// own writes on top is as new as anything we did.
    confirmed: Mutex<HashSet<ObjectKey>>,
}

/// What a [`Cluster`] is made of.
pub struct Parts {
    /// Client of the API server.
    pub client: Client,
    /// What the watches have seen.
    pub cache: Cache,
    /// How workloads are paired.
    pub settings: Settings,
    /// Whether ConfigMaps and Secrets belong to a revision.
    pub track_configs: bool,
    /// Kinds that were not installed at the start.
    pub missing_kinds: Vec<Kind>,
    /// Says whether this process may write.
    pub guard: LeaderGuard,
}

impl Cluster {
    /// A cluster from its parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { client, cache, settings, track_configs, missing_kinds, guard } = parts;
        Self {
            client,
            cache,
            checksums: Checksums::default(),
            observations: Observations::default(),
            settings,
            track_configs,
            missing_kinds,
            guard,
            confirmed: Mutex::default(),
        }
    }

    /// What the watches have seen.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A Canary at least as new as anything that we did to it; `None` if it is gone.
    ///
    /// # Errors
    /// It had to be fetched, and that failed.
    pub async fn canary(&self, key: &ObjectKey) -> Result<Option<Object>, ClusterError> {
        let confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).contains(key);
        if confirmed {
            return Ok(self.cache.get(Kind::Canary, key).map(|object| Object::clone(&object)));
        }
        let Some(object) = self.fetch(Kind::Canary, key).await? else { return Ok(None) };
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Ok(Some(object))
    }

    /// Has the next pass read this Canary from the API server.
    pub fn doubt(&self, key: &ObjectKey) {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets a Canary that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.doubt(key);
        self.observations.forget(key);
    }

    /// A `MetricTemplate` by name, or in words why there is none.
    pub fn metric_template(&self, key: &ObjectKey) -> Result<MetricTemplateSpec, String> {
        self.spec(Kind::MetricTemplate, key)
    }

    /// An `AlertProvider` by name, or in words why there is none.
    pub fn alert_provider(&self, key: &ObjectKey) -> Result<AlertProviderSpec, String> {
        self.spec(Kind::AlertProvider, key)
    }

    fn spec<T: serde::de::DeserializeOwned>(&self, kind: Kind, key: &ObjectKey) -> Result<T, String> {
        let name = kind.name();
        let Some(object) = self.cache.value(kind, key) else {
            return Err(format!("{name} {key} does not exist; create it or mend the reference to it"));
        };
        T::deserialize(&object["spec"]).map_err(|error| format!("{name} {key} can't be read: {error}"))
    }

    /// The decoded data of a Secret, or in words why there is none.
    pub async fn secret(&self, key: &ObjectKey) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let secret: Option<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.client.clone(), &key.namespace)
            .get_opt(&key.name)
            .await
            .map_err(|error| format!("Secret {key} can't be read: {error}"))?;
        let secret = secret.ok_or_else(|| format!("Secret {key} does not exist; create it or mend secretRef.name"))?;
        Ok(secret.data.unwrap_or_default().into_iter().map(|(name, value)| (name, value.0)).collect())
    }

    fn api(&self, kind: Kind, namespace: &str) -> Api<Object> {
        Api::namespaced_with(self.client.clone(), namespace, &kind)
    }

    /// An object from the API server itself. The cache remembers it.
    async fn fetch(&self, kind: Kind, key: &ObjectKey) -> Result<Option<Object>, ClusterError> {
        let answer = self.api(kind, &key.namespace).get_opt(&key.name).await;
        self.fetched(kind, key, answer)
    }

    /// The same for kinds that may be listed and not read one by one: a list of the one with this name.
    async fn fetch_by_list(&self, kind: Kind, key: &ObjectKey) -> Result<Option<Object>, ClusterError> {
        #[cfg(test)]
        if mistakes::is_made(mistakes::Mistake::ReadTheRoute) {
            return self.fetch(kind, key).await;
        }
        let one = ListParams::default().fields(&format!("metadata.name={}", key.name));
        let answer = match self.api(kind, &key.namespace).list(&one).await {
            Ok(list) => Ok(list.items.into_iter().next()),
            // The kind is not installed any more.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
        self.fetched(kind, key, answer)
    }

    fn fetched(
        &self,
        kind: Kind,
        key: &ObjectKey,
        answer: kube::Result<Option<Object>>,
    ) -> Result<Option<Object>, ClusterError> {
        let object = answer.map_err(|error| self.failed("read", kind.name(), key, error))?;
        match &object {
            Some(object) => drop(self.cache.remember(kind, object.clone())),
            None => self.cache.remember_gone(kind, key),
        }
        Ok(object)
    }

    /// Reads those of the objects again of which the cache may be behind, and says whether there were any. One that can't
    /// be read stays in doubt, and nobody waits for it: what is decided from an old view of it is refused by its version.
    async fn resolve_doubts(&self, objects: &[(Kind, ObjectKey)]) -> bool {
        let doubted: Vec<_> = {
            let doubted = self.cache.doubts().lock();
            objects.iter().filter(|object| doubted.contains(*object)).cloned().collect()
        };
        for (kind, key) in &doubted {
            if self.fetch_by_list(*kind, key).await.is_ok() {
                self.cache.doubts().lock().remove(&(*kind, key.clone()));
            }
        }
        !doubted.is_empty()
    }

    /// Refuses where this process does not lead any more.
    fn guard(&self) -> Result<(), ClusterError> {
        if self.guard.is_leader_now() { Ok(()) } else { Err(ClusterError::NotLeading) }
    }

    /// What a failed request means. Where it may have to do with what the cache knows, the object is doubted.
    fn failed(&self, verb: &'static str, kind_name: &str, key: &ObjectKey, error: kube::Error) -> ClusterError {
        let (kind, key) = (kind_name.to_owned(), key.clone());
        let failure = match error {
            kube::Error::Api(status) if is_out_of_date(verb, &status) => {
                ClusterError::Conflict { kind, key: key.clone() }
            }
            kube::Error::Api(status) if status.is_forbidden() => {
                ClusterError::Forbidden { verb, kind, key: key.clone(), message: status.message.clone() }
            }
            source => ClusterError::Request { verb, kind, key: key.clone(), source: Box::new(source) },
        };
        match Kind::named(kind_name) {
            Some(Kind::Canary) => self.doubt(&key),
            // The copies of configuration are read before each write.
            Some(kind) if !kind.metadata_only() && !failure.is_refusal() => {
                self.cache.doubts().lock().insert((kind, key));
            }
            _ => {}
        }
        failure
    }
}

/// Verb of a creation, in words for people.
const CREATE: &str = "create";

/// Whether a write was refused because the object is not as it was when the write was decided: changed, made by somebody
/// else, or gone. (What can't be created because its kind or namespace is missing is not about the object.)
fn is_out_of_date(verb: &str, status: &kube::core::Status) -> bool {
    status.is_conflict() || status.is_already_exists() || (status.is_not_found() && verb != CREATE)
}

/// The status of a Canary as the API server has it; an absent one is empty.
///
/// # Errors
/// It can't be decoded.
pub fn status_of(object: &Object) -> Result<CanaryStatus, serde_json::Error> {
    match object.json().get("status") {
        None | Some(Value::Null) => Ok(CanaryStatus::default()),
        Some(status) => CanaryStatus::deserialize(status),
    }
}
