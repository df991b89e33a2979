//! Whether the pods of a Deployment can take traffic.

use serde_json::Value;

use crate::rollout::Readiness;
use crate::rollout::object::{count, find, integer, items, text};

/// Readiness of a Deployment, given the percentage of its pods (0 to 100) that must be available.
///
/// Ready means: the Deployment controller has seen the newest generation, all pods are of it, the old ones are gone, and
/// enough are available. The share is rounded down as Flagger does, but is one pod at least where the threshold is above
/// zero. A Deployment that is asked for no pods is never ready, whatever the threshold: it can't take traffic. (Flagger
/// calls it ready.) The deadline counts only for the newest generation.
pub fn readiness(deployment: &Value, threshold_percent: i32) -> Readiness {
    let available_pods = available_pods(deployment);
    let observed = is_observed(deployment);
    let deadline_exceeded = observed && progress_reason(deployment) == Some("ProgressDeadlineExceeded");
    let message =
        obstacle(deployment, threshold_percent, available_pods, observed, deadline_exceeded).unwrap_or_default();
    let at_rest = observed && count(deployment, "/spec/replicas") == Some(0) && pods(deployment) == 0;
    Readiness { ready: message.is_empty(), at_rest, available_pods, deadline_exceeded, message }
}

/// Whether a Deployment has a pod that can take traffic.
pub fn can_serve(deployment: &Value) -> bool {
    available_pods(deployment) > 0
}

fn available_pods(deployment: &Value) -> i32 {
    count(deployment, "/status/availableReplicas").unwrap_or(0)
}

/// Pods that are not on their way out.
fn pods(deployment: &Value) -> i32 {
    count(deployment, "/status/replicas").unwrap_or(0)
}

fn obstacle(
    deployment: &Value,
    threshold_percent: i32,
    available: i32,
    observed: bool,
    deadline_exceeded: bool,
) -> Option<String> {
    // The API server's default.
    let wanted = count(deployment, "/spec/replicas").unwrap_or(1);
    let status = |field: &str| count(deployment, &format!("/status/{field}")).unwrap_or(0);
    let (updated, all) = (status("updatedReplicas"), pods(deployment));
    let needed = needed_pods(updated, threshold_percent);
    if !observed {
        Some("waiting for the Deployment controller to see the newest generation".to_owned())
    } else if wanted == 0 {
        Some("scaled to zero, so no pod can take traffic".to_owned())
    } else if deadline_exceeded {
        Some(format!(
            "exceeded its progress deadline with {updated} of {wanted} new pods made and {available} available"
        ))
    } else if updated < wanted && find(deployment, "/spec/paused") == Some(&Value::Bool(true)) {
        Some("paused by spec.paused, so its new pods are not made".to_owned())
    } else if updated < wanted {
        Some(format!("waiting for new pods: {updated} of {wanted} made"))
    } else if all > updated {
        Some(format!("waiting for old pods to go: {} left", all - updated))
    } else if available < needed {
        Some(format!("waiting for pods to become available: {available} of {needed} (threshold {threshold_percent} %)"))
    } else {
        None
    }
}

fn needed_pods(updated: i32, threshold_percent: i32) -> i32 {
    if threshold_percent <= 0 {
        return 0;
    }
    let share = i64::from(updated) * i64::from(threshold_percent) / 100;
    i32::try_from(share).unwrap_or(i32::MAX).max(1)
}

fn is_observed(deployment: &Value) -> bool {
    let generation = integer(deployment, "/metadata/generation").unwrap_or(0);
    integer(deployment, "/status/observedGeneration").is_some_and(|observed| observed >= generation)
}

fn progress_reason(deployment: &Value) -> Option<&str> {
    let conditions = items(deployment, "/status/conditions");
    let progress = conditions.iter().find(|condition| text(condition, "/type") == Some("Progressing"))?;
    text(progress, "/reason")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Case {
        name: &'static str,
        replicas: i32,
        /// all, updated, available
        pods: [i32; 3],
        threshold: i32,
        expected: &'static str,
    }

    #[test]
    fn ready_means_rolled_out_and_enough_pods_available() {
        let case = |name, replicas, pods, threshold, expected| Case { name, replicas, pods, threshold, expected };
        let cases = [
            case("all there", 2, [2, 2, 2], 100, ""),
            case("new pods missing", 2, [2, 1, 2], 100, "waiting for new pods: 1 of 2 made"),
            case("old pods left", 2, [3, 2, 3], 100, "waiting for old pods to go: 1 left"),
            case(
                "one unavailable",
                2,
                [2, 2, 1],
                100,
                "waiting for pods to become available: 1 of 2 (threshold 100 %)",
            ),
            case("half is enough", 2, [2, 2, 1], 50, ""),
            case("the share is rounded down", 3, [3, 3, 1], 50, ""),
            case(
                "but never to none",
                1,
                [1, 1, 0],
                50,
                "waiting for pods to become available: 0 of 1 (threshold 50 %)",
            ),
            case("a threshold of zero waits for nothing", 1, [1, 1, 0], 0, ""),
            case("scaled to zero", 0, [0, 0, 0], 100, "scaled to zero, so no pod can take traffic"),
            case(
                "scaled to zero with a threshold of zero",
                0,
                [0, 0, 0],
                0,
                "scaled to zero, so no pod can take traffic",
            ),
            case("not at rest yet", 0, [1, 1, 1], 100, "scaled to zero, so no pod can take traffic"),
            case("scaled down with pods still going", 1, [2, 2, 2], 100, ""),
        ];
        for Case { name, replicas, pods: [all, updated, available], threshold, expected } in cases {
            let deployment = json!({
                "metadata": {"generation": 4},
                "spec": {"replicas": replicas},
                "status": {"observedGeneration": 4, "replicas": all, "updatedReplicas": updated, "availableReplicas": available},
            });
            let result = readiness(&deployment, threshold);
            assert_eq!((result.message.as_str(), result.ready), (expected, expected.is_empty()), "{name}");
            assert_eq!(result.available_pods, available, "{name}");
            assert_eq!(result.at_rest, (replicas, all) == (0, 0), "{name}");
        }
    }

    fn stuck(observed: i64) -> Value {
        json!({
            "metadata": {"generation": 5},
            "spec": {"replicas": 1},
            "status": {
                "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
                "conditions": [
                    {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
                ],
            },
        })
    }

    #[test]
    fn a_deadline_counts_only_for_the_newest_generation() {
        let current = readiness(&stuck(5), 100);
        assert!(current.deadline_exceeded && !current.ready);
        let stale = readiness(&stuck(4), 100);
        assert!(!stale.deadline_exceeded && !stale.ready);
        assert!(stale.message.contains("newest generation"));
    }

    #[test]
    fn a_deployment_without_a_status_is_not_ready() {
        for deployment in [json!({}), json!({"metadata": {"generation": 1}, "spec": {"replicas": 1}})] {
            assert!(!readiness(&deployment, 0).ready, "{deployment}");
        }
    }

    #[test]
    fn a_paused_target_says_so() {
        let deployment = json!({
            "metadata": {"generation": 1}, "spec": {"replicas": 1, "paused": true}, "status": {"observedGeneration": 1},
        });
        assert!(readiness(&deployment, 100).message.contains("spec.paused"));
    }
}
