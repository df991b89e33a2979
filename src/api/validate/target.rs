//! The workload, its autoscaler, and what concerns the Canary as a whole. As in Flagger, the kind of a reference says
//! what it refers to, whatever its `apiVersion`.

use super::is;
use super::numbers::whole;
use crate::api::canary::{AutoscalerRef, CanarySpec};
use crate::api::checked::Autoscaler;
use crate::api::problem::Problems;

/// Name of the target Deployment.
pub(super) fn name(spec: &CanarySpec, problems: &mut Problems) -> String {
    let target = &spec.target_ref;
    if !is::is_dns_name(&target.name) {
        let message = format!("{:?} is not the name of a Deployment: write it as metadata.name has it", target.name);
        problems.add("spec.targetRef.name", message);
    }
    target.name.clone()
}

/// The autoscaler of the target.
pub(super) fn autoscaler(spec: &CanarySpec, problems: &mut Problems) -> Option<Autoscaler> {
    let reference = spec.autoscaler_ref.as_ref()?;
    if !is::is_dns_name(&reference.name) {
        let message =
            format!("{:?} is not the name of an autoscaler: write it as metadata.name has it", reference.name);
        problems.add("spec.autoscalerRef.name", message);
    }
    let (primary_min_replicas, primary_max_replicas) = replicas(reference, problems);
    Some(Autoscaler { name: reference.name.clone(), primary_min_replicas, primary_max_replicas })
}

fn replicas(reference: &AutoscalerRef, problems: &mut Problems) -> (Option<i32>, Option<i32>) {
    const FIELD: &str = "spec.autoscalerRef.primaryScalerReplicas";
    let Some(replicas) = &reference.primary_scaler_replicas else { return (None, None) };
    let mut read = |number, name| whole(number, &format!("{FIELD}.{name}"), 1..=i32::MAX, problems);
    let min = read(replicas.min_replicas.as_ref(), "minReplicas");
    let max = read(replicas.max_replicas.as_ref(), "maxReplicas");
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        problems
            .add(FIELD, format!("minReplicas {min} is more than maxReplicas {max}: lower the one or raise the other"));
    }
    (min, max)
}

/// Flagger's default is 600.
pub(super) fn progress_deadline_seconds(spec: &CanarySpec, problems: &mut Problems) -> i64 {
    let number = spec.progress_deadline_seconds.as_ref();
    i64::from(whole(number, "spec.progressDeadlineSeconds", 1..=i32::MAX, problems).unwrap_or(600))
}

/// Prometheus for built-in and in-line queries.
pub(super) fn metrics_server(spec: &CanarySpec, problems: &mut Problems) -> Option<String> {
    let address = &spec.metrics_server;
    if !address.is_empty() && !is::is_http_address(address) {
        let message = format!("{address:?} is not an address: write it as http://prometheus.monitoring:9090");
        problems.add("spec.metricsServer", message);
    }
    (!address.is_empty()).then(|| address.clone())
}
