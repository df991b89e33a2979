//! Label and field selectors.

use kube::core::Status;
use serde_json::Value;

use super::resources::{Family, Resource};
use super::{core_events, errors};

/// What a list or a watch is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    relation: Relation,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Relation {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_listed = |values: &[String]| value.is_some_and(|value| values.iter().any(|listed| listed == value));
        match &self.relation {
            Relation::In(values) => is_listed(values),
            Relation::NotIn(values) => !is_listed(values),
            Relation::Exists => value.is_some(),
            Relation::Absent => value.is_none(),
        }
    }
}

impl Selector {
    /// The selector of the query parameters.
    ///
    /// # Errors
    /// A selector cannot be read, or selects by a field that the resource does not offer.
    pub fn read(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = split(labels).iter().map(|term| requirement(term)).collect::<Result<Vec<_>, _>>()?;
        let mut fields = split(fields).iter().map(|term| requirement(term)).collect::<Result<Vec<_>, _>>()?;
        if resource.is_view() {
            for requirement in &mut fields {
                requirement.key = core_events::field_path(&requirement.key);
            }
        }
        let is_offered = |key: &str| match resource.family {
            Family::Event => true,
            Family::Pod if matches!(key, "spec.nodeName" | "status.phase") => true,
            _ => matches!(key, "metadata.name" | "metadata.namespace"),
        };
        match fields.iter().find(|requirement| !is_offered(&requirement.key)) {
            Some(unknown) => {
                let key = &unknown.key;
                let message = if resource.is_custom() {
                    format!("field label not supported: {key}")
                } else {
                    format!("{key:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                };
                Err(errors::bad_request(message))
            }
            None => Ok(Self { labels, fields }),
        }
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name that a selected object has to have: the real server does not look at others then.
    pub fn only_name(&self) -> Option<&str> {
        self.fields.iter().find_map(|requirement| match &requirement.relation {
            Relation::In(names) if requirement.key == "metadata.name" => names.first().map(String::as_str),
            _ => None,
        })
    }

    /// Whether it selects an object.
    pub fn selects(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        let field = |key: &str| {
            let found = key.split('.').try_fold(object, |value, part| value.get(part));
            Some(found.and_then(Value::as_str).unwrap_or_default())
        };
        self.labels.iter().all(|requirement| requirement.holds(label(&requirement.key)))
            && self.fields.iter().all(|requirement| requirement.holds(field(&requirement.key)))
    }
}

/// The terms of a selector, which commas separate outside of parentheses.
fn split(selector: &str) -> Vec<String> {
    let (mut terms, mut depth) = (vec![String::new()], 0);
    for letter in selector.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(term) = terms.last_mut() {
            term.push(letter);
        }
    }
    terms.into_iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}

fn requirement(term: &str) -> Result<Requirement, Status> {
    let make = |key: &str, relation| Ok(Requirement { key: key.trim().to_owned(), relation });
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some((key, value)) = term.split_once("!=") {
        return make(key, Relation::NotIn(one(value)));
    }
    if let Some((key, value)) = term.split_once('=') {
        return make(key, Relation::In(one(value.trim_start_matches('='))));
    }
    if let Some(key) = term.strip_prefix('!') {
        return make(key, Relation::Absent);
    }
    if let Some((words, values)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match words.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => make(key, Relation::In(values)),
            [key, "notin"] => make(key, Relation::NotIn(values)),
            _ => Err(unreadable(term)),
        };
    }
    if term.contains(char::is_whitespace) { Err(unreadable(term)) } else { make(term, Relation::Exists) }
}

fn unreadable(term: &str) -> Status {
    errors::bad_request(format!("unable to parse requirement: {term:?} is no term of a selector"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::api_server::resources;

    #[test]
    fn selectors_select() {
        let config_map = &resources::all()[resources::by_kind("v1", "ConfigMap").unwrap()];
        let object = json!({"metadata": {"name": "a", "namespace": "n", "labels": {"app": "x", "tier": "web"}}});
        let cases = [
            ("", "", true),
            ("app=x", "", true),
            ("app==x,tier = web", "", true),
            ("app!=x", "", false),
            ("other!=x", "", true),
            ("app", "", true),
            ("!app", "", false),
            ("!other", "", true),
            ("app in (y, x),tier", "", true),
            ("app notin (y,x)", "", false),
            ("other notin (y)", "", true),
            ("", "metadata.name=a", true),
            ("", "metadata.name!=a", false),
            ("app=x", "metadata.namespace=m", false),
        ];
        for (labels, fields, expected) in cases {
            let selector = Selector::read(config_map, labels, fields).unwrap();
            assert_eq!(selector.selects(&object), expected, "{labels:?} {fields:?}");
        }
        for (labels, fields) in [("a b", ""), ("a inn (b)", ""), ("", "data.a=b")] {
            assert_eq!(Selector::read(config_map, labels, fields).unwrap_err().code, 400, "{labels:?} {fields:?}");
        }
    }
}
