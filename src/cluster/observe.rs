//! What is there now, from the caches; only the content of changed ConfigMaps and Secrets is fetched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt;
use serde_json::Value;

use super::cache::to_value;
use super::kinds::Kind;
use super::{Cluster, ClusterError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::{Revision, Seen, Target, Traffic};
use crate::routing;
use crate::workload::{self, ConfigKind, ConfigReference, ExistingServices, WorkloadError};

/// Everything around one Canary as it is now, as plain JSON.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The target Deployment.
    pub target: Option<Value>,
    /// The primary Deployment.
    pub primary: Option<Value>,
    /// The three Services.
    pub services: ExistingServices,
    /// The target's autoscaler.
    pub autoscaler: Option<Value>,
    /// The primary's autoscaler.
    pub primary_autoscaler: Option<Value>,
    /// The routing object.
    pub route: Option<Value>,
    /// Metadata of the target's tracked configuration, and of what has the name of its copy.
    pub configs: Vec<(ConfigKind, Value, Option<Value>)>,
    /// All objects that matter to the Canary, there or not: a change of any of them is a reason for a pass.
    pub watched: Vec<(Kind, ObjectKey)>,
}

/// Checksums of tracked configuration by object, so that content is fetched only where it changed.
#[derive(Default)]
pub struct Checksums(Mutex<HashMap<(Kind, ObjectKey), Checksum>>);

#[derive(Clone)]
struct Checksum {
    /// `metadata.resourceVersion` that it was made from.
    version: String,
    /// `None` where the object is not tracked.
    value: Option<String>,
}

impl Checksums {
    fn get(&self, entry: &(Kind, ObjectKey), version: &str) -> Option<Checksum> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(entry).filter(|known| known.version == version).cloned()
    }

    fn set(&self, entry: (Kind, ObjectKey), checksum: Checksum) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry, checksum);
    }
}

impl Cluster {
    /// Observes what surrounds a Canary.
    ///
    /// # Errors
    /// Content of a changed ConfigMap or Secret could not be fetched.
    pub async fn observe(&self, canary: &ValidatedCanary) -> Result<(Observed, Seen), ClusterError> {
        let mut observed = self.look(canary);
        if self.resolve_doubts(&observed.watched).await {
            observed = self.look(canary);
        }
        let mut seen = Seen { traffic: Self::traffic(canary, &observed), ..Seen::default() };
        if let Some(deployment) = &observed.primary {
            let threshold = canary.analysis.primary_ready_threshold_percent;
            seen.primary = Some(workload::readiness(deployment, threshold));
            seen.primary_revision = workload::written_revision(deployment);
        }
        if let Some(target) = observed.target.clone() {
            let (configs, missing) = self.checksums(canary, &target, &mut observed).await?;
            let revision = workload::revision(&target, &configs);
            seen.target = Some(self.target(canary, &target, observed.primary.as_ref(), revision));
            seen.obstacle = missing.or_else(|| self.absent(canary, &observed)).or_else(|| {
                let taken = self.contradiction(canary, &target, &observed);
                taken.map(|error| error.to_string())
            });
        }
        Ok((observed, seen))
    }

    fn look(&self, canary: &ValidatedCanary) -> Observed {
        let mut watched = Vec::new();
        let mut look = |kind: Kind, name: String| {
            let key = ObjectKey::new(&canary.key.namespace, name);
            let value = self.cache.value(kind, &key);
            watched.push((kind, key));
            value
        };
        let mut observed = Observed {
            target: look(Kind::Deployment, canary.target_name.clone()),
            primary: look(Kind::Deployment, canary.primary_name()),
            services: ExistingServices {
                apex: look(Kind::Service, canary.service.name.clone()),
                primary: look(Kind::Service, canary.service.primary_name()),
                canary: look(Kind::Service, canary.service.canary_name()),
            },
            ..Observed::default()
        };
        if let Some(autoscaler) = &canary.autoscaler {
            observed.autoscaler = look(Kind::HorizontalPodAutoscaler, autoscaler.name.clone());
            observed.primary_autoscaler = look(Kind::HorizontalPodAutoscaler, format!("{}-primary", autoscaler.name));
        }
        if let Some(resource) = routing::router(canary.provider).resource(canary)
            && let Some(kind) = Kind::named(&resource.kind)
        {
            observed.route = look(kind, resource.key.name);
        }
        observed.watched = watched;
        observed
    }

    fn traffic(canary: &ValidatedCanary, observed: &Observed) -> Traffic {
        routing::router(canary.provider).read(canary, observed.route.as_ref())
    }

    fn target(
        &self,
        canary: &ValidatedCanary,
        target: &Value,
        existing: Option<&Value>,
        revision: Revision,
    ) -> Result<Target, String> {
        let can_be_paired = workload::blueprint(target, canary, &revision, &self.settings, None)
            .and_then(|_| existing.map_or(Ok(()), |existing| workload::check_primary_owner(existing, canary)));
        can_be_paired.map_err(|error| error.to_string())?;
        Ok(Target {
            replicas: workload::replicas(target),
            readiness: workload::readiness(target, canary.analysis.canary_ready_threshold_percent),
            matches_primary: existing
                .is_some_and(|existing| workload::matches(target, existing, canary, &self.settings)),
            revision,
        })
    }

    /// Checksums of the configuration that a target refers to, and the first thing that is missing, in words.
    async fn checksums(
        &self,
        canary: &ValidatedCanary,
        target: &Value,
        observed: &mut Observed,
    ) -> Result<(BTreeMap<String, String>, Option<String>), ClusterError> {
        let mut checksums = BTreeMap::new();
        let mut missing = None;
        if !self.track_configs {
            return Ok((checksums, missing));
        }
        for (reference, optional) in workload::references(target) {
            let kind = kind_of(reference.kind);
            let key = ObjectKey::new(&canary.key.namespace, &reference.name);
            observed.watched.push((kind, key.clone()));
            let original = self.cache.get(kind, &key);
            let Some((original, version)) =
                original.and_then(|found| Some((to_value(&found), found.resource_version()?)))
            else {
                if !optional {
                    missing.get_or_insert_with(|| missing_config(canary, &reference));
                }
                continue;
            };
            if let Some(checksum) = self.checksum(reference.kind, &key, version).await? {
                checksums.insert(reference.to_string(), checksum);
                let copy = ObjectKey::new(&key.namespace, format!("{}-primary", key.name));
                observed.configs.push((reference.kind, original, self.cache.value(kind, &copy)));
                observed.watched.push((kind, copy));
            }
        }
        Ok((checksums, missing))
    }

    async fn checksum(
        &self,
        config_kind: ConfigKind,
        key: &ObjectKey,
        version: String,
    ) -> Result<Option<String>, ClusterError> {
        let kind = kind_of(config_kind);
        let entry = (kind, key.clone());
        if let Some(known) = self.checksums.get(&entry, &version) {
            return Ok(known.value);
        }
        let Some(object) = self.fetch(kind, key).await? else { return Ok(None) };
        let value = workload::checksum(config_kind, &to_value(&object));
        let version = object.resource_version().unwrap_or(version);
        self.checksums.set(entry, Checksum { version, value: value.clone() });
        Ok(value)
    }

    /// Why the parts beside the target can't be made or kept: somebody else's objects have their names, or what is asked
    /// for contradicts itself.
    fn contradiction(&self, canary: &ValidatedCanary, target: &Value, observed: &Observed) -> Option<WorkloadError> {
        let services = workload::plan_services(canary, &self.settings, target, &observed.services, true);
        let autoscaler = || {
            let (reference, hpa) = (canary.autoscaler.as_ref()?, observed.autoscaler.as_ref()?);
            let existing = observed.primary_autoscaler.as_ref();
            workload::plan_autoscaler(reference, hpa, existing, true, canary, &self.settings).err()
        };
        let copies = || {
            observed.configs.iter().find_map(|(kind, original, copy)| {
                workload::plan_copy(*kind, original, copy.as_ref(), canary, &self.settings).err()
            })
        };
        services.err().or_else(autoscaler).or_else(copies)
    }

    /// What must exist beside the target and does not, in words.
    fn absent(&self, canary: &ValidatedCanary, observed: &Observed) -> Option<String> {
        if let Some(autoscaler) = &canary.autoscaler
            && observed.autoscaler.is_none()
        {
            return Some(format!(
                "HorizontalPodAutoscaler {} does not exist; create it or mend spec.autoscalerRef.name",
                autoscaler.name
            ));
        }
        let resource = routing::router(canary.provider).resource(canary)?;
        let kind = Kind::named(&resource.kind)?;
        if self.missing_kinds.contains(&kind) && self.cache.all(kind).is_empty() {
            return Some(format!(
                "the API server knows no {} of {}; install its CRDs or choose another spec.provider",
                resource.kind, resource.api_version
            ));
        }
        None
    }
}

pub(super) fn kind_of(kind: ConfigKind) -> Kind {
    match kind {
        ConfigKind::ConfigMap => Kind::ConfigMap,
        ConfigKind::Secret => Kind::Secret,
    }
}

fn missing_config(canary: &ValidatedCanary, reference: &ConfigReference) -> String {
    format!(
        "{reference} does not exist, and Deployment {} refers to it; create it or mark the reference optional",
        canary.target_name
    )
}
