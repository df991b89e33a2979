//! The entries of `metadata.managedFields`, and how writes change them.

use std::sync::{Arc, LazyLock};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::field_set::FieldSet;
use super::structured::{self, Comparison, compare};
use crate::sim::api_server::schema::Schema;

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying them.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The name of the field manager.
    pub manager: &'a str,
    /// The version in which it writes.
    pub api_version: &'a str,
    /// The subresource that it writes; empty for the object itself.
    pub subresource: &'a str,
    /// When, in RFC 3339.
    pub time: &'a str,
}

/// An entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    manager: String,
    operation: Operation,
    api_version: String,
    subresource: String,
    time: Option<String>,
    /// Shared from one version of an object to the next: most writes change what one manager owns.
    fields: Arc<FieldSet>,
}

impl Ownership {
    fn new(writer: &Writer<'_>, operation: Operation) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: None,
            fields: Arc::default(),
        }
    }

    fn from_json(entry: &Value) -> Option<Self> {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        Some(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            fields: Arc::new(FieldSet::from_json(&entry["fieldsV1"])),
        })
    }

    fn is_of(&self, writer: &Writer<'_>, operation: Operation) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    fn is_same_but_time(&self, other: &Self) -> bool {
        let Self { manager, operation, api_version, subresource, time: _, fields } = self;
        (manager, operation, api_version, subresource, fields)
            == (&other.manager, &other.operation, &other.api_version, &other.subresource, &other.fields)
    }

    /// By what objects show their managers in order.
    fn order(&self) -> impl Ord + use<'_> {
        (self.operation, &self.time, &self.manager, &self.api_version, &self.subresource)
    }

    fn takes(&mut self, fields: FieldSet) {
        if !self.fields.contains(&fields) {
            let own = Arc::make_mut(&mut self.fields);
            *own = std::mem::take(own).union(fields);
        }
    }

    fn loses(&mut self, fields: &FieldSet) {
        if !self.fields.is_disjoint(fields) {
            self.fields = Arc::new(self.fields.difference(fields));
        }
    }

    /// As conflicts name it.
    fn printed(&self) -> String {
        let subresource = match self.subresource.as_str() {
            "" => String::new(),
            name => format!(" with subresource {name:?}"),
        };
        let version = match self.operation {
            Operation::Apply => String::new(),
            Operation::Update => format!(" using {}", self.api_version),
        };
        format!("{:?}{subresource}{version}", self.manager)
    }
}

impl Serialize for Ownership {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_map(None)?;
        entry.serialize_entry("manager", &self.manager)?;
        entry.serialize_entry("operation", self.operation.name())?;
        entry.serialize_entry("apiVersion", &self.api_version)?;
        if let Some(time) = &self.time {
            entry.serialize_entry("time", time)?;
        }
        entry.serialize_entry("fieldsType", "FieldsV1")?;
        entry.serialize_entry("fieldsV1", &*self.fields)?;
        if !self.subresource.is_empty() {
            entry.serialize_entry("subresource", &self.subresource)?;
        }
        entry.end()
    }
}

/// Somebody else owns a field that is applied with another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who, as conflicts name them.
    pub manager: String,
    /// The field, such as `.spec.replicas`.
    pub path: String,
}

/// All entries of `metadata.managedFields` of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Managers {
    entries: Vec<Ownership>,
}

/// The name for who wrote an object before ownership was recorded.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

impl Managers {
    /// The entries that an object shows.
    pub fn of(object: &Value) -> Self {
        let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
        Self { entries: entries.filter_map(Ownership::from_json).collect() }
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether somebody owns one of these fields.
    pub fn own(&self, fields: &FieldSet) -> bool {
        self.entries.iter().any(|entry| !entry.fields.is_disjoint(fields))
    }

    /// As an object shows them.
    pub fn to_json(&self) -> Value {
        // Nothing in it can't be written.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether the same own the same of the object itself, whatever they own through its subresources.
    pub fn is_same_but_subresources(&self, other: &Self) -> bool {
        let of_object = |entry: &&Ownership| entry.subresource.is_empty();
        self.entries.iter().filter(of_object).eq(other.entries.iter().filter(of_object))
    }

    /// Whether the same own the same, whenever they wrote it.
    pub fn is_same_but_times(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(one, other)| one.is_same_but_time(other))
    }

    /// What becomes of ownership when `new` replaces `live`, but for the fields that this endpoint does not write.
    #[must_use]
    pub fn after_update(
        mut self,
        schema: &Schema,
        live: &Value,
        new: &Value,
        writer: &Writer<'_>,
        reset: &FieldSet,
    ) -> Self {
        let comparison = written(compare(schema, live, new), reset);
        let taken = comparison.modified.union(comparison.added);
        for entry in &mut self.entries {
            if !entry.is_of(writer, Operation::Update) {
                entry.loses(&taken);
            }
            entry.loses(&comparison.removed);
        }
        let taken = if taken.is_disjoint(&SYSTEM_FIELDS) { taken } else { taken.difference(&SYSTEM_FIELDS) };
        if !taken.is_empty() {
            let entry = self.entry(writer, Operation::Update);
            entry.takes(taken);
            // The real server forgets the time of a write to the scale (`managedfields.ScaleHandler`).
            entry.time = (writer.subresource != "scale").then(|| writer.time.to_owned());
        }
        self.sorted()
    }

    /// The object after an apply, and who owns what then.
    ///
    /// # Errors
    /// Others own fields that would change, and `force` is not given.
    pub fn after_apply(
        mut self,
        schema: &Schema,
        live: &Value,
        configuration: &Value,
        writer: &Writer<'_>,
        force: bool,
        reset: &FieldSet,
    ) -> Result<(Value, Self), Vec<Conflict>> {
        let merged = structured::merge(schema, live, configuration);
        let applied = structured::fields(schema, configuration).recursive_difference(reset);
        let entry = self.entry(writer, Operation::Apply);
        let last = std::mem::replace(&mut entry.fields, Arc::new(applied));
        writer.api_version.clone_into(&mut entry.api_version);
        let object = self.prune(schema, merged, &last);
        let comparison = written(compare(schema, live, &object), reset);
        let changed = comparison.modified.union(comparison.added);
        let others = || self.entries.iter().filter(|entry| !entry.is_of(writer, Operation::Apply));
        let conflicts: Vec<Conflict> = others()
            .filter(|entry| !entry.fields.is_disjoint(&changed))
            .flat_map(|entry| {
                let paths = entry.fields.intersection(&changed).paths();
                paths.into_iter().map(|path| Conflict { manager: entry.printed(), path })
            })
            .collect();
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        for entry in &mut self.entries {
            if entry.is_of(writer, Operation::Apply) {
                entry.loses(&SYSTEM_FIELDS);
                if object != *live {
                    entry.time = Some(writer.time.to_owned());
                }
            } else {
                entry.loses(&changed);
                entry.loses(&comparison.removed);
            }
        }
        Ok((object, self.sorted()))
    }

    /// The owner of everything in an object that nobody owns.
    #[must_use]
    pub fn before_first_apply(schema: &Schema, empty: &Value, live: &Value, writer: &Writer<'_>) -> Self {
        let before = Writer { manager: BEFORE_FIRST_APPLY, subresource: "", ..*writer };
        Self::default().after_update(schema, empty, live, &before, &FieldSet::default())
    }

    fn entry(&mut self, writer: &Writer<'_>, operation: Operation) -> &mut Ownership {
        let found = self.entries.iter().position(|entry| entry.is_of(writer, operation));
        let index = found.unwrap_or(self.entries.len());
        if found.is_none() {
            self.entries.push(Ownership::new(writer, operation));
        }
        &mut self.entries[index]
    }

    /// Takes away what the writer applied the last time, not this time, and nobody else owns.
    fn prune(&self, schema: &Schema, merged: Value, last: &FieldSet) -> Value {
        if self.entries.iter().any(|entry| entry.fields.contains(last)) {
            return merged;
        }
        let owned = self.entries.iter().fold(FieldSet::default(), |all, entry| all.union((*entry.fields).clone()));
        if last.difference(&owned).is_empty() {
            return merged;
        }
        let named = |object: &Value| structured::fields(schema, object).with_named_fields(schema);
        let without = |gone: &FieldSet| structured::without(schema, &merged, gone).unwrap_or_default();
        let last = last.with_named_fields(schema);
        let everything = named(&merged);
        let kept = named(&without(&last)).union(owned.with_named_fields(schema));
        let kept = named(&without(&everything.difference(&kept)));
        without(&everything.difference(&kept).intersection(&last))
    }

    /// In the order in which objects show them; appliers first, older ones first.
    fn sorted(mut self) -> Self {
        self.entries.retain(|entry| !entry.fields.is_empty());
        self.entries.sort_by(|one, other| one.order().cmp(&other.order()));
        self
    }
}

/// The comparison without the fields that this endpoint does not write.
fn written(comparison: Comparison, reset: &FieldSet) -> Comparison {
    if reset.is_empty() {
        return comparison;
    }
    Comparison {
        added: comparison.added.recursive_difference(reset),
        modified: comparison.modified.recursive_difference(reset),
        removed: comparison.removed.recursive_difference(reset),
    }
}

/// Fields that nobody owns.
static SYSTEM_FIELDS: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});
