//! Fields that the schema does not know: what was meant.

use serde_json::Value;

/// What to say about the unknown field `key` of an object whose fields are `known`, inside a spec of this schema.
pub(super) fn message(key: &str, known: &[&str], spec: &Value) -> String {
    const LOST: &str = "is not a field, the API server would drop it silently";
    if let Some(meant) = nearest(key, known.iter().copied()) {
        return format!("{LOST}; did you mean {meant}?");
    }
    let mut places = Vec::new();
    find(key, spec, "spec", &mut places);
    let depth = |place: &String| place.matches('.').count();
    match places.iter().min_by_key(|place| depth(place)) {
        Some(place) => format!("{LOST}; it belongs at {place}"),
        None => format!("{LOST}; remove it"),
    }
}

/// Longest text, in bytes, that is compared with known names.
const COMPARED_BYTES_MAX: usize = 100;

/// The known name that is most like `text`, if one is so much like it that it may be meant.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    // Comparing takes memory by the product of the lengths, and a text may have a megabyte.
    if lower.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    known
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).clamp(1, 3) || extends(&lower, &name.to_lowercase()))
        .min()
        .map(|(_, name)| name)
}

/// Whether one is the other with something before or after it, such as `canaryAnalysis` and `analysis`.
fn extends(text: &str, name: &str) -> bool {
    let (long, short) = if text.len() > name.len() { (text, name) } else { (name, text) };
    short.len() >= 5 && (long.starts_with(short) || long.ends_with(short))
}

fn find(key: &str, schema: &Value, field: &str, places: &mut Vec<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let here = format!("{field}.{name}");
        if name == key {
            places.push(here.clone());
        }
        find(key, schema, &here, places);
    }
    if let Some(items) = schema.get("items") {
        find(key, items, &format!("{field}[]"), places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_guessed_only_when_it_is_close() {
        let known = ["stepWeight", "stepWeights", "analysis", "name", "port", "interval"];
        for (text, expected) in [
            ("stepweight", Some("stepWeight")),
            ("stepWieght", Some("stepWeight")),
            ("stepsWeights", Some("stepWeights")),
            ("canaryAnalysis", Some("analysis")),
            ("nmae", Some("name")),
            ("ports", Some("port")),
            ("intervalSeconds", Some("interval")),
            ("pot", Some("port")),
            ("nom", None),
            ("replicas", None),
        ] {
            assert_eq!(nearest(text, known.into_iter()), expected, "{text}");
        }
        let endless = "x".repeat(1_000_000) + "threshold";
        assert_eq!(nearest(&endless, ["threshold"].into_iter()), None);
    }

    #[test]
    fn a_field_in_the_wrong_place_is_sent_to_the_right_one() {
        let spec = &super::super::crd::schema("Canary").unwrap()["properties"]["spec"];
        for (key, expected) in [
            ("threshold", "it belongs at spec.analysis.threshold"),
            ("gatewayRefs", "it belongs at spec.service.gatewayRefs"),
            ("templateRef", "it belongs at spec.analysis.metrics[].templateRef"),
            ("replicas", "remove it"),
        ] {
            let said = message(key, &["targetRef"], spec);
            assert!(said.ends_with(&format!("; {expected}")), "{key}: {said}");
        }
    }
}
