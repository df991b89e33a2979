//! An alert as a status holds it, and what a sink answers.

use serde_json::Value;
use serin::alerts::{Message, exchanges};
use serin::api::checked::ObjectKey;

/// Builds the request of every sink, and reads an answer. `{"alert": ..., "answer": ...}`, where a string is an answer
/// as it stands.
pub fn run(bytes: &[u8]) {
    let Ok(exchange) = serde_json::from_slice::<Value>(bytes) else { return };
    let Ok(alert) = serde_json::from_value(exchange["alert"].clone()) else { return };
    let answer = exchange["answer"].as_str().map_or_else(|| exchange["answer"].to_string(), str::to_owned);
    let canary = ObjectKey::new("default", "frontend");
    let message = Message { canary: &canary, alert: &alert, cluster_name: Some("eu-1") };
    for (payload, objection) in exchanges(&message, &answer) {
        assert!(payload.is_object() || payload.is_array(), "{payload}");
        assert_ne!(objection.as_deref(), Some(""), "an objection without words");
    }
}
