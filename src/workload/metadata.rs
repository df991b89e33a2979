//! Which labels and annotations go from an object of the user to its copy.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Settings;
use crate::rollout::object::strings;

/// What marks an object as managed by Argo CD, Helm, Fleet or kubectl. On a copy it would make that tool take the copy
/// for an orphan of its own and prune it. Keys, and prefixes where they end with a slash.
const NEVER_COPIED: [&str; 8] = [
    "argocd.argoproj.io/",
    "app.kubernetes.io/instance",
    "kubectl.kubernetes.io/last-applied-configuration",
    "objectset.rio.cattle.io/",
    "meta.helm.sh/",
    "helm.sh/",
    "deployment.kubernetes.io/revision",
    "serin.dev/",
];

/// Marks all keys of Flux, in whatever group (`kustomize.toolkit.fluxcd.io/name`).
const FLUX: &str = "toolkit.fluxcd.io";

/// The labels that a copy of this object gets: those with an included prefix that mark no owner.
pub fn copied_labels(object: &Value, settings: &Settings) -> BTreeMap<String, String> {
    let mut labels = strings(object, "/metadata/labels");
    labels.retain(|key, _| {
        may_be_copied(key) && settings.include_label_prefixes.iter().any(|prefix| included(key, prefix))
    });
    labels
}

/// The annotations that a copy of this object gets: all that mark no owner. (Flagger copies them at creation and drops
/// them at the first promotion.)
pub fn copied_annotations(object: &Value) -> BTreeMap<String, String> {
    let mut annotations = strings(object, "/metadata/annotations");
    annotations.retain(|key, _| may_be_copied(key));
    annotations
}

/// Whether a label or annotation of a pod template goes along; only Flux's don't. Pods belong to their ReplicaSet, so
/// that no tool takes them for its own, and selectors need their labels.
pub fn may_be_copied_to_pods(key: &str) -> bool {
    !key.contains(FLUX)
}

fn may_be_copied(key: &str) -> bool {
    let denied = |entry: &&str| if entry.ends_with('/') { key.starts_with(*entry) } else { key == *entry };
    !key.contains(FLUX) && !NEVER_COPIED.iter().any(denied)
}

fn included(key: &str, prefix: &str) -> bool {
    prefix == "*" || (!prefix.is_empty() && key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        let keys = json!({
            "team": "a",
            "team.example/tier": "b",
            "app.kubernetes.io/instance": "x",
            "argocd.argoproj.io/tracking-id": "x",
            "kustomize.toolkit.fluxcd.io/name": "x",
            "kubectl.kubernetes.io/last-applied-configuration": "x",
            "objectset.rio.cattle.io/id": "x",
            "meta.helm.sh/release-name": "x",
            "helm.sh/chart": "x",
            "deployment.kubernetes.io/revision": "3",
        });
        json!({"metadata": {"labels": keys, "annotations": keys}})
    }

    #[test]
    fn labels_are_copied_by_prefix_and_never_those_that_mark_an_owner() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["*"], &["team", "team.example/tier"]),
            (&["team.example"], &["team.example/tier"]),
            (&["app.kubernetes.io", "helm.sh"], &[]),
            (&[""], &[]),
        ];
        for (prefixes, expected) in cases {
            let settings = Settings {
                include_label_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
                ..Settings::default()
            };
            assert_eq!(copied_labels(&object(), &settings).into_keys().collect::<Vec<_>>(), expected, "{prefixes:?}");
        }
    }

    #[test]
    fn annotations_are_copied_but_for_those_that_mark_an_owner() {
        assert_eq!(copied_annotations(&object()).into_keys().collect::<Vec<_>>(), ["team", "team.example/tier"]);
    }
}
