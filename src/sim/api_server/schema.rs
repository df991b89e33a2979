//! The structure of a kind: what the fields are called, how lists merge, what is left out and what is filled in. Made
//! from structural OpenAPI schemas, those of CRDs and the ones in `schemas/` (see `tests/testbed/schemas`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use regex::Regex;
use serde_json::{Map, Value};

/// What a value may look like.
#[derive(Debug, Default)]
pub struct Schema {
    pub shape: Shape,
    /// The type as OpenAPI names it; empty for anything.
    pub type_name: String,
    /// Whether null is a value.
    pub nullable: bool,
    /// Whether fields that the schema does not know are kept.
    pub keeps_unknown: bool,
    /// What is filled in where there is nothing.
    pub default: Option<Value>,
    /// What else the value has to obey.
    pub rules: Rules,
}

/// The parts that a value has.
#[derive(Debug, Default)]
pub enum Shape {
    /// A value without parts.
    Scalar,
    /// A list.
    List { items: Arc<Schema>, relation: Relation, patch: ListPatch },
    /// A struct, a map, or both.
    Object { fields: BTreeMap<String, Field>, values: Option<Arc<Schema>>, atomic: bool },
    /// Whatever it is: lists are atomic, maps are not.
    #[default]
    Any,
}

/// How the entries of a list are told apart.
#[derive(Debug, PartialEq)]
pub enum Relation {
    /// They are not: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By some of their fields, sorted by name.
    Keys(Vec<String>),
}

/// What a strategic merge patch does to a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListPatch {
    /// It puts another one in its place.
    #[default]
    Replace,
    /// It merges entries by the value of this field, which need not be the one that [`Relation`] names.
    MergeByKey(String),
    /// It adds values that are not there yet.
    MergeValues,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    pub schema: Arc<Schema>,
    pub zero: Zero,
}

/// What the Go type of a built-in kind makes of a field without a value.
#[derive(Debug, PartialEq)]
pub enum Zero {
    /// Nothing special.
    Plain,
    /// A zero value is left out.
    Omit,
    /// This is written where there is nothing.
    Write(Value),
}

/// The parts of OpenAPI that say which values are right.
#[derive(Debug, Default)]
pub struct Rules {
    pub required: Vec<String>,
    pub choices: Vec<Value>,
    pub minimum: Option<Value>,
    pub maximum: Option<Value>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub max_properties: Option<u64>,
    pub pattern: Option<Pattern>,
}

/// A regular expression, compiled when it is first needed.
#[derive(Debug)]
pub struct Pattern {
    pub text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(value))
    }
}

static ANY: Schema = Schema {
    shape: Shape::Any,
    type_name: String::new(),
    nullable: true,
    keeps_unknown: true,
    default: None,
    rules: Rules {
        required: Vec::new(),
        choices: Vec::new(),
        minimum: None,
        maximum: None,
        min_length: None,
        max_length: None,
        min_items: None,
        max_items: None,
        max_properties: None,
        pattern: None,
    },
};

impl Schema {
    /// The schema of a value about which nothing is known.
    pub fn any() -> &'static Self {
        &ANY
    }

    /// The schema of a field or of a map's value.
    pub fn child(&self, name: &str) -> &Self {
        match &self.shape {
            Shape::Object { fields, values, .. } => match (fields.get(name), values) {
                (Some(field), _) => &field.schema,
                (None, Some(values)) => values,
                (None, None) => Self::any(),
            },
            _ => Self::any(),
        }
    }

    /// What the field of a list's entry is, for telling entries apart, if the entry does not say.
    pub fn key_default(&self, name: &str) -> Option<&Value> {
        let Shape::Object { fields, .. } = &self.shape else { return None };
        let field = fields.get(name)?;
        match (&field.schema.default, &field.zero) {
            (Some(default), _) => Some(default),
            (None, Zero::Write(zero)) => Some(zero),
            _ => None,
        }
    }

    /// Whether it is the name of a field of a struct, rather than the key of a map.
    pub fn has_field(&self, name: &str) -> bool {
        matches!(&self.shape, Shape::Object { fields, .. } if fields.contains_key(name))
    }

    /// The same struct with another schema for one of its fields.
    #[must_use]
    pub fn with_field(mut self, name: &str, schema: Arc<Self>) -> Self {
        if let Shape::Object { fields, .. } = &mut self.shape {
            fields.insert(name.to_owned(), Field { schema, zero: Zero::Plain });
        }
        self
    }
}

/// Reads schemas, and those that they refer to by `$ref` only once.
pub struct Reader<'a> {
    definitions: &'a Map<String, Value>,
    known: HashMap<String, Arc<Schema>>,
}

impl<'a> Reader<'a> {
    /// A reader of schemas that refer to these definitions.
    pub fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, known: HashMap::new() }
    }

    /// The schema of that name; anything where there is none.
    pub fn definition(&mut self, name: &str) -> Arc<Schema> {
        if let Some(schema) = self.known.get(name) {
            return schema.clone();
        }
        let schema = self.definitions.get(name).map(|definition| self.schema(definition)).unwrap_or_default();
        let schema = Arc::new(schema);
        self.known.insert(name.to_owned(), schema.clone());
        schema
    }

    /// The schema that this OpenAPI schema describes.
    pub fn schema(&mut self, source: &Value) -> Schema {
        let type_name = match source["format"].as_str() {
            Some("quantity") => "quantity",
            _ => source["type"].as_str().unwrap_or_default(),
        };
        let is_true = |key: &str| source[key] == true;
        Schema {
            shape: self.shape(source, type_name),
            type_name: type_name.to_owned(),
            nullable: is_true("nullable"),
            keeps_unknown: is_true("x-kubernetes-preserve-unknown-fields"),
            default: source.get("default").cloned(),
            rules: rules(source),
        }
    }

    fn shared(&mut self, source: &Value) -> Arc<Schema> {
        match source["$ref"].as_str() {
            Some(name) => self.definition(name),
            None => Arc::new(self.schema(source)),
        }
    }

    fn shape(&mut self, source: &Value, type_name: &str) -> Shape {
        match type_name {
            "array" => Shape::List {
                items: self.shared(&source["items"]),
                relation: relation(source),
                patch: list_patch(source),
            },
            "object" => {
                let properties = source["properties"].as_object().into_iter().flatten();
                let fields = properties
                    .map(|(name, property)| {
                        (name.clone(), Field { schema: self.shared(property), zero: zero(&property["x-zero"]) })
                    })
                    .collect::<BTreeMap<_, _>>();
                let keeps_unknown = source["x-kubernetes-preserve-unknown-fields"] == true;
                if keeps_unknown && fields.is_empty() {
                    return Shape::Any;
                }
                let values = source.get("additionalProperties").filter(|values| values.is_object());
                let values = values.map(|values| self.shared(values));
                Shape::Object { fields, values, atomic: source["x-kubernetes-map-type"] == "atomic" }
            }
            "" if source["x-kubernetes-int-or-string"] != true => Shape::Any,
            _ => Shape::Scalar,
        }
    }
}

fn relation(source: &Value) -> Relation {
    match source["x-kubernetes-list-type"].as_str() {
        Some("set") => Relation::Set,
        Some("map") => {
            let keys = source["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let mut keys: Vec<String> = keys.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
            keys.sort();
            Relation::Keys(keys)
        }
        _ => Relation::Atomic,
    }
}

fn list_patch(source: &Value) -> ListPatch {
    let strategies = source["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
    match source["x-kubernetes-patch-merge-key"].as_str() {
        _ if !strategies.split(',').any(|strategy| strategy == "merge") => ListPatch::Replace,
        Some(key) => ListPatch::MergeByKey(key.to_owned()),
        None => ListPatch::MergeValues,
    }
}

fn zero(source: &Value) -> Zero {
    match source {
        Value::String(_) => Zero::Omit,
        Value::Object(fields) => Zero::Write(fields.get("write").cloned().unwrap_or_default()),
        _ => Zero::Plain,
    }
}

fn rules(source: &Value) -> Rules {
    let number = |key: &str| source[key].as_u64();
    let strings = source["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let pattern = source["pattern"].as_str();
    Rules {
        required: strings.map(ToOwned::to_owned).collect(),
        choices: source["enum"].as_array().cloned().unwrap_or_default(),
        minimum: source.get("minimum").cloned(),
        maximum: source.get("maximum").cloned(),
        min_length: number("minLength"),
        max_length: number("maxLength"),
        min_items: number("minItems"),
        max_items: number("maxItems"),
        max_properties: number("maxProperties"),
        pattern: pattern.map(|text| Pattern { text: text.to_owned(), compiled: OnceLock::new() }),
    }
}
