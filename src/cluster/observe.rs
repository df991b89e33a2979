//! What is there now, from the caches; only the content of changed ConfigMaps and Secrets is fetched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::kinds::Kind;
use super::observation::{Observation, Observed, Pairing};
use super::{Cluster, ClusterError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::ownership::scaled_by_us;
use crate::rollout::{Seen, Target, Traffic};
use crate::routing;
use crate::workload::{self, ConfigKind, ConfigReference, ExistingServices, WorkloadError};

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
    pub async fn observe(&self, canary: &ValidatedCanary) -> Result<Arc<Observation>, ClusterError> {
        let known = self.observations.of(canary);
        if let Some(known) = &known {
            self.resolve_doubts(&known.observed.watched).await;
            if known.observed.is_unchanged(&self.cache) {
                return Ok(known.clone());
            }
        }
        let mut observed = self.look(canary);
        if self.resolve_doubts(&observed.watched).await {
            observed = self.look(canary);
        }
        if let Some(known) = &known {
            observed.recall_route(&known.observed);
        }
        let (seen, pairing) = self.understand(canary, &mut observed, known.as_deref()).await?;
        let observation = Arc::new(Observation { canary: canary.clone(), observed, seen, pairing });
        // A kind that is not installed may be, without any of these objects changing.
        if self.missing_kinds.is_empty() {
            self.observations.keep(observation.clone());
        }
        Ok(observation)
    }

    /// What the objects around a Canary mean.
    async fn understand(
        &self,
        canary: &ValidatedCanary,
        observed: &mut Observed,
        known: Option<&Observation>,
    ) -> Result<(Seen, Option<Arc<Pairing>>), ClusterError> {
        let mut seen = Seen { traffic: Self::traffic(canary, observed), ..Seen::default() };
        if let Some(deployment) = &observed.primary {
            let threshold = canary.analysis.primary_ready_threshold_percent;
            seen.primary = Some(workload::readiness(deployment, threshold));
            seen.primary_revision = workload::written_revision(deployment);
        }
        let Some(target) = observed.target.clone() else { return Ok((seen, None)) };
        let (configs, missing) = self.checksums(canary, &target, observed).await?;
        let pairing = known
            .and_then(|known| known.pairing_of(observed, &configs))
            .unwrap_or_else(|| Arc::new(self.pairing(canary, &target, observed, &configs)));
        seen.target = Some(pairing.matches_primary.clone().map(|matches_primary| Target {
            replicas: workload::replicas(&target),
            scaled_by_us: scaled_by_us(&target),
            readiness: workload::readiness(&target, canary.analysis.canary_ready_threshold_percent),
            matches_primary,
            revision: pairing.revision.clone(),
        }));
        observed.services_are_right = pairing.services_are_right == Ok(true);
        seen.obstacle = missing.or_else(|| self.absent(canary, observed)).or_else(|| {
            let taken = pairing.services_are_right.clone().err();
            taken.or_else(|| self.contradiction(canary, observed).map(|error| error.to_string()))
        });
        Ok((seen, Some(pairing)))
    }

    fn look(&self, canary: &ValidatedCanary) -> Observed {
        let mut looks = Vec::new();
        let mut look = |kind: Kind, name: String| {
            let key = ObjectKey::new(&canary.key.namespace, name);
            let found = self.cache.value(kind, &key);
            looks.push(((kind, key), found.clone()));
            found
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
        (observed.watched, observed.found) = looks.into_iter().unzip();
        observed
    }

    fn traffic(canary: &ValidatedCanary, observed: &Observed) -> Traffic {
        routing::router(canary.provider).read(canary, observed.route.as_deref())
    }

    fn pairing(
        &self,
        canary: &ValidatedCanary,
        target: &Value,
        observed: &Observed,
        configs: &BTreeMap<String, String>,
    ) -> Pairing {
        let existing = observed.primary.as_deref();
        let revision = workload::revision(target, configs);
        let matches_primary = workload::matches(target, existing, canary, &revision, &self.settings);
        let services = workload::plan_services(canary, &self.settings, target, &observed.services, true);
        Pairing {
            revision,
            matches_primary: matches_primary.map_err(|error| error.to_string()),
            services_are_right: services.map(|writes| writes.is_empty()).map_err(|error| error.to_string()),
        }
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
            let original = self.cache.get(kind, &key);
            observed.note(kind, key.clone(), original.as_ref().map(|found| found.json().clone()));
            let Some((original, version)) =
                original.and_then(|found| Some((found.json().clone(), found.resource_version()?.to_owned())))
            else {
                if !optional {
                    missing.get_or_insert_with(|| missing_config(canary, &reference));
                }
                continue;
            };
            if let Some(checksum) = self.checksum(reference.kind, &key, version).await? {
                checksums.insert(reference.to_string(), checksum);
                let copy = ObjectKey::new(&key.namespace, format!("{}-primary", key.name));
                let found = self.cache.value(kind, &copy);
                observed.configs.push((reference.kind, original, found.clone()));
                observed.note(kind, copy, found);
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
        let value = workload::checksum(config_kind, object.json());
        let version = object.resource_version().map_or(version, str::to_owned);
        self.checksums.set(entry, Checksum { version, value: value.clone() });
        Ok(value)
    }

    /// Why the autoscaler or the copies of configuration can't be made or kept: somebody else's objects have their names,
    /// or what is asked for contradicts itself.
    fn contradiction(&self, canary: &ValidatedCanary, observed: &Observed) -> Option<WorkloadError> {
        let autoscaler = || {
            let (reference, hpa) = (canary.autoscaler.as_ref()?, observed.autoscaler.as_deref()?);
            let existing = observed.primary_autoscaler.as_deref();
            workload::plan_autoscaler(reference, hpa, existing, true, canary, &self.settings).err()
        };
        let copies = || {
            observed.configs.iter().find_map(|(kind, original, copy)| {
                workload::plan_copy(*kind, original, copy.as_deref(), canary, &self.settings).err()
            })
        };
        autoscaler().or_else(copies)
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
