//! `Canary.spec.analysis.webhooks` as users write it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::analysis::DURATION_PATTERN;

/// One entry of `analysis.webhooks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name", "url"]))]
pub struct Webhook {
    /// Name of the hook.
    pub name: String,
    /// When it is called. Defaults to `rollout`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = [
        "",
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
        "event",
        "rollback",
    ]))]
    pub kind: String,
    /// Address that is called.
    pub url: String,
    /// Time limit of one attempt. Defaults to `10s`.
    #[schemars(extend("pattern" = DURATION_PATTERN))]
    pub timeout: String,
    /// Number of further attempts. Defaults to 0.
    pub retries: Option<Number>,
    /// Do not verify the certificate of the address.
    #[serde(rename = "disableTLS")]
    pub disable_tls: bool,
    /// Send no alert while a gate is closed.
    pub mute_alert: bool,
    /// Values that are sent along.
    pub metadata: BTreeMap<String, String>,
}
