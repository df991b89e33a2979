//! How fields are named in messages: `spec.analysis.metrics[0].name`, `spec.service.apex.labels[app.kubernetes.io/name]`.

/// The field `key` of the object at `parent`; the empty string is the root.
pub fn child(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{key}]"),
    }
}

/// The entry `index` of the list at `parent`.
pub fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The object or list that holds the field; `None` for the root.
pub fn parent(field: &str) -> Option<&str> {
    if field.is_empty() {
        return None;
    }
    let cut = if field.ends_with(']') { field.rfind('[') } else { field.rfind('.') };
    Some(cut.map_or("", |cut| field.get(..cut).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_undoes_child_and_item() {
        let cases = [
            (child("", "spec"), "spec", ""),
            (child("spec", "analysis"), "spec.analysis", "spec"),
            (item("spec.analysis.metrics", 2), "spec.analysis.metrics[2]", "spec.analysis.metrics"),
            (child("labels", "app.kubernetes.io/name"), "labels[app.kubernetes.io/name]", "labels"),
        ];
        for (made, expected, holder) in cases {
            assert_eq!((made.as_str(), parent(&made)), (expected, Some(holder)));
        }
        assert_eq!(parent(""), None);
    }
}
