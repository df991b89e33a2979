//! Carrying a decision out, in its order. Every write is idempotent, and each is preceded by a look at the lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::kinds::Kind;
#[cfg(test)]
use super::mistakes::{self, Mistake};
use super::object::Object;
use super::observation::Observed;
use super::observe::kind_of;
use super::{CREATE, Cluster, ClusterError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::api::status::{AlertRecord, CanaryStatus};
use crate::rollout::object::find;
use crate::rollout::ownership::FIELD_MANAGER;
use crate::rollout::{Action, Decision, Intent, Repair, Revision, Scale, Write, status_patch};
use crate::routing;
use crate::workload::{self, ConfigKind, Remains};

/// Flagger's finalizer, so that either controller can let go of what the other held.
pub const FINALIZER: &str = "finalizer.flagger.app";

/// What became of a decision.
#[derive(Debug, Default)]
pub struct CarriedOut {
    /// The decision is in the status: it stands, even where something after that failed.
    pub committed: bool,
    /// Alerts that are to be sent now.
    pub alerts: Vec<AlertRecord>,
    /// What could not be kept as it should be, and why; everything else was done.
    pub impediment: Option<(Repair, ClusterError)>,
    /// Why the rest was not done: a write failed, was refused by its precondition, or this process does not lead any
    /// more.
    pub failure: Option<ClusterError>,
}

impl Cluster {
    /// Carries out every action in order and stops at the first that fails: what follows from the committed status is
    /// done by the next pass. A refused repair of what stands beside a route that is there stops nothing: users don't wait
    /// for it, and failed checks count.
    pub async fn carry_out(
        &self,
        object: Object,
        canary: &ValidatedCanary,
        observed: &Observed,
        decision: &Decision,
    ) -> CarriedOut {
        let mut done = CarriedOut::default();
        done.failure = self.carry_out_in_order(object, canary, observed, decision, &mut done).await.err();
        done
    }

    async fn carry_out_in_order(
        &self,
        mut object: Object,
        canary: &ValidatedCanary,
        observed: &Observed,
        decision: &Decision,
        done: &mut CarriedOut,
    ) -> Result<(), ClusterError> {
        let open = routing::router(canary.provider).resource(canary).is_none() || observed.route.is_some();
        for action in &decision.actions {
            match action {
                Action::CommitStatus => {
                    object = self.commit(object, &decision.status).await?;
                    done.committed = true;
                }
                #[cfg(test)]
                Action::SendAlerts if mistakes::sends_before_taking(&decision.status.pending.alerts) => {
                    done.alerts.clone_from(&decision.status.pending.alerts);
                }
                Action::SendAlerts => {
                    let mut status = decision.status.clone();
                    let alerts = std::mem::take(&mut status.pending.alerts);
                    object = self.commit(object, &status).await?;
                    done.alerts = alerts;
                    #[cfg(test)]
                    if mistakes::is_made(Mistake::SendBeforeTaking) {
                        done.alerts.clear();
                    }
                }
                Action::Finalizer(present) => object = self.set_finalizer(object, *present).await?,
                Action::Route(intent) => {
                    self.guard_target(canary, observed, intent)?;
                    self.move_traffic(canary, observed, intent).await?;
                }
                Action::CreatePrimary(decided) | Action::PromotePrimary(decided) => {
                    self.write_primary(canary, decided).await?;
                }
                planned => {
                    let sent = self.send_all(&self.plan(canary, observed, planned)?).await;
                    match (planned.repair(), sent) {
                        (Some(repair), Err(refusal)) if open && refusal.is_refusal() => {
                            done.impediment = Some((repair, refusal));
                        }
                        (_, sent) => sent?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Traffic is given only to what it was decided for. The write of the status may have taken seconds, in which the target
    /// may have been changed or have lost its pods: then it is for the next pass to decide what becomes of the step.
    fn guard_target(&self, canary: &ValidatedCanary, observed: &Observed, intent: &Intent) -> Result<(), ClusterError> {
        let key = ObjectKey::new(&canary.key.namespace, &canary.target_name);
        let (before, now) = (observed.target.as_deref(), self.cache.value(Kind::Deployment, &key));
        // Not the objects as a whole: an entry of a list does not say its kind, and would differ for ever.
        let was_changed = ["/metadata/uid", "/metadata/generation"].iter().any(|field| {
            before.and_then(|before| find(before, field)) != now.as_deref().and_then(|now| find(now, field))
        });
        let lost_pods = before.is_some_and(workload::can_serve) && !now.as_deref().is_some_and(workload::can_serve);
        if intent.canary_weight > 0 && (was_changed || lost_pods) {
            return Err(ClusterError::Conflict { kind: Kind::Deployment.name().to_owned(), key });
        }
        Ok(())
    }

    /// Carries out what a decision says about the Canary itself, where there is no usable spec to do more by.
    ///
    /// # Errors
    /// As [`CarriedOut::failure`].
    pub async fn carry_out_alone(&self, mut object: Object, decision: &Decision) -> Result<(), ClusterError> {
        for action in &decision.actions {
            match action {
                Action::CommitStatus => object = self.commit(object, &decision.status).await?,
                Action::Finalizer(present) => object = self.set_finalizer(object, *present).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The writes of those actions that follow from what was observed alone.
    fn plan(&self, canary: &ValidatedCanary, observed: &Observed, action: &Action) -> Result<Vec<Write>, ClusterError> {
        // Without a target there is nothing to pair.
        let Some(target) = &observed.target else { return Ok(Vec::new()) };
        let primary = observed.primary.as_deref();
        let hpa = observed.autoscaler.as_deref();
        Ok(match action {
            // What stands in their way was observed as an obstacle, which is told; the route and the status don't wait.
            Action::Services { .. } if observed.services_are_right => Vec::new(),
            Action::Services { apex } => {
                workload::plan_services(canary, &self.settings, target, &observed.services, *apex).unwrap_or_default()
            }
            Action::Autoscaler { update } => match (&canary.autoscaler, hpa) {
                (Some(reference), Some(hpa)) => {
                    let existing = observed.primary_autoscaler.as_deref();
                    let write = workload::plan_autoscaler(reference, hpa, existing, *update, canary, &self.settings);
                    write.unwrap_or_default().into_iter().collect()
                }
                _ => Vec::new(),
            },
            Action::ScaleTarget(Scale::Zero) => workload::plan_scale(target, 0).into_iter().collect(),
            Action::ScaleTarget(Scale::Up) => {
                let replicas = workload::scale_up_replicas(target, primary, hpa);
                workload::plan_scale(target, replicas).into_iter().collect()
            }
            Action::Revert => {
                let apex = observed.services.apex.as_deref();
                workload::plan_revert(canary, &self.settings, Remains { target, primary, autoscaler: hpa, apex })?
            }
            _ => Vec::new(),
        })
    }

    /// Writes what differs in the status, with the version that it was made from; a conflict means that somebody else was
    /// faster.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`], or the write failed.
    pub async fn commit(&self, object: Object, status: &CanaryStatus) -> Result<Object, ClusterError> {
        let key = object.key();
        let status = serde_json::to_value(status)
            .map_err(|source| ClusterError::Encode { what: format!("status of Canary {key}"), source })?;
        let body = status_patch(object.json(), &status);
        #[cfg(test)]
        let body = mistakes::overwriting(body);
        self.guard()?;
        let api = self.api(Kind::Canary, &key.namespace);
        let answer = api.patch_status(&key.name, &patched_by_serin(), &Patch::Merge(body)).await;
        #[cfg(test)]
        if mistakes::is_made(Mistake::IgnoreConflicts) && answer.is_err() {
            return Ok(object);
        }
        let written = answer.map_err(|error| self.failed("write the status of", "Canary", &key, error))?;
        Ok(self.cache.remember(Kind::Canary, written))
    }

    async fn set_finalizer(&self, object: Object, present: bool) -> Result<Object, ClusterError> {
        let key = object.key();
        if object.finalizers().any(|finalizer| finalizer == FINALIZER) == present {
            return Ok(object);
        }
        let mut finalizers: Vec<&str> = object.finalizers().filter(|finalizer| *finalizer != FINALIZER).collect();
        if present {
            finalizers.push(FINALIZER);
        }
        let body = json!({"metadata": {"resourceVersion": object.resource_version(), "finalizers": finalizers}});
        self.guard()?;
        let api = self.api(Kind::Canary, &key.namespace);
        let answer = api.patch(&key.name, &patched_by_serin(), &Patch::Merge(body)).await;
        let written = answer.map_err(|error| self.failed("set the finalizer of", "Canary", &key, error))?;
        Ok(self.cache.remember(Kind::Canary, written))
    }

    /// Copies the target to the primary, after making sure with the API server that the target and its configuration
    /// still are what was decided on. What is copied is what was verified.
    async fn write_primary(&self, canary: &ValidatedCanary, decided: &Revision) -> Result<(), ClusterError> {
        let key = ObjectKey::new(&canary.key.namespace, &canary.target_name);
        let moved = || ClusterError::TargetMoved { target: key.clone() };
        let target = self.fetch(Kind::Deployment, &key).await?.ok_or_else(moved)?.json().clone();
        let (originals, checksums) = self.configs(canary, &target).await?;
        let is_as_decided = workload::revision(&target, &checksums).id == decided.id;
        #[cfg(test)]
        let is_as_decided = is_as_decided || mistakes::is_made(Mistake::PromoteWithoutLook);
        if !is_as_decided {
            return Err(moved());
        }
        for (kind, original) in &originals {
            let copy_name =
                format!("{}-primary", original.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default());
            let copy_key = ObjectKey::new(&canary.key.namespace, copy_name);
            let existing = self.fetch(kind_of(*kind), &copy_key).await?.map(|object| object.json().clone());
            if let Some(write) = workload::plan_copy(*kind, original, existing.as_deref(), canary, &self.settings)? {
                self.send(&write).await?;
            }
        }
        let primary_key = ObjectKey::new(&canary.key.namespace, canary.primary_name());
        let live = self.fetch(Kind::Deployment, &primary_key).await?.map(|object| object.json().clone());
        let replicas = match live {
            Some(_) => workload::promoted_replicas(&target, canary),
            None => Some(workload::initial_replicas(&target)),
        };
        let blueprint = workload::blueprint(&target, canary, decided, &self.settings, replicas)?;
        match workload::plan_primary(blueprint, live.as_deref(), canary)? {
            Some(write) => self.send(&write).await,
            None => Ok(()),
        }
    }

    /// Tracked configuration of the target as it is on the API server now, and its checksums.
    async fn configs(
        &self,
        canary: &ValidatedCanary,
        target: &Value,
    ) -> Result<(Vec<(ConfigKind, Arc<Value>)>, BTreeMap<String, String>), ClusterError> {
        let mut originals = Vec::new();
        let mut checksums = BTreeMap::new();
        if !self.track_configs {
            return Ok((originals, checksums));
        }
        for reference in workload::references(target).into_keys() {
            let key = ObjectKey::new(&canary.key.namespace, &reference.name);
            let Some(object) = self.fetch(kind_of(reference.kind), &key).await? else { continue };
            if let Some(checksum) = workload::checksum(reference.kind, object.json()) {
                checksums.insert(reference.to_string(), checksum);
                originals.push((reference.kind, object.json().clone()));
            }
        }
        Ok((originals, checksums))
    }

    pub(super) async fn send_all(&self, writes: &[Write]) -> Result<(), ClusterError> {
        for write in writes {
            self.send(write).await?;
        }
        Ok(())
    }

    /// Sends one planned request.
    async fn send(&self, write: &Write) -> Result<(), ClusterError> {
        self.guard()?;
        #[cfg(test)]
        let write = &mistakes::misprinted(write);
        match write {
            Write::Apply(object) => self.apply(object).await,
            Write::Create(object) => self.create(object).await,
            Write::Merge { id, body } => {
                let (kind, api) = self.api_of(&id.kind, &id.key)?;
                let answer = api.patch(&id.key.name, &patched_by_serin(), &Patch::Merge(body)).await;
                let written = answer.map_err(|error| self.failed("patch", &id.kind, &id.key, error))?;
                self.cache.remember(kind, written);
                Ok(())
            }
            Write::Replace(object) => self.replace(object).await,
        }
    }

    async fn apply(&self, object: &Value) -> Result<(), ClusterError> {
        let (kind_name, key) = identity(object);
        let (kind, api) = self.api_of(&kind_name, &key)?;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let answer = api.patch(&key.name, &parameters, &Patch::Apply(object)).await;
        let written = answer.map_err(|error| self.failed("apply", &kind_name, &key, error))?;
        self.cache.remember(kind, written);
        Ok(())
    }

    async fn create(&self, object: &Value) -> Result<(), ClusterError> {
        let (kind_name, key) = identity(object);
        let (kind, api) = self.api_of(&kind_name, &key)?;
        let answer = api.create(&written_by_serin(), &decoded(object, &kind_name, &key)?).await;
        let written = answer.map_err(|error| self.failed(CREATE, &kind_name, &key, error))?;
        self.cache.remember(kind, written);
        Ok(())
    }

    async fn replace(&self, object: &Value) -> Result<(), ClusterError> {
        let (kind_name, key) = identity(object);
        let (kind, api) = self.api_of(&kind_name, &key)?;
        let answer = api.replace(&key.name, &written_by_serin(), &decoded(object, &kind_name, &key)?).await;
        let written = answer.map_err(|error| self.failed("replace", &kind_name, &key, error))?;
        self.cache.remember(kind, written);
        Ok(())
    }

    fn api_of(&self, kind_name: &str, key: &ObjectKey) -> Result<(Kind, Api<Object>), ClusterError> {
        let kind = Kind::named(kind_name)
            .ok_or_else(|| ClusterError::UnknownKind { kind: kind_name.to_owned(), key: key.clone() })?;
        Ok((kind, self.api(kind, &key.namespace)))
    }
}

fn written_by_serin() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn patched_by_serin() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn decoded(object: &Value, kind_name: &str, key: &ObjectKey) -> Result<Object, ClusterError> {
    Object::deserialize(object).map_err(|source| ClusterError::Encode { what: format!("{kind_name} {key}"), source })
}

fn identity(object: &Value) -> (String, ObjectKey) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/kind"), ObjectKey::new(text("/metadata/namespace"), text("/metadata/name")))
}

/// A Canary's reference for Events.
pub fn uid_of(object: &Object) -> String {
    object.uid().unwrap_or_default().to_owned()
}
