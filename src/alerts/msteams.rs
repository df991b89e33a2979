//! Microsoft Teams: `MessageCard` for connectors, as Flagger sends it, and an Adaptive Card for Workflows, which
//! replace them.

use serde_json::{Value, json};

use super::{Message, Settings, Sink};
use crate::api::checked::Severity;

/// Hosts of Workflows' webhooks, with everything below them.
const WORKFLOW_HOSTS: [&str; 2] = ["logic.azure.com", "powerplatform.com"];

pub(super) fn boxed(settings: &Settings<'_>) -> Box<dyn Sink> {
    let host = settings.address.host_str().unwrap_or_default();
    let workflow = WORKFLOW_HOSTS
        .iter()
        .any(|known| host.strip_suffix(known).is_some_and(|below| below.is_empty() || below.ends_with('.')));
    if workflow { Box::new(Workflow) } else { Box::new(Connector) }
}

/// `webhook.office.com` and whatever takes its format.
struct Connector;

impl Sink for Connector {
    fn payload(&self, message: &Message<'_>) -> Value {
        let facts: Vec<Value> = message.fields().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let color = match message.alert.severity {
            Severity::Info => "0076D7",
            Severity::Warn => "FFA500",
            Severity::Error => "FF0000",
        };
        json!({
            "@type": "MessageCard",
            "@context": "http://schema.org/extensions",
            "themeColor": color,
            "summary": message.canary.to_string(),
            "sections": [{
                "activityTitle": message.alert.message,
                "activitySubtitle": message.canary.to_string(),
                "facts": facts,
            }],
        })
    }

    /// Connectors answer 200 when Teams behind them refused the message.
    fn objection(&self, body: &str) -> Option<String> {
        body.contains("delivery failed").then(|| "Teams did not take it from the connector; try later".to_owned())
    }
}

/// A webhook of Power Automate's "When a Teams webhook request is received".
struct Workflow;

impl Sink for Workflow {
    fn payload(&self, message: &Message<'_>) -> Value {
        let facts: Vec<Value> =
            message.fields().map(|(title, value)| json!({"title": title, "value": value})).collect();
        let color = match message.alert.severity {
            Severity::Info => "good",
            Severity::Warn => "warning",
            Severity::Error => "attention",
        };
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {"type": "TextBlock", "text": message.canary.to_string(), "weight": "bolder", "wrap": true},
                        {"type": "TextBlock", "text": message.alert.message, "color": color, "wrap": true},
                        {"type": "FactSet", "facts": facts},
                    ],
                },
            }],
        })
    }
}
