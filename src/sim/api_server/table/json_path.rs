//! The simple JSON paths of CRDs' columns: `.spec.hostnames`, `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

/// A path to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    /// The first entry whose field has this text.
    With {
        field: String,
        text: String,
    },
}

impl JsonPath {
    /// Reads a path; `None` if it is none of the simple ones.
    pub fn read(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let step;
            (step, rest) = if let Some(inner) = rest.strip_prefix('[') {
                let (inside, after) = inner.split_once(']')?;
                (selection(inside)?, after)
            } else {
                let inner = rest.strip_prefix('.')?;
                let (name, after) = inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()));
                (Step::Field(name.to_owned()), after)
            };
            steps.push(step);
        }
        Some(Self(steps))
    }

    /// The value at the path.
    pub fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Field(name) => value.get(name),
            Step::Index(index) => value.get(index),
            Step::With { field, text } => value.as_array()?.iter().find(|entry| entry[field] == **text),
        })
    }
}

fn selection(inside: &str) -> Option<Step> {
    let quoted = |text: &str| {
        let text = text.trim();
        let mark = text.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
        Some(text.strip_prefix(mark)?.strip_suffix(mark)?.to_owned())
    };
    if let Some(condition) = inside.strip_prefix("?(@.").and_then(|rest| rest.strip_suffix(')')) {
        let (field, text) = condition.split_once("==")?;
        return Some(Step::With { field: field.trim().to_owned(), text: quoted(text)? });
    }
    quoted(inside).map(Step::Field).or_else(|| inside.parse().ok().map(Step::Index))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_find_values() {
        let object = json!({
            "spec": {"a.b": 1, "list": [{"x": 2}]},
            "status": {"conditions": [{"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        let cases = [
            (".spec.list[0].x", Some(json!(2))),
            (".spec['a.b']", Some(json!(1))),
            (".status.conditions[?(@.type==\"Ready\")].status", Some(json!("True"))),
            (".status.conditions[?(@.type=='Stalled')].status", None),
            (".spec.missing.x", None),
        ];
        for (path, expected) in cases {
            assert_eq!(JsonPath::read(path).unwrap().find(&object), expected.as_ref(), "{path}");
        }
        for path in ["spec", ".spec[", ".spec[*]", ".a[?(@.b>1)]"] {
            assert_eq!(JsonPath::read(path), None, "{path}");
        }
    }
}
