//! Telling people. A new sink is one file with a `Sink` and one line in the registry.

mod alertmanager;
mod delivery;
mod destination;
mod discord;
mod gchat;
mod msteams;
mod rocket;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use reqwest::Url;
use serde_json::Value;

pub use delivery::Alerts;
pub use destination::{AlertError, Destination};

use crate::api::checked::ObjectKey;
use crate::api::status::AlertRecord;

/// An alert and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The Canary.
    pub canary: &'a ObjectKey,
    /// What is told.
    pub alert: &'a AlertRecord,
    /// Name of this cluster, where the controller was given one.
    pub cluster_name: Option<&'a str>,
}

impl Message<'_> {
    /// The details as title and value, in the order of telling; the cluster comes last.
    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let cluster = self.cluster_name.map(|name| ("Cluster", name));
        self.alert.fields.iter().map(|field| (field.title.as_str(), field.value.as_str())).chain(cluster)
    }
}

/// A kind of receiver.
trait Sink: Send + Sync {
    /// The body to post.
    fn payload(&self, message: &Message<'_>) -> Value;

    /// Where to post, made from the address that the user gave.
    fn endpoint(&self, address: Url) -> Url {
        address
    }

    /// What the receiver objects to, where it says so in the body of a successful answer.
    fn objection(&self, _body: &str) -> Option<String> {
        None
    }
}

/// What a sink is made from.
struct Settings<'a> {
    /// `spec.channel`, or Flagger's default.
    channel: &'a str,
    /// `spec.username`, or Flagger's default.
    username: &'a str,
    /// Where the messages go.
    address: &'a Url,
}

/// What each kind of sink posts about an alert, and what it objects to in the body of an answer. For the fuzz targets,
/// which have no receiver.
#[doc(hidden)]
pub fn exchanges(message: &Message<'_>, answer: &str) -> Vec<(Value, Option<String>)> {
    let exchange = |address: &str| {
        let address = Url::parse(address).ok()?;
        let settings = Settings { channel: "general", username: "flagger", address: &address };
        let sinks = REGISTRY.iter().map(|(_, make)| make(&settings));
        Some(sinks.map(|sink| (sink.payload(message), sink.objection(answer))).collect::<Vec<_>>())
    };
    // Teams has two forms, by host.
    ["https://sink.example.com", "https://x.logic.azure.com"].into_iter().filter_map(exchange).flatten().collect()
}

type MakeSink = fn(&Settings<'_>) -> Box<dyn Sink>;

/// The registry: the name in `spec.type`, and what makes the sink.
const REGISTRY: &[(&str, MakeSink)] = &[
    ("slack", slack::Slack::boxed),
    ("msteams", msteams::boxed),
    ("discord", discord::Discord::boxed),
    ("rocket", rocket::Rocket::boxed),
    ("gchat", gchat::GoogleChat::boxed),
    ("alertmanager", alertmanager::Alertmanager::boxed),
    ("webhook", webhook::Webhook::boxed),
];
