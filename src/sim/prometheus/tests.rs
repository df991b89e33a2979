//! What Serin would be answered, from the requests of users to the body of the answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value as Json, json};

use super::{Answer, Answered, ClusterNames, Fault, Outcome, Prometheus, Scraping, Settings, With};
use crate::sim::load::{Behaviour, Load};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn load(pods: &[&str], requests_per_second: f64, error_share: f64) -> Load {
    Load {
        namespace: "default".into(),
        service: "web-canary".into(),
        port: 80,
        workload: "web".into(),
        ready_pods: pods.iter().map(ToString::to_string).collect(),
        requests_per_second,
        behaviour: Behaviour { version: "2".into(), error_share, latency_milliseconds: 90.0 },
    }
}

/// Eight requests a second to two pods, one of four fails; since time zero, scraped each 15 seconds. So every pod counts
/// 3 successes and 1 failure in each second, and nothing is lost where counts are floored.
fn busy() -> Prometheus {
    let mut prometheus = Prometheus::new(&Settings::default());
    prometheus.traffic.set(at(0), &[load(&["web-5d-a", "web-5d-b"], 8.0, 0.25)]);
    prometheus
}

fn encoded(query: &str) -> String {
    reqwest::Url::parse_with_params("http://p/api/v1/query", [("query", query)]).unwrap().to_string()
        ["http://p".len()..]
        .to_owned()
}

fn answer(prometheus: &mut Prometheus, query: &str, seconds: i64) -> Answer {
    let reply = prometheus.answer(&Method::GET, &encoded(query), b"", at(seconds));
    let Outcome::Answer(answer) = reply.outcome else { panic!("{:?}", reply.outcome) };
    answer
}

fn body(answer: &Answer) -> Json {
    serde_json::from_str(&answer.body).unwrap()
}

/// The only number of an answer, as text with three digits; empty if there is none.
fn number(prometheus: &mut Prometheus, query: &str, seconds: i64) -> String {
    let body = body(&answer(prometheus, query, seconds));
    match body["data"]["result"].as_array().map(Vec::as_slice) {
        Some([]) => String::new(),
        Some([sample]) => {
            let number: f64 = sample["value"][1].as_str().unwrap().parse().unwrap();
            ((number * 1000.0).round() / 1000.0).to_string()
        }
        _ => panic!("{body}"),
    }
}

/// The built-in queries of a data plane: success rate, 99th percentile and number of requests.
fn built_in(requests: &str, durations: &str, canary: &str, succeeded: &str) -> [String; 3] {
    let total = format!("sum(rate({requests}{{{canary}}}[1m]))");
    [
        format!("(sum(rate({requests}{{{canary},{succeeded}}}[1m])) or {total} * 0) / {total} * 100"),
        format!("histogram_quantile(0.99, sum(rate({durations}_bucket{{{canary}}}[1m])) by (le))"),
        format!("sum(increase({requests}{{{canary}}}[1m]))"),
    ]
}

#[test]
fn every_data_plane_tells_of_the_same_requests() {
    let envoy_gateway =
        r#"envoy_cluster_name=~"service/default/web-canary/80(/.*)?|httproute/default/web/rule/[0-9]+/backend/1""#;
    let pods = r#"kubernetes_namespace="default",kubernetes_pod_name=~"web-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)""#;
    let workload = r#"reporter="destination",destination_workload_namespace="default",destination_workload="web""#;
    let deployment = r#"namespace="default",deployment="web",direction="inbound""#;
    let (envoy, envoy_time) = ("envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time");
    let application = "http_request_duration_seconds";
    let contour = r#"envoy_cluster_name="default_web-canary_80""#;
    let of_envoy = r#"envoy_response_code!~"5.*""#;
    // What is reported for a true 99th percentile of 180 ms follows from the buckets. Of all answers 66.8 % take at most
    // 100 ms, 99.5 % 200 ms and 99.9 % 250 ms; so rank 0.99 lies in (100, 250], with Linkerd in (100, 200].
    let cases = [
        (ClusterNames::Contour, built_in(envoy, envoy_time, contour, of_envoy), "245.986"),
        (ClusterNames::EnvoyGateway, built_in(envoy, envoy_time, envoy_gateway, of_envoy), "245.986"),
        (
            ClusterNames::Contour,
            built_in(&format!("{application}_count"), application, pods, r#"status!~"5.*""#),
            "0.246",
        ),
        (
            ClusterNames::Contour,
            built_in(
                "istio_requests_total",
                "istio_request_duration_milliseconds",
                workload,
                r#"response_code!~"5.*""#,
            ),
            "245.986",
        ),
        (
            ClusterNames::Contour,
            built_in("response_total", "response_latency_ms", deployment, r#"classification!="failure""#),
            "198.471",
        ),
    ];
    for (cluster_names, [success_rate, duration, requests], percentile) in cases {
        let mut prometheus = Prometheus::new(&Settings { cluster_names, ..Settings::default() });
        prometheus.traffic.set(at(0), &[load(&["web-5d-a", "web-5d-b"], 8.0, 0.25)]);
        assert_eq!(number(&mut prometheus, &success_rate, 120), "75", "{success_rate}");
        assert_eq!(number(&mut prometheus, &requests, 120), "480", "{requests}");
        let reported: f64 = number(&mut prometheus, &duration, 120).parse().unwrap();
        let expected: f64 = percentile.parse().unwrap();
        assert!((reported / expected - 1.0).abs() < 0.01, "{duration}: {reported}");
        for query in [&success_rate, &duration, &requests] {
            assert_eq!(number(&mut prometheus, query, 0), "", "{query}: nothing was scraped yet");
        }
    }
}

const REQUESTS: &str = "sum(increase(envoy_cluster_upstream_rq[1m]))";
const OF_PODS: &str = "sum(increase(http_request_duration_seconds_count[1m]))";
const SUM_OF_PODS: &str = "sum(http_request_duration_seconds_count)";

#[test]
fn without_pods_the_gateway_refuses_and_nobody_is_timed() {
    let mut prometheus = busy();
    prometheus.traffic.set(at(60), &[load(&[], 10.0, 0.05)]);
    let refused = r#"sum(increase(envoy_cluster_upstream_rq{envoy_response_code="503"}[1m]))"#;
    assert_eq!(number(&mut prometheus, refused, 180), "600");
    assert_eq!(number(&mut prometheus, "sum(envoy_cluster_upstream_rq_time_count)", 180), "480");
    assert_eq!(number(&mut prometheus, SUM_OF_PODS, 180), "", "the pods are gone");
}

#[test]
fn restarts_show_as_resets_and_ends_as_stale() {
    let mut prometheus = busy();
    prometheus.traffic.restart_pod(at(100), "default", "web-5d-a");
    // The pod counted 500 and begins anew; 5 a second since.
    let of_pod = r#"sum(http_request_duration_seconds_count{pod="web-5d-a"})"#;
    assert_eq!(number(&mut prometheus, of_pod, 90), "360");
    assert_eq!(number(&mut prometheus, of_pod, 105), "20");
    // Of the pod that goes on 240. Of the other, successes at 75, 90, 105 and 120: 225, 270, 15, 60, an increase of 105
    // in 45 s, and failures a third of that: 140 * 60 / 45. What it counted from 90 to 100 is lost.
    assert_eq!(number(&mut prometheus, OF_PODS, 120), "426.667");
    prometheus.traffic.set(at(121), &[load(&["web-5d-b"], 8.0, 0.25)]);
    assert_eq!(number(&mut prometheus, of_pod, 134), "80", "its last scrape was at 120");
    assert_eq!(number(&mut prometheus, of_pod, 135), "", "the next one does not see it");
}

#[test]
fn scrapes_fail_stop_and_come_late() {
    let cases = [
        // What happens at 121, the query, its answers at 140, at 200 and at 700.
        (Some(Scraping::Works), SUM_OF_PODS, ["1080", "1560", "5520"]),
        (Some(Scraping::Fails), SUM_OF_PODS, ["", "", ""]),
        (Some(Scraping::Stopped), SUM_OF_PODS, ["960", "960", ""]),
        (Some(Scraping::Works), REQUESTS, ["480", "480", "480"]),
        // Samples of 90, 105 and 120 are left; the end is 20 s away, more than 1.1 distances: half of one is added:
        // 240 * 47.5 / 30.
        (Some(Scraping::Fails), REQUESTS, ["380", "", ""]),
        (Some(Scraping::Stopped), REQUESTS, ["380", "", ""]),
    ];
    for (scraping, query, expected) in cases {
        let mut prometheus = busy();
        if let Some(scraping) = scraping {
            prometheus.set_scraping(at(121), scraping);
        }
        let answers = [140, 200, 700].map(|seconds| number(&mut prometheus, query, seconds));
        assert_eq!(answers, expected, "{scraping:?} {query}");
    }
    let mut prometheus = busy();
    prometheus.set_lateness(Duration::from_secs(20));
    assert_eq!(number(&mut prometheus, SUM_OF_PODS, 139), "840", "of 105");
    assert_eq!(number(&mut prometheus, SUM_OF_PODS, 140), "960", "of 120");
}

#[test]
fn the_offset_moves_the_scrapes() {
    let settings = Settings { scrape_offset: Duration::from_secs(7), ..Settings::default() };
    let mut prometheus = Prometheus::new(&settings);
    prometheus.traffic.set(at(0), &[load(&["web-5d-a"], 10.0, 0.0)]);
    for (seconds, expected) in [(6, ""), (7, "70"), (21, "70"), (22, "220")] {
        assert_eq!(number(&mut prometheus, SUM_OF_PODS, seconds), expected, "at {seconds}");
    }
}

#[test]
fn answers_have_the_form_of_prometheus() {
    let mut prometheus = busy();
    let vector = json!({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"envoy_response_code": "200"}, "value": [1_800_000_120, "720"]},
        {"metric": {"envoy_response_code": "500"}, "value": [1_800_000_120, "240"]},
    ]}});
    let matrix = json!({"status": "success", "data": {"resultType": "matrix", "result": [{
        "metric": {"__name__": "envoy_cluster_upstream_rq", "envoy_cluster_name": "default_web-canary_80",
            "envoy_response_code": "500", "job": "envoy"},
        "values": [[1_800_000_105, "210"], [1_800_000_120, "240"]],
    }]}});
    let cases = [
        ("sum(envoy_cluster_upstream_rq) by (envoy_response_code)", vector),
        (r#"envoy_cluster_upstream_rq{envoy_response_code="500"}[30s]"#, matrix),
        ("1 / 0", json!({"status": "success", "data": {"resultType": "scalar", "result": [1_800_000_120, "+Inf"]}})),
        (
            "vector(NaN)",
            json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {}, "value": [1_800_000_120, "NaN"]}]}}),
        ),
        ("\"text\"", json!({"status": "success", "data": {"resultType": "string", "result": [1_800_000_120, "text"]}})),
        ("nothing", json!({"status": "success", "data": {"resultType": "vector", "result": []}})),
    ];
    for (query, expected) in cases {
        let answer = answer(&mut prometheus, query, 120);
        assert_eq!((answer.status, answer.content_type, body(&answer)), (200, "application/json", expected), "{query}");
    }
    let bad = answer(&mut prometheus, "sum(", 120);
    let expected = json!({"status": "error", "errorType": "bad_data",
        "error": "invalid parameter \"query\": 1:5: parse error: unexpected end of input"});
    assert_eq!((bad.status, body(&bad)), (400, expected));
    let many = answer(&mut prometheus, "envoy_cluster_upstream_rq + on (job) envoy_cluster_upstream_rq", 120);
    assert_eq!((many.status, &body(&many)["errorType"]), (422, &json!("execution")));
}

#[test]
fn requests_are_read_from_address_and_form() {
    let cases: [(Method, &str, &str, u16, &str); 12] = [
        (Method::GET, "/api/v1/query?query=1%2B1", "", 200, r#"[1800000120,"2"]"#),
        (Method::GET, "/api/v1/query?query=1+%2B+1&timeout=5000ms", "", 200, r#"[1800000120,"2"]"#),
        (Method::POST, "/api/v1/query", "query=1+%2B+1&timeout=5s", 200, r#"[1800000120,"2"]"#),
        (Method::POST, "/api/v1/query?query=1&time=5", "query=2", 200, r#"[5,"2"]"#),
        (Method::GET, "/api/v1/query?query=1&time=1800000000.5", "", 200, r#"[1800000000.5,"1"]"#),
        (Method::GET, "/api/v1/query?query=1&time=2026-01-01T00:00:00Z", "", 200, r#"[1767225600,"1"]"#),
        (Method::GET, "/api/v1/query?query=1&time=soon", "", 400, "cannot parse \\\"soon\\\" to a valid timestamp"),
        (Method::GET, "/api/v1/query?query=1&timeout=ever", "", 400, "cannot parse \\\"ever\\\" to a valid duration"),
        (Method::GET, "/api/v1/query", "", 400, "no expression found in input"),
        (Method::DELETE, "/api/v1/query?query=1", "", 405, "Method Not Allowed"),
        (Method::GET, "/-/ready", "", 200, "Ready"),
        (Method::GET, "/api/v2/query?query=1", "", 404, "404 page not found"),
    ];
    for (method, path, form, status, part) in cases {
        let reply = busy().answer(&method, path, form.as_bytes(), at(120));
        let Outcome::Answer(answer) = reply.outcome else { panic!("{path}") };
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.body.contains(part), "{method} {path}: {}", answer.body);
    }
}

#[test]
fn a_query_of_the_past_sees_the_past() {
    let mut prometheus = busy();
    let path = format!("{}&time={}", encoded("sum(envoy_cluster_upstream_rq)"), at(60).timestamp());
    let reply = prometheus.answer(&Method::GET, &path, b"", at(600));
    let Outcome::Answer(answer) = reply.outcome else { panic!() };
    assert_eq!(body(&answer)["data"]["result"][0]["value"], json!([at(60).timestamp(), "480"]));
}

#[test]
fn faults_answer_as_they_say() {
    let second = Duration::from_secs(1);
    // Fault, time until the reply, status, media type and a part of the body, what the log says.
    let cases: [(Fault, Duration, u16, &str, &str, With); 11] = [
        (Fault::None, Duration::ZERO, 200, "json", r#""480"]"#, With::Number(480.0)),
        (Fault::Slow(3 * second), 3 * second, 200, "json", r#""480"]"#, With::Number(480.0)),
        (Fault::Slow(9 * second), 5 * second, 503, "json", r#""errorType":"timeout""#, With::Error),
        (Fault::Status(500), Duration::ZERO, 500, "json", r#""errorType":"internal""#, With::Error),
        (Fault::Unprocessable, Duration::ZERO, 422, "json", r#""errorType":"execution""#, With::Error),
        (Fault::Html(200), Duration::ZERO, 200, "html", "<html>", With::Error),
        (Fault::Html(502), Duration::ZERO, 502, "html", "<html>", With::Error),
        (Fault::Empty, Duration::ZERO, 200, "json", r#""result":[]"#, With::Nothing),
        (Fault::NotANumber, Duration::ZERO, 200, "json", r#""NaN"]"#, With::Nothing),
        (Fault::TwoSeries, Duration::ZERO, 200, "json", r#""instance":"b""#, With::Other(2)),
        (Fault::Partial, Duration::ZERO, 200, "json", r#""warnings":["#, With::Number(480.0)),
    ];
    let path = format!("{}&timeout=5000ms", encoded(REQUESTS));
    for (fault, after, status, media_type, part, with) in cases {
        let mut prometheus = busy();
        prometheus.set_fault(fault);
        let reply = prometheus.answer(&Method::GET, &path, b"", at(120));
        let Outcome::Answer(answer) = reply.outcome else { panic!("{fault:?}") };
        assert_eq!((reply.after, answer.status), (after, status), "{fault:?}");
        assert!(answer.content_type.contains(media_type) && answer.body.contains(part), "{fault:?}: {}", answer.body);
        let logged = Answered { at: at(120), query: REQUESTS.to_owned(), fault, with };
        assert_eq!(prometheus.answers().collect::<Vec<_>>(), [&logged]);
    }
    for (fault, outcome) in [(Fault::Refuses, Outcome::ConnectionRefused), (Fault::Hangs, Outcome::Never)] {
        let mut prometheus = busy();
        prometheus.set_fault(fault);
        assert_eq!(prometheus.answer(&Method::GET, &path, b"", at(120)).outcome, outcome);
        assert_eq!(prometheus.answer(&Method::GET, "/-/ready", b"", at(120)).outcome, outcome);
    }
}
