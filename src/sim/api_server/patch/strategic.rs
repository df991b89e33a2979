//! Strategic merge patches: merge patches that know how Kubernetes' lists merge. The semantics are those of
//! k8s.io/apimachinery/pkg/util/strategicpatch.

use kube::core::Status;
use serde_json::{Map, Value};

use crate::sim::api_server::errors;
use crate::sim::api_server::schema::{ListPatch, Schema, Shape};

/// What is done to a map, or with an entry of a list: `replace` or `delete`.
const DIRECTIVE: &str = "$patch";
/// The only fields that a map keeps.
const RETAIN_KEYS: &str = "$retainKeys";
/// `$setElementOrder/ports`: the order in which a list is to be.
const ELEMENT_ORDER: &str = "$setElementOrder/";
/// `$deleteFromPrimitiveList/finalizers`: values that leave a list.
const DELETE_VALUES: &str = "$deleteFromPrimitiveList/";

/// Why a patch does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A directive is not what it has to be.
    #[error("invalid patch format of {0}")]
    Directive(&'static str),
    /// There are lists in a list.
    #[error("lists of lists are not supported")]
    NestedLists,
    /// The patch and the object don't go together.
    #[error("{0}")]
    Unmergeable(String),
}

impl From<Misfit> for Status {
    fn from(misfit: Misfit) -> Self {
        match &misfit {
            Misfit::Directive(_) => errors::bad_request(misfit.to_string()),
            Misfit::NestedLists => errors::rejected(),
            Misfit::Unmergeable(message) => errors::failure(500, "", message.clone()),
        }
    }
}

/// Changes an object, or a part of it, as a patch says.
///
/// # Errors
/// The patch does not fit; the object is then changed in part.
pub fn merge(schema: &Schema, original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Misfit> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        Some("replace") => {
            original.clone_from(patch);
            original.remove(DIRECTIVE);
            return Ok(());
        }
        Some("delete") => {
            original.clear();
            return Ok(());
        }
        Some(other) => return Err(Misfit::Unmergeable(format!("unknown patch type {other:?}"))),
        None => {}
    }
    retain_keys(original, patch)?;
    let mut ordered = Vec::new();
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix(ELEMENT_ORDER) {
            let order = order.as_array().ok_or(Misfit::Directive("$setElementOrder list"))?;
            merge_ordered(schema.child(field), field, original, patch, order)?;
            ordered.push(field);
        }
    }
    for (key, change) in patch {
        if key == RETAIN_KEYS || key.starts_with(ELEMENT_ORDER) || ordered.contains(&key.as_str()) {
            continue;
        }
        match key.strip_prefix(DELETE_VALUES) {
            Some(field) => delete_values(original, field, change),
            None => merge_field(schema.child(key), key, original, change)?,
        }
    }
    Ok(())
}

fn merge_field(schema: &Schema, name: &str, original: &mut Map<String, Value>, change: &Value) -> Result<(), Misfit> {
    if change.is_null() {
        original.remove(name);
        return Ok(());
    }
    match (original.get_mut(name), change) {
        (Some(Value::Object(fields)), Value::Object(changes)) => merge(schema, fields, changes),
        (Some(Value::Array(list)), Value::Array(changes)) => {
            *list = merged_list(schema, std::mem::take(list), changes)?;
            Ok(())
        }
        _ => {
            match adopted(change) {
                Some(value) => original.insert(name.to_owned(), value),
                None => original.remove(name),
            };
            Ok(())
        }
    }
}

fn delete_values(original: &mut Map<String, Value>, field: &str, values: &Value) {
    let list = original.get_mut(field).and_then(Value::as_array_mut);
    if let (Some(list), Some(values)) = (list, values.as_array()) {
        list.retain(|value| !values.contains(value));
    }
}

fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Misfit> {
    let Some(kept) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let kept = kept.as_array().ok_or(Misfit::Directive(RETAIN_KEYS))?;
    let is_kept = |name: &str| kept.iter().any(|kept| kept == name);
    let is_directive = |name: &str| name.starts_with(DELETE_VALUES) || name.starts_with(ELEMENT_ORDER);
    let mut set = patch.iter().filter(|(name, value)| *name != RETAIN_KEYS && !value.is_null() && !is_directive(name));
    if !set.all(|(name, _)| is_kept(name)) {
        return Err(Misfit::Directive(RETAIN_KEYS));
    }
    original.retain(|name, _| is_kept(name));
    Ok(())
}

/// A value of the patch where the object has none: without directives and nulls. `None` if it is itself a directive.
fn adopted(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Some(kept.filter_map(|(name, value)| Some((name.clone(), adopted(value)?))).collect())
        }
        Value::Array(list) => Some(Value::Array(list.iter().filter_map(adopted).collect())),
        other => Some(other.clone()),
    }
}

fn merged_list(schema: &Schema, original: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, Misfit> {
    let Shape::List { items, patch: strategy, .. } = &schema.shape else { return Ok(patch.to_vec()) };
    match strategy {
        ListPatch::Replace => Ok(patch.to_vec()),
        _ if original.is_empty() && patch.is_empty() => Ok(original),
        ListPatch::MergeValues => {
            check_entries(&original, patch)?;
            let mut merged: Vec<Value> = Vec::new();
            for value in original.iter().chain(patch) {
                if !merged.contains(value) {
                    merged.push(value.clone());
                }
            }
            Ok(arranged(merged, patch, &original, None))
        }
        ListPatch::MergeByKey(key) => {
            check_entries(&original, patch)?;
            let (mut merged, additions) = without_directives(original, patch, key)?;
            let original = merged.clone();
            for addition in &additions {
                let wanted = keyed(addition, key)?;
                match merged.iter_mut().find(|entry| entry.get(key) == Some(wanted)) {
                    Some(Value::Object(fields)) => merge(items, fields, addition.as_object().unwrap_or(&Map::new()))?,
                    _ => merged.push(addition.clone()),
                }
            }
            merged.iter().try_for_each(|entry| keyed(entry, key).map(|_| ()))?;
            Ok(arranged(merged, &additions, &original, Some(key)))
        }
    }
}

/// All entries of a list are of one type, and none is a list.
fn check_entries(original: &[Value], patch: &[Value]) -> Result<(), Misfit> {
    let Some(first) = original.iter().chain(patch).next() else { return Ok(()) };
    if first.is_array() {
        return Err(Misfit::NestedLists);
    }
    let is_alike = |entry: &Value| std::mem::discriminant(entry) == std::mem::discriminant(first);
    if original.iter().chain(patch).all(is_alike) {
        return Ok(());
    }
    Err(Misfit::Unmergeable(format!("list element types are not identical: {original:?} {patch:?}")))
}

fn keyed<'a>(entry: &'a Value, key: &str) -> Result<&'a Value, Misfit> {
    entry.get(key).ok_or_else(|| Misfit::Unmergeable(format!("{entry} does not contain declared merge key: {key}")))
}

/// Does what the directives among the entries of a patch say; returns what is left of the list, and the other entries.
fn without_directives(
    mut original: Vec<Value>,
    patch: &[Value],
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Misfit> {
    let (mut rest, mut is_replaced) = (Vec::new(), false);
    for entry in patch {
        match entry.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
            None => rest.push(entry.clone()),
            Some("delete") => {
                let deleted = keyed(entry, key)?;
                original.retain(|entry| entry.get(key) != Some(deleted));
            }
            Some("replace") => is_replaced = true,
            Some(other) => return Err(Misfit::Unmergeable(format!("unknown patch type {other:?} in {entry}"))),
        }
    }
    Ok(if is_replaced { (rest, Vec::new()) } else { (original, rest) })
}

/// Merges the field `name` and brings it into the order that the patch asks for.
fn merge_ordered(
    schema: &Schema,
    name: &str,
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    order: &[Value],
) -> Result<(), Misfit> {
    let as_list = |value: &Value| match value {
        Value::Array(list) => Ok(list.clone()),
        other => Err(Misfit::Unmergeable(format!("expected a list, but received {other}"))),
    };
    let live = original.get(name).map(as_list).transpose()?;
    let changes = patch.get(name).map(as_list).transpose()?;
    let key = match &schema.shape {
        Shape::List { patch: ListPatch::MergeByKey(key), .. } => Some(key.as_str()),
        Shape::List { .. } => None,
        _ => return Err(Misfit::Unmergeable(format!("unable to find api field {name:?}, or it is no list"))),
    };
    check_order(changes.as_deref().unwrap_or_default(), order, key)?;
    let server_order = live.clone().unwrap_or_default();
    let has_entries = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if (live.is_some() || changes.is_some()) && !has_entries(&live) && !has_entries(&changes) {
        return Err(Misfit::Unmergeable("no elements in any of the given slices".to_owned()));
    }
    let merged = match (live, changes) {
        (None, None) => return Ok(()),
        (Some(live), None) => live,
        (None, Some(changes)) => changes.iter().filter_map(adopted).collect(),
        (Some(live), Some(changes)) => merged_list(schema, live, &changes)?,
    };
    if let Some(key) = key {
        merged.iter().try_for_each(|entry| keyed(entry, key).map(|_| ()))?;
    }
    original.insert(name.to_owned(), Value::Array(arranged(merged, order, &server_order, key)));
    Ok(())
}

/// The entries that a patch changes are in the order that it asks for.
fn check_order(changes: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Misfit> {
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    let mut wanted = changes.iter().filter(|change| change.get(DIRECTIVE).is_none());
    if wanted.all(|change| rest.any(|ordered| identity(ordered, key) == identity(change, key))) {
        return Ok(());
    }
    Err(Misfit::Unmergeable(format!("the order in patch list {changes:?} doesn't match the list {order:?}")))
}

/// What tells an entry from the others.
fn identity<'a>(entry: &'a Value, key: Option<&str>) -> Option<&'a Value> {
    key.map_or(Some(entry), |key| entry.get(key))
}

/// Entries that are in `order` in that order, and the others in that of the server, woven together as the server had
/// them.
fn arranged(entries: Vec<Value>, order: &[Value], server_order: &[Value], key: Option<&str>) -> Vec<Value> {
    let place = |entry: &Value, list: &[Value]| {
        list.iter().position(|other| identity(other, key).is_some() && identity(other, key) == identity(entry, key))
    };
    let (mut patched, mut others): (Vec<Value>, Vec<Value>) =
        entries.into_iter().partition(|entry| place(entry, order).is_some());
    patched.sort_by_key(|entry| place(entry, order));
    others.sort_by_key(|entry| place(entry, server_order));
    let (mut patched, mut others) = (patched.into_iter().peekable(), others.into_iter().peekable());
    let mut woven = Vec::new();
    loop {
        let takes_other = match (patched.peek(), others.peek()) {
            (None, None) => return woven,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(patched), Some(other)) => match (place(other, server_order), place(patched, server_order)) {
                (Some(other), Some(patched)) => other < patched,
                _ => false,
            },
        };
        woven.extend(if takes_other { others.next() } else { patched.next() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::api_server::resources;

    /// What becomes of a pod's spec.
    fn patched(live: &Value, patch: &Value) -> Result<Value, Misfit> {
        let pod = &resources::all()[resources::by_kind("v1", "Pod").unwrap()];
        let mut object = json!({"metadata": {"finalizers": ["a/a", "b/b"]}, "spec": live});
        let patch = json!({"spec": patch});
        merge(&pod.schema, object.as_object_mut().unwrap(), patch.as_object().unwrap())?;
        Ok(object["spec"].clone())
    }

    #[test]
    fn lists_merge_by_their_keys() {
        let two = json!({"containers": [{"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}, {"name": "sidecar", "image": "s:1"}]});
        let cases = [
            // An image.
            (
                json!({"containers": [{"name": "app", "image": "app:2"}]}),
                json!([{"name": "app", "image": "app:2", "env": [{"name": "A", "value": "1"}]}, {"name": "sidecar", "image": "s:1"}]),
            ),
            // A variable more, and one in the place of another.
            (
                json!({"containers": [{"name": "app", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": null}]}]}),
                json!([{"name": "app", "image": "app:1", "env": [{"name": "B", "value": "2"}, {"name": "A"}]}, {"name": "sidecar", "image": "s:1"}]),
            ),
            // One goes.
            (
                json!({"containers": [{"name": "app", "$patch": "delete"}]}),
                json!([{"name": "sidecar", "image": "s:1"}]),
            ),
            // The other order.
            (
                json!({"$setElementOrder/containers": [{"name": "sidecar"}, {"name": "app"}]}),
                json!([{"name": "sidecar", "image": "s:1"}, {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}]),
            ),
            // All others go.
            (
                json!({"containers": [{"$patch": "replace"}, {"name": "new", "image": "n:1"}]}),
                json!([{"name": "new", "image": "n:1"}]),
            ),
            // A new one comes first: the patch goes before what only the server knows.
            (
                json!({"containers": [{"name": "new", "image": "n:1"}]}),
                json!([{"name": "new", "image": "n:1"}, {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}, {"name": "sidecar", "image": "s:1"}]),
            ),
        ];
        for (patch, expected) in cases {
            assert_eq!(patched(&two, &patch).unwrap()["containers"], expected, "{patch}");
        }
    }

    #[test]
    fn maps_keep_what_they_are_told_to_keep() {
        let live = json!({"nodeSelector": {"a": "1", "b": "2"}, "volumes": [{"name": "v", "emptyDir": {}}]});
        let volume = json!({"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}});
        let cases = [
            (
                json!({"nodeSelector": {"a": null, "c": "3"}}),
                json!({"nodeSelector": {"b": "2", "c": "3"}, "volumes": [{"name": "v", "emptyDir": {}}]}),
            ),
            (
                json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
                json!({"nodeSelector": {"c": "3"}, "volumes": [{"name": "v", "emptyDir": {}}]}),
            ),
            (
                json!({"volumes": [volume]}),
                json!({"nodeSelector": {"a": "1", "b": "2"}, "volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
            ),
        ];
        for (patch, expected) in cases {
            assert_eq!(patched(&live, &patch).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn patches_that_make_no_sense_are_refused() {
        let live = json!({"containers": [{"name": "app"}], "volumes": [{"name": "v"}]});
        let cases = [
            (json!({"containers": [{"image": "x"}]}), 500),
            (json!({"containers": ["app"]}), 500),
            (json!({"containers": [{"name": "app", "$patch": "merge"}]}), 500),
            (json!({"$setElementOrder/containers": "app"}), 400),
            (json!({"$setElementOrder/containers": [{"name": "app"}], "containers": [{"name": "other"}]}), 500),
            (json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}), 400),
        ];
        for (patch, code) in cases {
            assert_eq!(Status::from(patched(&live, &patch).unwrap_err()).code, code, "{patch}");
        }
    }

    #[test]
    fn values_are_added_and_deleted() {
        let pod = &resources::all()[resources::by_kind("v1", "Pod").unwrap()];
        let mut object = json!({"metadata": {"finalizers": ["a/a", "b/b"]}});
        let patch = json!({"metadata": {"finalizers": ["c/c"], "$deleteFromPrimitiveList/finalizers": ["a/a"]}});
        merge(&pod.schema, object.as_object_mut().unwrap(), patch.as_object().unwrap()).unwrap();
        assert_eq!(object["metadata"]["finalizers"], json!(["c/c", "b/b"]));
    }
}
