//! Slack: incoming webhooks, and `chat.postMessage` with a token.

use serde_json::{Value, json};

use super::{Message, Settings, Sink};
use crate::api::checked::Severity;

pub(super) struct Slack {
    channel: String,
    username: String,
}

impl Slack {
    pub(super) fn boxed(settings: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self { channel: settings.channel.to_owned(), username: settings.username.to_owned() })
    }
}

impl Sink for Slack {
    fn payload(&self, message: &Message<'_>) -> Value {
        attachment(&self.channel, &self.username, message, color(message.alert.severity), escape)
    }

    /// `chat.postMessage` answers 200 with `"ok": false`.
    fn objection(&self, body: &str) -> Option<String> {
        let answer: Value = serde_json::from_str(body).ok()?;
        if answer.get("ok")?.as_bool()? {
            return None;
        }
        let reason = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        Some(format!("Slack refused it: {reason}"))
    }
}

/// Slack's own names of colours.
pub(super) fn color(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "good",
        Severity::Warn => "warning",
        Severity::Error => "danger",
    }
}

/// A message with one attachment, the form that Discord and Rocket.Chat understand too.
pub(super) fn attachment(
    channel: &str,
    username: &str,
    message: &Message<'_>,
    color: &str,
    escape: fn(&str) -> String,
) -> Value {
    let fields: Vec<Value> = message
        .fields()
        .map(|(title, value)| json!({"title": escape(title), "value": escape(value), "short": false}))
        .collect();
    json!({
        "channel": channel,
        "username": username,
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [{
            "color": color,
            "author_name": message.canary.to_string(),
            "text": escape(&message.alert.message),
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}

/// The three characters that Slack's text gives a meaning, so that `98 < 99` arrives as it is.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
