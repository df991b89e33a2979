//! Checks on what is written to the pair: the primary, the target's replicas, and the copies of configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::{Promise, Promises, SERIN, name_of};
use crate::api::status::Phase;
use crate::rollout::object::{find, integer, text};
use crate::sim::api_server::WriteRecord;
use crate::workload::{self, ConfigKind};

/// What a revision is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Image of the first container.
    image: String,
    /// The data of the ConfigMap, where the target reads one.
    config: Option<Value>,
}

impl Content {
    /// Of a Deployment, its configuration aside.
    pub(super) fn of(deployment: &Value) -> Self {
        Self { image: image(deployment).to_owned(), config: None }
    }

    /// Whether its image does well: the worlds' images say it in their tags.
    pub(super) fn is_good(&self) -> bool {
        self.image.ends_with("-good")
    }
}

/// What was asked for, and by what: objects are never changed in place.
pub(super) struct Asked {
    target: Arc<Value>,
    config: Option<Arc<Value>>,
    answer: Option<(String, Content)>,
}

impl Asked {
    fn is_of(&self, target: &Arc<Value>, config: Option<&Arc<Value>>) -> bool {
        let is_config = match (&self.config, config) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        is_config && Arc::ptr_eq(&self.target, target)
    }
}

fn image(deployment: &Value) -> &str {
    text(deployment, "/spec/template/spec/containers/0/image").unwrap_or_default()
}

fn replicas(deployment: &Value) -> i64 {
    integer(deployment, "/spec/replicas").unwrap_or(1)
}

impl Promises {
    /// Somebody changed the target or its configuration: which revision do they make now?
    pub(super) fn learn_revision(&mut self, record: &WriteRecord) {
        let names = [&self.pair.canary.name, &self.pair.config];
        if !names.contains(&&record.id.key.name) {
            return;
        }
        if let (Some(before), Some(after)) = (&record.before, &record.after)
            && ["/spec/template", "/data"].into_iter().all(|part| find(before, part) == find(after, part))
        {
            return;
        }
        if let Some((id, content)) = self.asked_for() {
            self.status.asked_for(&id);
            self.revisions.insert(id, content);
        }
    }

    /// The revision that the target is at, and what it is made of.
    pub(super) fn asked_for(&self) -> Option<(String, Content)> {
        let target = self.now("apps/v1", "Deployment", &self.pair.canary.name)?;
        let config = self.now("v1", "ConfigMap", &self.pair.config);
        let mut last = self.last_asked.borrow_mut();
        if let Some(asked) = last.as_ref().filter(|asked| asked.is_of(&target, config.as_ref())) {
            return asked.answer.clone();
        }
        let answer = self.work_out(&target);
        *last = Some(Asked { target, config, answer: answer.clone() });
        answer
    }

    fn work_out(&self, target: &Value) -> Option<(String, Content)> {
        let mut configs = BTreeMap::new();
        let mut data = None;
        for reference in workload::references(target).into_keys() {
            let config = self.now("v1", "ConfigMap", &reference.name)?;
            data = config.get("data").cloned();
            configs.extend(workload::checksum(ConfigKind::ConfigMap, &config).map(|sum| (reference.to_string(), sum)));
        }
        let content = Content { image: image(target).to_owned(), config: data };
        Some((workload::revision(target, &configs).id, content))
    }

    pub(super) fn deployment_written(&mut self, record: &WriteRecord) {
        let Some(after) = &record.after else {
            let name = &record.id.key.name;
            self.keep(Promise::GitStaysInCharge, false, || format!("Deployment {name} was deleted"));
            return;
        };
        if name_of(after) == self.pair.canary.name {
            self.target_written(record.before.as_deref(), after);
        } else if name_of(after) == self.pair.primary() {
            self.primary_written(record.before.as_deref(), after);
        } else {
            self.keep(Promise::GitStaysInCharge, false, || format!("Deployment {} was written", name_of(after)));
        }
    }

    /// Only `spec.replicas` is ours.
    fn target_written(&mut self, before: Option<&Value>, after: &Value) {
        let Some(before) = before else {
            self.keep(Promise::GitStaysInCharge, false, || "the target was created".to_owned());
            return;
        };
        let without_replicas = |deployment: &Value| {
            let mut spec = deployment["spec"].clone();
            spec.as_object_mut().map(|spec| spec.remove("replicas"));
            spec
        };
        let same = without_replicas(before) == without_replicas(after)
            && ["labels", "annotations"]
                .iter()
                .all(|field| before["metadata"].get(field) == after["metadata"].get(field));
        self.keep(Promise::GitStaysInCharge, same, || "the target was changed".to_owned());
        if replicas(before) > 0 && replicas(after) == 0 {
            let routed = self.routed_weight().unwrap_or(0);
            self.keep(Promise::PodsStayWhileThereIsTraffic, routed == 0 || self.route_was_just_edited(), || {
                format!("the target is scaled to zero with {routed} % of the traffic")
            });
        }
    }

    fn primary_written(&mut self, before: Option<&Value>, after: &Value) {
        if before.is_some_and(|before| image(before) == image(after)) || self.is_orphan(after) {
            return;
        }
        let allowed = self.may_become_primary(|content| content.image == image(after));
        let told = || format!("the primary gets {}: {:?}", image(after), self.analysed);
        let what = told();
        self.keep(Promise::OnlyWhatWasAnalysedIsPromoted, allowed, || what);
    }

    pub(super) fn service_written(&mut self, record: &WriteRecord) {
        self.has_drifted = !record.user.starts_with(SERIN);
        if record.after.is_none() {
            self.services_gone.insert(record.id.key.name.clone(), Instant::now());
        }
    }

    /// Somebody else wrote the autoscaler.
    pub(super) fn autoscaler_edited(&mut self, record: &WriteRecord) {
        let spec = |object: &Option<Arc<Value>>| object.as_ref().and_then(|object| object.get("spec").cloned());
        if spec(&record.before) != spec(&record.after) {
            self.last_edit_of_autoscaler = Some(Instant::now());
        }
    }

    /// A revision was promoted, and the autoscaler that was asked for with it came along.
    pub(super) fn autoscaler_follows(&mut self, revision: &str) {
        let name = &self.pair.canary.name;
        let bounds = |name: &str| {
            let autoscaler = self.now("autoscaling/v2", "HorizontalPodAutoscaler", name)?;
            Some((integer(&autoscaler, "/spec/minReplicas"), integer(&autoscaler, "/spec/maxReplicas")))
        };
        let Some(asked) = bounds(name) else { return };
        let has = bounds(&format!("{name}-primary"));
        let was_just_edited = self.last_edit_of_autoscaler.is_some_and(|edited| edited.elapsed() <= self.view_age());
        let has_moved_on = self.asked_for().is_none_or(|(id, _)| id != revision);
        let kept = has == Some(asked) || was_just_edited || has_moved_on;
        self.keep(Promise::NoRevisionIsLost, kept, || {
            format!("{revision} is promoted, and its pods are bounded by {has:?} instead of {asked:?}")
        });
    }

    pub(super) fn config_written(&mut self, record: &WriteRecord) {
        let name = &record.id.key.name;
        let Some(after) = record.after.as_ref().filter(|_| *name == format!("{}-primary", self.pair.config)) else {
            self.foreign_written(record);
            return;
        };
        let allowed =
            self.is_orphan(after) || self.may_become_primary(|content| content.config.as_ref() == after.get("data"));
        let what = format!("{name} gets {:?}", after.get("data"));
        self.keep(Promise::OnlyWhatWasAnalysedIsPromoted, allowed, || what);
    }

    /// A first primary serves nobody yet, and follows the target.
    fn may_become_primary(&self, is_it: impl Fn(&Content) -> bool) -> bool {
        let Some(status) = self.committed() else { return false };
        let first = matches!(status.phase, Phase::New | Phase::Initializing);
        self.revisions.iter().any(|(id, content)| {
            let known = first || self.analysed.contains(id) || status.revisions.promoted == *id;
            known && is_it(content)
        })
    }
}
