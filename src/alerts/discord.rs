//! Discord, through its endpoint for Slack's format.

use reqwest::Url;
use serde_json::Value;

use super::{Message, Settings, Sink, slack};

pub(super) struct Discord {
    channel: String,
    username: String,
}

impl Discord {
    pub(super) fn boxed(settings: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self { channel: settings.channel.to_owned(), username: settings.username.to_owned() })
    }
}

impl Sink for Discord {
    fn payload(&self, message: &Message<'_>) -> Value {
        let color = slack::color(message.alert.severity);
        slack::attachment(&self.channel, &self.username, message, color, str::to_owned)
    }

    fn endpoint(&self, mut address: Url) -> Url {
        let path = address.path().trim_end_matches('/').to_owned();
        if !path.ends_with("/slack") {
            address.set_path(&format!("{path}/slack"));
        }
        address
    }
}
