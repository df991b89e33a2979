//! YAML and JSON documents that remember on which line each field stands.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::api::path;

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its content.
    pub(super) value: Value,
    lines: BTreeMap<String, u64>,
}

impl Document {
    /// The line of a field or, where it is not there, of the nearest one that it would be part of.
    pub(super) fn line(&self, field: &str) -> u64 {
        let mut field = field;
        loop {
            if let Some(line) = self.lines.get(field) {
                return *line;
            }
            let Some(parent) = path::parent(field) else { return 1 };
            field = parent;
        }
    }
}

/// What can't be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: u64,
    pub(super) message: String,
}

/// Most nodes that the aliases of a file may repeat: aliases of aliases make millions of a few lines.
const REPEATED_NODES_MAX: usize = 20_000;

/// The documents of a file; one that can't be read does not hide those before it.
pub(super) fn read(text: &str) -> Vec<Result<Document, Unreadable>> {
    let mut bytes = text.as_bytes();
    let mut options = serde_saphyr::Options::default();
    options.alias_limits.max_total_replayed_events = REPEATED_NODES_MAX;
    serde_saphyr::read_with_options::<_, Spanned<Node>>(&mut bytes, options)
        .map(|document| document.map(Document::from).map_err(unreadable))
        .collect()
}

#[allow(clippy::needless_pass_by_value, reason = "it is an argument of map_err")]
fn unreadable(error: serde_saphyr::Error) -> Unreadable {
    let text = error.without_snippet().to_string();
    let line = error.location().map_or(1, |location| location.line());
    // The rest of a message is a picture of the source.
    Unreadable { line, message: format!("cannot be read: {}", text.lines().next().unwrap_or("it is no YAML")) }
}

impl From<Spanned<Node>> for Document {
    fn from(root: Spanned<Node>) -> Self {
        let mut lines = BTreeMap::from([(String::new(), root.referenced.line())]);
        let value = root.value.value("", &mut lines);
        Self { value, lines }
    }
}

/// A value whose parts know where they stand.
#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn value(self, field: &str, lines: &mut BTreeMap<String, u64>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let field = path::item(field, index);
                    lines.insert(field.clone(), item.referenced.line());
                    item.value.value(&field, lines)
                });
                Value::Array(items.collect())
            }
            Self::Object(fields) => {
                let fields = fields.into_iter().map(|(key, node)| {
                    let field = path::child(field, &key.value);
                    lines.insert(field.clone(), key.referenced.line());
                    (key.value, node.value(&field, lines))
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(Node::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\nb:\n  c:\n  - x\n  - d: {e: null}\n---\n# comment\n\nf: 2\n";

    #[test]
    fn each_field_knows_its_line_in_every_document() {
        let documents: Vec<Document> = read(TEXT).into_iter().map(Result::unwrap).collect();
        let values: Vec<String> = documents.iter().map(|document| document.value.to_string()).collect();
        assert_eq!(values, [r#"{"a":1,"b":{"c":["x",{"d":{"e":null}}]}}"#, r#"{"f":2}"#]);
        for (document, field, line) in [
            (0, "a", 1),
            (0, "b", 2),
            (0, "b.c", 3),
            (0, "b.c[0]", 4),
            (0, "b.c[1].d.e", 5),
            (0, "b.c[1].missing.too", 5),
            (0, "b.missing", 2),
            (0, "", 1),
            (1, "f", 9),
            (1, "missing", 9),
        ] {
            assert_eq!(documents[document].line(field), line, "{field} of document {document}");
        }
    }

    #[test]
    fn a_broken_document_is_told_with_its_line_and_hides_none_before_it() {
        let documents = read("a: 1\n---\nb: {\n---\nc: 3\n");
        assert_eq!(documents[0].as_ref().unwrap().value, serde_json::json!({ "a": 1 }));
        let broken = documents[1].as_ref().unwrap_err();
        assert!(broken.line >= 3 && broken.message.starts_with("cannot be read: "), "{broken:?}");
    }

    #[test]
    fn aliases_that_multiply_are_told_before_they_fill_the_memory() {
        let list = |name: &str, alias: &str| format!("{name}: &{name} [{}]\n", vec![alias; 30].join(", "));
        let text = list("a", "x") + &list("b", "*a") + &list("c", "*b") + &list("d", "*c");
        let told = read(&text).remove(0).unwrap_err();
        assert!(told.message.contains("alias"), "{told:?}");
        assert!(read(&(list("a", "x") + &list("b", "*a"))).remove(0).is_ok());
    }

    #[test]
    fn infinity_which_json_has_not_is_told() {
        let told = read("a: 1\nmax: .inf").remove(0).unwrap_err();
        assert_eq!(told.line, 2, "{told:?}");
    }
}
