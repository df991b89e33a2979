//! Bad manifests: what the API server refuses, and what it accepts and Serin can't act upon.

use serde_json::{Value, json};

use super::{canary, deployment};
use crate::privileges::ACCOUNT;

/// A manifest that the API server, or kubectl with its help, refuses.
pub struct Refused {
    pub name: &'static str,
    pub object: Value,
    /// What the refusal says.
    pub words: &'static [&'static str],
}

/// A Canary that is accepted and then `Stalled`.
pub struct Stalled {
    pub name: &'static str,
    /// Patch of a spec that is well.
    pub spec: Value,
    /// Objects beside the Canary.
    pub beside: Vec<Value>,
    pub reason: &'static str,
    /// What the condition says.
    pub words: &'static [&'static str],
}

pub fn refused() -> Vec<Refused> {
    let row = |name, spec: Value, words| Refused { name, object: canary("refused", &spec), words };
    let provider = |kind: &str, spec: Value| json!({"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": {"name": "refused"}, "spec": spec});
    vec![
        row(
            "two strategies",
            json!({"analysis": {"stepWeights": [10, 50]}}),
            &[
                "spec.analysis",
                "exactly one of stepWeight, stepWeights, steps and iterations: add one, or keep only one",
            ],
        ),
        row(
            "no strategy",
            json!({"analysis": {"stepWeight": null}}),
            &[
                "spec.analysis",
                "exactly one of stepWeight, stepWeights, steps and iterations: add one, or keep only one",
            ],
        ),
        row(
            "no analysis",
            json!({"analysis": null}),
            &["spec: Invalid value", "analysis is missing: add it, or set skipAnalysis: true to promote without one"],
        ),
        row("no port", json!({"service": {"port": null}}), &["spec.service.port: Required value"]),
        row("no target", json!({"targetRef": null}), &["spec.targetRef: Required value"]),
        row(
            "a target of another kind",
            json!({"targetRef": {"kind": "StatefulSet"}}),
            &["spec.targetRef.kind: Unsupported value: \"StatefulSet\"", "\"Deployment\""],
        ),
        row(
            "a provider that there isn't",
            json!({"provider": "istioo"}),
            &["spec.provider: Unsupported value: \"istioo\"", "\"gatewayapi:v1\""],
        ),
        row(
            "a number in words",
            json!({"analysis": {"stepWeight": "ten"}}),
            &["spec.analysis.stepWeight: Invalid value: \"string\"", "must be of type number"],
        ),
        row(
            "a duration in words",
            json!({"analysis": {"interval": "a minute"}}),
            &["spec.analysis.interval: Invalid value: \"a minute\""],
        ),
        row("a misspelt field", json!({"analysis": {"maxWieght": 50}}), &["unknown field \"spec.analysis.maxWieght\""]),
        Refused {
            name: "an AlertProvider without address",
            object: provider("AlertProvider", json!({"type": "slack"})),
            words: &["an address is missing: add address, or secretRef with a Secret that has the key address"],
        },
        Refused {
            name: "an AlertProvider of a kind that there isn't",
            object: provider("AlertProvider", json!({"type": "email", "address": "http://mail.test"})),
            words: &["spec.type: Unsupported value: \"email\"", "\"slack\""],
        },
        Refused {
            name: "a MetricTemplate of a kind that there isn't",
            object: provider("MetricTemplate", json!({"provider": {"type": "mysql"}, "query": "SELECT 1"})),
            words: &["spec.provider.type: Unsupported value: \"mysql\"", "\"prometheus\""],
        },
    ]
}

/// `uid` is that of the Deployment `frontend`, which is made the owner of what it has nothing to do with.
pub fn stalled(uid: &str) -> Vec<Stalled> {
    [unsupported(), contradictory(), absent(), taken(uid), impossible()].into_iter().flatten().collect()
}

fn invalid(name: &'static str, spec: Value, words: &'static [&'static str]) -> Stalled {
    Stalled { name, spec, beside: Vec::new(), reason: "InvalidSpec", words }
}

/// What Flagger has and this version does not.
fn unsupported() -> Vec<Stalled> {
    const NOT_YET: &str = "is not supported yet by this version of Serin";
    vec![
        invalid(
            "istio",
            json!({"provider": "istio"}),
            &["spec.provider: istio", NOT_YET, "use gatewayapi:v1 or kubernetes"],
        ),
        invalid(
            "daemon-set",
            json!({"targetRef": {"kind": "DaemonSet"}}),
            &["spec.targetRef.kind: DaemonSet", NOT_YET, "use a Deployment"],
        ),
        invalid(
            "webhooks",
            json!({"analysis": {"webhooks": [{"name": "gate", "type": "confirm-rollout", "url": "http://gate.test"}]}}),
            &["spec.analysis.webhooks", NOT_YET, "remove them"],
        ),
        invalid(
            "mirror",
            json!({"analysis": {"mirror": true}}),
            &["spec.analysis.mirror: mirroring", NOT_YET, "remove it"],
        ),
        invalid(
            "ab-test",
            json!({"analysis": {
                "stepWeight": null, "maxWeight": null, "iterations": 3,
                "match": [{"headers": {"x-canary": {"exact": "insider"}}}],
            }}),
            &["spec.analysis.match", NOT_YET, "use stepWeight, or iterations alone"],
        ),
        invalid(
            "scaled-object",
            json!({"autoscalerRef": {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "x"}}),
            &["spec.autoscalerRef.kind: ScaledObject", NOT_YET, "use a HorizontalPodAutoscaler"],
        ),
        invalid(
            "retries",
            json!({"service": {"retries": {"attempts": 3}}}),
            &["spec.service.retries", "has no retries", "configure them where your gateway does"],
        ),
    ]
}

/// What says two things at once, or nothing.
fn contradictory() -> Vec<Stalled> {
    let metric = |metric: Value| json!({"analysis": {"metrics": [metric]}});
    vec![
        invalid("no-time", json!({"analysis": {"interval": "0s"}}), &["spec.analysis.interval", "write 1s or more"]),
        invalid(
            "above-hundred",
            json!({"analysis": {"maxWeight": 150}}),
            &["spec.analysis.maxWeight: 150 must be a whole number from 0 to 100"],
        ),
        invalid(
            "descending",
            json!({"analysis": {"stepWeight": null, "maxWeight": null, "stepWeights": [50, 20]}}),
            &["spec.analysis.stepWeights[1]: 20 does not rise above 50", "ascending order"],
        ),
        invalid(
            "no-value-passes",
            metric(json!({"name": "request-duration", "thresholdRange": {"min": 500, "max": 5}})),
            &["spec.analysis.metrics[0].thresholdRange", "min 500 is more than max 5; swap them"],
        ),
        invalid(
            "no-bound",
            metric(json!({"name": "request-duration", "thresholdRange": {}})),
            &["spec.analysis.metrics[0].thresholdRange", "add min or max"],
        ),
        invalid(
            "misspelt-metric",
            metric(json!({"name": "request-succes-rate", "thresholdRange": {"min": 99}})),
            &["spec.analysis.metrics[0]", "did you mean request-success-rate?"],
        ),
        invalid(
            "two-sources",
            metric(json!({"name": "m", "query": "up", "templateRef": {"name": "t"}, "thresholdRange": {"min": 1}})),
            &["spec.analysis.metrics[0]", "keep one of templateRef, query and the name of a built-in metric"],
        ),
        invalid(
            "every-host",
            json!({"service": {"hosts": ["*"]}}),
            &["spec.service.hosts[0]", "remove hosts to serve every host"],
        ),
        invalid(
            "no-scheme",
            json!({"metricsServer": "prometheus:9090"}),
            &["spec.metricsServer: \"prometheus:9090\"", "write it as http://prometheus.monitoring:9090"],
        ),
        invalid(
            "replicas",
            json!({"autoscalerRef": {
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "x",
                "primaryScalerReplicas": {"minReplicas": 9, "maxReplicas": 2},
            }}),
            &["spec.autoscalerRef.primaryScalerReplicas", "lower the one or raise the other"],
        ),
        invalid(
            "template-elsewhere",
            metric(
                json!({"name": "m", "templateRef": {"name": "t", "namespace": "default"}, "thresholdRange": {"min": 1}}),
            ),
            &["spec.analysis.metrics[0].templateRef.namespace", "--no-cross-namespace-refs", "namespace bad-input"],
        ),
        invalid(
            "alert-elsewhere",
            json!({"analysis": {"alerts": [{"name": "a", "providerRef": {"name": "a", "namespace": "default"}}]}}),
            &["spec.analysis.alerts[0].providerRef.namespace", "--no-cross-namespace-refs", "namespace bad-input"],
        ),
        invalid(
            "two-at-once",
            json!({"provider": "linkerd", "service": {"port": 0}}),
            &["spec.provider: linkerd", "spec.service.port"],
        ),
    ]
}

/// What must be there and is not.
fn absent() -> Vec<Stalled> {
    let from = |name: &str| json!({"template": {"spec": {"containers": [{"name": "app", "image": "testbed-app:1.0.0", "envFrom": [{"configMapRef": {"name": name}}]}]}}});
    let autoscaler = |name: &str, replicas: Value| json!({"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": name, "primaryScalerReplicas": replicas}});
    vec![
        Stalled {
            name: "no-deployment",
            spec: json!({}),
            beside: vec![],
            reason: "TargetMissing",
            words: &["Deployment no-deployment does not exist; create it or mend spec.targetRef.name"],
        },
        Stalled {
            name: "no-config-map",
            spec: json!({}),
            beside: vec![deployment("no-config-map", &from("no-config-map"))],
            reason: "Obstacle",
            words: &["no-config-map does not exist", "create it or mark the reference optional"],
        },
        Stalled {
            name: "no-autoscaler",
            spec: autoscaler("no-autoscaler", json!({})),
            beside: vec![deployment("no-autoscaler", &json!({}))],
            reason: "Obstacle",
            words: &["HorizontalPodAutoscaler no-autoscaler does not exist; create it or mend spec.autoscalerRef.name"],
        },
        Stalled {
            name: "bounds",
            spec: autoscaler("bounds", json!({"minReplicas": 20})),
            beside: vec![deployment("bounds", &json!({})), hpa("bounds")],
            reason: "Obstacle",
            words: &["minReplicas 20 above maxReplicas 9", "mend spec.autoscalerRef.primaryScalerReplicas"],
        },
        Stalled {
            name: "no-gateway",
            spec: json!({"service": {"gatewayRefs": [{"name": "nowhere"}]}}),
            beside: vec![deployment("no-gateway", &json!({}))],
            reason: "RouteNotApplied",
            words: &[
                "waiting for Gateway nowhere.bad-input",
                "see that it exists and takes routes of namespace bad-input",
            ],
        },
    ]
}

/// What belongs to somebody else.
fn taken(uid: &str) -> Vec<Stalled> {
    let volume = json!({"template": {"spec": {"volumes": [{"name": "c", "configMap": {"name": "copy-taken"}}]}}});
    vec![
        Stalled {
            name: "service-taken",
            spec: json!({}),
            beside: vec![deployment("service-taken", &json!({})), owned_service("service-taken", uid)],
            reason: "Obstacle",
            words: &[
                "Service service-taken.bad-input",
                "belongs to Deployment frontend",
                "give this Canary another spec.service.name",
            ],
        },
        Stalled {
            name: "service-shared",
            spec: json!({"service": {"name": "frontend"}}),
            beside: vec![deployment("service-shared", &json!({}))],
            reason: "Obstacle",
            words: &["Service frontend", "belongs to Canary frontend", "give this Canary another spec.service.name"],
        },
        Stalled {
            name: "target-shared",
            spec: json!({"targetRef": {"name": "frontend"}}),
            beside: vec![],
            reason: "TargetUnusable",
            words: &["Deployment frontend-primary.bad-input", "belongs to Canary frontend", "rename"],
        },
        Stalled {
            name: "primary-taken",
            spec: json!({}),
            beside: vec![deployment("primary-taken", &json!({})), deployment("primary-taken-primary", &json!({}))],
            reason: "TargetUnusable",
            words: &[
                "Deployment primary-taken-primary.bad-input",
                "belongs to no Canary",
                "rename it, or rename the target",
            ],
        },
        Stalled {
            name: "copy-taken",
            spec: json!({}),
            beside: vec![deployment("copy-taken", &volume), config_map("copy-taken"), config_map("copy-taken-primary")],
            reason: "Obstacle",
            words: &[
                "ConfigMap copy-taken-primary.bad-input",
                "belongs to no Canary",
                "flagger.app/config-tracking: disabled",
            ],
        },
    ]
}

/// What can't be done with a target, or is not allowed.
fn impossible() -> Vec<Stalled> {
    let labels = |labels: Value| json!({"selector": {"matchLabels": labels.clone()}, "template": {"metadata": {"labels": labels}}});
    let long = "l".repeat(60);
    vec![
        Stalled {
            name: "no-label",
            spec: json!({}),
            beside: vec![deployment("no-label", &labels(json!({"app": null, "component": "web"})))],
            reason: "TargetUnusable",
            words: &["must have one of the labels app, name, app.kubernetes.io/name", "--selector-labels"],
        },
        Stalled {
            name: "long-label",
            spec: json!({}),
            beside: vec![deployment("long-label", &labels(json!({"app": long})))],
            reason: "TargetUnusable",
            words: &["label app can't become", "shorten it to 55"],
        },
        Stalled {
            name: "policy",
            spec: json!({}),
            beside: vec![deployment("policy", &json!({}))],
            reason: "WriteRefused",
            words: &["create Deployment policy-primary.bad-input", "every Deployment needs the label team"],
        },
    ]
}

/// An admission policy of the cluster that does not let the primary of `policy` be made.
pub fn policy(namespace: &str) -> Vec<Value> {
    let rule =
        json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]});
    let wanted = json!({
        "expression": "has(object.metadata.labels) && 'team' in object.metadata.labels",
        "message": "every Deployment needs the label team",
    });
    admission("bad-input", namespace, &rule, "policy-primary", &wanted)
}

/// An admission policy of the cluster that does not let Serin change the Service `frontend-canary`.
pub fn no_repairs(namespace: &str) -> Vec<Value> {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["services"]});
    let wanted = json!({
        "expression": format!("request.userInfo.username != '{ACCOUNT}'"),
        "message": "nobody repairs it",
    });
    admission("unrepaired", namespace, &rule, "frontend-canary", &wanted)
}

fn admission(name: &str, namespace: &str, rule: &Value, matched: &str, wanted: &Value) -> Vec<Value> {
    let object = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let only = json!({"name": "one", "expression": format!("object.metadata.name == '{matched}'")});
    let there = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    vec![
        object(
            "ValidatingAdmissionPolicy",
            json!({
                "matchConstraints": {"resourceRules": [rule]},
                "matchConditions": [only],
                "validations": [wanted],
            }),
        ),
        object(
            "ValidatingAdmissionPolicyBinding",
            json!({"policyName": name, "validationActions": ["Deny"], "matchResources": there}),
        ),
    ]
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"GREETING": "hello"}})
}

fn hpa(name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1,
            "maxReplicas": 9,
        },
    })
}

fn owned_service(name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend", "uid": uid, "controller": true},
            ],
        },
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    })
}
