//! Comparing, merging and cutting values by their schema.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, field};
use crate::sim::api_server::schema::{Relation, Schema, Shape};

/// Which fields differ between two values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In the second only.
    pub added: FieldSet,
    /// In both, with different values.
    pub modified: FieldSet,
    /// In the first only.
    pub removed: FieldSet,
}

/// What was found below one element.
struct Found {
    /// Whether the value is compared as a whole; then the element itself says what happened.
    is_leaf: bool,
    below: Comparison,
}

/// Which fields differ between two objects.
pub fn compare(schema: &Schema, old: &Value, new: &Value) -> Comparison {
    descend(schema, Some(old), Some(new)).below
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}

fn descend(schema: &Schema, old: Option<&Value>, new: Option<&Value>) -> Found {
    let leaf = Found { is_leaf: true, below: Comparison::default() };
    if is_empty(old) && is_empty(new) {
        return leaf;
    }
    let is_map = |value: Option<&Value>| value.is_none_or(|value| value.is_object() || value.is_null());
    let is_list = |value: Option<&Value>| value.is_none_or(|value| value.is_array() || value.is_null());
    let mut below = Comparison::default();
    match &schema.shape {
        Shape::Object { atomic: false, .. } | Shape::Any if is_map(old) && is_map(new) => {
            compare_maps(schema, old, new, &mut below);
        }
        Shape::List { items, relation, .. } if *relation != Relation::Atomic && is_list(old) && is_list(new) => {
            compare_lists(items, relation, old, new, &mut below);
        }
        _ => return leaf,
    }
    Found { is_leaf: false, below }
}

fn compare_maps(schema: &Schema, old: Option<&Value>, new: Option<&Value>, into: &mut Comparison) {
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    for (name, value) in old.into_iter().flatten() {
        let other = new.and_then(|new| new.get(name));
        compare_element(schema.child(name), || field(name), Some(value), other, into);
    }
    for (name, value) in new.into_iter().flatten().filter(|(name, _)| old.is_none_or(|old| !old.contains_key(*name))) {
        compare_element(schema.child(name), || field(name), None, Some(value), into);
    }
}

fn compare_lists(items: &Schema, relation: &Relation, old: Option<&Value>, new: Option<&Value>, into: &mut Comparison) {
    if let Some(pairs) = in_same_places(relation, old, new) {
        for (before, after) in pairs.filter(|(before, after)| before != after) {
            compare_element(items, || element(items, relation, after), Some(before), Some(after), into);
        }
        return;
    }
    let (old, new) = (by_element(items, relation, old), by_element(items, relation, new));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let empty = Vec::new();
        let (before, after) = (old.get(name).unwrap_or(&empty), new.get(name).unwrap_or(&empty));
        match (before.as_slice(), after.as_slice()) {
            ([] | [_], [] | [_]) => {
                compare_element(items, || name.clone(), before.first().copied(), after.first().copied(), into);
            }
            ([_, _, ..], [_, _, ..]) => {
                if before != after {
                    into.modified.insert(name.clone());
                }
            }
            ([_, _, ..], _) => {
                compare_element(items, || name.clone(), None, after.first().copied(), into);
                into.removed.insert(name.clone());
            }
            _ => {
                compare_element(items, || name.clone(), before.first().copied(), None, into);
                into.added.insert(name.clone());
            }
        }
    }
}

fn compare_element(
    schema: &Schema,
    name: impl Fn() -> String,
    old: Option<&Value>,
    new: Option<&Value>,
    into: &mut Comparison,
) {
    if old == new {
        return;
    }
    let found = descend(schema, old, new);
    match (old, new) {
        (None, _) => into.added.insert(name()),
        (_, None) => into.removed.insert(name()),
        _ if found.is_leaf => into.modified.insert(name()),
        _ => {}
    }
    for (into, below) in [
        (&mut into.added, found.below.added),
        (&mut into.modified, found.below.modified),
        (&mut into.removed, found.below.removed),
    ] {
        if !below.is_empty() {
            into.insert_inside(name(), below);
        }
    }
}

/// The entries of two lists that have entries with the same keys in the same places, each once.
fn in_same_places<'a>(
    relation: &Relation,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
) -> Option<impl Iterator<Item = (&'a Value, &'a Value)> + use<'a>> {
    let Relation::Keys(keys) = relation else { return None };
    let (old, new) = (old?.as_array()?, new?.as_array()?);
    let has_same_keys = |one: &Value, other: &Value| keys.iter().all(|key| one.get(key) == other.get(key));
    let is_once = |(index, entry): (usize, &Value)| !old[..index].iter().any(|other| has_same_keys(entry, other));
    let are_same = old.len() == new.len()
        && old.iter().zip(new).all(|(one, other)| has_same_keys(one, other))
        && old.iter().enumerate().all(is_once);
    are_same.then(|| old.iter().zip(new))
}

/// The entries of a list by their element; more than one where the keys are not unique.
fn by_element<'a>(items: &Schema, relation: &Relation, list: Option<&'a Value>) -> HashMap<String, Vec<&'a Value>> {
    let mut entries: HashMap<String, Vec<&Value>> = HashMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        entries.entry(element(items, relation, item)).or_default().push(item);
    }
    entries
}

/// How an entry of a list is written in a path.
fn element(items: &Schema, relation: &Relation, item: &Value) -> String {
    let Relation::Keys(names) = relation else { return format!("v:{item}") };
    let mut keys = Map::new();
    for name in names {
        let default = || items.key_default(name).cloned();
        if let Some(value) = item.get(name).filter(|value| !value.is_null()).cloned().or_else(default) {
            keys.insert(name.clone(), value);
        }
    }
    format!("k:{}", Value::Object(keys))
}

/// The first entry that a list names twice, where its entries are told apart.
pub fn first_duplicate(items: &Schema, relation: &Relation, list: &[Value]) -> Option<String> {
    if *relation == Relation::Atomic {
        return None;
    }
    let mut seen = HashSet::new();
    list.iter().map(|item| element(items, relation, item)).find(|name| !seen.insert(name.clone()))
}

/// All fields that an object has.
pub fn fields(schema: &Schema, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (&schema.shape, value) {
        (Shape::Object { atomic: false, .. } | Shape::Any, Value::Object(map)) => {
            for (name, inner) in map {
                let child = schema.child(name);
                let is_named = schema.has_field(name);
                let is_nothing = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                if !is_named || is_nothing || is_leaf(child, inner) {
                    set.insert(field(name));
                }
                set.insert_inside(field(name), fields(child, inner));
            }
        }
        (Shape::List { items, relation, .. }, Value::Array(list)) if *relation != Relation::Atomic => {
            for item in list {
                let name = element(items, relation, item);
                let inside = fields(items, item);
                if !inside.is_empty() {
                    set.insert_inside(name.clone(), inside);
                }
                set.insert(name);
            }
        }
        _ => {}
    }
    set
}

/// Whether a value is one field, whatever is inside.
fn is_leaf(schema: &Schema, value: &Value) -> bool {
    match &schema.shape {
        Shape::Scalar => true,
        Shape::List { relation, .. } => *relation == Relation::Atomic || !(value.is_array() || value.is_null()),
        Shape::Object { atomic, .. } => *atomic || !(value.is_object() || value.is_null()),
        Shape::Any => !value.is_object(),
    }
}

/// The object with the configuration merged in: what it names is as it says, the rest as it was. The configuration
/// names no entry of a list twice.
pub fn merge(schema: &Schema, live: &Value, configuration: &Value) -> Value {
    merge_values(schema, Some(live), Some(configuration)).unwrap_or_default()
}

fn merge_values(schema: &Schema, live: Option<&Value>, wanted: Option<&Value>) -> Option<Value> {
    let Some(wanted) = wanted else { return live.cloned() };
    if is_empty(live) && is_empty(Some(wanted)) {
        return Some(wanted.clone());
    }
    match (&schema.shape, wanted) {
        (Shape::Object { atomic: false, .. } | Shape::Any, Value::Object(wanted)) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in wanted {
                match merge_values(schema.child(name), merged.get(name), Some(value)) {
                    Some(value) => merged.insert(name.clone(), value),
                    None => merged.remove(name),
                };
            }
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
        (Shape::Object { atomic: false, .. }, Value::Null) => live.cloned(),
        (Shape::List { relation, .. }, Value::Null) if *relation != Relation::Atomic => live.cloned(),
        (Shape::List { items, relation, .. }, Value::Array(wanted)) if *relation != Relation::Atomic => {
            let empty = Vec::new();
            let live = live.and_then(Value::as_array).unwrap_or(&empty);
            let merged = merge_lists(items, relation, live, wanted);
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
        _ => Some(wanted.clone()),
    }
}

/// The entries of both lists. Those that both have stand in the order of the configuration, the others where they did.
fn merge_lists(items: &Schema, relation: &Relation, live: &[Value], wanted: &[Value]) -> Vec<Value> {
    let live: Vec<(String, &Value)> = live.iter().map(|item| (element(items, relation, item), item)).collect();
    let wanted: Vec<(String, &Value)> = wanted.iter().map(|item| (element(items, relation, item), item)).collect();
    let mut live_at: HashMap<&str, Option<&Value>> = HashMap::new();
    for (name, item) in &live {
        // An entry that is there twice is replaced, not merged.
        live_at.entry(name).and_modify(|known| *known = None).or_insert(Some(item));
    }
    let wanted_names: HashSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    let mut shared = wanted.iter().map(|(name, _)| name).filter(|name| live_at.contains_key(name.as_str()));
    let mut next_shared = shared.next();
    let mut placed: HashSet<&str> = HashSet::new();
    let (mut left, mut right) = (live.iter().peekable(), wanted.iter().peekable());
    let mut merged = Vec::new();
    loop {
        if let (Some((name, _)), Some((wanted_name, _))) = (left.peek(), right.peek())
            && name != wanted_name
            && wanted_names.contains(name.as_str())
            && next_shared.is_some_and(|next| next != name)
        {
            left.next();
            continue;
        }
        if let Some((name, item)) = left.peek() {
            if !wanted_names.contains(name.as_str()) {
                merged.push((*item).clone());
                left.next();
                continue;
            }
            if placed.contains(name.as_str()) || right.peek().is_some_and(|(wanted, _)| wanted == name) {
                left.next();
            }
        }
        let Some((name, item)) = right.next() else {
            if left.peek().is_none() {
                return merged;
            }
            continue;
        };
        placed.insert(name);
        let before = live_at.get(name.as_str()).copied().flatten();
        merged.extend(merge_values(items, before, Some(item)));
        if next_shared == Some(name) {
            next_shared = shared.next();
        }
    }
}

/// The value without these fields; `None` where nothing is left.
pub fn without(schema: &Schema, value: &Value, gone: &FieldSet) -> Option<Value> {
    if gone.is_empty() {
        return Some(value.clone());
    }
    match (&schema.shape, value) {
        (Shape::Object { atomic: false, .. } | Shape::Any, Value::Object(map)) => {
            let mut kept = Map::new();
            for (name, inner) in map {
                let element = field(name);
                if gone.has(&element) {
                    continue;
                }
                let inner = match gone.inside(&element) {
                    Some(inside) if !inside.is_empty() => {
                        without(schema.child(name), inner, inside).unwrap_or_default()
                    }
                    _ => inner.clone(),
                };
                kept.insert(name.clone(), inner);
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Shape::List { items, relation, .. }, Value::Array(list)) if *relation != Relation::Atomic => {
            let kept: Vec<Value> = list
                .iter()
                .map(|item| (element(items, relation, item), item))
                .filter(|(name, _)| !gone.has(name))
                .map(|(name, item)| match gone.inside(&name) {
                    Some(inside) => without(items, item, inside).unwrap_or_default(),
                    None => item.clone(),
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (Shape::Scalar, _) => Some(value.clone()),
        _ => None,
    }
}
