//! Google Chat: cards of its incoming webhooks.

use serde_json::{Value, json};

use super::{Message, Settings, Sink, slack};
use crate::api::checked::Severity;

pub(super) struct GoogleChat;

impl GoogleChat {
    pub(super) fn boxed(_: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self)
    }
}

impl Sink for GoogleChat {
    fn payload(&self, message: &Message<'_>) -> Value {
        let color = match message.alert.severity {
            Severity::Info => "#848484",
            Severity::Warn => "#FFA500",
            Severity::Error => "#FF0000",
        };
        let told = format!("<font color=\"{color}\"><b>{}</b></font>", slack::escape(&message.alert.message));
        let details = message.fields().map(|(title, value)| {
            format!("{}<br><font color=\"#848484\"><b>{}</b></font>", slack::escape(title), slack::escape(value))
        });
        let sections: Vec<Value> = std::iter::once(told)
            .chain(details)
            .map(|text| json!({"widgets": [{"textParagraph": {"text": text}}]}))
            .collect();
        json!({"cards": [{"header": {"title": "Serin", "subtitle": message.canary.to_string()}, "sections": sections}]})
    }
}
