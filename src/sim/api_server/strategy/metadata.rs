//! What is right in the metadata of every object.

use serde_json::{Value, json};

use crate::sim::api_server::errors::FieldError;
use crate::sim::api_server::resources::{Family, Resource};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                         and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                         validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SERVICE_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                             alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or \
                             'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
                           '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                           'my_value',  or '12345', regex used for validation is \
                           '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with the metadata of an object; `live` is what it replaces.
pub fn validate(resource: &Resource, live: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if live.is_none()
        && let Some(problem) = name_problem(resource.family, name)
    {
        errors.push(FieldError::invalid("metadata.name", &metadata["name"], problem));
    }
    for value in metadata["labels"].as_object().into_iter().flat_map(|labels| labels.values()) {
        if !is_label_value(value.as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    owner_references(&metadata["ownerReferences"], &mut errors);
    if let Some(live) = live {
        immutable(&live["metadata"], metadata, &mut errors);
    }
    errors
}

fn name_problem(family: Family, name: &str) -> Option<&'static str> {
    let is_label = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        !part.is_empty()
            && part.chars().all(|c| inner(c) || c == '-')
            && part.starts_with(inner)
            && part.ends_with(inner)
    };
    match family {
        Family::Service if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) => {
            Some(SERVICE_LABEL)
        }
        _ if !name.split('.').all(is_label) || name.len() > 253 => Some(SUBDOMAIN),
        _ => None,
    }
}

/// Whether a text may be the value of a label.
pub fn is_label_value(value: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
        && (value.is_empty() || (value.starts_with(outer) && value.ends_with(outer)))
}

fn owner_references(references: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for reference in references.as_array().into_iter().flatten() {
        for (field, problem) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if reference[field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::invalid(format!("metadata.ownerReferences.{field}"), &json!(""), problem));
            }
        }
        controllers += usize::from(reference["controller"] == true);
    }
    if controllers > 1 {
        let problem = "Only one reference can have Controller set to true.";
        errors.push(FieldError::invalid("metadata.ownerReferences", references, problem));
    }
}

fn immutable(live: &Value, new: &Value, errors: &mut Vec<FieldError>) {
    if live.get("deletionTimestamp").is_some() {
        let known = |finalizer: &Value| live["finalizers"].as_array().is_some_and(|known| known.contains(finalizer));
        let added: Vec<&Value> =
            new["finalizers"].as_array().into_iter().flatten().filter(|finalizer| !known(finalizer)).collect();
        if !added.is_empty() {
            let list: Vec<String> =
                added.iter().map(|name| format!("{:?}", name.as_str().unwrap_or_default())).collect();
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(FieldError { field: "metadata.finalizers".to_owned(), reason: "FieldValueForbidden", message });
        }
    }
    for field in ["name", "namespace", "uid"] {
        if live[field] != new[field] {
            errors.push(FieldError::invalid(format!("metadata.{field}"), &new[field], "field is immutable"));
        }
    }
}
