//! Resolving what a check refers to, and having it measured.

use std::collections::BTreeMap;

use super::context::Context;
use crate::analysis::Measurement;
use crate::api::checked::{Check, CheckSource, ObjectKey, ValidatedCanary};
use crate::metrics::{Source, Subject};

impl Context {
    /// Measures every check of a Canary. A template, Secret or backend that can't be used is an answer too.
    pub(super) async fn measure(&self, canary: &ValidatedCanary) -> Vec<Measurement> {
        let subject = Subject::of(canary, self.metrics_profile);
        let mut checks = Vec::with_capacity(canary.analysis.checks.len());
        for check in &canary.analysis.checks {
            checks.push((check, self.source(canary, check).await));
        }
        self.metrics.measure_all(&subject, checks).await
    }

    async fn source(&self, canary: &ValidatedCanary, check: &Check) -> Result<Source, String> {
        let CheckSource::Template { template, .. } = &check.source else {
            let (address, field) = match &canary.metrics_server {
                Some(address) => (address, "spec.metricsServer"),
                None => (&self.options.metrics_server, "--metrics-server"),
            };
            return Source::server(address, field).map_err(|error| error.to_string());
        };
        let spec = self.cluster.metric_template(template)?;
        let secret = match &spec.provider.secret_ref {
            Some(secret) => Some(self.secret(&template.namespace, &secret.name).await?),
            None => None,
        };
        Source::template(&spec, secret.as_ref()).map_err(|error| format!("MetricTemplate {template}: {error}"))
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
        self.cluster.secret(&ObjectKey::new(namespace, name)).await
    }
}
