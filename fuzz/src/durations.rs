//! Durations, and names of fields.

use serin::api::{duration, path};

/// Reads a text as each of them.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match duration::parse_seconds(text) {
        Ok(seconds) => assert!((0..=366 * 24 * 3600).contains(&seconds), "{text:?} is {seconds} s"),
        Err(message) => assert!(message.contains("write it as"), "no mend: {message}"),
    }
    match duration::parse_gateway_milliseconds(text) {
        Ok(milliseconds) => {
            assert!((0..=4 * 99_999 * 3_600_000).contains(&milliseconds), "{text:?}: {milliseconds} ms");
        }
        Err(message) => assert!(message.contains("write it as"), "no mend: {message}"),
    }
    let mut field = text;
    while let Some(parent) = path::parent(field) {
        assert!(parent.len() < field.len(), "{field:?} is its own parent");
        field = parent;
    }
    assert!(path::parent(&path::child(text, "name")).is_some());
}
