//! Rocket.Chat: incoming webhooks take Slack's format, with colours as numbers.

use serde_json::Value;

use super::{Message, Settings, Sink, slack};
use crate::api::checked::Severity;

pub(super) struct Rocket {
    channel: String,
    username: String,
}

impl Rocket {
    pub(super) fn boxed(settings: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self { channel: settings.channel.to_owned(), username: settings.username.to_owned() })
    }
}

impl Sink for Rocket {
    fn payload(&self, message: &Message<'_>) -> Value {
        let color = match message.alert.severity {
            Severity::Info => "#0076D7",
            Severity::Warn => "#FFA500",
            Severity::Error => "#FF0000",
        };
        slack::attachment(&self.channel, &self.username, message, color, str::to_owned)
    }
}
