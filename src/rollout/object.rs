//! Reading a Kubernetes object as the JSON that the API server gave. Objects stay JSON, because a typed struct would
//! silently drop every field that is newer than this program.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The value at a JSON pointer, as [`Value::pointer`], which makes two copies of each part to look for escapes in it.
pub fn find<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    parts(pointer).try_fold(object, |value, part| match value {
        Value::Object(fields) => fields.get(&*part),
        Value::Array(entries) => entries.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The value at a JSON pointer, to change it.
pub fn find_mut<'a>(object: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    parts(pointer).try_fold(object, |value, part| match value {
        Value::Object(fields) => fields.get_mut(&*part),
        Value::Array(entries) => entries.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn parts(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    // Nearly no pointer has one, and looking at each byte once costs less than searching each part.
    let has_escape = pointer.bytes().any(|byte| byte == b'~');
    pointer.split('/').skip(1).map(move |part| {
        if has_escape { Cow::Owned(part.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(part) }
    })
}

/// The string at a JSON pointer.
pub fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    find(object, pointer).and_then(Value::as_str)
}

/// The whole number at a JSON pointer.
pub fn integer(object: &Value, pointer: &str) -> Option<i64> {
    find(object, pointer).and_then(Value::as_i64)
}

/// The number of replicas, pods or the like at a JSON pointer: zero or more.
pub fn count(object: &Value, pointer: &str) -> Option<i32> {
    integer(object, pointer).and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0)
}

/// The list at a JSON pointer; empty where there is none.
pub fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    find(object, pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The list at a JSON pointer, to change its entries.
pub fn items_mut<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    find_mut(object, pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The map of strings (labels, annotations, data) at a JSON pointer; empty where there is none.
pub fn strings(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let Some(map) = find(object, pointer).and_then(Value::as_object) else { return BTreeMap::new() };
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

/// Whether two versions of an object differ in nothing but the status, and who wrote what.
pub fn is_same_but_status(one: &Value, other: &Value) -> bool {
    is_same_but(&["metadata", "status"], Some(one), Some(other))
        && is_same_but(&["managedFields", "resourceVersion"], one.get("metadata"), other.get("metadata"))
}

/// Whether two versions of an object differ in nothing but the status, the replicas, and who wrote what.
pub fn is_same_but_scale(one: &Value, other: &Value) -> bool {
    let is_same_in = |part: &str, skipped: &[&str]| is_same_but(skipped, one.get(part), other.get(part));
    is_same_but(&["metadata", "spec", "status"], Some(one), Some(other))
        && is_same_in("metadata", &["generation", "managedFields", "resourceVersion"])
        && is_same_in("spec", &["replicas"])
}

fn is_same_but(skipped: &[&str], one: Option<&Value>, other: Option<&Value>) -> bool {
    fields_but(skipped, one).eq(fields_but(skipped, other))
}

fn fields_but<'a>(skipped: &'a [&str], object: Option<&'a Value>) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = object.and_then(Value::as_object).into_iter().flatten();
    fields.filter(|(name, _)| !skipped.contains(&name.as_str()))
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
    fn versions_differ_in_what_counts_or_not() {
        let object = |field: &str, value: Value| {
            let mut object = json!({"kind": "Deployment", "metadata": {}, "spec": {}});
            let at = object.pointer_mut(field.rsplit_once('/').map_or("", |(outer, _)| outer)).unwrap();
            at[field.rsplit_once('/').unwrap().1] = value;
            object
        };
        // what differs, the same but for status, the same but for scale
        for (field, but_status, but_scale) in [
            ("/status", true, true),
            ("/metadata/managedFields", true, true),
            ("/metadata/resourceVersion", true, true),
            ("/metadata/generation", false, true),
            ("/spec/replicas", false, true),
            ("/spec/template", false, false),
            ("/metadata/labels", false, false),
            ("/data", false, false),
        ] {
            let (one, other) = (object(field, json!("1")), object(field, json!("2")));
            let same = (is_same_but_status(&one, &other), is_same_but_scale(&one, &other));
            assert_eq!(same, (but_status, but_scale), "{field}");
        }
    }

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
    fn pointers_find_what_those_of_the_library_find() {
        let object = json!({"a/b": [{"c~d": 1}], "": 2, "e": {"": 3}});
        for pointer in ["", "/", "/a~1b/0/c~0d", "/a~1b/1", "/a~1b/x", "/e", "/e/", "/e/f", "/a~1b/0/c~0d/g", "/~01"] {
            assert_eq!(find(&object, pointer), object.pointer(pointer), "{pointer}");
            assert_eq!(find_mut(&mut object.clone(), pointer).cloned(), object.pointer(pointer).cloned(), "{pointer}");
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
