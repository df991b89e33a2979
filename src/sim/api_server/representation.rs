//! How objects are shown: as they are, their metadata only, or as rows of a Table.

use axum::body::Bytes;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, json};

use super::resources::{Family, Resource};
use super::stored::{Shown, Stored};
use super::strategy::{TEMPLATE_GENERATION, set_or_remove};
use super::table::{Included, table};

/// How objects are shown to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// As they are.
    Full,
    /// As `PartialObjectMetadata`.
    Metadata,
    /// As rows of a Table.
    Table {
        /// What is in a row besides its cells.
        included: Included,
        /// Whether the columns are defined. A watch defines them once.
        has_headers: bool,
    },
}

impl Representation {
    /// An object as the client wants it, in JSON. `kind` is the one that it asked for.
    pub fn of(self, kind: &Resource, object: &Stored) -> Bytes {
        let converted = match self {
            Self::Full if !kind.is_view() => return object.json().clone(),
            Self::Full => kind.shown(object),
            Self::Metadata => partial(kind, object),
            Self::Table { included, has_headers } => {
                let metadata = json!({"resourceVersion": object.value["metadata"]["resourceVersion"]});
                table(kind, std::slice::from_ref(object), &metadata, included, has_headers)
            }
        };
        converted.to_string().into()
    }

    /// What is left to say when the columns are known.
    #[must_use]
    pub fn without_headers(self) -> Self {
        match self {
            Self::Table { included, .. } => Self::Table { included, has_headers: false },
            other => other,
        }
    }

    /// A list of objects, in JSON.
    pub fn list(self, kind: &Resource, objects: &[Stored], metadata: &Value) -> Vec<u8> {
        let list = match self {
            Self::Table { included, has_headers } => {
                return table(kind, objects, metadata, included, has_headers).to_string().into_bytes();
            }
            Self::Full => List {
                kind: format!("{}List", kind.kind),
                api_version: kind.api_version(),
                metadata,
                items: Items { kind, objects, is_partial: false },
            },
            Self::Metadata => List {
                kind: "PartialObjectMetadataList".to_owned(),
                api_version: "meta.k8s.io/v1".to_owned(),
                metadata,
                items: Items { kind, objects, is_partial: true },
            },
        };
        // Values can always be written.
        serde_json::to_vec(&list).unwrap_or_default()
    }
}

/// The metadata of an object.
pub fn partial(kind: &Resource, object: &Stored) -> Value {
    let mut metadata = object.shown()["metadata"].take();
    if kind.family == Family::DaemonSet {
        hide_template_generation(&mut metadata);
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// To the real server the annotation is a part of the spec.
fn hide_template_generation(metadata: &mut Value) {
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(TEMPLATE_GENERATION);
        if annotations.is_empty() {
            set_or_remove(metadata, "annotations", None);
        }
    }
}

/// A list that is written without copying what is in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: String,
    api_version: String,
    metadata: &'a Value,
    items: Items<'a>,
}

struct Items<'a> {
    kind: &'a Resource,
    objects: &'a [Stored],
    is_partial: bool,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A list of metadata without entries is null in the real server.
        if self.is_partial && self.objects.is_empty() {
            return serializer.serialize_none();
        }
        let mut sequence = serializer.serialize_seq(Some(self.objects.len()))?;
        for object in self.objects {
            if self.is_partial {
                sequence.serialize_element(&partial(self.kind, object))?;
            } else if self.kind.is_view() {
                sequence.serialize_element(&Untyped(&self.kind.shown(object)))?;
            } else {
                sequence.serialize_element(&Shown { stored: object, is_typed: self.kind.is_custom() })?;
            }
        }
        sequence.end()
    }
}

/// The same for an object that is shown as another one.
struct Untyped<'a>(&'a Value);

impl Serialize for Untyped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.0.as_object().into_iter().flatten();
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in fields.filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion")) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
