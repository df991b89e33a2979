//! Holding a custom resource against its schema, in the words of the real API server. CEL rules are not evaluated.

use serde_json::{Value, json};

use crate::sim::api_server::errors::FieldError;
use crate::sim::api_server::place::Place;
use crate::sim::api_server::resources::Resource;
use crate::sim::api_server::schema::{Relation, Rules, Schema, Shape};

const RULES_NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the \
                                 existing errors to complete validation";

/// Adds everything that is wrong with an object to `errors`; what is as in the `live` one is right.
pub fn validate(resource: &Resource, live: Option<&Value>, object: &Value, errors: &mut Vec<FieldError>) {
    let schema = &resource.schema;
    let (mut structural, mut unique) = (Vec::new(), Vec::new());
    if let Shape::Object { fields, .. } = &schema.shape {
        required(&schema.rules, Place::Top, object, &mut structural);
        for (name, field) in
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "metadata" | "apiVersion" | "kind"))
        {
            let before = live.and_then(|live| live.get(name));
            if let Some(value) = object.get(name).filter(|value| Some(*value) != before) {
                let place = Place::Field(&Place::Top, name);
                check(&field.schema, place, value, &mut structural);
                duplicates(&field.schema, place, value, &mut unique);
            }
        }
    }
    let keeps_rules_from_running = |error: &FieldError| {
        matches!(
            error.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    };
    if resource.has_rules && structural.iter().any(keeps_rules_from_running) {
        structural.push(FieldError::invalid("<nil>", &Value::Null, RULES_NOT_CHECKED));
    }
    errors.append(&mut structural);
    errors.append(&mut unique);
}

fn required(rules: &Rules, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    for name in rules.required.iter().filter(|name| value.get(name).is_none()) {
        errors.push(FieldError::required(Place::Field(&place, name).to_string(), ""));
    }
}

fn check(schema: &Schema, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    if value.is_null() && schema.nullable {
        return;
    }
    unsupported(&schema.rules, place, value, errors);
    if let Some(error) = wrong_type(schema, place, value) {
        errors.push(error);
        return;
    }
    check_value(&schema.rules, place, value, errors);
    match (&schema.shape, value) {
        (Shape::Object { .. }, Value::Object(map)) => {
            required(&schema.rules, place, value, errors);
            for (name, value) in map {
                check(schema.child(name), Place::Field(&place, name), value, errors);
            }
        }
        (Shape::List { items, .. }, Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                check(items, Place::Entry(&place, index), item, errors);
            }
        }
        _ => {}
    }
}

fn wrong_type(schema: &Schema, place: Place<'_>, value: &Value) -> Option<FieldError> {
    let is_whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = match schema.type_name.as_str() {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole,
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => matches!(schema.shape, Shape::Any) || value.is_string() || is_whole,
    };
    if fits {
        return None;
    }
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if schema.type_name.is_empty() { "integer,string" } else { &schema.type_name };
    let detail = format!("{place} in body must be of type {wanted}: {found:?}");
    Some(FieldError {
        reason: "FieldValueTypeInvalid",
        ..FieldError::invalid(place.to_string(), &json!(found), &detail)
    })
}

fn check_value(rules: &Rules, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    let mut wrong = |detail: String| {
        errors.push(FieldError::invalid(place.to_string(), value, &format!("{place} in body {detail}")));
    };
    if let Some(number) = value.as_f64() {
        if let Some(minimum) =
            rules.minimum.as_ref().filter(|minimum| minimum.as_f64().is_some_and(|minimum| number < minimum))
        {
            wrong(format!("should be greater than or equal to {minimum}"));
        }
        if let Some(maximum) =
            rules.maximum.as_ref().filter(|maximum| maximum.as_f64().is_some_and(|maximum| number > maximum))
        {
            wrong(format!("should be less than or equal to {maximum}"));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if let Some(minimum) = rules.min_length.filter(|minimum| length < *minimum) {
            wrong(format!("should be at least {minimum} chars long"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            wrong(format!("should match '{}'", pattern.text));
        }
        if let Some(maximum) = rules.max_length.filter(|maximum| length > *maximum) {
            let message = format!("Too long: may not be more than {maximum} bytes");
            errors.push(FieldError { field: place.to_string(), reason: "FieldValueTooLong", message });
        }
    }
    counts(rules, place, value, errors);
}

fn unsupported(rules: &Rules, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    if !rules.choices.is_empty() && !rules.choices.contains(value) {
        let choices: Vec<String> = rules.choices.iter().map(ToString::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", choices.join(", "));
        errors.push(FieldError { field: place.to_string(), reason: "FieldValueNotSupported", message });
    }
}

fn counts(rules: &Rules, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    let (length, minimum, maximum) = match value {
        Value::Array(items) => (items.len() as u64, rules.min_items, rules.max_items),
        Value::Object(fields) => (fields.len() as u64, None, rules.max_properties),
        _ => return,
    };
    if let Some(minimum) = minimum.filter(|minimum| length < *minimum) {
        let detail = format!("{place} in body should have at least {minimum} items");
        errors.push(FieldError::invalid(place.to_string(), &json!(length), &detail));
    }
    if let Some(maximum) = maximum.filter(|maximum| length > *maximum) {
        let message = format!("Too many: {length}: must have at most {maximum} items");
        errors.push(FieldError { field: place.to_string(), reason: "FieldValueTooMany", message });
    }
}

fn duplicates(schema: &Schema, place: Place<'_>, value: &Value, errors: &mut Vec<FieldError>) {
    match (&schema.shape, value) {
        (Shape::Object { .. }, Value::Object(map)) => {
            for (name, value) in map {
                duplicates(schema.child(name), Place::Field(&place, name), value, errors);
            }
        }
        (Shape::List { items, relation, .. }, Value::Array(list)) => {
            let mut seen: Vec<Value> = Vec::new();
            for (index, item) in list.iter().enumerate() {
                let place = Place::Entry(&place, index);
                let identity = match relation {
                    Relation::Atomic => None,
                    Relation::Set => Some(item.clone()),
                    Relation::Keys(keys) => Some(keys.iter().map(|key| (key.clone(), item[key].clone())).collect()),
                };
                match identity {
                    Some(identity) if seen.contains(&identity) => {
                        errors.push(FieldError::duplicate(place.to_string(), &identity));
                    }
                    Some(identity) => seen.push(identity),
                    None => {}
                }
                duplicates(items, place, item, errors);
            }
        }
        _ => {}
    }
}
