use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::json;
use wiremock::matchers::{body_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::api::alert_provider::AlertProviderSpec;
use crate::api::checked::Severity;
use crate::api::metric_template::SecretRef;
use crate::api::status::AlertField;
use crate::outbound::{Pools, Reply, Transport};

type Secret = BTreeMap<String, Vec<u8>>;

fn key() -> ObjectKey {
    ObjectKey::new("shop", "frontend")
}

fn rollback() -> AlertRecord {
    AlertRecord {
        severity: Severity::Error,
        message: "Rolling back frontend.shop: request-success-rate 94.2 < 99".into(),
        fields: vec![
            AlertField { title: "Revision".into(), value: "6d5f".into() },
            AlertField { title: "What to do".into(), value: "fix & ship".into() },
        ],
        time: "2026-01-31T12:00:00Z".parse().unwrap(),
    }
}

fn spec(kind: &str, address: &str) -> AlertProviderSpec {
    AlertProviderSpec { kind: kind.into(), address: Some(address.into()), ..AlertProviderSpec::default() }
}

fn secret(pairs: &[(&str, &str)]) -> Secret {
    pairs.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec())).collect()
}

fn with_secret(kind: &str, pairs: &[(&str, &str)]) -> Result<Destination, AlertError> {
    let spec = AlertProviderSpec {
        kind: kind.into(),
        secret_ref: Some(SecretRef { name: "hook".into() }),
        ..AlertProviderSpec::default()
    };
    Destination::new(&spec, Some(&secret(pairs)))
}

/// Alerts are sent by tasks of their own.
fn sent<F: Future + Send>(future: F) -> F {
    future
}

/// Sends the rollback alert with waits of a millisecond.
async fn send(destination: &Destination) -> Result<(), AlertError> {
    let (key, alert) = (key(), rollback());
    let message = Message { canary: &key, alert: &alert, cluster_name: Some("eu-1") };
    let alerts = Alerts::with_times(Arc::new(Pools::new()), Duration::from_millis(1), Duration::from_millis(300));
    sent(alerts.send(destination, &message)).await
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_sink_posts_exactly_this_body_to_exactly_there() {
    let fields = |name: &str| {
        json!([
            {name: "Revision", "value": "6d5f"},
            {name: "What to do", "value": "fix & ship"},
            {name: "Cluster", "value": "eu-1"},
        ])
    };
    let slack = |color: &str, text: &str, to_do: &str| {
        json!({
            "channel": "releases",
            "username": "bird",
            "icon_url": "",
            "icon_emoji": ":rocket:",
            "attachments": [{
                "color": color,
                "author_name": "frontend.shop",
                "text": text,
                "mrkdwn_in": ["text"],
                "fields": [
                    {"title": "Revision", "value": "6d5f", "short": false},
                    {"title": "What to do", "value": to_do, "short": false},
                    {"title": "Cluster", "value": "eu-1", "short": false},
                ],
            }],
        })
    };
    let text = "Rolling back frontend.shop: request-success-rate 94.2 < 99";
    let message_card = json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": "FF0000",
        "summary": "frontend.shop",
        "sections": [{"activityTitle": text, "activitySubtitle": "frontend.shop", "facts": fields("name")}],
    });
    let adaptive_card = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "TextBlock", "text": "frontend.shop", "weight": "bolder", "wrap": true},
                    {"type": "TextBlock", "text": text, "color": "attention", "wrap": true},
                    {"type": "FactSet", "facts": fields("title")},
                ],
            },
        }],
    });
    let paragraph = |text: &str| json!({"widgets": [{"textParagraph": {"text": text}}]});
    let card = json!({"cards": [{
        "header": {"title": "Serin", "subtitle": "frontend.shop"},
        "sections": [
            paragraph("<font color=\"#FF0000\"><b>Rolling back frontend.shop: request-success-rate 94.2 &lt; 99</b></font>"),
            paragraph("Revision<br><font color=\"#848484\"><b>6d5f</b></font>"),
            paragraph("What to do<br><font color=\"#848484\"><b>fix &amp; ship</b></font>"),
            paragraph("Cluster<br><font color=\"#848484\"><b>eu-1</b></font>"),
        ],
    }]});
    let alerts = json!([{
        "labels": {
            "alertname": "Canary", "namespace": "shop", "name": "frontend", "severity": "error", "cluster": "eu-1",
        },
        "annotations": {"summary": text, "description": "Revision: 6d5f\nWhat to do: fix & ship\nCluster: eu-1"},
        "startsAt": "2026-01-31T12:00:00Z",
    }]);
    let webhook = json!({
        "name": "frontend",
        "namespace": "shop",
        "cluster": "eu-1",
        "severity": "error",
        "message": text,
        "time": "2026-01-31T12:00:00Z",
        "fields": {"Revision": "6d5f", "What to do": "fix & ship"},
    });
    let escaped = text.replace('<', "&lt;");
    let cases = [
        (
            "slack",
            "https://hooks.slack.com/x",
            "https://hooks.slack.com/x",
            slack("danger", &escaped, "fix &amp; ship"),
        ),
        (
            "discord",
            "https://discord.com/api/x",
            "https://discord.com/api/x/slack",
            slack("danger", text, "fix & ship"),
        ),
        ("discord", "https://d/x/slack", "https://d/x/slack", slack("danger", text, "fix & ship")),
        ("rocket", "https://chat/hooks/x", "https://chat/hooks/x", slack("#FF0000", text, "fix & ship")),
        ("msteams", "https://a.webhook.office.com/x", "https://a.webhook.office.com/x", message_card.clone()),
        ("msteams", "https://evil-logic.azure.com.example/x", "https://evil-logic.azure.com.example/x", message_card),
        (
            "msteams",
            "https://prod-1.eu.logic.azure.com:443/x?sig=1",
            "https://prod-1.eu.logic.azure.com/x?sig=1",
            adaptive_card.clone(),
        ),
        ("msteams", "https://a.api.powerplatform.com/x", "https://a.api.powerplatform.com/x", adaptive_card),
        ("gchat", "https://chat.googleapis.com/v1/x?key=k", "https://chat.googleapis.com/v1/x?key=k", card),
        ("alertmanager", "http://am:9093", "http://am:9093/api/v2/alerts", alerts.clone()),
        ("alertmanager", "http://am:9093/base/api/v2/alerts/", "http://am:9093/base/api/v2/alerts/", alerts),
        ("webhook", "http://hook/x", "http://hook/x", webhook),
    ];
    let (key, alert) = (key(), rollback());
    let message = Message { canary: &key, alert: &alert, cluster_name: Some("eu-1") };
    for (kind, address, endpoint, body) in cases {
        let spec = AlertProviderSpec {
            channel: Some("releases".into()),
            username: Some("bird".into()),
            ..spec(kind, address)
        };
        let destination = Destination::new(&spec, None).unwrap();
        assert_eq!(destination.endpoint.as_str(), endpoint, "{kind}");
        assert_eq!(destination.sink.payload(&message), body, "{kind}");
    }
}

#[test]
fn a_warning_looks_neither_like_progress_nor_like_a_rollback() {
    let key = key();
    for (kind, _) in REGISTRY {
        let destination = Destination::new(&spec(kind, "https://host/x"), None).unwrap();
        let bodies = [Severity::Info, Severity::Warn, Severity::Error].map(|severity| {
            let alert = AlertRecord { severity, ..rollback() };
            destination.sink.payload(&Message { canary: &key, alert: &alert, cluster_name: None })
        });
        assert!(bodies[0] != bodies[1] && bodies[1] != bodies[2] && bodies[0] != bodies[2], "{kind}");
    }
}

#[test]
fn an_alert_provider_that_can_not_be_used_says_why() {
    let proxy = |proxy: &str| AlertProviderSpec { proxy: Some(proxy.into()), ..spec("slack", "https://h/x") };
    let no_secret =
        AlertProviderSpec { secret_ref: Some(SecretRef { name: "hook".into() }), ..spec("slack", "https://h") };
    let cases = [
        (
            Destination::new(&spec("pager", "https://h"), None),
            "spec.type `pager` is not known; use one of: slack, msteams, discord, rocket, gchat, alertmanager, webhook",
        ),
        (
            Destination::new(&spec("slack", ""), None),
            "spec.address: missing; set it, or spec.secretRef to a Secret with `address`",
        ),
        (
            Destination::new(&spec("slack", "hooks.slack.com/hunter2"), None),
            "spec.address: not an address (relative URL without a base); write it as https://HOST/PATH",
        ),
        (
            Destination::new(&spec("slack", "ftp://h/hunter2"), None),
            "spec.address: not an address of the web; write it as https://HOST/PATH",
        ),
        (
            Destination::new(&proxy("proxy:3128"), None),
            "spec.proxy: not an address of the web; write it as https://HOST/PATH",
        ),
        (Destination::new(&no_secret, None), "spec.secretRef: the Secret `hook` does not exist; create it"),
        (
            with_secret("slack", &[("token", "hunter2")]),
            "spec.address: missing; put the key `address` into the Secret `hook`, or set spec.address",
        ),
        (
            with_secret("slack", &[("address", "hunter2")]),
            "key `address` of Secret `hook`: not an address (relative URL without a base); write it as https://HOST/PATH",
        ),
        (
            with_secret("slack", &[("address", "https://h/x"), ("token", "hunter2\nx")]),
            "key `token` of Secret `hook`: has a line break or a control character in it",
        ),
    ];
    for (result, expected) in cases {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}

#[test]
fn the_secrets_address_wins_and_is_never_shown() {
    let spec = AlertProviderSpec {
        secret_ref: Some(SecretRef { name: "hook".into() }),
        ..spec("slack", "https://public.example/x")
    };
    let secret = secret(&[("address", "https://hooks.slack.com/services/hunter2\n"), ("token", "hunter2")]);
    let destination = Destination::new(&spec, Some(&secret)).unwrap();
    assert_eq!(destination.endpoint.as_str(), "https://hooks.slack.com/services/hunter2");
    assert_eq!(format!("{destination:?}"), "slack at hooks.slack.com");
}

#[test]
fn waits_double_and_yield_to_retry_after_within_bounds() {
    let cases =
        [(1, 0, 1), (2, 0, 2), (3, 0, 4), (4, 0, 8), (1, 30, 30), (4, 3, 8), (1, 86_400, 60), (1, u64::MAX, 60)];
    for (attempts, retry_after, expected) in cases {
        let got = delivery::wait(Duration::from_secs(1), attempts, Duration::from_secs(retry_after));
        assert_eq!(got, Duration::from_secs(expected), "after {attempts} attempts with Retry-After {retry_after}");
    }
}

#[tokio::test]
async fn what_can_help_is_tried_again_and_nothing_else() {
    let status = ResponseTemplate::new;
    let slack_says = |body: &str| status(200).set_body_raw(body, "application/json");
    // What the receiver answers, and then, how often it is asked, and the error.
    let cases = [
        ("webhook", status(200), 1, ""),
        ("webhook", status(202), 1, ""),
        ("slack", status(200).set_body_string("ok"), 1, ""),
        ("slack", slack_says(r#"{"ok": true}"#), 1, ""),
        (
            "slack",
            slack_says(r#"{"ok": false, "error": "channel_not_found"}"#),
            1,
            "Slack refused it: channel_not_found",
        ),
        ("msteams", status(200).set_body_string("1"), 1, ""),
        (
            "msteams",
            status(200).set_body_string("Webhook message delivery failed with error: 429"),
            1,
            "Teams did not take it from the connector; try later",
        ),
        ("webhook", status(400), 1, "HTTP 400 Bad Request"),
        ("webhook", status(401), 1, "HTTP 401 Unauthorized; check the token and the address"),
        ("webhook", status(404), 1, "HTTP 404 Not Found; check the address, the webhook may have been deleted"),
        (
            "webhook",
            status(302).insert_header("location", "/elsewhere"),
            1,
            "HTTP 302 Found; redirects are not followed, give the final address",
        ),
        ("webhook", status(429), 5, "HTTP 429 Too Many Requests"),
        ("webhook", status(500), 5, "HTTP 500 Internal Server Error"),
        ("webhook", status(503).insert_header("retry-after", "0"), 5, "HTTP 503 Service Unavailable"),
        (
            "webhook",
            status(200).set_delay(Duration::from_secs(60)),
            1,
            "no answer within 300ms; it may have been delivered",
        ),
    ];
    for (kind, response, attempts, problem) in cases {
        let server = MockServer::start().await;
        Mock::given(path("/hunter2")).respond_with(response).mount(&server).await;
        let destination = Destination::new(&spec(kind, &format!("{}/hunter2", server.uri())), None).unwrap();
        let text = send(&destination).await.err().map_or_else(String::new, |error| error.to_string());
        let expected = if problem.is_empty() {
            String::new()
        } else {
            format!("{kind} at 127.0.0.1: {problem} (attempts: {attempts})")
        };
        assert_eq!(text, expected);
        assert_eq!(server.received_requests().await.unwrap().len(), attempts, "{problem}");
    }
}

#[tokio::test]
async fn an_outage_that_ends_costs_no_alert() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(503)).up_to_n_times(4).mount(&server).await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let destination = Destination::new(&spec("webhook", &server.uri()), None).unwrap();
    assert_eq!(send(&destination).await, Ok(()));
    assert_eq!(server.received_requests().await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let destination = Destination::new(&spec("webhook", &format!("http://{free}/hunter2")), None).unwrap();
    assert_eq!(
        send(&destination).await.unwrap_err().to_string(),
        "webhook at 127.0.0.1: can't connect: Connection refused (os error 111) (attempts: 5)"
    );
}

/// A server in memory that takes the message, and then says this, or nothing more.
fn taken(body: Option<&'static str>) -> Arc<dyn Transport> {
    Arc::new(move |_| {
        let reply = match body {
            Some(body) => Reply::whole(StatusCode::OK, HeaderMap::new(), body.into()),
            None => Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: stream::pending().boxed() },
        };
        std::future::ready(Ok(reply)).boxed()
    })
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_took_the_message_needs_to_say_no_more() {
    let (key, alert) = (key(), rollback());
    let message = Message { canary: &key, alert: &alert, cluster_name: None };
    let destination = Destination::new(&spec("slack", "https://hooks.slack.com/x"), None).unwrap();
    for (body, is_sent) in [(Some("ok"), true), (None, true), (Some(r#"{"ok": false}"#), false)] {
        let sent = Alerts::new(taken(body)).send(&destination, &message).await;
        assert_eq!(sent.is_ok(), is_sent, "{body:?}: {sent:?}");
    }
}

#[tokio::test]
async fn the_token_and_the_body_reach_the_receiver() {
    let server = MockServer::start().await;
    let address = format!("{}/api/chat.postMessage", server.uri());
    let destination = with_secret("slack", &[("address", &address), ("token", "hunter2\n")]).unwrap();
    let (key, alert) = (key(), rollback());
    let message = Message { canary: &key, alert: &alert, cluster_name: Some("eu-1") };
    Mock::given(method("POST"))
        .and(path("/api/chat.postMessage"))
        .and(header("authorization", "Bearer hunter2"))
        .and(header("content-type", "application/json"))
        .and(body_json(destination.sink.payload(&message)))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"ok": true})))
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(send(&destination).await, Ok(()));
}

#[tokio::test]
async fn a_proxy_takes_the_message_on_its_way() {
    let proxy = MockServer::start().await;
    Mock::given(header("host", "receiver.invalid"))
        .respond_with(ResponseTemplate::new(200))
        .expect(1)
        .mount(&proxy)
        .await;
    let spec = AlertProviderSpec { proxy: Some(proxy.uri()), ..spec("webhook", "http://receiver.invalid/x") };
    assert_eq!(send(&Destination::new(&spec, None).unwrap()).await, Ok(()));
}
