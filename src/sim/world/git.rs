//! What people want: the manifests in Git, and those who apply them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::manifests::{self, CONFIG, NAME, NAMESPACE, Spec};
use super::plan::{Edit, Plan, Quality, Shape, Strategy};
use crate::api::checked::ObjectKey;
use crate::cluster::lease::LEASE_NAME;
use crate::rollout::ResourceId;
use crate::sim::api_server::ApiServer;

/// The field manager of the tool that applies Git, and of people.
const MANAGER: &str = "kustomize-controller";

/// What people want now.
pub struct Git {
    server: ApiServer,
    shape: Shape,
    /// What does not change.
    surroundings: Vec<Value>,
    image: u32,
    quality: Quality,
    config: u32,
    spec: Spec,
    /// Until when an object stays away that somebody deleted.
    canary_away_until: Option<Instant>,
    target_away_until: Option<Instant>,
}

impl Git {
    /// What a world begins with.
    pub fn new(server: ApiServer, plan: &Plan) -> Self {
        Self {
            server,
            shape: plan.shape.clone(),
            surroundings: manifests::surroundings(&plan.shape),
            image: 1,
            quality: Quality::Good,
            config: 1,
            spec: Spec::of(&plan.shape),
            canary_away_until: None,
            target_away_until: None,
        }
    }

    /// Applies everything that is not kept away; what is being deleted is left to go first.
    pub fn apply_all(&mut self) {
        for object in &self.surroundings {
            self.apply(object.clone());
        }
        self.apply_config();
        let now = Instant::now();
        if self.target_away_until.is_none_or(|until| until <= now) {
            self.target_away_until = None;
            self.apply_target();
        }
        if self.canary_away_until.is_none_or(|until| until <= now) {
            self.canary_away_until = None;
            self.apply_canary();
        }
    }

    /// Somebody ships an image.
    pub fn release(&mut self, image: u32, quality: Quality) {
        (self.image, self.quality) = (image, quality);
        if self.target_away_until.is_none() {
            self.apply_target();
        }
    }

    /// Somebody ships a configuration.
    pub fn configure(&mut self, number: u32) {
        self.config = number;
        self.apply_config();
    }

    /// Somebody edits the spec.
    pub fn edit(&mut self, edit: &Edit) {
        let has_weights = matches!(self.shape.strategy, Strategy::Weights(..));
        match edit {
            Edit::Interval(seconds) => self.spec.interval_seconds = *seconds,
            Edit::Threshold(checks) => self.spec.threshold = *checks,
            Edit::Weights(weights) if has_weights => self.spec.weights.clone_from(weights),
            Edit::Weights(_) => {}
            Edit::SkipAnalysis(skips) => self.spec.skips_analysis = *skips,
            Edit::Suspend(suspended) => self.spec.is_suspended = *suspended,
            Edit::Unusable(unusable) => self.spec.is_unusable = *unusable,
        }
        if self.canary_away_until.is_none() {
            self.apply_canary();
        }
    }

    /// Somebody deletes the Canary until then.
    pub fn delete_canary(&mut self, until: Instant) {
        self.canary_away_until = Some(until);
        self.delete("flagger.app/v1beta1", "Canary");
    }

    /// Somebody deletes the target until then.
    pub fn delete_target(&mut self, until: Instant) {
        self.target_away_until = Some(until);
        self.delete("apps/v1", "Deployment");
    }

    /// Nobody is in the way of anything any more.
    pub fn mend(&mut self) {
        self.canary_away_until = None;
        self.target_away_until = None;
        self.spec.is_suspended = false;
        self.spec.is_unusable = false;
        self.apply_all();
    }

    /// Applies again what is gone and should be there.
    pub fn keep(&mut self) {
        if self.server.peek(&id("flagger.app/v1beta1", "Canary")).is_none() {
            self.apply_all();
        }
    }

    /// Somebody else holds the Lease.
    pub fn steal_lease(&self, time: Duration) {
        let spec = json!({"holderIdentity": "somebody-else", "leaseDurationSeconds": time.as_secs().max(1)});
        let _ = self.server.patch(&lease(), &json!({"spec": spec}));
    }

    fn apply_config(&self) {
        if self.shape.has_config {
            self.apply(manifests::config(self.config));
        }
    }

    fn apply_target(&self) {
        if self.shape.has_autoscaler {
            self.apply(manifests::autoscaler(self.image));
        }
        self.apply(manifests::target(&self.shape, self.image, self.quality));
    }

    fn apply_canary(&self) {
        let present = self.server.peek(&id("flagger.app/v1beta1", "Canary"));
        if present.is_none_or(|canary| canary.pointer("/metadata/deletionTimestamp").is_none()) {
            self.apply(manifests::canary(&self.shape, &self.spec));
        }
    }

    /// A refusal is as if nobody had applied it.
    fn apply(&self, object: Value) {
        if let Err(status) = self.server.apply(MANAGER, true, object) {
            tracing::warn!("Git was refused: {}", status.message);
        }
    }

    fn delete(&self, api_version: &str, kind: &str) {
        // It may be gone already.
        let _ = self.server.delete(&id(api_version, kind));
    }

    /// Somebody gives the route this canary weight.
    pub fn edit_route(&self, weight: u32) {
        let id = id("gateway.networking.k8s.io/v1", "HTTPRoute");
        let Some(route) = self.server.get(&id) else { return };
        let mut rules = route.pointer("/spec/rules").cloned().unwrap_or_default();
        for backend in rules.pointer_mut("/0/backendRefs").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_canary = backend["name"].as_str().is_some_and(|name| name.ends_with("-canary"));
            backend["weight"] = json!(if is_canary { weight } else { 100_u32.saturating_sub(weight) });
        }
        let _ = self.server.patch(&id, &json!({"spec": {"rules": rules}}));
    }

    /// Somebody gives the canary's Service another label.
    pub fn edit_service(&self) {
        let name = format!("{NAME}-canary");
        let id = ResourceId::new("v1", "Service", ObjectKey::new(NAMESPACE, name));
        let _ = self.server.patch(&id, &json!({"metadata": {"labels": {"app": "somebody-else"}}}));
    }

    /// Somebody deletes what Serin made.
    pub fn delete_generated(&self, api_version: &str, kind: &str, name: &str) {
        let _ = self.server.delete(&ResourceId::new(api_version, kind, ObjectKey::new(NAMESPACE, name)));
    }

    /// Somebody scales the target.
    pub fn scale(&self, replicas: u32) {
        let _ = self.server.patch(&id("apps/v1", "Deployment"), &json!({"spec": {"replicas": replicas}}));
    }

    /// The name of the ConfigMap, where there is one.
    pub fn config_name(&self) -> &'static str {
        if self.shape.has_config { CONFIG } else { "" }
    }
}

/// The Lease of the controller's processes.
pub fn lease() -> ResourceId {
    ResourceId::new("coordination.k8s.io/v1", "Lease", ObjectKey::new(NAMESPACE, LEASE_NAME))
}

fn id(api_version: &str, kind: &str) -> ResourceId {
    ResourceId::new(api_version, kind, ObjectKey::new(NAMESPACE, NAME))
}
