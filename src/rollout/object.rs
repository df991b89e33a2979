//! Reading a Kubernetes object as the JSON that the API server gave. Objects stay JSON, because a typed struct would
//! silently drop every field that is newer than this program.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The string at a JSON pointer.
pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// The whole number at a JSON pointer.
pub fn integer(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The number of replicas, pods or the like at a JSON pointer: zero or more.
pub fn count(object: &Value, pointer: &str) -> Option<i32> {
    integer(object, pointer).and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0)
}

/// The list at a JSON pointer; empty where there is none.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The list at a JSON pointer, to change its entries.
pub fn items_mut<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The map of strings (labels, annotations, data) at a JSON pointer; empty where there is none.
pub fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let Some(map) = object.pointer(pointer).and_then(Value::as_object) else { return BTreeMap::new() };
    map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Writes `object[outer][inner]`, making `outer` where it is missing; null or an empty map or list takes the field away.
pub fn set(object: &mut Value, outer: &str, inner: &str, value: Value) {
    if is_empty(&value) {
        if let Some(fields) = object.get_mut(outer).and_then(Value::as_object_mut) {
            fields.remove(inner);
        }
        return;
    }
    let Some(outer) = object.as_object_mut().map(|fields| fields.entry(outer).or_insert(Value::Null)) else { return };
    if !outer.is_object() {
        *outer = Value::Object(Map::new());
    }
    if let Some(fields) = outer.as_object_mut() {
        fields.insert(inner.to_owned(), value);
    }
}

/// Keys whose mere presence says something, so that an empty object there differs from none: an empty selector selects
/// everything, a missing one nothing, and an empty volume source still is the volume's source.
const PRESENCE_COUNTS: [&str; 4] = ["labelSelector", "namespaceSelector", "selector", "emptyDir"];

/// The same without nulls and without empty maps and lists, which API servers of different versions write or leave out
/// as they like (`creationTimestamp: null`, `resources: {}`). Entries of lists stay, whatever they hold.
#[must_use]
pub fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), pruned(value)))
                .filter(|(key, value)| {
                    !is_empty(value) || (value.is_object() && PRESENCE_COUNTS.contains(&key.as_str()))
                })
                .collect(),
        ),
        Value::Array(entries) => Value::Array(entries.iter().map(pruned).collect()),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_is_pruned_and_what_says_something_stays() {
        let cases = [
            (json!({"a": null, "resources": {}, "args": []}), json!({})),
            (
                json!({"metadata": {"creationTimestamp": null}, "n": 0, "s": "", "b": false}),
                json!({"n": 0, "s": "", "b": false}),
            ),
            (json!({"emptyDir": {}, "x": {"y": {"z": null}}}), json!({"emptyDir": {}})),
            (json!({"labelSelector": {"matchLabels": {}}, "namespaceSelector": null}), json!({"labelSelector": {}})),
            (json!([{"a": null}, {"b": 1}]), json!([{}, {"b": 1}])),
        ];
        for (value, expected) in cases {
            assert_eq!(pruned(&value), expected, "{value}");
        }
    }

    #[test]
    fn reading_what_is_not_there_gives_nothing() {
        let object = json!({"spec": {"replicas": "three", "pods": -1, "list": {}, "labels": {"a": "b", "c": 1}}});
        assert_eq!(count(&object, "/spec/replicas"), None);
        assert_eq!(count(&object, "/spec/pods"), None);
        assert_eq!(items(&object, "/spec/list"), &[] as &[Value]);
        assert_eq!(strings(&object, "/spec/labels"), BTreeMap::from([("a".into(), "b".into())]));
        assert_eq!(text(&json!(null), "/kind"), None);
    }

    #[test]
    fn setting_makes_the_way_and_an_empty_value_takes_the_field_away() {
        let mut object = json!({"spec": {"gone": 1, "stays": 2}});
        set(&mut object, "spec", "gone", json!({}));
        set(&mut object, "metadata", "labels", json!({"a": "b"}));
        assert_eq!(object, json!({"spec": {"stays": 2}, "metadata": {"labels": {"a": "b"}}}));
        set(&mut object, "status", "conditions", json!([]));
        assert_eq!(object.get("status"), None);
    }
}
