//! How an object is shown: as it is, or its metadata only.

use serde_json::{Value, json};

use super::resources::Resource;

/// How objects are shown to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// As they are.
    Full,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Representation {
    /// An object as the client wants it.
    pub fn of(self, object: &Value) -> Value {
        match self {
            Self::Full => object.clone(),
            Self::Metadata => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            }),
        }
    }

    /// An entry of a list; those of built-in kinds don't say what they are.
    pub fn of_item(self, resource: &Resource, object: &Value) -> Value {
        let mut item = self.of(object);
        if self == Self::Full
            && !resource.is_custom()
            && let Some(fields) = item.as_object_mut()
        {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        item
    }

    /// The kind and the version of a list.
    pub fn list_type(self, resource: &Resource) -> (String, String) {
        match self {
            Self::Full => (format!("{}List", resource.kind), resource.api_version()),
            Self::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
        }
    }
}
