use std::io::{Read as _, Write as _};
use std::time::Duration;

use futures::FutureExt as _;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use wiremock::matchers::{body_string, header, method, path, query_param, query_param_contains};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::api::checked::{ObjectKey, OnError, OnNoData};
use crate::api::metric_template::{MetricTemplateProvider, SecretRef};
use crate::outbound::{Pools, Reply};

fn metrics() -> Metrics {
    let network: Arc<dyn Transport> = Arc::new(Pools::new());
    Metrics::new(&network)
}

fn subject() -> Subject {
    Subject {
        name: "frontend".into(),
        namespace: "shop".into(),
        target: "web".into(),
        service: "web".into(),
        ingress: "web".into(),
        route: "web".into(),
        port: 80,
        profile: Profile::Contour,
    }
}

fn check(source: CheckSource) -> Check {
    Check {
        name: "m".into(),
        source,
        window: "1m".into(),
        min: None,
        max: None,
        on_no_data: OnNoData::Fail,
        on_error: OnError::Hold,
        dry_run: false,
    }
}

fn in_line(query: &str) -> Check {
    check(CheckSource::Query(query.into()))
}

fn template(address: &str) -> MetricTemplateSpec {
    MetricTemplateSpec {
        provider: MetricTemplateProvider {
            kind: "prometheus".into(),
            address: Some(address.into()),
            ..MetricTemplateProvider::default()
        },
        query: "up".into(),
    }
}

fn templated(variables: &[(&str, &str)]) -> Check {
    let variables = variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    check(CheckSource::Template { template: ObjectKey::new("shop", "errors"), variables })
}

/// A vector with one series of this value.
fn vector(value: &str) -> Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.5, value]}]}})
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// The controller runs each pass as a task, so what it awaits must be `Send`.
fn sent<F: Future + Send>(future: F) -> F {
    future
}

async fn server(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/api/v1/query")).respond_with(response).mount(&server).await;
    server
}

async fn measure(server: &str, check: &Check) -> Measurement {
    metrics().measure(&subject(), check, Ok(Source::server(server, "--metrics-server").unwrap())).await
}

#[tokio::test]
async fn every_answer_of_the_server_has_a_defined_meaning() {
    let result =
        |kind: &str, result: Value| json!({"status": "success", "data": {"resultType": kind, "result": result}});
    let failure = |kind: &str, error: &str| json!({"status": "error", "errorType": kind, "error": error});
    let histogram = json!([{"metric": {}, "histogram": [1.5, {"count": "1", "sum": "1", "buckets": []}]}]);
    let two = json!([{"metric": {"a": "1"}, "value": [1.5, "1"]}, {"metric": {"a": "2"}, "value": [1.5, "2"]}]);
    let text = |status, body: &str, kind: &str| ResponseTemplate::new(status).set_body_raw(body, kind);
    let mut partial = vector("99");
    partial["warnings"] = json!(["fetch series for store-1: unavailable"]);
    let mut informed = vector("99");
    informed["infos"] = json!(["PromQL info: metric might not be a counter"]);
    let mut mixed = vector("99");
    mixed["data"]["result"][0]["value"] = json!([1.5, 99]);
    let value = |number| (Answer::Value(number), "");
    let nothing = |found: &str| (Answer::NoData(found.into()), "");
    let error = |part| (Answer::Error(String::new()), part);
    let cases = [
        (ok(vector("99.5")), value(99.5)),
        (ok(vector("1e+03")), value(1000.0)),
        (ok(vector("+Inf")), value(f64::INFINITY)),
        (ok(vector("-Inf")), value(f64::NEG_INFINITY)),
        (ok(vector("NaN")), nothing("the value is not a number")),
        (ok(result("vector", json!([]))), nothing("the answer is empty")),
        (ok(result("scalar", json!([1.5, "7"]))), value(7.0)),
        (ok(result("scalar", json!([1.5, "NaN"]))), nothing("the value is not a number")),
        (ok(informed), value(99.0)),
        (
            ok(result("vector", two)),
            error("the answer has 2 series instead of one; aggregate them, for example with sum()"),
        ),
        (ok(partial), error("partial response: fetch series for store-1: unavailable")),
        (ok(result("string", json!([1.5, "x"]))), error("the answer is a string, not a number")),
        (ok(result("matrix", json!([]))), error("the answer is a range of values, not a number")),
        (ok(result("vector", histogram)), error("the answer is a histogram, not a number")),
        (ok(result("vector", json!("x"))), error("series in an unknown form")),
        (ok(mixed), error("the answer has a value in an unknown form")),
        (ok(vector("much")), error("the answer has a value in an unknown form")),
        (ok(json!({"status": "success"})), error("the answer has no data")),
        (ok(json!({"hello": "world"})), error("HTTP 200 OK with JSON that is not an answer of Prometheus")),
        (ok(failure("internal", "disk")), error("HTTP 200 OK: internal: disk")),
        (text(200, "{\"status\"", "application/json"), error("with JSON that is not an answer of Prometheus")),
        (text(200, "<html>login</html>", "text/html"), error("HTTP 200 OK with text/html instead of JSON")),
        (text(502, "<html>", "text/html"), error("HTTP 502 Bad Gateway with text/html instead of JSON")),
        (text(401, "who?", "text/plain"), error("instead of JSON; check the credentials in spec.provider.secretRef")),
        (text(404, "what?", "text/plain"), error("instead of JSON; does the address lead to Prometheus?")),
        (ResponseTemplate::new(503), error("HTTP 503 Service Unavailable with something without a content type")),
        (ResponseTemplate::new(302).insert_header("location", "http://x/"), error("redirects are not followed")),
        (
            ResponseTemplate::new(400).set_body_json(failure("bad_data", "unclosed left parenthesis")),
            error("HTTP 400 Bad Request: bad_data: unclosed left parenthesis; correct the query"),
        ),
        (
            ResponseTemplate::new(422).set_body_json(failure("execution", "many-to-many")),
            error("HTTP 422 Unprocessable Entity: execution: many-to-many; correct the query"),
        ),
        (
            ResponseTemplate::new(503).set_body_json(failure("timeout", "query timed out")),
            error("HTTP 503 Service Unavailable: timeout: query timed out"),
        ),
        (text(200, &"x".repeat(1024 * 1024 + 1), "application/json"), error("the answer has more than 1048576 bytes")),
    ];
    for (response, (expected, part)) in cases {
        let shown = format!("{response:?}").chars().take(300).collect::<String>();
        let server = server(response).await;
        let got = measure(&server.uri(), &in_line("up")).await.answer;
        match (&got, expected) {
            (Answer::Error(text), Answer::Error(_)) => {
                let whole =
                    text.starts_with(&format!("prometheus at {}: ", server.uri())) && text.ends_with("(query: up)");
                assert!(whole && text.contains(part), "{text}\nlacks\n{part}\nfor {shown}");
            }
            (got, expected) => assert_eq!(*got, expected, "{shown}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_slow_is_an_error() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let Answer::Error(text) = measure(&format!("http://{free}"), &in_line("up")).await.answer else { panic!() };
    assert_eq!(
        text,
        format!("prometheus at http://{free}: can't connect: Connection refused (os error 111) (query: up)")
    );

    let server = server(ok(vector("1")).set_delay(Duration::from_secs(60))).await;
    let prometheus = prometheus::Prometheus::with_timeout(Arc::new(Pools::new()), Duration::from_millis(100));
    let backend = Backend::prometheus(&server.uri(), "").unwrap();
    let Answer::Error(text) = prometheus.query(&backend, "up").await else { panic!() };
    assert_eq!(text, format!("prometheus at {}: no answer within 100ms (query: up)", server.uri()));
}

#[tokio::test(start_paused = true)]
async fn any_transport_may_answer_and_one_that_never_does_costs_five_seconds() {
    let answered = |request: crate::outbound::Request| {
        assert_eq!(request.url.as_str(), "http://prometheus/base/api/v1/query?tenant=a&query=a%2Bb+c&timeout=5000ms");
        let body = vector("1").to_string().into_bytes();
        futures::future::ready(Ok(Reply::whole(StatusCode::OK, HeaderMap::new(), body))).boxed()
    };
    let silent = |_| futures::future::pending().boxed();
    let late = "prometheus at http://prometheus/base: no answer within 5s (query: a+b c)";
    let table: [(Arc<dyn Transport>, Answer, u64); 2] =
        [(Arc::new(answered), Answer::Value(1.0), 0), (Arc::new(silent), Answer::Error(late.into()), 5)];
    for (transport, expected, seconds) in table {
        let start = tokio::time::Instant::now();
        let source = Source::server("http://prometheus/base/?tenant=a", "").unwrap();
        let measurement = Metrics::new(&transport).measure(&subject(), &in_line("a+b c"), Ok(source)).await;
        assert_eq!((measurement.answer, start.elapsed().as_secs()), (expected, seconds));
    }
}

/// A server with this certificate that answers 1 to every request. Gives its address.
fn tls_server(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    use rustls::pki_types::PrivateKeyDer;
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // A client that refuses the certificate hangs up here.
            if stream.read(&mut [0; 4096]).is_ok() {
                let body = vector("1").to_string();
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n");
                let _ = write!(stream, "content-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.flush();
            }
        }
    });
    address
}

#[tokio::test]
async fn only_a_trusted_certificate_is_accepted_unless_verification_is_off() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let address = tls_server(&own);
    let cases = [
        // ca.crt, insecureSkipVerify, part of the error
        (Some(own.cert.pem()), false, ""),
        (None, true, ""),
        (None, false, "certificate"),
        (Some(other.cert.pem()), false, "certificate"),
        (Some("no PEM".to_owned()), false, "`ca.crt` of the secret has no certificate in PEM format"),
    ];
    for (authority, skip, problem) in cases {
        let mut spec = template(&address);
        spec.provider.insecure_skip_verify = Some(skip);
        let secret = authority.map(|pem| BTreeMap::from([("ca.crt".to_owned(), pem.into_bytes())]));
        let source = Source::template(&spec, secret.as_ref()).map_err(|error| error.to_string());
        let answer = metrics().measure(&subject(), &templated(&[]), source).await.answer;
        match answer {
            Answer::Error(text) => assert!(!problem.is_empty() && text.contains(problem), "{text}"),
            answer => assert_eq!((answer, problem), (Answer::Value(1.0), "")),
        }
    }
}

#[tokio::test]
async fn credentials_and_headers_reach_the_server_and_nobody_else() {
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Pairs<'_>, Pairs<'_>, Pairs<'_>); 5] = [
        // secret, headers, expected in the request
        (&[], &[], &[]),
        (&[("token", "hunter2\n")], &[], &[("authorization", "Bearer hunter2")]),
        (&[("username", "me"), ("password", "hunter2")], &[], &[("authorization", "Basic bWU6aHVudGVyMg==")]),
        (&[], &[("X-Scope-OrgID", "hunter2")], &[("x-scope-orgid", "hunter2")]),
        (&[("token", "hunter2")], &[("Authorization", "Basic x")], &[("authorization", "Bearer hunter2")]),
    ];
    for (secret, headers, expected) in cases {
        let server = server(ResponseTemplate::new(500)).await;
        let mut spec = template(&server.uri());
        let data: BTreeMap<_, _> =
            secret.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec())).collect();
        spec.provider.secret_ref = (!secret.is_empty()).then(|| SecretRef { name: "creds".into() });
        spec.provider.headers =
            Some(headers.iter().map(|(name, value)| ((*name).into(), vec![(*value).into()])).collect());
        let source = Source::template(&spec, spec.provider.secret_ref.is_some().then_some(&data)).unwrap();
        let shown = format!("{source:?}");
        let measurement = metrics().measure(&subject(), &templated(&[]), Ok(source)).await;
        let requests = server.received_requests().await.unwrap();
        for (name, value) in expected {
            let got: Vec<_> = requests[0].headers.get_all(*name).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(got, [*value]);
        }
        assert!(!format!("{shown} {measurement:?}").contains("hunter2"), "{shown} {measurement:?}");
    }
}

#[tokio::test]
async fn credentials_in_the_address_are_used_and_not_shown() {
    let server = server(ResponseTemplate::new(500)).await;
    let address = server.uri().replace("http://", "http://me:hunter2@");
    let measurement = measure(&address, &in_line("up")).await;
    let request = &server.received_requests().await.unwrap()[0];
    assert_eq!(request.headers["authorization"], "Basic bWU6aHVudGVyMg==");
    assert!(!format!("{measurement:?}").contains("hunter2"), "{measurement:?}");
}

#[tokio::test]
async fn long_queries_are_posted_and_paths_of_the_address_are_kept() {
    let server = MockServer::start().await;
    let long = format!("up{{a=\"{}\"}}", "x".repeat(3000));
    Mock::given(method("GET"))
        .and(path("/base/api/v1/query"))
        .and(query_param("query", "up"))
        .and(query_param("timeout", "5000ms"))
        .respond_with(ok(vector("1")))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/base/api/v1/query"))
        .and(header("content-type", "application/x-www-form-urlencoded"))
        .and(body_string(format!("query=up%7Ba%3D%22{}%22%7D&timeout=5000ms", "x".repeat(3000))))
        .respond_with(ok(vector("2")))
        .mount(&server)
        .await;
    for (query, expected) in [("up", 1.0), (long.as_str(), 2.0)] {
        let measurement = measure(&format!("{}/base/", server.uri()), &in_line(query)).await;
        assert_eq!(measurement.answer, Answer::Value(expected), "{query}");
    }
}

#[tokio::test]
async fn templates_are_filled_in_and_a_broken_one_is_an_error() {
    let cases = [
        ("x{a=\"{{ variables.code }}\"}[{{ interval }}] {{ target }}", Answer::Value(1.0)),
        (
            "{{ variables.cod }}",
            Answer::Error(
                "spec.query of MetricTemplate errors.shop: line 1, column 4: `variables.cod` is not set (did you mean \
                 `code`?); add `cod` to templateVariables of the metric"
                    .into(),
            ),
        ),
        (" \n", Answer::Error("the query of metric `m` is empty; write one".into())),
    ];
    let server = MockServer::start().await;
    Mock::given(query_param("query", "x{a=\"500\"}[1m] web")).respond_with(ok(vector("1"))).mount(&server).await;
    for (query, expected) in cases {
        let spec = MetricTemplateSpec { query: query.into(), ..template(&server.uri()) };
        let source = Source::template(&spec, None).map_err(|error| error.to_string());
        let measurement = metrics().measure(&subject(), &templated(&[("code", "500")]), source).await;
        assert_eq!(measurement, Measurement { check: "m".into(), answer: expected, sample_size: None });
    }
}

#[tokio::test]
async fn built_in_checks_know_their_sample_size_and_what_an_empty_answer_means() {
    let empty = json!({"status": "success", "data": {"resultType": "vector", "result": []}});
    let without = Answer::NoData(
        "no requests to web.shop were counted in 1m; send traffic to it, or choose the --metrics-profile of the data \
         plane (now contour)"
            .into(),
    );
    let cases = [
        (CheckSource::RequestSuccessRate, "sum(rate(", vector("99"), vector("120.5"), Answer::Value(99.0), Some(120.5)),
        (CheckSource::RequestDuration, "histogram_quantile", vector("20"), vector("8"), Answer::Value(20.0), Some(8.0)),
        (CheckSource::RequestSuccessRate, "sum(rate(", vector("NaN"), vector("0"), without.clone(), Some(0.0)),
        (CheckSource::RequestSuccessRate, "sum(rate(", empty.clone(), empty.clone(), without, None),
        (CheckSource::RequestSuccessRate, "sum(rate(", vector("99"), json!({}), Answer::Value(99.0), None),
    ];
    for (source, query, value, requests, expected, sample_size) in cases {
        let server = MockServer::start().await;
        Mock::given(query_param_contains("query", "sum(increase(")).respond_with(ok(requests)).mount(&server).await;
        Mock::given(query_param_contains("query", query)).respond_with(ok(value)).mount(&server).await;
        let measurement = measure(&server.uri(), &check(source)).await;
        assert_eq!((measurement.answer, measurement.sample_size), (expected, sample_size));
    }
}

#[tokio::test]
async fn checks_are_asked_together_and_answered_in_order() {
    let server = MockServer::start().await;
    let respond = |request: &Request| {
        let query = request.url.query_pairs().find(|(key, _)| key == "query").unwrap().1.into_owned();
        // The first answers come last.
        let delay = Duration::from_millis(400_u64.saturating_sub(40 * query.parse::<u64>().unwrap()));
        ok(vector(&query)).set_delay(delay)
    };
    Mock::given(method("GET")).respond_with(respond).mount(&server).await;
    let checks: Vec<Check> = (0..10).map(|number| in_line(&number.to_string())).collect();
    let source = Source::server(&server.uri(), "").unwrap();
    let asked = checks.iter().enumerate().map(|(number, check)| {
        (check, if number == 3 { Err("MetricTemplate x.y does not exist".to_owned()) } else { Ok(source.clone()) })
    });
    let started = tokio::time::Instant::now();
    let answers: Vec<Answer> = sent(metrics().measure_all(&subject(), asked))
        .await
        .into_iter()
        .map(|measurement| measurement.answer)
        .collect();
    let mut expected: Vec<Answer> = (0..10).map(|number| Answer::Value(f64::from(number))).collect();
    expected[3] = Answer::Error("MetricTemplate x.y does not exist".into());
    assert_eq!(answers, expected);
    assert!(started.elapsed() < Duration::from_millis(1500), "one after another takes 1.9 s: {:?}", started.elapsed());
}
