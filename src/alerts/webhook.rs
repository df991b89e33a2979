//! Any receiver of JSON. The form is stable: fields may be added, none is taken away.
//!
//! ```json
//! {"name": "frontend", "namespace": "shop", "cluster": "eu-1", "severity": "info, warn or error",
//!  "message": "one sentence", "time": "2026-01-31T12:00:00Z", "fields": {"TITLE": "VALUE"}}
//! ```
//!
//! `cluster` is there only where the controller was given `--cluster-name`.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{Message, Settings, Sink};
use crate::api::checked::Severity;

pub(super) struct Webhook;

impl Webhook {
    pub(super) fn boxed(_: &Settings<'_>) -> Box<dyn Sink> {
        Box::new(Self)
    }
}

impl Sink for Webhook {
    fn payload(&self, message: &Message<'_>) -> Value {
        let alert = message.alert;
        let fields: BTreeMap<&str, &str> =
            alert.fields.iter().map(|field| (field.title.as_str(), field.value.as_str())).collect();
        let mut body = json!({
            "name": message.canary.name,
            "namespace": message.canary.namespace,
            "severity": severity(alert.severity),
            "message": alert.message,
            "time": alert.time.to_rfc3339_opts(SecondsFormat::Secs, true),
            "fields": fields,
        });
        if let Some(cluster) = message.cluster_name {
            body["cluster"] = json!(cluster);
        }
        body
    }
}

/// The severity as in `analysis.alerts`.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Error => "error",
    }
}
