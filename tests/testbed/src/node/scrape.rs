//! Telling Prometheus where the running pods are.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::container::{ContainerState, Phase, port_of};
use super::pod::Home;

/// The pods to scrape; written to the file on each change.
#[derive(Debug)]
pub(super) struct ScrapeTargets {
    path: PathBuf,
    targets: Mutex<BTreeMap<String, Value>>,
}

impl ScrapeTargets {
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        fs::write(&path, "[]").with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, targets: Mutex::default() })
    }

    /// Adds a pod that runs.
    pub(super) fn update(&self, home: &Home, states: &[ContainerState]) {
        let running = states.iter().any(|state| matches!(state.phase, Phase::Running { .. }));
        let Some(container) = home.containers().first().filter(|_| running) else { return };
        let app = home.pod.labels().get("app").or_else(|| home.pod.labels().get("app.kubernetes.io/name"));
        let target = json!({
            "targets": [format!("{}:{}", home.address, port_of(container))],
            "labels": {
                "kubernetes_namespace": home.pod.namespace(),
                "kubernetes_pod_name": home.pod.name_any(),
                "namespace": home.pod.namespace(),
                "pod": home.pod.name_any(),
                "app": app.cloned().unwrap_or_default(),
            },
        });
        self.change(|targets| targets.insert(home.full_name(), target.clone()).as_ref() != Some(&target));
    }

    /// Takes a pod out.
    pub(super) fn remove(&self, home: &Home) {
        self.change(|targets| targets.remove(&home.full_name()).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Value>) -> bool) {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut targets) {
            let text = targets.values().cloned().collect::<Value>().to_string();
            let temporary = self.path.with_extension("new");
            // Renamed into place, so that a reader never sees half a file.
            if let Err(error) = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &self.path)) {
                eprintln!("writing {}: {error}", self.path.display());
            }
        }
    }
}
