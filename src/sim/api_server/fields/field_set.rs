//! A set of fields of one object, and `FieldsV1`, its form in JSON.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::sim::api_server::schema::{Schema, Shape};

/// A set of fields. The elements of paths are written as in `FieldsV1`: `f:name` is a field, `k:{...}` the entry of a
/// list with these keys, `v:...` the entry of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    elements: BTreeMap<String, Element>,
}

/// What a set has of one element of a path: the field itself, fields inside, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Element {
    is_member: bool,
    inside: FieldSet,
}

/// As `FieldsV1`.
impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.elements)
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.is_member && !self.inside.is_empty() {
            map.serialize_entry(".", &FieldSet::default())?;
        }
        for (name, element) in &self.inside.elements {
            map.serialize_entry(name, element)?;
        }
        map.end()
    }
}

impl Element {
    fn is_empty(&self) -> bool {
        !self.is_member && self.inside.is_empty()
    }
}

/// The element of a field.
pub fn field(name: &str) -> String {
    format!("f:{name}")
}

impl FieldSet {
    /// The set that `FieldsV1` describes.
    pub fn from_json(fields: &Value) -> Self {
        let mut set = Self::default();
        for (name, inner) in fields.as_object().into_iter().flatten().filter(|(name, _)| *name != ".") {
            let is_member = inner.as_object().is_none_or(|inner| inner.is_empty() || inner.contains_key("."));
            set.elements.insert(name.clone(), Element { is_member, inside: Self::from_json(inner) });
        }
        set
    }

    /// The set of the fields with these names at the top, and inside of one of them.
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert_path(path);
        }
        set
    }

    fn insert_path(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => self.insert(field(last)),
            [first, rest @ ..] => self.elements.entry(field(first)).or_default().inside.insert_path(rest),
        }
    }

    /// Adds an element itself.
    pub fn insert(&mut self, element: String) {
        self.elements.entry(element).or_default().is_member = true;
    }

    /// Adds fields inside of an element.
    pub fn insert_inside(&mut self, element: String, inside: Self) {
        if !inside.is_empty() {
            let entry = self.elements.entry(element).or_default();
            entry.inside = std::mem::take(&mut entry.inside).union(inside);
        }
    }

    /// Whether there is no field in it.
    pub fn is_empty(&self) -> bool {
        self.elements.values().all(Element::is_empty)
    }

    /// Whether the element itself is in it.
    pub fn has(&self, element: &str) -> bool {
        self.elements.get(element).is_some_and(|element| element.is_member)
    }

    /// The fields inside of an element.
    pub fn inside(&self, element: &str) -> Option<&Self> {
        self.elements.get(element).map(|element| &element.inside)
    }

    /// Whether nothing is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.elements.iter().all(|(name, own)| {
            other
                .elements
                .get(name)
                .is_none_or(|other| !(own.is_member && other.is_member) && own.inside.is_disjoint(&other.inside))
        })
    }

    /// Whether everything in the other is in this.
    pub fn contains(&self, other: &Self) -> bool {
        other.elements.iter().all(|(name, other)| match self.elements.get(name) {
            Some(own) => (own.is_member || !other.is_member) && own.inside.contains(&other.inside),
            None => other.is_empty(),
        })
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        if self.elements.is_empty() {
            return other;
        }
        for (name, element) in other.elements {
            let entry = self.elements.entry(name).or_default();
            entry.is_member |= element.is_member;
            entry.inside = std::mem::take(&mut entry.inside).union(element.inside);
        }
        self
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |own, other| Element {
            is_member: own.is_member && other.is_some_and(|other| other.is_member),
            inside: other.map(|other| own.inside.intersection(&other.inside)).unwrap_or_default(),
        })
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        if self.has_no_element_of(other) {
            return self.clone();
        }
        self.combined(other, |own, other| match other {
            None => own.clone(),
            Some(other) => {
                Element { is_member: own.is_member && !other.is_member, inside: own.inside.difference(&other.inside) }
            }
        })
    }

    /// What is in this and neither in the other nor inside of a field of it.
    #[must_use]
    pub fn recursive_difference(self, other: &Self) -> Self {
        if self.has_no_element_of(other) {
            return self;
        }
        self.combined(other, |own, other| match other {
            None => own.clone(),
            Some(other) if other.is_member => Element::default(),
            Some(other) => {
                Element { is_member: own.is_member, inside: own.inside.clone().recursive_difference(&other.inside) }
            }
        })
    }

    fn has_no_element_of(&self, other: &Self) -> bool {
        !self.elements.keys().any(|name| other.elements.contains_key(name))
    }

    fn combined(&self, other: &Self, combine: impl Fn(&Element, Option<&Element>) -> Element) -> Self {
        let elements = self.elements.iter().filter_map(|(name, own)| {
            let element = combine(own, other.elements.get(name));
            (!element.is_empty()).then(|| (name.clone(), element))
        });
        Self { elements: elements.collect() }
    }

    /// The same, and each field of a struct in it that has fields inside.
    #[must_use]
    pub fn with_named_fields(&self, schema: &Schema) -> Self {
        let elements = self.elements.iter().map(|(name, element)| {
            let field = name.strip_prefix("f:");
            let is_named = field.is_some_and(|field| schema.has_field(field)) && !element.inside.is_empty();
            let inner = match (&schema.shape, field) {
                (Shape::List { items, .. }, _) => items,
                (_, Some(field)) => schema.child(field),
                _ => Schema::any(),
            };
            let inside = element.inside.with_named_fields(inner);
            (name.clone(), Element { is_member: element.is_member || is_named, inside })
        });
        Self { elements: elements.collect() }
    }

    /// The paths in it as the API server prints them, such as `.spec.ports[port=80,protocol="TCP"].targetPort`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        let members = self.elements.iter().filter(|(_, element)| element.is_member);
        paths.extend(members.map(|(name, _)| format!("{prefix}{}", printed(name))));
        for (name, element) in &self.elements {
            element.inside.collect_paths(&format!("{prefix}{}", printed(name)), paths);
        }
    }
}

fn printed(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => element.to_owned(),
    }
}
