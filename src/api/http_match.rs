//! Requests by their properties, in the shape of Istio's `HTTPMatchRequest`, which Flagger uses for every technology.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Requests that have all of these properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpMatchRequest {
    /// Name of the match, for logs.
    pub name: String,
    /// The path.
    pub uri: Option<StringMatch>,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The host.
    pub authority: Option<StringMatch>,
    /// Headers by name.
    pub headers: BTreeMap<String, StringMatch>,
    /// Headers that the request must not have, by name.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Query parameters by name.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Whether the case of the path is ignored.
    pub ignore_uri_case: bool,
    /// Port that the request was sent to.
    #[schemars(extend("type" = "integer"))]
    pub port: Option<Number>,
    /// Labels of the workload that sends the request.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the workload that sends the request.
    pub source_namespace: String,
    /// Gateways that the request came through.
    pub gateways: Vec<String>,
}

/// One of four ways to compare a string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct StringMatch {
    /// The whole string.
    pub exact: String,
    /// Its beginning.
    pub prefix: String,
    /// Its end.
    pub suffix: String,
    /// A regular expression for the whole of it.
    pub regex: String,
}
