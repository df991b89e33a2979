//! One request to Kubernetes, as data: what the pure rooms plan and only `cluster` sends.

use serde_json::Value;

use crate::api::checked::ObjectKey;

/// Identifies an object in the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId {
    /// For example `apps/v1`.
    pub api_version: String,
    /// For example `Deployment`.
    pub kind: String,
    /// Where it is.
    pub key: ObjectKey,
}

impl ResourceId {
    /// An identity from its parts.
    pub fn new(api_version: &str, kind: &str, key: ObjectKey) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), key }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Server-side apply with the field manager `serin`, forced. The object names only the fields that Serin owns, and
    /// carries `apiVersion`, `kind`, `metadata.name` and `metadata.namespace`.
    Apply(Value),
    /// Create; an object that is there already is left alone.
    Create(Value),
    /// Merge patch (RFC 7386), with `metadata.resourceVersion` in the body where a precondition is wanted.
    Merge {
        /// What is patched.
        id: ResourceId,
        /// The patch.
        body: Value,
    },
    /// Delete.
    Delete(ResourceId),
}
