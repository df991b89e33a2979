//! Objects as rows of a `meta.k8s.io/v1` Table: what `kubectl get` asks for.

mod age;
mod cells;
mod columns;
mod json_path;
mod pod;
#[cfg(test)]
mod tests;

use kube::core::Status;
use serde_json::{Value, json};

pub use self::cells::selector_text;
pub use self::columns::{Column, of as columns_of};
use super::errors;
use super::representation::partial;
use super::resources::{Family, Resource};
use super::stored::Stored;
use crate::clock;

/// How much of each object is in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Included {
    /// Nothing.
    Nothing,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Included {
    /// The query parameter `includeObject`.
    ///
    /// # Errors
    /// It is no such policy.
    pub fn read(parameter: &str) -> Result<Self, Status> {
        match parameter {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            other => Err(errors::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}"
            ))),
        }
    }
}

/// The table of these objects, which are as they are kept. `metadata` is that of a list.
pub fn table(kind: &Resource, objects: &[Stored], metadata: &Value, included: Included, has_headers: bool) -> Value {
    let now = clock::now();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = kind.columns.iter().map(|column| column.cell(&object.value, now)).collect();
            let mut row = json!({"cells": cells, "object": included_part(kind, object, included)});
            if kind.family == Family::Pod
                && let Some(conditions) = pod::conditions(&object.value)
            {
                row["conditions"] = conditions;
            }
            row
        })
        .collect();
    let columns = has_headers.then(|| kind.columns.iter().map(Column::definition).collect::<Vec<_>>());
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn included_part(kind: &Resource, object: &Stored, included: Included) -> Value {
    match included {
        Included::Nothing => Value::Null,
        Included::Object => kind.shown(object),
        Included::Metadata => partial(kind, object),
    }
}
