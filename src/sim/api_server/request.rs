//! What a request asks for: path, query and headers in the words of the API.

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, USER_AGENT};
use http::request::Parts;
use serde::Deserialize;

use super::interposer::RequestInfo;
use super::resources::{self, Resource};
use super::store::Key;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Objects of a resource.
    Objects {
        /// The index of the resource.
        resource: usize,
        namespace: Option<String>,
        name: Option<String>,
        subresource: Option<String>,
    },
    /// A document about the API itself.
    Document,
}

/// The query parameters that matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Query {
    pub watch: Option<String>,
    pub label_selector: String,
    pub field_selector: String,
    pub resource_version: String,
    pub resource_version_match: String,
    pub limit: Option<u64>,
    #[serde(rename = "continue")]
    pub token: String,
    pub timeout_seconds: Option<u64>,
    pub allow_watch_bookmarks: Option<String>,
    pub send_initial_events: Option<String>,
    pub field_manager: String,
    pub force: Option<String>,
    pub propagation_policy: String,
    pub include_object: String,
    pub field_validation: String,
    pub dry_run: String,
}

/// Whether a query parameter is set.
pub fn is_set(parameter: Option<&String>) -> bool {
    parameter.is_some_and(|value| matches!(value.as_str(), "true" | "1"))
}

/// In which form an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Objects as they are.
    Whole,
    /// Only their metadata.
    Metadata,
    /// As rows of a Table.
    Table,
    /// The discovery of all groups at once.
    Aggregated,
}

impl Form {
    fn read(accept: &str) -> Self {
        // The first that a client names is the one that it likes best.
        let Some((_, form)) = accept.split_once("as=") else { return Self::Whole };
        match form.split([';', ',']).next().unwrap_or_default().trim() {
            "Table" => Self::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Self::Metadata,
            "APIGroupDiscoveryList"
                if accept.contains("v=v2;") || accept.ends_with("v=v2") || accept.contains("v=v2,") =>
            {
                Self::Aggregated
            }
            _ => Self::Whole,
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub verb: &'static str,
    pub target: Target,
    pub path: String,
    pub query: Query,
    pub media_type: String,
    /// In which form the answer is wanted.
    pub form: Form,
    /// Who the client program says it is.
    pub agent: String,
}

impl Request {
    /// Reads the head of a request; `None` where the path names nothing.
    pub fn read(parts: &Parts) -> Option<Self> {
        let path = parts.uri.path().to_owned();
        let text = parts.uri.query().unwrap_or_default();
        // Parameters that can't be read are as if they were not there, but for the one that decides what this is.
        let unread = || Query { watch: text.contains("watch=true").then(|| "true".to_owned()), ..Query::default() };
        let query = axum::extract::Query::<Query>::try_from_uri(&parts.uri);
        let query = query.map_or_else(|_| unread(), |query| query.0);
        let target = target(&path)?;
        let is_named = matches!(&target, Target::Objects { name: Some(_), .. });
        let verb = match parts.method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if is_named => "delete",
            Method::DELETE => "deletecollection",
            _ if is_named || target == Target::Document => "get",
            _ if is_set(query.watch.as_ref()) => "watch",
            _ => "list",
        };
        let header = |name| header_text(&parts.headers, &name);
        let media_type = header(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let agent = header(USER_AGENT).split('/').next().unwrap_or_default().to_owned();
        let form = Form::read(header(ACCEPT));
        Some(Self { verb, target, path, query, media_type, form, agent })
    }

    /// As interposers see it.
    pub fn info(&self, index: u64) -> RequestInfo {
        let (resource, namespace, name, subresource) = match &self.target {
            Target::Objects { resource, namespace, name, subresource } => {
                (Some(&resources::all()[*resource]), namespace.clone(), name.clone(), subresource.clone())
            }
            Target::Document => (None, None, None, None),
        };
        RequestInfo {
            verb: self.verb,
            api_version: resource.map(Resource::api_version).unwrap_or_default(),
            kind: resource.map(|resource| resource.kind.to_owned()).unwrap_or_default(),
            namespace,
            name,
            subresource,
            index,
            is_write: !matches!(self.verb, "get" | "list" | "watch"),
        }
    }
}

impl Target {
    /// Where the object is, if the path names one.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Objects { resource, namespace, name: Some(name), .. } => {
                let resource = resources::all()[*resource].storage;
                Some(Key { resource, namespace: namespace.clone().unwrap_or_default(), name: name.clone() })
            }
            _ => None,
        }
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        ["api" | "apis" | "version" | "healthz" | "livez" | "readyz"] | ["apis", _] | ["openapi", ..] => {
            return Some(Target::Document);
        }
        _ => return None,
    };
    if rest.is_empty() {
        return Some(Target::Document);
    }
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => {
            (Some((*namespace).to_owned()), rest)
        }
        _ => (None, rest),
    };
    let (plural, rest) = rest.split_first()?;
    let resource = resources::by_plural(group, version, plural)?;
    let mut rest = rest.iter().map(|part| (*part).to_owned());
    Some(Target::Objects { resource, namespace, name: rest.next(), subresource: rest.next() })
}
