//! Alertmanager's API v2: one alert, which Alertmanager resolves by itself after its `resolve_timeout`.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use reqwest::Url;
use serde_json::{Value, json};

use super::{Message, Settings, Sink, webhook};

const PATH: &str = "/api/v2/alerts";

pub(super) struct Alertmanager;

impl Alertmanager {
    pub(super) fn boxed(_: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self)
    }
}

impl Sink for Alertmanager {
    fn payload(&self, message: &Message<'_>) -> Value {
        let canary = message.canary;
        let mut labels = BTreeMap::from([
            ("alertname", "Canary"),
            ("namespace", canary.namespace.as_str()),
            ("name", canary.name.as_str()),
            ("severity", webhook::severity(message.alert.severity)),
        ]);
        labels.extend(message.cluster_name.map(|name| ("cluster", name)));
        let details: Vec<String> = message.fields().map(|(title, value)| format!("{title}: {value}")).collect();
        json!([{
            "labels": labels,
            "annotations": {"summary": message.alert.message, "description": details.join("\n")},
            "startsAt": message.alert.time.to_rfc3339_opts(SecondsFormat::Secs, true),
        }])
    }

    /// Users give the address of Alertmanager, with or without the path of its API.
    fn endpoint(&self, mut address: Url) -> Url {
        let path = address.path().trim_end_matches('/').to_owned();
        if !path.ends_with(PATH) {
            address.set_path(&(path + PATH));
        }
        address
    }
}
