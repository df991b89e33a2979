//! Holds an object against the generated schema, as the API server does, but finds everything at once.
//!
//! Patterns are not checked here: they stand on durations only, which validation reads strictly.

use serde_json::{Map, Value};

use super::problem::{Problem, Problems};
use super::{crd, path, unknown};

/// What the schema says about one object.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub(super) problems: Problems,
    /// Fields that the schema does not know, which the API server drops silently.
    pub unknown: Vec<Problem>,
}

/// Checks `object`, a `kind` of `flagger.app/v1beta1`, and takes the values that don't fit out of it, so that the rest
/// can still be read. Nulls are taken out as well: the API server drops them. Status is left alone, it is not the user's.
pub fn check(kind: &str, object: &mut Value) -> Findings {
    let mut walk = Walk { root: crd::schema(kind).unwrap_or(&Value::Null), found: Findings::default() };
    drop_nulls(object);
    let Some(fields) = object.as_object_mut() else {
        walk.found.problems.add("", format!("must be an object, with kind: {kind}"));
        return walk.found;
    };
    for key in fields.keys().filter(|key| !ROOT_FIELDS.contains(&key.as_str())) {
        walk.unknown("", key, &ROOT_FIELDS);
    }
    if let Some(Value::Object(metadata)) = fields.get("metadata") {
        for key in metadata.keys().filter(|key| !METADATA_FIELDS.contains(&key.as_str())) {
            walk.unknown("metadata", key, &METADATA_FIELDS);
        }
    }
    let schema = &walk.root["properties"]["spec"];
    match fields.get_mut("spec").map(|spec| walk.fits(schema, spec, "spec")) {
        Some(true) => {}
        Some(false) => drop(fields.remove("spec")),
        None => walk.found.problems.add("spec", "is missing: add it"),
    }
    walk.found
}

const ROOT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// `ObjectMeta`.
const METADATA_FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

struct Walk {
    root: &'static Value,
    found: Findings,
}

impl Walk {
    /// Whether `value` itself fits; parts of it that don't are taken out and noted.
    fn fits(&mut self, schema: &'static Value, value: &mut Value, field: &str) -> bool {
        if let Some(wrong) = mismatch(schema, value) {
            self.found.problems.add(field, wrong);
            return false;
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, field),
            Value::Array(items) => self.list(schema, items, field),
            _ => {}
        }
        true
    }

    fn object(&mut self, schema: &'static Value, fields: &mut Map<String, Value>, field: &str) {
        for name in strings(&schema["required"]).filter(|name| !fields.contains_key(*name)) {
            self.found.problems.add(path::child(field, name), "is missing: add it");
        }
        let known = schema["properties"].as_object();
        let values = schema.get("additionalProperties");
        let free = schema["x-kubernetes-preserve-unknown-fields"] == true;
        fields.retain(|key, value| match known.and_then(|known| known.get(key)).or(values) {
            Some(schema) => self.fits(schema, value, &path::child(field, key)),
            None if free => true,
            None => {
                let names: Vec<&str> = known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
                self.unknown(field, key, &names);
                false
            }
        });
    }

    fn list(&mut self, schema: &'static Value, items: &mut [Value], field: &str) {
        // A misfit keeps its place, as the nearest thing to nothing that can be read, so that what comes after it
        // keeps its index.
        for (index, item) in items.iter_mut().enumerate() {
            if !self.fits(&schema["items"], item, &path::item(field, index)) {
                *item = placeholder(&schema["items"]);
            }
        }
    }

    fn unknown(&mut self, parent: &str, key: &str, known: &[&str]) {
        let spec = &self.root["properties"]["spec"];
        let message = unknown::message(key, known, spec);
        self.found.unknown.push(Problem { field: path::child(parent, key), message });
    }
}

/// What is wrong with the value as such, without its parts.
fn mismatch(schema: &Value, value: &Value) -> Option<String> {
    if schema["x-kubernetes-int-or-string"] == true {
        return (!value.is_string() && !is_whole(value))
            .then(|| format!("must be a whole number or a string, not {}", describe(value)));
    }
    wrong_type(schema["type"].as_str()?, value)
        .or_else(|| wrong_choice(schema, value))
        .or_else(|| wrong_number(schema, value))
        .or_else(|| wrong_length(schema, value))
}

fn wrong_type(wanted: &str, value: &Value) -> Option<String> {
    let (fits, name) = match wanted {
        "string" => (value.is_string(), "a string"),
        "boolean" => (value.is_boolean(), "true or false"),
        "number" => (value.is_number(), "a number"),
        "integer" => (is_whole(value), "a whole number"),
        "array" => (value.is_array(), "a list"),
        _ => (value.is_object(), "an object"),
    };
    if fits {
        return None;
    }
    let mend = match (wanted, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => ": put it in quotes",
        ("number" | "integer", Value::String(text)) if text.parse::<f64>().is_ok() => ": write it without quotes",
        ("boolean", Value::String(text)) if text.parse::<bool>().is_ok() => ": write it without quotes",
        ("array", _) => ": write it as a list, with a dash before each entry",
        _ => ": change it",
    };
    Some(format!("must be {name}, not {}{mend}", describe(value)))
}

fn wrong_choice(schema: &Value, value: &Value) -> Option<String> {
    let choices = schema["enum"].as_array()?;
    if choices.contains(value) {
        return None;
    }
    let names: Vec<&str> = choices.iter().filter_map(Value::as_str).filter(|name| !name.is_empty()).collect();
    let hint = value.as_str().and_then(|text| unknown::nearest(text, names.iter().copied()));
    let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Some(format!("{value} is not one of {}{hint}", names.join(", ")))
}

fn wrong_number(schema: &Value, value: &Value) -> Option<String> {
    let (number, minimum, maximum) = (value.as_f64()?, schema["minimum"].as_f64(), schema["maximum"].as_f64());
    let low = minimum.filter(|minimum| number < *minimum).map(|minimum| format!("{value} is less than {minimum}"));
    low.or_else(|| maximum.filter(|maximum| number > *maximum).map(|maximum| format!("{value} is more than {maximum}")))
}

fn wrong_length(schema: &Value, value: &Value) -> Option<String> {
    let (length, entries) = (value.as_array()?.len() as u64, "entries");
    let few = schema["minItems"].as_u64().filter(|minimum| length < *minimum);
    let many = schema["maxItems"].as_u64().filter(|maximum| length > *maximum);
    few.map(|minimum| format!("has {length} {entries}, but needs at least {minimum}"))
        .or_else(|| many.map(|maximum| format!("has {length} {entries}, but takes at most {maximum}")))
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

fn placeholder(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("string") => Value::from(""),
        Some("number" | "integer") => Value::from(0),
        Some("array") => Value::Array(Vec::new()),
        Some("boolean") => Value::from(false),
        _ => Value::Object(Map::new()),
    }
}

fn strings(list: &'static Value) -> impl Iterator<Item = &'static str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
