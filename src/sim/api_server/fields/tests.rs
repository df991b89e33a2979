//! Applying, as tables: before, who applies what, after.

use serde_json::{Map, Value, json};

use super::*;
use crate::sim::api_server::schema::{Reader, Schema};

fn schema() -> Schema {
    let definitions = Map::new();
    let text = json!({"type": "string"});
    let map = |items: &Value| json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items});
    let entry = json!({"type": "object", "properties": {"name": text, "value": text}});
    Reader::new(&definitions).schema(&json!({"type": "object", "properties": {
        "map": {"type": "object", "additionalProperties": text},
        "atomic": {"type": "array", "items": text},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
        "list": map(&entry),
    }}))
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "v1", subresource: "", time: "2026-01-01T00:00:00Z" }
}

/// The object after these applies with force, one after the other.
fn applied(applies: &[(&str, Value)]) -> Value {
    let schema = schema();
    let (mut object, mut managers) = (json!({}), Managers::default());
    for (manager, configuration) in applies {
        let nothing = FieldSet::default();
        (object, managers) =
            managers.after_apply(&schema, &object, configuration, &writer(manager), true, &nothing).unwrap();
    }
    object
}

#[test]
fn applies_add_up() {
    let entries = |list: &[(&str, &str)]| -> Value {
        list.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    let cases = [
        (
            "another's keys stay",
            vec![("one", json!({"map": {"a": "1"}})), ("two", json!({"map": {"b": "2"}}))],
            json!({"map": {"a": "1", "b": "2"}}),
        ),
        (
            "what one drops goes",
            vec![("one", json!({"map": {"a": "1", "b": "1"}})), ("one", json!({"map": {"a": "1"}}))],
            json!({"map": {"a": "1"}}),
        ),
        (
            "what another holds stays",
            vec![("one", json!({"map": {"a": "1"}})), ("two", json!({"map": {"a": "1"}})), ("one", json!({}))],
            json!({"map": {"a": "1"}}),
        ),
        (
            "an atomic list is replaced",
            vec![("one", json!({"atomic": ["a", "b"]})), ("two", json!({"atomic": ["c"]}))],
            json!({"atomic": ["c"]}),
        ),
        (
            "a set is united",
            vec![("one", json!({"set": ["a", "c"]})), ("two", json!({"set": ["b", "c"]}))],
            json!({"set": ["a", "b", "c"]}),
        ),
        (
            "entries are merged by key",
            vec![
                ("one", json!({"list": entries(&[("a", "1"), ("b", "1")])})),
                ("two", json!({"list": entries(&[("b", "2"), ("c", "2")])})),
            ],
            json!({"list": entries(&[("a", "1"), ("b", "2"), ("c", "2")])}),
        ),
        (
            "the applier's order wins",
            vec![
                ("one", json!({"list": entries(&[("a", "1"), ("b", "1")])})),
                ("two", json!({"list": entries(&[("b", "1"), ("a", "1")])})),
            ],
            json!({"list": entries(&[("b", "1"), ("a", "1")])}),
        ),
        (
            "an entry that one drops goes",
            vec![
                ("one", json!({"list": entries(&[("a", "1"), ("b", "1")])})),
                ("one", json!({"list": entries(&[("b", "1")])})),
            ],
            json!({"list": entries(&[("b", "1")])}),
        ),
    ];
    for (name, applies, expected) in cases {
        assert_eq!(applied(&applies), expected, "{name}");
    }
}

#[test]
fn a_set_of_fields_survives_its_json() {
    let json = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:value": {}}, "v:\"x\"": {}}});
    let set = FieldSet::from_json(&json);
    assert_eq!(serde_json::to_value(&set).unwrap(), json);
    let expected =
        [".list[=\"x\"]", ".list[name=\"a\"]", ".list[name=\"a\"].value", ".metadata.labels", ".metadata.labels.app"];
    let mut paths = set.paths();
    paths.sort();
    assert_eq!(paths, expected);
    assert!(set.difference(&set).is_empty());
    assert_eq!(set.intersection(&set), set);
    let labels = FieldSet::of(&[&["metadata", "labels"]]);
    assert_eq!(set.difference(&labels).paths().len(), 4, "the field itself");
    assert_eq!(set.recursive_difference(&labels).paths().len(), 3, "and what is inside");
}

#[test]
fn an_update_takes_what_it_changes_and_drops_what_it_removes() {
    let schema = schema();
    let nothing = FieldSet::default();
    let live = json!({"map": {"a": "1", "b": "1"}});
    let one = Managers::default().after_apply(&schema, &json!({}), &live, &writer("one"), false, &nothing).unwrap().1;
    let after = one.after_update(&schema, &live, &json!({"map": {"a": "2", "c": "1"}}), &writer("two"), &nothing);
    let owned: Vec<(Value, Value)> = after
        .to_json()
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["manager"].clone(), entry["fieldsV1"].clone()))
        .collect();
    assert_eq!(owned, [(json!("two"), json!({"f:map": {"f:a": {}, "f:c": {}}}))]);
}
