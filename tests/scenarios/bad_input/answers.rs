//! Bad templates, Secrets and answers of Prometheus, and AlertProviders that nothing can be sent to.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use serin::api::status::{CanaryStatus, CheckReport, Verdict};
use wiremock::matchers::{basic_auth, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{PASSWORD, canary};

/// Providers of the alerts of `failed`, and what the Event about each says.
pub const ALERTS: [(&str, &str); 5] = [
    ("no-provider", "AlertProvider no-provider.bad-input does not exist; create it or mend the reference to it"),
    ("no-secret", "Secret no-secret.bad-input does not exist; create it or mend secretRef.name"),
    ("no-address", "spec.address: missing; put the key `address` into the Secret `empty`, or set spec.address"),
    ("not-an-address", "spec.address: not an address"),
    ("unreachable", "webhook at 127.0.0.1: can't connect"),
];

/// One metric that has no number.
struct Case {
    name: &'static str,
    /// Whether the backend works and has nothing to say, and not fails.
    no_data: bool,
    words: &'static str,
}

/// A Prometheus that answers by the path under which it is asked, and what refers to it.
pub struct Answers {
    server: MockServer,
    cases: Vec<Case>,
}

impl Answers {
    pub async fn start() -> Result<Self> {
        let server = MockServer::start().await;
        let mut cases = templates();
        for (name, response, no_data, words) in responses() {
            Mock::given(path(format!("/{name}/api/v1/query"))).respond_with(response).mount(&server).await;
            cases.push(Case { name, no_data, words });
        }
        let welcome = Mock::given(path("/wrong-password/api/v1/query")).and(basic_auth("serin", "another"));
        welcome.respond_with(number("1")).with_priority(1).mount(&server).await;
        Ok(Self { server, cases })
    }

    /// Templates, Secrets and AlertProviders, and two Canaries that use them all, with their Deployments.
    pub fn objects(&self, namespace: &str) -> Vec<Value> {
        let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "flagger.app/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let mut objects = vec![
            secret("empty", json!({"unknown": PASSWORD})),
            secret("half", json!({"username": "serin"})),
            secret("wrong-password", json!({"username": "serin", "password": PASSWORD})),
            secret("no-certificate", json!({"token": PASSWORD, "ca.crt": "not a certificate"})),
            object("AlertProvider", "no-secret", json!({"type": "slack", "secretRef": {"name": "no-secret"}})),
            object("AlertProvider", "no-address", json!({"type": "slack", "secretRef": {"name": "empty"}})),
            object("AlertProvider", "not-an-address", json!({"type": "discord", "address": PASSWORD})),
            object(
                "AlertProvider",
                "unreachable",
                json!({"type": "webhook", "address": format!("http://127.0.0.1:9/{PASSWORD}")}),
            ),
        ];
        for case in &self.cases {
            let spec = self.template(case.name);
            objects.extend(spec.map(|spec| object("MetricTemplate", case.name, spec)));
        }
        for (name, policy) in [("held", "Hold"), ("failed", "Fail")] {
            objects.push(self.canary(name, policy));
        }
        objects.extend(deployments("1.0.0"));
        namespaced(objects, namespace)
    }

    /// The next release of both.
    pub fn releases(namespace: &str) -> Vec<Value> {
        namespaced(deployments("1.1.0"), namespace)
    }

    /// The template of a case; none where that is what is wrong.
    fn template(&self, name: &str) -> Option<Value> {
        let at = |address: &str| json!({"type": "prometheus", "address": address});
        let own = format!("{}/{name}", self.server.uri());
        let with_secret = |secret: &str, address: &str| json!({"type": "prometheus", "address": address, "secretRef": {"name": secret}});
        let (provider, query) = match name {
            "no-template" => return None,
            "no-address" => (json!({"type": "prometheus"}), "up"),
            "another-backend" => (json!({"type": "datadog"}), "up"),
            "not-closed" => (at(&own), "up{app=\"{{ target \"}"),
            "unknown-function" => (at(&own), "up{app=\"{{ targett }}\"}"),
            "no-variable" => (at(&own), "up{app=\"{{ variables.app }}\"}"),
            "no-secret" => (with_secret("no-secret", &own), "up"),
            "empty-secret" => (with_secret("empty", &own), "up"),
            "half-secret" => (with_secret("half", &own), "up"),
            "no-certificate" => (with_secret("no-certificate", "https://127.0.0.1:9"), "up"),
            "wrong-password" => (with_secret("wrong-password", &own), "up"),
            "unreachable" => (at("http://127.0.0.1:9"), "up"),
            _ => (at(&own), "up"),
        };
        Some(json!({"provider": provider, "query": query}))
    }

    fn canary(&self, name: &str, policy: &str) -> Value {
        let metric = |name: &str| json!({"name": name, "templateRef": {"name": name}, "thresholdRange": {"max": 1}, "onNoData": policy, "onError": policy});
        let mut metrics: Vec<Value> = self.cases.iter().map(|case| metric(case.name)).collect();
        for metric in metrics.iter_mut().filter(|metric| metric["name"] == INFINITY) {
            metric["dryRun"] = json!(true);
        }
        let alert = |name: &str| json!({"name": name, "severity": "error", "providerRef": {"name": name}});
        let mut alerts: Vec<Value> = ALERTS.iter().map(|(name, _)| alert(name)).collect();
        alerts.push(alert("sink"));
        let analysis = json!({
            "stepWeight": null, "maxWeight": null, "iterations": 2, "holdTimeout": "10m",
            "metrics": metrics,
            "alerts": alerts,
        });
        canary(name, &json!({"provider": "kubernetes", "progressDeadlineSeconds": 120, "analysis": analysis}))
    }

    /// What is not as it should be in the checks of a Canary to which no answer means this verdict.
    pub fn unlike(&self, status: &CanaryStatus, verdict: Verdict) -> Vec<String> {
        let unlike = |case: &Case| {
            let Some(check) = status.checks.iter().find(|check| check.name == case.name) else {
                return Some(format!("{}: no check", case.name));
            };
            let wanted = if case.name == INFINITY { Verdict::Fail } else { verdict };
            let told = check.reason.contains(case.words) && is_of_its_kind(case, check);
            (!told || check.verdict != wanted || check.value.is_some() || check.reason.contains(PASSWORD))
                .then(|| format!("{}: {:?} wanted, with {:?}, but got {check:?}", case.name, wanted, case.words))
        };
        self.cases.iter().filter_map(unlike).collect()
    }
}

fn is_of_its_kind(case: &Case, check: &CheckReport) -> bool {
    case.name == INFINITY || check.reason.starts_with(if case.no_data { "no data: " } else { "query failed: " })
}

fn deployments(version: &str) -> Vec<Value> {
    let image = json!({"replicas": 1, "template": {"spec": {"containers": [{
        "name": "app",
        "image": format!("testbed-app:{version}"),
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }]}}});
    let mut objects = vec![super::deployment("held", &image), super::deployment("failed", &image)];
    for object in &mut objects {
        // Git says nothing about replicas, so a release does not scale.
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("replicas");
        }
    }
    objects
}

fn namespaced(mut objects: Vec<Value>, namespace: &str) -> Vec<Value> {
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(namespace);
    }
    objects
}

/// The one that is a number after all, and out of every bound; told, and not decisive here.
const INFINITY: &str = "infinity";

/// What is wrong before anything is asked.
fn templates() -> Vec<Case> {
    let case = |name, words| Case { name, no_data: false, words };
    vec![
        case(
            "no-template",
            "MetricTemplate no-template.bad-input does not exist; create it or mend the reference to it",
        ),
        case("no-address", "spec.provider.address: the address is missing; write it as http://HOST:PORT"),
        case("another-backend", "spec.provider.type `datadog` is not supported yet; use one of: prometheus"),
        case("not-closed", "spec.query of MetricTemplate not-closed.bad-input: "),
        case("unknown-function", "did you mean `target`?"),
        case("no-variable", "add `app` to templateVariables of the metric"),
        case("no-secret", "Secret no-secret.bad-input does not exist; create it or mend secretRef.name"),
        case("empty-secret", "spec.provider.secretRef `empty`: none of the keys that can be used; add `token`, or"),
        case("half-secret", "spec.provider.secretRef `half`: `username` without `password`; add the key `password`"),
        case("no-certificate", "`ca.crt` of the secret has no certificate in PEM format"),
        case("unreachable", "prometheus at http://127.0.0.1:9: can't connect"),
    ]
}

type Response = (&'static str, ResponseTemplate, bool, &'static str);

/// What Prometheus, or something in its place, answers.
fn responses() -> Vec<Response> {
    let text = |status, body: &str, kind: &str| ResponseTemplate::new(status).set_body_raw(body, kind);
    let two = json!([{"metric": {"pod": "a"}, "value": [1, "1"]}, {"metric": {"pod": "b"}, "value": [1, "2"]}]);
    let mut partial = vector("1");
    partial["warnings"] = json!(["store-1 is not there"]);
    let bad_query =
        json!({"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end of input"});
    vec![
        ("error-500", text(500, "oops", "text/plain"), false, "HTTP 500 Internal Server Error with text/plain"),
        (
            "error-502",
            text(502, "<html></html>", "text/html"),
            false,
            "HTTP 502 Bad Gateway with text/html instead of JSON",
        ),
        ("not-found", text(404, "none", "text/plain"), false, "does the address lead to Prometheus?"),
        (
            "bad-query",
            ResponseTemplate::new(400).set_body_json(bad_query),
            false,
            "bad_data: parse error: unexpected end of input; correct the query",
        ),
        (
            "wrong-password",
            text(401, "who?", "text/plain"),
            false,
            "HTTP 401 Unauthorized with text/plain instead of JSON; check the credentials in spec.provider.secretRef",
        ),
        (
            "half-a-json",
            text(200, "{\"status\":", "application/json"),
            false,
            "with JSON that is not an answer of Prometheus",
        ),
        ("matrix", result("matrix", &json!([])), false, "a range of values, not a number; aggregate it"),
        ("string", result("string", &json!([1, "up"])), false, "the answer is a string, not a number"),
        (
            "two-series",
            result("vector", &two),
            false,
            "2 series instead of one; aggregate them, for example with sum()",
        ),
        ("not-a-number", number("NaN"), true, "the value is not a number"),
        ("empty", result("vector", &json!([])), true, "the answer is empty"),
        ("partial", ResponseTemplate::new(200).set_body_json(partial), false, "partial response: store-1 is not there"),
        ("late", number("1").set_delay(Duration::from_secs(8)), false, "no answer within 5s"),
        (
            "redirect",
            ResponseTemplate::new(302).insert_header("location", "/elsewhere"),
            false,
            "redirects are not followed; give the final address",
        ),
        (
            "huge",
            text(200, &" ".repeat(2 << 20), "application/json"),
            false,
            "more than 1048576 bytes; aggregate in the query",
        ),
        (INFINITY, number("+Inf"), false, "inf > 1"),
    ]
}

fn result(kind: &str, result: &Value) -> ResponseTemplate {
    let body = json!({"status": "success", "data": {"resultType": kind, "result": result}});
    ResponseTemplate::new(200).set_body_json(body)
}

fn vector(value: &str) -> Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, value]}]}})
}

fn number(value: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(vector(value))
}
