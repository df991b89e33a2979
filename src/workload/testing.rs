//! A target and an owner, as the tests of this room use them.

use serde_json::{Value, json};

pub use crate::rollout::testing::{canary, merged};

/// The owner reference that generated objects of [`canary`] carry.
pub fn owner() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "frontend",
        "uid": "11111111-2222-3333-4444-555555555555", "controller": true, "blockOwnerDeletion": true,
    })
}

/// The Deployment `frontend.default` as an API server gives it.
pub fn target() -> Value {
    serde_json::from_str(include_str!("testing/target.json")).unwrap()
}
