//! A container's environment and the files of its volumes, resolved as the kubelet does.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, KeyToPath, Secret, Volume, VolumeProjection,
};
use kube::api::Api;
use kube::{Client, ResourceExt};

use super::pod::Home;
use super::{NODE_ADDRESS, NODE_NAME};

/// What a container is started with.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    pub(super) environment: BTreeMap<String, String>,
    /// The files of each volume: volume, path, content.
    pub(super) volumes: BTreeMap<String, BTreeMap<String, String>>,
}

/// Why a container cannot be started yet.
#[derive(Debug)]
pub(super) struct Unresolved {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Unresolved {
    fn environment(message: String) -> Self {
        Self { reason: "CreateContainerConfigError", message }
    }

    /// A volume that cannot be mounted leaves the container in creation.
    fn volume(self) -> Self {
        Self { reason: "ContainerCreating", ..self }
    }
}

type Entries = BTreeMap<String, String>;

/// Resolves the environment and the volumes of a container.
pub(super) async fn resolve(home: &Home, container: &Container) -> Result<Resolved, Unresolved> {
    let configuration =
        Configuration { client: &home.node.client, namespace: home.pod.namespace().unwrap_or_default() };
    let mut resolved = Resolved::default();
    let volumes = home.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    // The token that each pod is given is of no use to the application.
    for volume in volumes.filter(|volume| !volume.name.starts_with("kube-api-access-")) {
        let files = configuration.volume(volume).await.map_err(Unresolved::volume)?;
        resolved.volumes.insert(volume.name.clone(), files);
    }
    for source in container.env_from.iter().flatten() {
        resolved.environment.extend(configuration.all_of(source).await?);
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = configuration.variable(home, variable, &resolved.environment).await? {
            resolved.environment.insert(variable.name.clone(), value);
        }
    }
    Ok(resolved)
}

/// The ConfigMaps and Secrets of a namespace.
struct Configuration<'a> {
    client: &'a Client,
    namespace: String,
}

impl Configuration<'_> {
    async fn config_map(&self, name: &str) -> Result<Option<Entries>, Unresolved> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await.map_err(|error| Unresolved::environment(error.to_string()))?;
        Ok(found.map(|found| found.data.unwrap_or_default()))
    }

    async fn secret(&self, name: &str) -> Result<Option<Entries>, Unresolved> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await.map_err(|error| Unresolved::environment(error.to_string()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(found.map(|found| {
            found.data.unwrap_or_default().into_iter().map(|(key, value)| (key, text(&value.0))).collect()
        }))
    }

    /// The entries of a ConfigMap or Secret that must exist, unless it is optional.
    async fn entries(&self, kind: Kind, name: &str, optional: Option<bool>) -> Result<Option<Entries>, Unresolved> {
        let found = match kind {
            Kind::ConfigMap => self.config_map(name).await?,
            Kind::Secret => self.secret(name).await?,
        };
        if found.is_none() && optional != Some(true) {
            let kind = if kind == Kind::ConfigMap { "configmap" } else { "secret" };
            return Err(Unresolved::environment(format!("{kind} \"{name}\" not found")));
        }
        Ok(found)
    }

    async fn all_of(&self, source: &EnvFromSource) -> Result<Entries, Unresolved> {
        let mut all = Entries::new();
        if let Some(reference) = &source.config_map_ref {
            let found = self.entries(Kind::ConfigMap, &reference.name, reference.optional).await?;
            all.extend(found.unwrap_or_default());
        }
        if let Some(reference) = &source.secret_ref {
            let found = self.entries(Kind::Secret, &reference.name, reference.optional).await?;
            all.extend(found.unwrap_or_default());
        }
        let prefix = source.prefix.as_deref().unwrap_or_default();
        Ok(all.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect())
    }

    async fn variable(&self, home: &Home, variable: &EnvVar, so_far: &Entries) -> Result<Option<String>, Unresolved> {
        let Some(source) = &variable.value_from else {
            return Ok(Some(expand(variable.value.as_deref().unwrap_or_default(), so_far)));
        };
        if let Some(field) = &source.field_ref {
            return Ok(Some(field_of(home, &field.field_path)));
        }
        let Some((kind, name, key, optional)) = key_reference(source) else { return Ok(None) };
        let value = self.entries(kind, name, optional).await?.and_then(|entries| entries.get(key).cloned());
        if value.is_none() && optional != Some(true) {
            let message = format!("couldn't find key {key} in {kind:?} {}/{name}", self.namespace);
            return Err(Unresolved::environment(message));
        }
        Ok(value)
    }

    async fn volume(&self, volume: &Volume) -> Result<Entries, Unresolved> {
        if let Some(source) = &volume.config_map {
            let found = self.entries(Kind::ConfigMap, &source.name, source.optional).await?;
            return Ok(files(found.unwrap_or_default(), source.items.as_deref()));
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let found = self.entries(Kind::Secret, name, source.optional).await?;
            return Ok(files(found.unwrap_or_default(), source.items.as_deref()));
        }
        let mut all = Entries::new();
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            all.extend(self.projection(source).await?);
        }
        Ok(all)
    }

    async fn projection(&self, source: &VolumeProjection) -> Result<Entries, Unresolved> {
        let mut all = Entries::new();
        if let Some(source) = &source.config_map {
            let found = self.entries(Kind::ConfigMap, &source.name, source.optional).await?;
            all.extend(files(found.unwrap_or_default(), source.items.as_deref()));
        }
        if let Some(source) = &source.secret {
            let found = self.entries(Kind::Secret, &source.name, source.optional).await?;
            all.extend(files(found.unwrap_or_default(), source.items.as_deref()));
        }
        Ok(all)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ConfigMap,
    Secret,
}

fn key_reference(source: &EnvVarSource) -> Option<(Kind, &str, &str, Option<bool>)> {
    let config_map = source.config_map_key_ref.as_ref();
    let secret = source.secret_key_ref.as_ref();
    config_map
        .map(|from| (Kind::ConfigMap, from.name.as_str(), from.key.as_str(), from.optional))
        .or_else(|| secret.map(|from| (Kind::Secret, from.name.as_str(), from.key.as_str(), from.optional)))
}

/// All entries, or those that `items` picks, under the paths that it gives them.
fn files(entries: Entries, items: Option<&[KeyToPath]>) -> Entries {
    match items {
        None | Some([]) => entries,
        Some(items) => items
            .iter()
            .filter_map(|item| entries.get(&item.key).map(|value| (item.path.clone(), value.clone())))
            .collect(),
    }
}

fn field_of(home: &Home, path: &str) -> String {
    let pod = &home.pod;
    let spec = pod.spec.as_ref();
    let keyed = |entries: &Entries, key: &str| {
        entries.get(key.trim_matches(|c| matches!(c, '[' | ']' | '\''))).cloned().unwrap_or_default()
    };
    match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => NODE_NAME.to_owned(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.podIP" | "status.podIPs" => home.address.to_string(),
        "status.hostIP" | "status.hostIPs" => NODE_ADDRESS.to_string(),
        _ => {
            let label = path.strip_prefix("metadata.labels").map(|key| keyed(pod.labels(), key));
            let annotation = path.strip_prefix("metadata.annotations").map(|key| keyed(pod.annotations(), key));
            label.or(annotation).unwrap_or_default()
        }
    }
}

/// Replaces `$(NAME)` by the variable of that name, if there is one; `$$` stands for a dollar sign.
fn expand(text: &str, variables: &Entries) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        expanded.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        let reference = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((value, after)) =
            reference.and_then(|(name, after)| variables.get(name).map(|value| (value, after)))
        {
            expanded.push_str(value);
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::{Entries, expand};

    #[test]
    fn references_are_expanded() {
        let variables = Entries::from([("NAME".to_owned(), "serin".to_owned())]);
        for (text, expected) in [
            ("hello $(NAME)!", "hello serin!"),
            ("$(NAME)$(NAME)", "serinserin"),
            ("$$(NAME)", "$(NAME)"),
            ("$(OTHER) costs 5$", "$(OTHER) costs 5$"),
        ] {
            assert_eq!(expand(text, &variables), expected);
        }
    }
}
