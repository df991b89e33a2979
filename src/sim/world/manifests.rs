//! The objects that people keep in Git in a simulated world.

use serde_json::{Map, Value, json};

use super::plan::{Quality, Shape, Strategy};
use crate::api::checked::ObjectKey;
use crate::sim::promises::BROKEN_NEIGHBOUR;

/// Where everything is.
pub const NAMESPACE: &str = "default";
/// Name of the Canary, its target and its Service.
pub const NAME: &str = "app";
/// Name of the ConfigMap.
pub const CONFIG: &str = "app-config";
/// Address of Prometheus.
pub const PROMETHEUS: &str = "http://prometheus.test:9090";
/// Host of the receiver of alerts.
pub const RECEIVER: &str = "receiver.test";

/// The Canary's key.
pub fn canary_key() -> ObjectKey {
    ObjectKey::new(NAMESPACE, NAME)
}

/// What of the spec people edit in a world.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// `analysis.interval`, in seconds.
    pub interval_seconds: u32,
    /// `analysis.threshold`.
    pub threshold: u32,
    /// `analysis.stepWeights`, where there are any.
    pub weights: Vec<u32>,
    /// `skipAnalysis`.
    pub skips_analysis: bool,
    /// `suspend`.
    pub is_suspended: bool,
    /// The port is 0.
    pub is_unusable: bool,
}

impl Spec {
    /// As the world begins.
    pub fn of(shape: &Shape) -> Self {
        let weights = match &shape.strategy {
            Strategy::Weights(weights, _) => weights.clone(),
            Strategy::RoutedIterations(_) | Strategy::Iterations(_) => Vec::new(),
        };
        Self {
            interval_seconds: shape.interval_seconds,
            threshold: shape.threshold,
            weights,
            skips_analysis: shape.skips_analysis,
            is_suspended: false,
            is_unusable: false,
        }
    }
}

/// The Canary.
pub fn canary(shape: &Shape, spec: &Spec) -> Value {
    let provider = match shape.strategy {
        Strategy::Iterations(_) => "kubernetes",
        Strategy::Weights(..) | Strategy::RoutedIterations(_) => "gatewayapi:v1",
    };
    let mut canary = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "provider": provider,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "progressDeadlineSeconds": shape.deadline_seconds,
            "service": {"port": if spec.is_unusable { 0 } else { 80 }, "targetPort": 8080},
            "skipAnalysis": spec.skips_analysis,
            "revertOnDeletion": shape.reverts_on_deletion,
            "suspend": spec.is_suspended,
            "analysis": analysis(shape, spec),
        },
    });
    if shape.has_autoscaler {
        let reference = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": NAME});
        canary["spec"]["autoscalerRef"] = reference;
    }
    canary
}

fn analysis(shape: &Shape, spec: &Spec) -> Value {
    let mut analysis = json!({
        "interval": format!("{}s", spec.interval_seconds),
        "threshold": spec.threshold,
        "holdTimeout": format!("{}s", shape.hold_timeout_seconds),
        "metrics": metrics(shape),
        "alerts": [{"name": "on-call", "severity": "info", "providerRef": {"name": "on-call"}}],
    });
    match &shape.strategy {
        Strategy::Weights(_, promotion) => {
            analysis["stepWeights"] = json!(spec.weights);
            if *promotion > 0 {
                analysis["stepWeightPromotion"] = json!(promotion);
            }
        }
        Strategy::RoutedIterations(iterations) | Strategy::Iterations(iterations) => {
            analysis["iterations"] = json!(iterations);
        }
    }
    analysis
}

fn metrics(shape: &Shape) -> Value {
    let metric = |name: &str, bound: Value| {
        json!({
            "name": name,
            "interval": "30s",
            "thresholdRange": bound,
            "onNoData": shape.checks.on_no_data,
            "onError": shape.checks.on_error,
        })
    };
    let mut metrics =
        vec![metric("request-success-rate", json!({"min": 99})), metric("request-duration", json!({"max": 500}))];
    if shape.checks.has_template {
        let mut template = metric("error-share", json!({"max": 1}));
        template["templateRef"] = json!({"name": "error-share"});
        metrics.push(template);
    }
    Value::Array(metrics)
}

/// The target. Without `replicas`: Serin scales it.
pub fn target(shape: &Shape, image: u32, quality: Quality) -> Value {
    let mut container = json!({
        "name": "app",
        "image": format!("app:{image}-{quality:?}").to_lowercase(),
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": environment(image, quality),
    });
    if shape.has_config {
        container["envFrom"] = json!([{"configMapRef": {"name": CONFIG}}]);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}},
        },
    })
}

fn environment(image: u32, quality: Quality) -> Value {
    let mut variables = Map::new();
    variables.insert("VERSION".to_owned(), json!(image.to_string()));
    let (name, value) = match quality {
        Quality::Good => ("ERROR_RATE", "0"),
        Quality::Failing => ("ERROR_RATE", "0.2"),
        Quality::Slow => ("LATENCY_MS", "2000"),
        Quality::NeverReady => ("NEVER_READY", "1"),
        Quality::Crashing => ("CRASH_AFTER_MS", "3000"),
    };
    variables.insert(name.to_owned(), json!(value));
    variables.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// The ConfigMap that the pods read.
pub fn config(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": NAMESPACE},
        "data": {"GREETING": format!("hello {number}")},
    })
}

/// The target's autoscaler: each image asks for bounds of its own.
pub fn autoscaler(image: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 2,
            "maxReplicas": 4 + image,
        },
    })
}

/// Everything else that is there from the beginning and does not change.
pub fn surroundings(shape: &Shape) -> Vec<Value> {
    let mut objects = vec![json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "AlertProvider",
        "metadata": {"name": "on-call", "namespace": NAMESPACE},
        "spec": {"type": "webhook", "address": format!("http://{RECEIVER}/alerts")},
    })];
    if shape.checks.has_template {
        objects.push(template());
    }
    if shape.has_broken_neighbour {
        objects.push(neighbour());
    }
    objects
}

/// A template for the share of requests that fail, in per cent.
fn template() -> Value {
    let series = |matcher: &str| {
        format!(
            r#"sum(rate(http_request_duration_seconds_count{{kubernetes_namespace="{{{{ namespace }}}}",kubernetes_pod_name=~"{{{{ target }}}}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"{matcher}}}[{{{{ interval }}}}]))"#
        )
    };
    let query = format!("100 - {} / {} * 100", series(r#",status!~"5.*""#), series(""));
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": "error-share", "namespace": NAMESPACE},
        "spec": {"provider": {"type": "prometheus", "address": PROMETHEUS}, "query": query},
    })
}

/// A Canary with a provider that is not built yet, which the schema lets through, and with a free-form field that nests
/// deeper than JSON libraries read.
fn neighbour() -> Value {
    let deep = (0..200).fold(json!(1), |inner, _| Map::from_iter([("deeper".to_owned(), inner)]).into());
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": BROKEN_NEIGHBOUR, "namespace": NAMESPACE},
        "spec": {
            "provider": "istio",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "somebody"},
            "service": {"port": 80, "targetPort": 8080},
            "analysis": {"interval": "10s", "threshold": 1, "iterations": 1, "comparison": deep},
        },
    })
}
