//! Events as the core group shows them: the same objects as those of `events.k8s.io/v1`, with the older names
//! (`pkg/apis/events/v1/conversion.go` of Kubernetes).

use serde_json::{Map, Value, json};

/// The name in the core group, and the one in `events.k8s.io/v1`.
const NAMES: [(&str, &str); 13] = [
    ("action", "action"),
    ("count", "deprecatedCount"),
    ("eventTime", "eventTime"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reason", "reason"),
    ("related", "related"),
    ("reportingInstance", "reportingInstance"),
    ("series", "series"),
    ("source", "deprecatedSource"),
    ("type", "type"),
];
/// The one field that the core group names after something else.
const REPORTING_CONTROLLER: (&str, &str) = ("reportingComponent", "reportingController");

/// An event of `events.k8s.io/v1` as one of the core group.
pub fn converted(event: &Value) -> Value {
    let mut fields = Map::new();
    fields.insert("apiVersion".to_owned(), json!("v1"));
    fields.insert("kind".to_owned(), json!("Event"));
    for (core, name) in NAMES.into_iter().chain([REPORTING_CONTROLLER, ("metadata", "metadata")]) {
        if let Some(value) = event.get(name) {
            fields.insert(core.to_owned(), value.clone());
        }
    }
    // Go writes these whether or not they say something.
    for (name, empty) in [
        ("firstTimestamp", Value::Null),
        ("involvedObject", json!({})),
        ("lastTimestamp", Value::Null),
        ("reportingComponent", json!("")),
        ("reportingInstance", json!("")),
        ("source", json!({})),
    ] {
        fields.entry(name).or_insert(empty);
    }
    Value::Object(fields)
}

/// The path by which an event of `events.k8s.io/v1` has what a field selector of the core group names.
pub fn field_path(selected: &str) -> String {
    if selected == "source" {
        return "deprecatedSource.component".to_owned();
    }
    let (first, rest) = selected.split_once('.').map_or((selected, None), |(first, rest)| (first, Some(rest)));
    let known = NAMES.into_iter().chain([REPORTING_CONTROLLER]).find(|(core, _)| *core == first);
    let name = known.map_or(first, |(_, name)| name);
    rest.map_or_else(|| name.to_owned(), |rest| format!("{name}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_older_names() {
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "e"},
            "note": "it happened",
            "regarding": {"kind": "Canary", "name": "a"},
            "reportingController": "serin",
            "type": "Normal",
        });
        let expected = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "e"},
            "message": "it happened",
            "involvedObject": {"kind": "Canary", "name": "a"},
            "reportingComponent": "serin",
            "reportingInstance": "",
            "type": "Normal",
            "firstTimestamp": null,
            "lastTimestamp": null,
            "source": {},
        });
        assert_eq!(converted(&event), expected);
        let paths = [
            ("involvedObject.uid", "regarding.uid"),
            ("metadata.name", "metadata.name"),
            ("reason", "reason"),
            ("reportingComponent", "reportingController"),
            ("source", "deprecatedSource.component"),
        ];
        for (selected, path) in paths {
            assert_eq!(field_path(selected), path);
        }
    }
}
