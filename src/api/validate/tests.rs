//! Manifests as people write them, side by side with what becomes of them.

use serde_json::{Value, json};

use super::*;
use crate::api::checked::{Alert, CheckSource, OnError, OnNoData, Severity, Strategy};

/// A Canary that is right, as the smallest tutorial has it.
const BASE: &str = "
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: frontend, namespace: prod}
spec:
  provider: gatewayapi:v1
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: frontend}
  service: {port: 80}
  analysis: {interval: 1m, threshold: 5, stepWeight: 10, maxWeight: 50}
";

fn defaults() -> Defaults {
    let gateways = vec![ObjectKey::new("infra", "public")];
    Defaults { provider: Provider::GatewayApi, gateways, no_cross_namespace_refs: false }
}

/// [`BASE`] with this YAML laid over its spec; a null takes a field out.
fn canary(overlay: &str) -> Value {
    let mut object: Value = serde_saphyr::from_str(BASE).unwrap();
    let overlay: Value = serde_saphyr::from_str(overlay).unwrap_or_else(|error| panic!("{overlay}: {error}"));
    merge(&mut object["spec"], overlay);
    object
}

fn merge(base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => {
            for (key, value) in overlay {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, overlay) => *base = overlay,
    }
}

fn valid(overlay: &str) -> ValidatedCanary {
    validate(&canary(overlay), &defaults()).unwrap_or_else(|invalid| panic!("{overlay}\n{invalid}"))
}

fn problems(overlay: &str) -> Vec<String> {
    let invalid = validate(&canary(overlay), &defaults()).err();
    invalid.map_or_else(Vec::new, |invalid| invalid.problems.iter().map(Problem::to_string).collect())
}

fn schema_problems(overlay: &str) -> Vec<String> {
    let found = schema::check("Canary", &mut canary(overlay));
    let wrong = found.problems.or(()).err().map_or_else(Vec::new, |invalid| invalid.problems);
    wrong.iter().chain(&found.unknown).map(Problem::to_string).collect()
}

/// Parts of Flagger manifests that this version runs.
const RUNS: &[&str] = &[
    "{}",
    "provider: gatewayapi:v1beta1",
    "provider: null",
    "provider: kubernetes",
    "provider: kubernetes\nanalysis: {stepWeight: null, maxWeight: null, iterations: 10}",
    "provider: kubernetes\nservice: {hosts: [app.example.com], gateways: [mesh], gatewayRefs: [{name: public}]}",
    "targetRef: {apiVersion: v1}",
    "metricsServer: http://prometheus.monitoring:9090",
    "progressDeadlineSeconds: 60",
    "progressDeadlineSeconds: 60.0",
    "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: frontend}",
    "autoscalerRef: {apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler, name: frontend}",
    "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: frontend, primaryScalerQueries: null}",
    "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: f, primaryScalerReplicas: {minReplicas: 2, maxReplicas: 5}}",
    "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: f, primaryScalerReplicas: {minReplicas: 2}}",
    "autoscalerRef: null",
    "skipAnalysis: true",
    "skipAnalysis: true\nanalysis: null",
    "skipAnalysis: true\nanalysis: {stepWeight: 0}",
    "revertOnDeletion: true",
    "suspend: true",
    "service: {name: web, portName: http, appProtocol: http, targetPort: 8080}",
    "service: {targetPort: http}",
    "service: {targetPort: 0}",
    "service: {portDiscovery: true, headless: true, trafficDistribution: PreferClose}",
    "service: {port: 80.0}",
    "service: {timeout: 15s, backendTimeout: 5s}",
    "service: {timeout: 0s, backendTimeout: 5s}",
    "service: {gateways: [istio-system/public, mesh], meshName: global, backends: [backend.test]}",
    "service: {hosts: [app.example.com, '*.example.com']}",
    "service: {gatewayRefs: [{name: public, namespace: infra}]}",
    "service: {gatewayRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: public, sectionName: https, port: 443}]}",
    "service: {gatewayRefs: [{group: '', kind: Service, name: frontend, port: 80}]}",
    "service: {gatewayRefs: [{group: core, kind: Service, name: frontend, namespace: prod, port: 80}]}",
    "service: {match: [{uri: {prefix: /}}], rewrite: {uri: /}}",
    "service: {match: [{uri: {exact: /login}, method: {exact: POST}}]}",
    "service: {match: [{name: users, uri: {regex: '/users/[0-9]+'}}]}",
    "service: {match: [{headers: {x-user: {exact: insider}}}, {headers: {cookie: {regex: '.*canary.*'}}}]}",
    "service: {match: [{queryParams: {debug: {exact: 'true'}}}]}",
    "service: {match: [{ignoreUriCase: false, sourceNamespace: ''}]}",
    "service: {rewrite: {uri: /v2, authority: api.example.com, type: ReplaceFullPath}}",
    "service: {match: [{uri: {prefix: /app}}], rewrite: {uri: /, type: ReplacePrefixMatch}}",
    "service: {headers: {request: {add: {x-a: b}, set: {x-c: d}, remove: [x-e]}, response: {remove: [server]}}}",
    "service: {mirror: [{backendRef: {name: audit, port: 80}}, {backendRef: {name: log, namespace: logs, port: 81}}]}",
    "service: {corsPolicy: {allowOrigin: ['https://a.example'], allowMethods: [GET], allowCredentials: true, maxAge: 24h}}",
    "service: {corsPolicy: {allowOrigins: [{exact: 'https://a.example'}], allowHeaders: [x-a], exposeHeaders: [x-b]}}",
    "service: {apex: {labels: {team: web}, annotations: {a.example/b: 'any text at all'}}, primary: {labels: {}}, canary: {annotations: {}}}",
    "service: {unmanagedMetadata: {annotations: [cloud.example/neg], labels: [team]}}",
    "analysis: {interval: 10s}",
    "analysis: {interval: 1m30s}",
    "analysis: {interval: 1h}",
    "analysis: {threshold: 0, maxWeight: 0}",
    "analysis: {stepWeight: null, maxWeight: null, stepWeights: [1, 2, 10, 80]}",
    "analysis: {stepWeight: null, stepWeights: [10, 200]}",
    "analysis: {stepWeightPromotion: 50, primaryReadyThreshold: 50, canaryReadyThreshold: 0}",
    "analysis: {stepWeight: null, maxWeight: null, iterations: 5}",
    "analysis: {mirror: false, mirrorWeight: 0, match: [], webhooks: [], metrics: []}",
    "analysis: {metrics: [{name: request-success-rate, interval: 1m, thresholdRange: {min: 99}}, {name: request-duration, interval: 30s, thresholdRange: {max: 500}}]}",
    "analysis: {metrics: [{name: request-success-rate, threshold: 99}, {name: request-duration, threshold: 500, interval: 1m30s}]}",
    "analysis: {metrics: [{name: 404s, query: 'sum(rate(x{a=\"{{ target }}\"}[1m]))', threshold: 5}]}",
    "analysis: {metrics: [{name: latency, templateRef: {name: latency, namespace: flagger}, thresholdRange: {min: -1.5, max: 2.5}, templateVariables: {direction: inbound}}], \
      alerts: [{name: on-call, severity: error, providerRef: {name: slack, namespace: flagger}}, {name: dev, severity: '', providerRef: {name: slack}}, {name: all, providerRef: {name: teams}}]}",
];

#[test]
fn flagger_manifests_that_this_version_runs_are_accepted() {
    for overlay in RUNS {
        assert_eq!(schema_problems(overlay), [""; 0], "schema: {overlay}");
        assert_eq!(problems(overlay), [""; 0], "{overlay}");
    }
}

#[test]
fn flagger_manifests_for_features_to_come_are_accepted_by_the_schema_and_told_by_field() {
    let cases = [
        (
            "provider: istio\nservice: {gateways: [mesh], trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, retries: {attempts: 3, perTryTimeout: 1s, retryOn: 5xx}}",
            "spec.provider: istio",
        ),
        ("provider: linkerd", "spec.provider: linkerd"),
        (
            "provider: nginx\ningressRef: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: frontend}",
            "spec.ingressRef: routing by Ingress",
        ),
        (
            "provider: apisix\nrouteRef: {apiVersion: apisix.apache.org/v2, kind: ApisixRoute, name: frontend}",
            "spec.routeRef: routing by ApisixRoute",
        ),
        (
            "provider: gloo\nupstreamRef: {apiVersion: gloo.solo.io/v1, kind: Upstream, name: u, namespace: gloo}",
            "spec.upstreamRef: routing by Gloo",
        ),
        ("targetRef: {kind: DaemonSet}", "spec.targetRef.kind: DaemonSet"),
        (
            "provider: knative\ntargetRef: {kind: Service, apiVersion: serving.knative.dev/v1}",
            "spec.targetRef.kind: Service",
        ),
        (
            "autoscalerRef: {apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: f, primaryScalerQueries: {a: b}}",
            "spec.autoscalerRef.kind: ScaledObject",
        ),
        ("service: {httpRouteRef: {name: frontend, rule: main}}", "spec.service.httpRouteRef: adopting an HTTPRoute"),
        (
            "analysis: {stepWeight: null, steps: [{name: taste, weight: 5, interval: 10m, pause: true}]}",
            "spec.analysis.steps: a list of steps",
        ),
        (
            "analysis: {stepWeight: null, maxWeight: null, iterations: 10, match: [{headers: {x-canary: {exact: insider}}}]}",
            "spec.analysis.match: A/B testing",
        ),
        ("analysis: {mirror: true}", "spec.analysis.mirror: mirroring"),
        ("analysis: {mirrorWeight: 50}", "spec.analysis.mirrorWeight: mirroring"),
        ("analysis: {comparison: {anything: {at: all}}}", "spec.analysis.comparison: comparison"),
        (
            "analysis: {webhooks: [{name: load, type: rollout, url: 'http://loadtester/', timeout: 5s, retries: 3, disableTLS: true, muteAlert: false, metadata: {cmd: hey}}]}",
            "spec.analysis.webhooks: calling webhooks",
        ),
        (
            "analysis: {sessionAffinity: {cookieName: flagger, maxAge: 21600, sameSite: Lax, httpOnly: true, partitioned: true}}",
            "spec.analysis.sessionAffinity: session affinity",
        ),
    ];
    for (overlay, expected) in cases {
        assert_eq!(schema_problems(overlay), [""; 0], "schema: {overlay}");
        let told = problems(overlay);
        let found = told.iter().any(|problem| problem.starts_with(expected) && problem.contains("not supported yet"));
        assert!(found, "{overlay}\nexpected {expected}, got {told:#?}");
    }
}

/// What is written, the field that is wrong, and the mend.
const BAD: &[(&str, &str, &str)] = &[
    ("targetRef: null", "spec.targetRef", "is missing: add it"),
    ("targetRef: {name: null}", "spec.targetRef.name", "is missing: add it"),
    ("targetRef: {kind: Deploymnt}", "spec.targetRef.kind", "did you mean Deployment?"),
    ("targetRef: {name: Front_End}", "spec.targetRef.name", "as metadata.name has it"),
    ("targetRef: {name: a.b}", "spec.service.name", "give the Services a name here"),
    ("provider: gatewayapi", "spec.provider", "did you mean gatewayapi:v1?"),
    ("metricsServer: 'prometheus:9090'", "spec.metricsServer", "write it as http://"),
    ("progressDeadlineSeconds: 0", "spec.progressDeadlineSeconds", "at least 1: change it"),
    ("progressDeadlineSeconds: 1.5", "spec.progressDeadlineSeconds", "a whole number of at least 1"),
    ("skipAnalysis: 'true'", "spec.skipAnalysis", "write it without quotes"),
    (
        "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: f, primaryScalerReplicas: {minReplicas: 5, maxReplicas: 2}}",
        "spec.autoscalerRef.primaryScalerReplicas",
        "lower the one or raise the other",
    ),
    (
        "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: f, primaryScalerReplicas: {minReplicas: 0}}",
        "spec.autoscalerRef.primaryScalerReplicas.minReplicas",
        "0 is less than 1",
    ),
    (
        "autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: f, primaryScalerQueries: {a: b}}",
        "spec.autoscalerRef.primaryScalerQueries",
        "remove it",
    ),
    ("analysis: null", "spec.analysis", "add it, or set skipAnalysis: true"),
    ("analysis: {stepWeight: null}", "spec.analysis", "add one, or keep only one"),
    ("analysis: {stepWeights: [1]}", "spec.analysis", "keep only one"),
    ("analysis: {interval: 1minute}", "spec.analysis.interval", "write it as 30s"),
    ("analysis: {interval: 0s}", "spec.analysis.interval", "write 1s or more"),
    ("analysis: {interval: 60}", "spec.analysis.interval", "put it in quotes"),
    ("analysis: {holdTimeout: soon}", "spec.analysis.holdTimeout", "write it as 30s"),
    ("analysis: {threshold: -1}", "spec.analysis.threshold", "at least 0: change it"),
    ("analysis: {threshold: '5'}", "spec.analysis.threshold", "write it without quotes"),
    ("analysis: {maxWeight: 120}", "spec.analysis.maxWeight", "from 0 to 100: change it"),
    ("analysis: {stepWeight: 0}", "spec.analysis.stepWeight", "at least 1: change it"),
    ("analysis: {stepWeight: ten}", "spec.analysis.stepWeight", "must be a number, not \"ten\": change it"),
    ("analysis: {stepWeight: null, iterations: 0}", "spec.analysis.iterations", "at least 1: change it"),
    ("analysis: {stepWeight: null, stepWeights: []}", "spec.analysis.stepWeights", "list weights from 1 to 100"),
    ("analysis: {stepWeight: null, stepWeights: 10}", "spec.analysis.stepWeights", "with a dash before each entry"),
    ("analysis: {stepWeight: null, stepWeights: [20, 10]}", "spec.analysis.stepWeights[1]", "in ascending order"),
    ("analysis: {stepWeight: null, stepWeights: [0, 10]}", "spec.analysis.stepWeights[0]", "from 1 to 100"),
    ("analysis: {stepWeight: null, stepWeights: [150, 200]}", "spec.analysis.stepWeights[0]", "from 1 to 100"),
    ("analysis: {primaryReadyThreshold: 101}", "spec.analysis.primaryReadyThreshold", "from 0 to 100"),
    ("analysis: {metrics: [{thresholdRange: {min: 1}}]}", "spec.analysis.metrics[0].name", "is missing: add it"),
    (
        "analysis: {metrics: [{name: request-sucess-rate, threshold: 99}]}",
        "spec.analysis.metrics[0]",
        "did you mean request-success-rate?",
    ),
    ("analysis: {metrics: [{name: request-duration}]}", "spec.analysis.metrics[0].thresholdRange", "add min or max"),
    (
        "analysis: {metrics: [{name: request-duration, thresholdRange: {}}]}",
        "spec.analysis.metrics[0].thresholdRange",
        "add min or max",
    ),
    (
        "analysis: {metrics: [{name: request-duration, thresholdRange: {min: 2, max: 1}}]}",
        "spec.analysis.metrics[0].thresholdRange",
        "swap them",
    ),
    (
        "analysis: {metrics: [{name: request-duration, threshold: 1, interval: 1x}]}",
        "spec.analysis.metrics[0].interval",
        "write it as 30s",
    ),
    (
        "analysis: {metrics: [{name: request-duration, threshold: 1, query: up}]}",
        "spec.analysis.metrics[0]",
        "keep one of templateRef, query",
    ),
    (
        "analysis: {metrics: [{name: x, threshold: 1, templateRef: {name: ''}}]}",
        "spec.analysis.metrics[0].templateRef.name",
        "name of a MetricTemplate",
    ),
    (
        "analysis: {metrics: [{name: request-duration, threshold: 1, onNoData: hold}]}",
        "spec.analysis.metrics[0].onNoData",
        "did you mean Hold?",
    ),
    (
        "analysis: {alerts: [{name: a, severity: warning, providerRef: {name: p}}]}",
        "spec.analysis.alerts[0].severity",
        "info, warn, error",
    ),
    ("analysis: {alerts: [{name: a}]}", "spec.analysis.alerts[0].providerRef", "is missing: add it"),
    ("service: null", "spec.service.port", "such as port: 80"),
    ("service: {port: 70000}", "spec.service.port", "from 1 to 65535"),
    ("service: {targetPort: '8080'}", "spec.service.targetPort", "write the number without quotes"),
    ("service: {targetPort: Web_Port}", "spec.service.targetPort", "write its number, or its name"),
    ("service: {targetPort: true}", "spec.service.targetPort", "a whole number or a string"),
    ("service: {portName: HTTP}", "spec.service.portName", "lower case"),
    (
        "service: {name: a-name-that-leaves-no-room-for-the-suffix-of-the-primary-service}",
        "spec.service.name",
        "at most 55",
    ),
    ("service: {trafficDistribution: PreferNear}", "spec.service.trafficDistribution", "PreferSameZone"),
    ("service: {timeout: 1.5s}", "spec.service.timeout", "write it as 500ms"),
    ("service: {timeout: 5s, backendTimeout: 10s}", "spec.service.backendTimeout", "shorten it"),
    ("service: {hosts: ['*']}", "spec.service.hosts[0]", "remove hosts"),
    ("service: {hosts: ['https://a.example']}", "spec.service.hosts[0]", "app.example.com"),
    ("service: {gatewayRefs: [{kind: Service, name: a}]}", "spec.service.gatewayRefs[0].group", "write group: \"\""),
    ("service: {gatewayRefs: [{namespace: a}]}", "spec.service.gatewayRefs[0].name", "is missing: add it"),
    ("service: {match: [{uri: {prefix: api}}]}", "spec.service.match[0].uri", "begin it with /"),
    ("service: {match: [{uri: {suffix: .html}}]}", "spec.service.match[0].uri", "exact, prefix or regex"),
    ("service: {match: [{method: {regex: 'GET|POST'}}]}", "spec.service.match[0].method", "one entry for each method"),
    ("service: {match: [{method: {exact: get}}]}", "spec.service.match[0].method", "GET, HEAD"),
    ("service: {match: [{headers: {x-a: {prefix: b}}}]}", "spec.service.match[0].headers[x-a]", "exact or regex"),
    (
        "service: {match: [{authority: {exact: a.example}}]}",
        "spec.service.match[0].authority",
        "use spec.service.hosts",
    ),
    ("service: {match: [{sourceLabels: {app: a}}]}", "spec.service.match[0].sourceLabels", "remove it"),
    ("service: {rewrite: {uri: /, type: ReplacePrefix}}", "spec.service.rewrite.type", "ReplacePrefixMatch"),
    (
        "service: {match: [{uri: {exact: /a}}], rewrite: {uri: /, type: ReplacePrefixMatch}}",
        "spec.service.rewrite",
        "exactly one match, with uri.prefix",
    ),
    ("service: {headers: {request: {set: {'a b': c}}}}", "spec.service.headers.request", "letters, digits and -"),
    ("service: {mirror: [{backendRef: {name: a}}]}", "spec.service.mirror[0].backendRef.port", "a Service needs one"),
    (
        "service: {mirror: [{backendRef: {name: '', port: 80}}]}",
        "spec.service.mirror[0].backendRef.name",
        "write the name of the backend",
    ),
    ("service: {corsPolicy: {allowOrigins: [{regex: '.*'}]}}", "spec.service.corsPolicy.allowOrigins[0]", "use exact"),
    ("service: {corsPolicy: {maxAge: 1d}}", "spec.service.corsPolicy.maxAge", "write it as 30s"),
    ("service: {retries: {attempts: 3}}", "spec.service.retries", "remove it"),
    ("service: {delegation: true}", "spec.service.delegation", "remove it"),
    ("service: {trafficPolicy: {tls: {mode: DISABLE}}}", "spec.service.trafficPolicy", "remove it"),
    ("provider: kubernetes\nservice: {timeout: 5s}", "spec.service.timeout", "remove it or use gatewayapi:v1"),
    ("service: {apex: {labels: {team: 'a b'}}}", "spec.service.apex.labels.team", "make it an annotation"),
    ("service: {apex: {annotations: {'a/b/c': d}}}", "spec.service.apex.annotations[a/b/c]", "example.com/name"),
];

#[test]
fn bad_manifests_are_told_by_field_and_mend() {
    for (overlay, field, mend) in BAD {
        let told = problems(overlay);
        let found = |problem: &String| {
            problem.strip_prefix(field).is_some_and(|rest| rest.starts_with(": ")) && problem.contains(mend)
        };
        assert!(told.len() == 1 && told.iter().all(found), "{overlay}\nexpected {field}: ... {mend}, got {told:#?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_nothing_twice() {
    let told = problems(
        "
        suspend: 1
        service: {port: x, targetPort: '80', timeout: fast}
        analysis: {interval: 5, threshold: x, stepWeight: '10', metrics: [7, {name: request-duration}], webhooks: [{name: a}]}
        ",
    );
    let fields: Vec<&str> = told.iter().filter_map(|problem| problem.split(": ").next()).collect();
    let mut sorted = fields.clone();
    sorted.sort_unstable();
    let expected = [
        "spec.analysis.interval",
        "spec.analysis.metrics[0]",
        "spec.analysis.metrics[1].thresholdRange",
        "spec.analysis.stepWeight",
        "spec.analysis.threshold",
        "spec.analysis.webhooks",
        "spec.analysis.webhooks[0].url",
        "spec.service.port",
        "spec.service.targetPort",
        "spec.service.timeout",
        "spec.suspend",
    ];
    assert_eq!(sorted, expected, "{told:#?}");
}

#[test]
fn what_is_no_canary_at_all_is_told() {
    for (object, expected) in [
        (json!(null), "must be an object, with kind: Canary"),
        (json!([]), "must be an object, with kind: Canary"),
        (json!({}), "spec: is missing: add it"),
        (json!({ "spec": 5, "metadata": { "name": "a" } }), "spec: must be an object, not 5: change it"),
        (json!({ "spec": {} }), "metadata.name: is missing: add it"),
    ] {
        let told = validate(&object, &defaults()).unwrap_err().to_string();
        assert!(told.contains(expected), "{object}: {told}");
    }
}

#[test]
fn a_status_of_any_kind_does_not_make_a_canary_invalid() {
    let mut object = canary("{}");
    object["status"] = json!({ "phase": "Unheard", "canaryWeight": "x", "conditions": 5 });
    assert!(validate(&object, &defaults()).is_ok());
}

#[test]
fn weights_follow_flagger_step_by_step() {
    let weighted = |steps: &[i32], promotion_step| Strategy::Weighted { steps: steps.to_vec(), promotion_step };
    let cases = [
        ("stepWeight: 10, maxWeight: 50", weighted(&[10, 20, 30, 40, 50], 0)),
        ("stepWeight: 20, maxWeight: 50", weighted(&[20, 40, 60], 0)),
        ("stepWeight: 50, maxWeight: 100", weighted(&[50, 100], 0)),
        ("stepWeight: 30, maxWeight: null", weighted(&[30, 60, 90, 100], 0)),
        ("stepWeight: 30, maxWeight: 0", weighted(&[30, 60, 90, 100], 0)),
        ("stepWeight: 60, maxWeight: 30", weighted(&[60], 0)),
        ("stepWeight: 200, maxWeight: 50", weighted(&[100], 0)),
        ("stepWeight: 100, maxWeight: 100, stepWeightPromotion: 50", weighted(&[100], 50)),
        ("stepWeight: null, stepWeights: [1, 2, 10, 80]", weighted(&[1, 2, 10, 80], 0)),
        ("stepWeight: null, stepWeights: [1, 2, 10, 200]", weighted(&[1, 2, 10, 100], 0)),
        ("stepWeight: null, maxWeight: 5, stepWeights: [10, 20]", weighted(&[10, 20], 0)),
        ("stepWeight: null, iterations: 3", Strategy::BlueGreen { iterations: 3 }),
    ];
    for (analysis, expected) in cases {
        assert_eq!(valid(&format!("analysis: {{{analysis}}}")).analysis.strategy, expected, "{analysis}");
    }
    for (analysis, iterations) in [
        ("stepWeight: 10", 10),
        ("stepWeight: null, stepWeights: [10]", 10),
        ("stepWeight: null, iterations: 0", 10),
        ("stepWeight: null, iterations: 2", 2),
    ] {
        let strategy = valid(&format!("provider: kubernetes\nanalysis: {{{analysis}}}")).analysis.strategy;
        assert_eq!(strategy, Strategy::BlueGreen { iterations }, "{analysis} without routes");
    }
}

#[test]
fn defaults_are_flaggers() {
    let canary =
        valid("analysis: {interval: null, threshold: null, metrics: [{name: request-duration, threshold: 1}]}");
    assert_eq!((canary.analysis.interval_seconds, canary.analysis.threshold), (60, 1));
    assert_eq!((canary.progress_deadline_seconds, canary.analysis.hold_timeout_seconds), (600, 600));
    let ready = (canary.analysis.primary_ready_threshold_percent, canary.analysis.canary_ready_threshold_percent);
    assert_eq!(ready, (100, 100));
    let service = &canary.service;
    assert_eq!(
        (service.name.as_str(), service.port_name.as_str(), &service.target_port),
        ("frontend", "http", &json!(80))
    );
    let check = &canary.analysis.checks[0];
    assert_eq!((check.window.as_str(), check.on_no_data, check.on_error), ("1m", OnNoData::Fail, OnError::Hold));
    assert_eq!((check.min, check.max, check.dry_run), (None, Some(1.0), false));
    assert_eq!(valid("progressDeadlineSeconds: 30").analysis.hold_timeout_seconds, 30);
    assert_eq!(valid("analysis: {holdTimeout: 5m}").analysis.hold_timeout_seconds, 300);
    assert_eq!(valid("service: {targetPort: web}").service.target_port, json!("web"));
    assert_eq!(valid("provider: null").provider, Provider::GatewayApi);
}

#[test]
fn thresholds_mean_what_they_mean_in_flagger() {
    for (metric, min, max) in [
        ("name: request-success-rate, threshold: 99", Some(99.0), None),
        ("name: request-duration, threshold: 500", None, Some(500.0)),
        ("name: errors, query: up, threshold: 0", None, Some(0.0)),
        ("name: request-success-rate, threshold: 99, thresholdRange: {max: 5}", None, Some(5.0)),
        ("name: request-duration, thresholdRange: {min: 1, max: 2.5}", Some(1.0), Some(2.5)),
        ("name: request-duration, dryRun: true", None, None),
    ] {
        let check = valid(&format!("analysis: {{metrics: [{{{metric}}}]}}")).analysis.checks.remove(0);
        assert_eq!((check.min, check.max), (min, max), "{metric}");
    }
}

#[test]
fn references_default_to_the_canarys_namespace_and_may_be_confined_to_it() {
    let overlay = "analysis: {metrics: [{name: a, threshold: 1, templateRef: {name: t}, templateVariables: {x: z}}, \
                   {name: b, threshold: 1, templateRef: {name: t, namespace: flagger}}], \
                   alerts: [{name: c, providerRef: {name: p, namespace: flagger}}]}";
    let canary_object = canary(overlay);
    let analysis = valid(overlay).analysis;
    let CheckSource::Template { template, variables } = &analysis.checks[0].source else { panic!("{analysis:?}") };
    assert_eq!((template, variables["x"].as_str()), (&ObjectKey::new("prod", "t"), "z"));
    let provider = ObjectKey::new("flagger", "p");
    assert_eq!(analysis.alerts, [Alert { name: "c".into(), severity: Severity::Info, provider }]);

    let confined = Defaults { no_cross_namespace_refs: true, ..defaults() };
    let told = validate(&canary_object, &confined).unwrap_err();
    let fields: Vec<&str> = told.problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        ["spec.analysis.metrics[1].templateRef.namespace", "spec.analysis.alerts[0].providerRef.namespace"]
    );
    assert!(told.to_string().contains("keep the object in namespace prod"), "{told}");
}

#[test]
fn gateways_come_from_the_canary_or_from_the_controller() {
    let default =
        json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "public" }]);
    let own = json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "mine" }]);
    let service = json!([{ "group": "", "kind": "Service", "name": "frontend", "port": 80 }]);
    for (overlay, expected) in [
        ("{}", default),
        ("service: {gatewayRefs: [{name: mine}]}", own),
        ("service: {gatewayRefs: [{group: '', kind: Service, name: frontend, port: 80}]}", service),
        ("provider: kubernetes\nservice: {gatewayRefs: [{name: mine}]}", json!([])),
    ] {
        assert_eq!(json!(valid(overlay).service.gateway_refs), expected, "{overlay}");
    }
    let none = Defaults { gateways: Vec::new(), ..defaults() };
    let told = validate(&canary("{}"), &none).unwrap_err().to_string();
    assert!(told.starts_with("spec.service.gatewayRefs: ") && told.contains("--gateway NAMESPACE/NAME"), "{told}");
    assert!(validate(&canary("provider: kubernetes"), &none).is_ok());
}

#[test]
fn matches_become_those_of_the_gateway_api() {
    let everything = json!({ "type": "PathPrefix", "value": "/" });
    let cases = [
        ("[]", json!([{ "path": everything }])),
        ("[{}]", json!([{ "path": everything }])),
        ("[{uri: {prefix: /a}}]", json!([{ "path": { "type": "PathPrefix", "value": "/a" } }])),
        (
            "[{uri: {exact: /a}, method: {exact: GET}}]",
            json!([{ "path": { "type": "Exact", "value": "/a" }, "method": "GET" }]),
        ),
        ("[{uri: {regex: /a.*}}, {}]", json!([{ "path": { "type": "RegularExpression", "value": "/a.*" } }])),
        (
            "[{headers: {b: {regex: c.*}, a: {exact: b}}, queryParams: {d: {exact: e}}}]",
            json!([{
                "path": everything,
                "headers": [
                    { "name": "a", "type": "Exact", "value": "b" },
                    { "name": "b", "type": "RegularExpression", "value": "c.*" },
                ],
                "queryParams": [{ "name": "d", "type": "Exact", "value": "e" }],
            }]),
        ),
    ];
    for (matches, expected) in cases {
        let service = valid(&format!("service: {{match: {matches}}}")).service;
        assert_eq!(json!(service.matches), expected, "{matches}");
    }
}

#[test]
fn filters_become_those_of_the_gateway_api_in_flaggers_order() {
    let service = valid(
        "
        service:
          match: [{uri: {prefix: /app}}]
          rewrite: {uri: /, authority: a.example, type: ReplacePrefixMatch}
          headers:
            response: {remove: [server]}
            request: {set: {x-c: d}, add: {x-b: '2', x-a: '1'}}
          mirror: [{backendRef: {name: audit, port: 80}}]
          corsPolicy: {allowOrigin: ['https://a.example'], allowOrigins: [{exact: 'https://b.example'}], allowMethods: [GET], allowCredentials: true, maxAge: 24h}
        ",
    )
    .service;
    let expected = json!([
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {
                "add": [{ "name": "x-a", "value": "1" }, { "name": "x-b", "value": "2" }],
                "set": [{ "name": "x-c", "value": "d" }],
            },
        },
        { "type": "ResponseHeaderModifier", "responseHeaderModifier": { "remove": ["server"] } },
        {
            "type": "URLRewrite",
            "urlRewrite": { "hostname": "a.example", "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/" } },
        },
        { "type": "RequestMirror", "requestMirror": { "backendRef": { "group": "", "kind": "Service", "name": "audit", "port": 80 } } },
        {
            "type": "CORS",
            "cors": {
                "allowOrigins": ["https://a.example", "https://b.example"],
                "allowMethods": ["GET"],
                "allowCredentials": true,
                "maxAge": 86400,
            },
        },
    ]);
    assert_eq!(json!(service.filters), expected);
    let full = valid("service: {rewrite: {uri: /v2}, headers: {request: {}}}").service.filters;
    let expected = json!([{ "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplaceFullPath", "replaceFullPath": "/v2" } } }]);
    assert_eq!(json!(full), expected);
}

#[test]
fn identity_is_read_from_the_metadata() {
    let mut object = canary("{}");
    object["metadata"] = json!({
        "name": "a", "namespace": "b", "uid": "u", "generation": 7,
        "finalizers": ["other", "finalizer.flagger.app"], "deletionTimestamp": "2026-11-23T21:00:00Z",
    });
    let canary = validate(&object, &defaults()).unwrap();
    assert_eq!((canary.key, canary.uid.as_str(), canary.generation), (ObjectKey::new("b", "a"), "u", 7));
    assert!(canary.deleting && canary.has_finalizer);
    let canary = valid("{}");
    assert!(!canary.deleting && !canary.has_finalizer);
}

#[test]
fn templates_and_alert_providers_are_checked() {
    let prometheus = json!({ "provider": { "type": "prometheus", "address": "http://p:9090" }, "query": "up" });
    let cases = [
        ("MetricTemplate", prometheus.clone(), ""),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus", "address": "https://p", "secretRef": { "name": "s" }, "headers": { "a": ["b"] }, "insecureSkipVerify": true }, "query": "up" }),
            "",
        ),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus" }, "query": "up" }),
            "spec.provider.address: is missing: add it, such as",
        ),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus", "address": "p:9090" }, "query": "up" }),
            "spec.provider.address: \"p:9090\" is not an address",
        ),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "datadog" }, "query": "up" }),
            "spec.provider.type: datadog is not supported yet",
        ),
        ("MetricTemplate", json!({ "provider": { "type": "promtheus" }, "query": "up" }), "did you mean prometheus?"),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus", "address": "http://p" }, "query": " " }),
            "spec.query: is empty",
        ),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus", "address": "http://p" } }),
            "spec.query: is missing",
        ),
        (
            "MetricTemplate",
            json!({ "provider": { "type": "prometheus", "address": "http://p" }, "query": "{{ bad" }),
            "spec.query: unclosed",
        ),
        (
            "AlertProvider",
            json!({ "type": "slack", "address": "https://hooks.example/x", "secretRef": { "name": "s" }, "channel": "a", "username": "b" }),
            "",
        ),
        ("AlertProvider", json!({ "type": "msteams", "secretRef": { "name": "s" } }), ""),
        (
            "AlertProvider",
            json!({ "type": "alertmanager", "address": "http://am:9093", "proxy": "http://proxy:3128" }),
            "",
        ),
        ("AlertProvider", json!({ "type": "webhook", "address": "http://sink" }), ""),
        ("AlertProvider", json!({ "type": "slack" }), "spec: an address is missing: add address, or secretRef"),
        ("AlertProvider", json!({ "type": "slak", "address": "http://x" }), "spec.type: \"slak\" is not one of"),
        ("AlertProvider", json!({ "type": "slack", "address": "hooks.example" }), "begin it with http:// or https://"),
        ("AlertProvider", json!({ "address": "http://x" }), "spec.type: is missing: add it"),
    ];
    let check_query = |query: &str| if query.contains("bad") { Err("unclosed {{".to_owned()) } else { Ok(()) };
    for (kind, spec, expected) in cases {
        let object =
            json!({ "apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": { "name": "x" }, "spec": spec });
        let checked = match kind {
            "MetricTemplate" => validate_metric_template(&object, &check_query),
            _ => validate_alert_provider(&object),
        };
        let told = checked.err().map(|invalid| invalid.to_string()).unwrap_or_default();
        let right = if expected.is_empty() { told.is_empty() } else { told.contains(expected) };
        assert!(right, "{kind} {object}\nexpected {expected:?}, got {told:?}");
    }
}
