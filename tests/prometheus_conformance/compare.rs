//! Whether two answers are the same.

use std::collections::BTreeMap;

use serde_json::Value;

/// A status code and a body.
pub type Answer = (u16, Value);

/// Relative difference of numbers that is put down to the order of additions.
const TOLERANCE: f64 = 1e-9;

/// What differs, if anything. Errors must be of the same kind; their texts are not compared.
pub fn difference(expected: &Answer, found: &Answer) -> Option<String> {
    let told = || Some(format!("expected {} {}, found {} {}", expected.0, expected.1, found.0, found.1));
    if expected.0 != found.0 || expected.1["errorType"] != found.1["errorType"] {
        return told();
    }
    let kind = |answer: &Answer| answer.1["data"]["resultType"].clone();
    let (left, right) = (series(expected), series(found));
    let same = kind(expected) == kind(found)
        && left.len() == right.len()
        && left.iter().zip(&right).all(|((left_labels, left), (right_labels, right))| {
            left_labels == right_labels && left.len() == right.len() && left.iter().zip(right).all(|(l, r)| alike(l, r))
        });
    if same { None } else { told() }
}

/// How many numbers an answer has.
pub fn numbers(answer: &Answer) -> usize {
    series(answer).values().map(Vec::len).sum()
}

/// The samples of each series, by its labels.
fn series(answer: &Answer) -> BTreeMap<String, Vec<Value>> {
    let result = &answer.1["data"]["result"];
    let of = |entry: &Value| match (entry.get("value"), entry.get("values")) {
        (Some(value), _) => vec![value.clone()],
        (_, Some(values)) => values.as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    };
    match result.as_array() {
        Some(entries) if entries.iter().all(Value::is_object) => {
            entries.iter().map(|entry| (entry["metric"].to_string(), of(entry))).collect()
        }
        Some(_) => BTreeMap::from([(String::new(), vec![result.clone()])]),
        None => BTreeMap::new(),
    }
}

/// Whether two samples `[TIME, "NUMBER"]` are the same.
fn alike(left: &Value, right: &Value) -> bool {
    let number = |value: &Value| value[1].as_str().and_then(|text| text.parse::<f64>().ok());
    let same_number = match (number(left), number(right)) {
        (Some(left), Some(right)) => {
            left.total_cmp(&right).is_eq()
                || (left.is_nan() && right.is_nan())
                || (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
        }
        _ => left[1] == right[1],
    };
    same_number && left[0].as_f64() == right[0].as_f64()
}
