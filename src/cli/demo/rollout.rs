//! What is known of the rollouts, from the changes of the cluster's objects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::checked::ObjectKey;
use crate::api::status::{CanaryStatus, Outcome, Phase, Run};
use crate::rollout::object::{integer, items, text};
use crate::sim::api_server::{Change, ChangeKind};

/// One rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// Name of the Canary.
    pub name: String,
    /// The Service that users mean, and its port.
    pub service: ObjectKey,
    /// Port of the Service.
    pub port: u16,
    /// The host that users name, if the Canary has one.
    pub host: Option<String>,
    /// Traffic stays away from the canary while it is checked: blue/green without a mesh.
    pub is_apart: bool,
    /// Failed checks that take a revision back.
    pub threshold: i32,
    /// Checks of a run without weights.
    pub iterations: Option<i64>,
    /// Its status.
    pub status: CanaryStatus,
    /// The version that the target is at.
    pub version: String,
    /// The version that users have.
    pub promoted: String,
    /// The versions of revisions.
    pub versions: BTreeMap<String, String>,
}

impl Rollout {
    /// Whether a run is on.
    pub fn is_running(&self) -> bool {
        !self.status.revisions.pinned.is_empty()
    }

    /// The version that is being tried, or was tried last.
    pub fn tried(&self) -> &str {
        let pinned = &self.status.revisions.pinned;
        self.versions.get(pinned).unwrap_or(&self.version)
    }

    /// The last run of a version.
    pub fn run_of(&self, version: &str) -> Option<&Run> {
        self.status.history.iter().find(|run| self.versions.get(&run.revision).is_some_and(|of| of == version))
    }

    /// Whether a version's run is over, and nothing of it is left to do.
    pub fn has_ended(&self, version: &str) -> bool {
        let is_settled =
            matches!(self.status.phase, Phase::Succeeded | Phase::Failed) && self.status.pending.is_empty();
        is_settled && self.run_of(version).is_some()
    }

    /// Why nothing can go on, if so: the Canary itself says it, and no refused release is the reason.
    pub fn stalled(&self) -> Option<&str> {
        let conditions = self.status.conditions.iter();
        let mut stalled = conditions.filter(|condition| condition.kind == "Stalled" && condition.status == "True");
        stalled.next().filter(|_| self.status.phase != Phase::Failed).map(|condition| condition.message.as_str())
    }

    fn read(&mut self, canary: &Value) {
        let namespace = text(canary, "/metadata/namespace").unwrap_or_default();
        let target = text(canary, "/spec/targetRef/name").unwrap_or_default();
        text(canary, "/metadata/name").unwrap_or_default().clone_into(&mut self.name);
        self.service = ObjectKey::new(namespace, text(canary, "/spec/service/name").unwrap_or(target));
        self.port = integer(canary, "/spec/service/port").and_then(|port| u16::try_from(port).ok()).unwrap_or(80);
        self.host = items(canary, "/spec/service/hosts").first().and_then(Value::as_str).map(str::to_owned);
        self.is_apart = text(canary, "/spec/provider") == Some("kubernetes");
        let threshold = integer(canary, "/spec/analysis/threshold").unwrap_or(0);
        self.threshold = i32::try_from(threshold).unwrap_or(i32::MAX);
        self.iterations = integer(canary, "/spec/analysis/iterations").filter(|iterations| *iterations > 0);
        // A status that somebody wrote by hand may be unreadable.
        let status = canary.get("status").cloned().unwrap_or_default();
        self.status = serde_json::from_value(status).unwrap_or_default();
        for revision in [self.status.revisions.observed.clone(), self.status.revisions.pinned.clone()] {
            self.name_revision(revision);
        }
        if let Some(promoted) = self.versions.get(&self.status.revisions.promoted) {
            self.promoted.clone_from(promoted);
        }
    }

    /// A revision is called as the version that the target is at; one that differs in something else, also by its hash.
    fn name_revision(&mut self, revision: String) {
        if revision.is_empty() || self.versions.contains_key(&revision) {
            return;
        }
        let is_taken = self.versions.values().any(|version| *version == self.version);
        let hash = revision.get(..6).unwrap_or(&revision);
        let name = if is_taken { format!("{} ({hash})", self.version) } else { self.version.clone() };
        self.versions.insert(revision, name);
    }

    /// How a version's last run ended.
    pub fn outcome_of(&self, version: &str) -> Option<Outcome> {
        self.run_of(version).map(|run| run.outcome)
    }
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A rollout changed: as it was, if it was there, and as it is.
    Rollout(Option<Box<Rollout>>, Box<Rollout>),
    /// A Canary is gone.
    Gone(ObjectKey),
    /// The controller wrote an Event: the Canary, whether it is a warning, the text.
    Event(String, bool, String),
}

/// Everything that is known.
#[derive(Debug, Default)]
pub struct Watcher {
    rollouts: BTreeMap<ObjectKey, Rollout>,
    /// The version of each Deployment.
    versions: BTreeMap<ObjectKey, String>,
}

impl Watcher {
    /// All rollouts, by namespace and name.
    pub fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        self.rollouts.values()
    }

    /// The rollout of a Canary in the namespace `default`.
    pub fn rollout(&self, name: &str) -> Option<&Rollout> {
        self.rollouts.get(&ObjectKey::new("default", name))
    }

    /// Takes in a change.
    pub fn take(&mut self, change: &Change) -> Option<Seen> {
        let object = &*change.object;
        let field = |pointer| text(object, pointer).unwrap_or_default();
        let key = ObjectKey::new(field("/metadata/namespace"), field("/metadata/name"));
        match (field("/kind"), change.kind) {
            ("Canary", ChangeKind::Deleted) => self.rollouts.remove(&key).map(|_| Seen::Gone(key)),
            ("Canary", _) => self.canary(key, object),
            ("Deployment", ChangeKind::Added | ChangeKind::Modified) => {
                self.deployment(key, object);
                None
            }
            ("Event", ChangeKind::Added | ChangeKind::Modified) if field("/regarding/kind") == "Canary" => {
                let about = field("/regarding/name").to_owned();
                Some(Seen::Event(about, field("/type") == "Warning", field("/note").to_owned()))
            }
            _ => None,
        }
    }

    fn canary(&mut self, key: ObjectKey, object: &Value) -> Option<Seen> {
        let before = self.rollouts.get(&key).cloned();
        let mut now = before.clone().unwrap_or_default();
        let target = text(object, "/spec/targetRef/name").unwrap_or_default();
        let version = self.versions.get(&ObjectKey::new(&key.namespace, target));
        now.version = version.cloned().unwrap_or_default();
        now.read(object);
        if before.as_ref() == Some(&now) {
            return None;
        }
        self.rollouts.insert(key, now.clone());
        Some(Seen::Rollout(before.map(Box::new), Box::new(now)))
    }

    /// Remembers the version, which a run that begins is called by.
    fn deployment(&mut self, key: ObjectKey, object: &Value) {
        let image = text(object, "/spec/template/spec/containers/0/image").unwrap_or_default();
        self.versions.insert(key, version(image).to_owned());
    }
}

/// The tag of an image.
fn version(image: &str) -> &str {
    image.rsplit('/').next().and_then(|name| name.split_once(':')).map_or(image, |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_the_tag() {
        for (image, expected) in [
            ("ghcr.io/serin-dev/testbed-app:1.1.0", "1.1.0"),
            ("registry:5000/app:2", "2"),
            ("registry:5000/app", "registry:5000/app"),
            ("app:3", "3"),
        ] {
            assert_eq!(version(image), expected, "{image}");
        }
    }
}
