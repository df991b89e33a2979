//! What the API server makes of an object that somebody sends, before it looks at what it says: unknown fields go,
//! defaults come, and built-in kinds look as Go writes them.

use serde_json::{Map, Value};

use super::fields::first_duplicate;
use super::place::Place;
use super::schema::{Relation, Schema, Shape, Zero};

/// A field of a built-in kind has a value of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongType {
    /// Where, such as `spec.replicas`.
    pub path: String,
    /// What it is, in the words of Go's JSON decoder.
    pub found: &'static str,
    /// What it should be.
    pub expected: String,
}

/// Brings an object of a built-in kind into the form in which Go writes it.
///
/// # Errors
/// A value does not fit its field.
pub fn built_in(schema: &Schema, value: &mut Value) -> Result<(), WrongType> {
    if !fits(schema, value) {
        return Err(WrongType { path: String::new(), found: go_name(value), expected: schema.type_name.clone() });
    }
    if schema.type_name == "quantity" && value.is_number() {
        *value = Value::String(value.to_string());
    }
    let within = |name: &str, error: WrongType| WrongType { path: joined(name, &error.path), ..error };
    match (&schema.shape, value) {
        (Shape::Object { fields, values, .. }, Value::Object(map)) => {
            if values.is_none() && !schema.keeps_unknown {
                map.retain(|name, _| fields.contains_key(name));
            }
            if !fields.is_empty() {
                map.retain(|_, value| !value.is_null());
            }
            for (name, value) in map.iter_mut() {
                built_in(schema.child(name), value).map_err(|error| within(name, error))?;
            }
            for (name, field) in fields {
                match &field.zero {
                    Zero::Plain => {}
                    Zero::Omit => {
                        if map.get(name).is_some_and(is_zero) {
                            map.remove(name);
                        }
                    }
                    Zero::Write(zero) => write_zero(&field.schema, name, zero, map),
                }
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, item) in list.iter_mut().enumerate() {
                built_in(items, item).map_err(|error| within(&index.to_string(), error))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn write_zero(schema: &Schema, name: &str, zero: &Value, map: &mut Map<String, Value>) {
    if map.contains_key(name) {
        return;
    }
    let mut zero = zero.clone();
    // A zero value fits.
    let _ = built_in(schema, &mut zero);
    map.insert(name.to_owned(), zero);
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn fits(schema: &Schema, value: &Value) -> bool {
    match schema.type_name.as_str() {
        _ if value.is_null() => true,
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "quantity" => value.is_number() || value.as_str().is_some_and(is_quantity),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => matches!(schema.shape, Shape::Any) || value.is_string() || value.is_number(),
    }
}

/// Whether a text is an amount, such as `100m` or `64Mi`.
fn is_quantity(text: &str) -> bool {
    let number = text.trim_start_matches(['+', '-']);
    let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (amount, unit) = number.split_at(digits);
    let is_exponent = |unit: &str| unit.strip_prefix(['e', 'E']).is_some_and(|power| power.parse::<i32>().is_ok());
    let units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    amount.parse::<f64>().is_ok() && (units.contains(&unit) || is_exponent(unit))
}

fn go_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Drops what the schema of a custom resource does not know, and nulls that mean nothing, and fills in its defaults.
pub fn custom(schema: &Schema, value: &mut Value) {
    drop_unknown(schema, value);
    fill_in(schema, value);
}

fn drop_unknown(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object { fields, values, .. }, Value::Object(map)) => {
            map.retain(|name, value| {
                let known = schema.keeps_unknown || values.is_some() || fields.contains_key(name);
                known && (!value.is_null() || is_null_kept(schema.child(name)))
            });
            for (name, value) in map.iter_mut() {
                drop_unknown(schema.child(name), value);
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => list.iter_mut().for_each(|item| drop_unknown(items, item)),
        _ => {}
    }
}

/// Fills in the defaults of a custom resource.
pub fn fill_in(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object { fields, .. }, Value::Object(map)) => {
            for (name, field) in fields {
                if let Some(default) = &field.schema.default
                    && map.get(name).is_none_or(|value| value.is_null() && !field.schema.nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                fill_in(schema.child(name), value);
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => list.iter_mut().for_each(|item| fill_in(items, item)),
        _ => {}
    }
}

fn is_null_kept(schema: &Schema) -> bool {
    schema.nullable || (schema.keeps_unknown && matches!(schema.shape, Shape::Any))
}

fn joined(outer: &str, inner: &str) -> String {
    if inner.is_empty() { outer.to_owned() } else { format!("{outer}.{inner}") }
}

/// Why an applied configuration is refused before it is merged.
///
/// # Errors
/// The first field that the schema does not know, or whose value has the wrong type, in the words of the API server.
pub fn check_typed(schema: &Schema, value: &Value) -> Result<(), String> {
    check_typed_at(schema, value, Place::Top)
}

fn check_typed_at(schema: &Schema, value: &Value, place: Place<'_>) -> Result<(), String> {
    match (&schema.shape, value) {
        (_, Value::Null) | (Shape::Any, _) => Ok(()),
        (Shape::Object { fields, values, .. }, Value::Object(map)) => map.iter().try_for_each(|(name, value)| {
            let place = Place::Field(&place, name);
            if !fields.contains_key(name) && values.is_none() && !schema.keeps_unknown {
                return Err(format!(".{place}: field not declared in schema"));
            }
            check_typed_at(schema.child(name), value, place)
        }),
        (Shape::List { items, relation, .. }, Value::Array(list)) => {
            if let Relation::Keys(keys) = relation {
                let is_named = |item: &Value, key: &String| {
                    !item[key].is_null() || items.key_default(key).is_some() || !item.is_object()
                };
                let nameless = |(index, item): (usize, &Value)| {
                    keys.iter().find(|key| !is_named(item, key)).map(|key| (index, key.clone()))
                };
                if let Some((index, key)) = list.iter().enumerate().find_map(nameless) {
                    return Err(format!(
                        ".{place}: element {index}: associative list with keys has an element that omits key field \
                         {key:?} (and doesn't have default value)"
                    ));
                }
            }
            if let Some(twice) = first_duplicate(items, relation, list) {
                return Err(format!(".{place}: duplicate entries for key {twice}"));
            }
            let mut items_at = list.iter().enumerate();
            items_at.try_for_each(|(index, item)| check_typed_at(items, item, Place::Entry(&place, index)))
        }
        _ if fits(schema, value) => Ok(()),
        _ => Err(format!(".{place}: expected {}, got {value}", schema.type_name)),
    }
}
