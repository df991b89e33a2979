//! `Canary.spec.analysis.sessionAffinity` as users write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// The cookies that keep each user on the side that served them first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["cookieName"]))]
pub struct SessionAffinity {
    /// Name of the cookie that keeps users on the canary.
    pub cookie_name: String,
    /// Name of the cookie that keeps users on the primary.
    pub primary_cookie_name: String,
    /// `Domain` of the cookies.
    pub domain: String,
    /// `HttpOnly` of the cookies.
    pub http_only: bool,
    /// `Max-Age` of the canary's cookie, in seconds. Defaults to 86400.
    pub max_age: Option<Number>,
    /// `Partitioned` of the cookies.
    pub partitioned: bool,
    /// `Path` of the cookies.
    pub path: String,
    /// `SameSite` of the cookies.
    #[schemars(extend("enum" = ["Strict", "Lax", "None"]))]
    pub same_site: String,
    /// `Secure` of the cookies.
    pub secure: bool,
}
