//! `Canary.spec.service` as users write it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::http_match::{HttpMatchRequest, StringMatch};

/// How users reach the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["port"]))]
pub struct CanaryService {
    /// Name of the generated apex Service. Defaults to the target's name.
    pub name: String,
    /// Port of the generated Services.
    pub port: Option<Number>,
    /// Name of that port. Defaults to `http`.
    pub port_name: String,
    /// Container port, as a number or by its name. Defaults to `port`.
    #[schemars(schema_with = "int_or_string")]
    pub target_port: Option<Value>,
    /// Application protocol of the port.
    pub app_protocol: String,
    /// Traffic distribution of the generated Services.
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: String,
    /// Expose the other container ports too.
    pub port_discovery: bool,
    /// Create the Services without a cluster address.
    pub headless: bool,
    /// Time limit of a request.
    pub timeout: String,
    /// Gateway API: time limit of one attempt at a backend.
    pub backend_timeout: String,
    /// Istio: gateways of the generated route.
    pub gateways: Vec<String>,
    /// Gateway API: parents of the generated route. Defaults to the controller's `--gateway`.
    #[schemars(extend("maxItems" = 32))]
    pub gateway_refs: Vec<GatewayRef>,
    /// Gateway API: adopt one rule of an HTTPRoute that is owned elsewhere, instead of generating a route.
    pub http_route_ref: Option<HttpRouteRef>,
    /// Host names of the generated route.
    pub hosts: Vec<String>,
    /// Istio: generate a delegate `VirtualService`.
    pub delegation: bool,
    /// Istio: traffic policy of the generated destination rules.
    #[schemars(schema_with = "free_form")]
    pub traffic_policy: Option<Value>,
    /// Requests that the generated route serves. Defaults to all.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Rewrite of the request.
    pub rewrite: Option<HttpRewrite>,
    /// Retries of failed requests.
    pub retries: Option<HttpRetries>,
    /// Changes to request and response headers.
    pub headers: Option<Headers>,
    /// Gateway API: backends that get a copy of each request, at all times.
    pub mirror: Vec<RequestMirror>,
    /// Cross-origin resource sharing.
    pub cors_policy: Option<CorsPolicy>,
    /// App Mesh: name of the mesh.
    pub mesh_name: String,
    /// App Mesh: backends of the virtual nodes.
    pub backends: Vec<String>,
    /// Metadata of the apex Service.
    pub apex: Option<CustomMetadata>,
    /// Metadata of the primary Service.
    pub primary: Option<CustomMetadata>,
    /// Metadata of the canary Service.
    pub canary: Option<CustomMetadata>,
    /// Metadata on generated Services that is left alone.
    pub unmanaged_metadata: Option<UnmanagedMetadata>,
}

/// A parent of the generated route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct GatewayRef {
    /// API group of the parent. Defaults to `gateway.networking.k8s.io`; the empty string is the core group.
    pub group: Option<String>,
    /// Kind of the parent. Defaults to `Gateway`.
    pub kind: String,
    /// Namespace of the parent. Defaults to the Canary's.
    pub namespace: String,
    /// Name of the parent.
    pub name: String,
    /// Listener of the Gateway, or port of the Service, by name.
    pub section_name: String,
    /// Port of the parent.
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 65535))]
    pub port: Option<Number>,
}

/// One rule of an HTTPRoute that is owned elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct HttpRouteRef {
    /// Name of the HTTPRoute.
    pub name: String,
    /// Name of the rule. Defaults to the only rule that sends traffic to the apex Service.
    pub rule: String,
}

/// Rewrite of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRewrite {
    /// The new path, or the new prefix of it.
    pub uri: String,
    /// The new host name.
    pub authority: String,
    /// Gateway API: `ReplaceFullPath` (default) or `ReplacePrefixMatch`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Retries of failed requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRetries {
    /// Number of retries.
    #[schemars(extend("type" = "integer"))]
    pub attempts: Option<Number>,
    /// Time limit of one attempt.
    pub per_try_timeout: String,
    /// Conditions for a retry.
    pub retry_on: String,
}

/// Changes to request and response headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Headers {
    /// Changes to the request.
    pub request: Option<HeaderOperations>,
    /// Changes to the response.
    pub response: Option<HeaderOperations>,
}

/// Changes to one set of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HeaderOperations {
    /// Headers to append to, by name.
    pub add: BTreeMap<String, String>,
    /// Headers to overwrite, by name.
    pub set: BTreeMap<String, String>,
    /// Names of headers to remove.
    pub remove: Vec<String>,
}

/// A backend that gets a copy of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestMirror {
    /// The backend.
    pub backend_ref: MirrorBackendRef,
}

/// A backend by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["name"]))]
pub struct MirrorBackendRef {
    /// API group of the backend. Defaults to the core group.
    pub group: String,
    /// Kind of the backend. Defaults to `Service`.
    pub kind: String,
    /// Name of the backend.
    pub name: String,
    /// Namespace of the backend. Defaults to the Canary's.
    pub namespace: String,
    /// Port of the backend; required for a Service.
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 65535))]
    pub port: Option<Number>,
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Whether credentials may be sent.
    pub allow_credentials: bool,
    /// Headers that requests may carry.
    pub allow_headers: Vec<String>,
    /// Methods that requests may use.
    pub allow_methods: Vec<String>,
    /// Origins that may send requests.
    pub allow_origin: Vec<String>,
    /// Patterns of origins that may send requests.
    pub allow_origins: Vec<StringMatch>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long the answer to a preflight request may be cached.
    pub max_age: String,
}

/// Labels and annotations of a generated object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CustomMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Keys on generated Services that are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct UnmanagedMetadata {
    /// Keys of annotations.
    pub annotations: Vec<String>,
    /// Keys of labels.
    pub labels: Vec<String>,
}

fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true })
}

/// An object of which the schema says nothing.
pub(super) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
