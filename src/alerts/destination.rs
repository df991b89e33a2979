//! A receiver of alerts, checked.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::HeaderValue;

use super::{REGISTRY, Settings, Sink};
use crate::api::alert_provider::AlertProviderSpec;

/// Why an alert can't be sent, or was not. Names the field and the mend, or the receiver's host; never its address,
/// which is a secret with most receivers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// The kind of sink is not known.
    #[error("spec.type `{kind}` is not known; use one of: {known}")]
    Kind {
        /// What was asked for.
        kind: String,
        /// What is supported.
        known: String,
    },
    /// A field or a key of the Secret can't be used.
    #[error("{field}: {problem}")]
    Field {
        /// The field, or the key of the Secret.
        field: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// The receiver did not take the message.
    #[error("{kind} at {host}: {problem} (attempts: {attempts})")]
    Delivery {
        /// Kind of the sink.
        kind: &'static str,
        /// Host of the receiver.
        host: String,
        /// What happened last.
        problem: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// A receiver of alerts, made from an `AlertProvider`.
pub struct Destination {
    pub(super) kind: &'static str,
    pub(super) sink: Box<dyn Sink>,
    pub(super) endpoint: Url,
    /// `Authorization`, where the Secret has a token.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) proxy: Option<Url>,
}

impl Destination {
    /// The receiver of an `AlertProvider`. `secret` holds the data of the Secret that `spec.secretRef` names: `address`,
    /// which wins over `spec.address`, and `token`, which is sent as a bearer token.
    pub fn new(spec: &AlertProviderSpec, secret: Option<&BTreeMap<String, Vec<u8>>>) -> Result<Self, AlertError> {
        let Some((kind, make)) = REGISTRY.iter().find(|(kind, _)| *kind == spec.kind) else {
            let known: Vec<&str> = REGISTRY.iter().map(|(kind, _)| *kind).collect();
            return Err(AlertError::Kind { kind: spec.kind.clone(), known: known.join(", ") });
        };
        let name = spec.secret_ref.as_ref().map_or("", |reference| reference.name.as_str());
        if spec.secret_ref.is_some() && secret.is_none() {
            return Err(field("spec.secretRef", &format!("the Secret `{name}` does not exist; create it")));
        }
        let address = match (read(secret, name, "address")?, &spec.address) {
            (Some(address), _) => parse_address(&address, &format!("key `address` of Secret `{name}`"))?,
            (None, Some(address)) if !address.trim().is_empty() => parse_address(address, "spec.address")?,
            (None, _) if secret.is_some() => {
                let problem = format!("missing; put the key `address` into the Secret `{name}`, or set spec.address");
                return Err(field("spec.address", &problem));
            }
            (None, _) => {
                return Err(field("spec.address", "missing; set it, or spec.secretRef to a Secret with `address`"));
            }
        };
        let authorization = match read(secret, name, "token")? {
            Some(token) => Some(bearer(&token, name)?),
            None => None,
        };
        let proxy = match spec.proxy.as_deref() {
            Some(proxy) if !proxy.trim().is_empty() => Some(parse_address(proxy, "spec.proxy")?),
            _ => None,
        };
        let settings = Settings {
            channel: non_empty(spec.channel.as_deref(), "general"),
            username: non_empty(spec.username.as_deref(), "flagger"),
            address: &address,
        };
        let sink = make(&settings);
        Ok(Self { kind, endpoint: sink.endpoint(address), sink, authorization, proxy })
    }

    /// The receiver's host, which may be told.
    pub fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at {}", self.kind, self.host())
    }
}

/// One key of the Secret, without the line break that `echo` and editors leave.
fn read(secret: Option<&BTreeMap<String, Vec<u8>>>, name: &str, key: &str) -> Result<Option<String>, AlertError> {
    let Some(bytes) = secret.and_then(|secret| secret.get(key)) else { return Ok(None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(_) => Err(field(&format!("key `{key}` of Secret `{name}`"), "not UTF-8 text; correct it")),
    }
}

/// An `http` or `https` address. The error does not repeat it.
fn parse_address(address: &str, name: &str) -> Result<Url, AlertError> {
    let example = "write it as https://HOST/PATH";
    match Url::parse(address.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(field(name, &format!("not an address of the web; {example}"))),
        Err(problem) => Err(field(name, &format!("not an address ({problem}); {example}"))),
    }
}

fn bearer(token: &str, name: &str) -> Result<HeaderValue, AlertError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
        field(&format!("key `token` of Secret `{name}`"), "has a line break or a control character in it")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn non_empty<'a>(text: Option<&'a str>, default: &'a str) -> &'a str {
    text.filter(|text| !text.is_empty()).unwrap_or(default)
}

fn field(field: &str, problem: &str) -> AlertError {
    AlertError::Field { field: field.to_owned(), problem: problem.to_owned() }
}
