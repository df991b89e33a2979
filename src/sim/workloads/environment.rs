//! The environment of a container, as the kubelet makes it when the container starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::Value;

use crate::api::checked::ObjectKey;
use crate::rollout::object::{items, text};
use crate::sim::metadata::kind;

/// What a pod can be configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigKind {
    /// The kind of an object that pods are configured with.
    pub fn of(object: &Value) -> Option<Self> {
        match kind(object) {
            "ConfigMap" => Some(Self::ConfigMap),
            "Secret" => Some(Self::Secret),
            _ => None,
        }
    }
}

/// The ConfigMaps and Secrets of the cluster.
#[derive(Debug, Default)]
pub struct Configs(BTreeMap<(ConfigKind, ObjectKey), Arc<Value>>);

impl Configs {
    /// Takes in that an object is there, or is not.
    pub fn set(&mut self, kind: ConfigKind, key: ObjectKey, object: Option<Arc<Value>>) {
        match object {
            Some(object) => self.0.insert((kind, key), object),
            None => self.0.remove(&(kind, key)),
        };
    }

    fn data(&self, kind: ConfigKind, key: &ObjectKey) -> Option<BTreeMap<String, String>> {
        let object = self.0.get(&(kind, key.clone()))?;
        let decoded = |value: &Value| match kind {
            ConfigKind::ConfigMap => value.as_str().map(ToOwned::to_owned),
            ConfigKind::Secret => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
                String::from_utf8(bytes).ok()
            }
        };
        let fields = object.get("data").and_then(Value::as_object).into_iter().flatten();
        Some(fields.filter_map(|(name, value)| Some((name.clone(), decoded(value)?))).collect())
    }
}

/// Where the environment of a pod's first container comes from, and what else all of its containers need.
#[derive(Debug, Default)]
pub struct Environment {
    sources: Vec<Source>,
    /// What sidecars, init containers and volumes refer to: it has to be there.
    others: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Literal { name: String, value: String },
    Key { name: String, from: Reference, key: String },
    All { from: Reference, prefix: String },
}

#[derive(Debug)]
struct Reference {
    kind: ConfigKind,
    name: String,
    is_optional: bool,
}

/// A ConfigMap or Secret, or a key of it, is not there, so that the container can't start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind:?} {name} or its key is not there")]
pub struct Missing {
    kind: ConfigKind,
    name: String,
}

impl Environment {
    /// Reads the spec of a pod.
    pub fn of(pod: &Value) -> Self {
        let containers = items(pod, "/containers");
        let sources = containers.first().map(sources).unwrap_or_default();
        let mut others: Vec<Source> = containers.iter().skip(1).flat_map(self::sources).collect();
        others.extend(items(pod, "/initContainers").iter().flat_map(self::sources));
        for volume in items(pod, "/volumes") {
            others.extend(mounted(volume));
            others.extend(items(volume, "/projected/sources").iter().filter_map(mounted));
        }
        Self { sources, others }
    }

    /// The variables of the first container, as the objects are now. As in Kubernetes, `env` wins over `envFrom`, and the
    /// later entry over the earlier. Variables of other sources (`fieldRef`, `$(OTHER)`) are not made.
    ///
    /// # Errors
    /// Something that is not optional is missing.
    pub fn variables(&self, namespace: &str, configs: &Configs) -> Result<BTreeMap<String, String>, Missing> {
        let mut ignored = BTreeMap::new();
        for source in &self.others {
            source.read(namespace, configs, &mut ignored)?;
        }
        let mut variables = BTreeMap::new();
        for source in &self.sources {
            source.read(namespace, configs, &mut variables)?;
        }
        Ok(variables)
    }
}

impl Source {
    fn read(
        &self,
        namespace: &str,
        configs: &Configs,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<(), Missing> {
        let data = |from: &Reference| configs.data(from.kind, &ObjectKey::new(namespace, &from.name));
        match self {
            Self::Literal { name, value } => {
                variables.insert(name.clone(), value.clone());
            }
            Self::Key { name, from, key } => match data(from).and_then(|mut data| data.remove(key)) {
                Some(value) => {
                    variables.insert(name.clone(), value);
                }
                None => from.excuse()?,
            },
            Self::All { from, prefix } => match data(from) {
                Some(data) => {
                    let named = data.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value));
                    variables.extend(named);
                }
                None => from.excuse()?,
            },
        }
        Ok(())
    }
}

impl Reference {
    fn of(kind: ConfigKind, name: Option<&str>, reference: &Value) -> Option<Self> {
        let is_optional = reference.get("optional").and_then(Value::as_bool).unwrap_or_default();
        Some(Self { kind, name: name?.to_owned(), is_optional })
    }

    fn excuse(&self) -> Result<(), Missing> {
        if self.is_optional { Ok(()) } else { Err(Missing { kind: self.kind, name: self.name.clone() }) }
    }
}

/// The sources of a container's environment, the weakest first.
fn sources(container: &Value) -> Vec<Source> {
    let mut sources = Vec::new();
    for entry in items(container, "/envFrom") {
        let prefix = text(entry, "/prefix").unwrap_or_default().to_owned();
        for (field, kind) in [("configMapRef", ConfigKind::ConfigMap), ("secretRef", ConfigKind::Secret)] {
            let reference = entry.get(field).and_then(|from| Reference::of(kind, text(from, "/name"), from));
            sources.extend(reference.map(|from| Source::All { from, prefix: prefix.clone() }));
        }
    }
    for entry in items(container, "/env") {
        let name = text(entry, "/name").unwrap_or_default().to_owned();
        let Some(origin) = entry.get("valueFrom") else {
            let value = text(entry, "/value").unwrap_or_default().to_owned();
            sources.push(Source::Literal { name, value });
            continue;
        };
        for (field, kind) in [("configMapKeyRef", ConfigKind::ConfigMap), ("secretKeyRef", ConfigKind::Secret)] {
            if let Some(from) = origin.get(field)
                && let Some(reference) = Reference::of(kind, text(from, "/name"), from)
            {
                let key = text(from, "/key").unwrap_or_default().to_owned();
                sources.push(Source::Key { name: name.clone(), from: reference, key });
            }
        }
    }
    sources
}

/// What a volume, or a source of a projected one, mounts. That single keys of it may be missing is not looked at.
fn mounted(volume: &Value) -> Option<Source> {
    let reference = match (volume.get("configMap"), volume.get("secret")) {
        (Some(from), _) => Reference::of(ConfigKind::ConfigMap, text(from, "/name"), from),
        (_, Some(from)) => {
            Reference::of(ConfigKind::Secret, text(from, "/secretName").or_else(|| text(from, "/name")), from)
        }
        _ => None,
    };
    reference.map(|from| Source::All { from, prefix: String::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configs() -> Configs {
        let mut configs = Configs::default();
        let key = |name: &str| ObjectKey::new("shop", name);
        let map = json!({"data": {"VERSION": "from-map", "LATENCY_MS": "5"}});
        configs.set(ConfigKind::ConfigMap, key("settings"), Some(Arc::new(map)));
        let secret = json!({"data": {"TOKEN": "c2VjcmV0"}});
        configs.set(ConfigKind::Secret, key("token"), Some(Arc::new(secret)));
        configs
    }

    #[test]
    fn variables_come_from_where_the_container_says() {
        let cases = [
            ("literal", json!({"env": [{"name": "A", "value": "1"}]}), json!({"A": "1"})),
            (
                "the later wins",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
                json!({"A": "2"}),
            ),
            (
                "a key of a ConfigMap",
                json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "VERSION"}}}]}),
                json!({"A": "from-map"}),
            ),
            (
                "a key of a Secret is decoded",
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "token", "key": "TOKEN"}}}]}),
                json!({"A": "secret"}),
            ),
            (
                "env wins over envFrom",
                json!({"envFrom": [{"configMapRef": {"name": "settings"}}], "env": [{"name": "VERSION", "value": "own"}]}),
                json!({"VERSION": "own", "LATENCY_MS": "5"}),
            ),
            (
                "with a prefix",
                json!({"envFrom": [{"prefix": "P_", "secretRef": {"name": "token"}}]}),
                json!({"P_TOKEN": "secret"}),
            ),
            (
                "what is optional may be missing",
                json!({"envFrom": [{"configMapRef": {"name": "none", "optional": true}}]}),
                json!({}),
            ),
        ];
        for (name, container, expected) in cases {
            let environment = Environment::of(&json!({"containers": [container]}));
            assert_eq!(json!(environment.variables("shop", &configs()).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn without_its_configuration_a_container_does_not_start() {
        let cases = [
            ("ConfigMap", json!({"containers": [{"envFrom": [{"configMapRef": {"name": "none"}}]}]})),
            (
                "key",
                json!({"containers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none"}}}]}]}),
            ),
            ("of a sidecar", json!({"containers": [{}, {"envFrom": [{"secretRef": {"name": "none"}}]}]})),
            ("volume", json!({"containers": [{}], "volumes": [{"name": "v", "secret": {"secretName": "none"}}]})),
            (
                "projected",
                json!({"containers": [{}], "volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "none"}}]}}]}),
            ),
        ];
        for (name, pod) in cases {
            assert!(Environment::of(&pod).variables("shop", &configs()).is_err(), "{name}");
        }
    }
}
