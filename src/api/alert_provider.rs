//! `AlertProvider`: where alerts are sent.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metric_template::SecretRef;

/// Values of `spec.type` that the schema takes: Flagger's, and `alertmanager` and `webhook`.
const KINDS: [&str; 7] = ["slack", "msteams", "discord", "rocket", "gchat", "alertmanager", "webhook"];

/// `AlertProvider.spec`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "AlertProvider",
    namespaced,
    category = "all",
    doc = "Where alerts are sent.",
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.type"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [super::rules::ADDRESS_OR_SECRET.to_json()]))]
pub struct AlertProviderSpec {
    /// Kind of sink: `slack`, `msteams`, `discord`, `rocket`, `gchat`, `alertmanager` or `webhook`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = KINDS))]
    pub kind: String,
    /// Channel to post to, where the sink has channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Name to post as, where the sink has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Address of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// HTTP proxy on the way to the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Secret with `address` and, for Slack, `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}
