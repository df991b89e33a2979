//! A metrics backend and the credentials for it, checked.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::api::metric_template::MetricTemplateSpec;
use crate::outbound::Trust;

/// Why a backend can't be asked: the field and the mend. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// The kind of backend is not known.
    #[error("spec.provider.type `{kind}` is not supported yet; use one of: {known}")]
    Kind {
        /// What was asked for.
        kind: String,
        /// What is supported.
        known: String,
    },
    /// An address can't be used.
    #[error("{field}: {problem}")]
    Address {
        /// The field that holds it.
        field: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// A header can't be sent.
    #[error("spec.provider.headers.{name}: {problem}")]
    Header {
        /// Name of the header.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The secret is missing or can't be used.
    #[error("spec.provider.secretRef `{secret}`: {problem}")]
    Secret {
        /// Name of the Secret.
        secret: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
}

/// Where queries are sent, and how.
#[derive(Clone)]
pub struct Backend {
    /// Kind in the registry.
    pub(super) kind: &'static str,
    /// Address, with user information where the user wrote some into it.
    pub(super) address: Url,
    /// Headers of every query, in the order of their names.
    pub(super) headers: HeaderMap,
    /// Who asks.
    pub(super) auth: Auth,
    /// How the server proves who it is.
    pub(super) trust: Trust,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Auth {
    /// Anybody, or who the headers or the address say.
    None,
    /// HTTP basic authentication.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// `Authorization: Bearer`.
    Bearer(String),
}

impl Backend {
    /// A Prometheus without credentials: the controller's default, or a Canary's `metricsServer`. `field` names where
    /// the address comes from, for the error.
    pub fn prometheus(address: &str, field: &str) -> Result<Self, MetricsError> {
        let address = parse_address(address, field)?;
        let trust = trust(&address, false, None);
        Ok(Self { kind: super::prometheus::KIND, address, headers: HeaderMap::new(), auth: Auth::None, trust })
    }

    /// The backend of a `MetricTemplate`. `secret` holds the data of the Secret that `spec.provider.secretRef` names:
    /// `token`, or `username` and `password`, and `ca.crt` for a server with a certificate of a private authority.
    pub fn from_template(
        spec: &MetricTemplateSpec,
        secret: Option<&BTreeMap<String, Vec<u8>>>,
    ) -> Result<Self, MetricsError> {
        let provider = &spec.provider;
        let known = super::kinds();
        let Some(kind) = known.iter().find(|known| **known == provider.kind) else {
            return Err(MetricsError::Kind { kind: provider.kind.clone(), known: known.join(", ") });
        };
        let address = parse_address(provider.address.as_deref().unwrap_or_default(), "spec.provider.address")?;
        let name = provider.secret_ref.as_ref().map_or("", |reference| reference.name.as_str());
        let secret = match (secret, &provider.secret_ref) {
            (None, Some(_)) => return Err(secret_error(name, "the Secret does not exist; create it")),
            (secret, _) => secret,
        };
        let authorities = secret.and_then(|secret| secret.get("ca.crt")).cloned();
        let auth = match secret {
            Some(secret) => auth(secret, name)?,
            None => Auth::None,
        };
        Ok(Self {
            kind,
            trust: trust(&address, provider.insecure_skip_verify.unwrap_or(false), authorities),
            address,
            headers: headers(provider.headers.as_ref())?,
            auth,
        })
    }

    /// The address without user information, for people.
    pub(super) fn shown(&self) -> String {
        let mut address = self.address.clone();
        // Both fail only for addresses without a host, which were refused.
        let _ = address.set_username("");
        let _ = address.set_password(None);
        address.set_query(None);
        address.as_str().trim_end_matches('/').to_owned()
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at {}", self.kind, self.shown())
    }
}

/// An absolute `http` or `https` address. The error does not repeat it, as it may hold a password.
fn parse_address(address: &str, field: &str) -> Result<Url, MetricsError> {
    let error = |problem: String| MetricsError::Address { field: field.to_owned(), problem };
    let example = "write it as http://HOST:PORT or https://HOST:PORT";
    if address.trim().is_empty() {
        return Err(error(format!("the address is missing; {example}")));
    }
    let mut url =
        Url::parse(address.trim()).map_err(|problem| error(format!("not an address ({problem}); {example}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(error(format!("`{}:` is not a scheme that can be used; {example}", url.scheme())));
    }
    // A trailing slash would make an empty path segment before `api/v1/query`.
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.set_fragment(None);
    Ok(url)
}

fn trust(address: &Url, skip_verification: bool, authorities: Option<Vec<u8>>) -> Trust {
    match authorities {
        _ if address.scheme() == "http" => Trust::Plain,
        _ if skip_verification => Trust::Anything,
        Some(authorities) => Trust::Authorities(authorities),
        None => Trust::System,
    }
}

fn headers(wanted: Option<&BTreeMap<String, Vec<String>>>) -> Result<HeaderMap, MetricsError> {
    let mut headers = HeaderMap::new();
    for (name, values) in wanted.into_iter().flatten() {
        let error = |problem| MetricsError::Header { name: name.clone(), problem };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| error("this is not a name of a header"))?;
        for value in values {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| error("the value has a line break or another control character; remove it"))?;
            value.set_sensitive(true);
            headers.append(header.clone(), value);
        }
    }
    Ok(headers)
}

fn auth(secret: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Auth, MetricsError> {
    let read = |key: &str| -> Result<Option<String>, MetricsError> {
        let Some(bytes) = secret.get(key) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| secret_error(name, &format!("`{key}` is not UTF-8 text")))?;
        // `echo` and editors leave a line break that nobody means.
        let text = text.trim_end_matches(['\r', '\n']);
        if text.chars().any(char::is_control) {
            return Err(secret_error(name, &format!("`{key}` has a line break or another control character in it")));
        }
        Ok(Some(text.to_owned()))
    };
    match (read("token")?, read("username")?, read("password")?) {
        (Some(token), ..) => Ok(Auth::Bearer(token)),
        (None, Some(username), Some(password)) => Ok(Auth::Basic { username, password }),
        (None, Some(_), None) => Err(secret_error(name, "`username` without `password`; add the key `password`")),
        (None, None, Some(_)) => Err(secret_error(name, "`password` without `username`; add the key `username`")),
        (None, None, None) if secret.contains_key("ca.crt") => Ok(Auth::None),
        (None, None, None) => {
            Err(secret_error(name, "none of the keys that can be used; add `token`, or `username` and `password`"))
        }
    }
}

fn secret_error(secret: &str, problem: &str) -> MetricsError {
    MetricsError::Secret { secret: secret.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::metric_template::{MetricTemplateProvider, SecretRef};

    type Pairs<'a> = &'a [(&'a str, &'a [u8])];

    fn template(kind: &str, address: &str, header: Option<(&str, &str)>, with_secret: bool) -> MetricTemplateSpec {
        MetricTemplateSpec {
            provider: MetricTemplateProvider {
                kind: kind.into(),
                address: (!address.is_empty()).then(|| address.into()),
                headers: header.map(|(name, value)| BTreeMap::from([(name.into(), vec![value.into()])])),
                secret_ref: with_secret.then(|| SecretRef { name: "creds".into() }),
                ..MetricTemplateProvider::default()
            },
            query: "up".into(),
        }
    }

    fn secret(pairs: Pairs<'_>) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect()
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table")]
    fn a_template_that_can_not_be_used_says_why() {
        let fine = "http://prometheus:9090";
        let cases: [(&str, &str, Option<(&str, &str)>, Option<Pairs<'_>>, &str); 13] = [
            ("datadog", fine, None, None, "spec.provider.type `datadog` is not supported yet; use one of: prometheus"),
            ("", fine, None, None, "spec.provider.type `` is not supported yet; use one of: prometheus"),
            (
                "prometheus",
                "",
                None,
                None,
                "spec.provider.address: the address is missing; write it as http://HOST:PORT or https://HOST:PORT",
            ),
            (
                "prometheus",
                "prometheus:9090",
                None,
                None,
                "spec.provider.address: `prometheus:` is not a scheme that can be used; write it as http://HOST:PORT or \
                 https://HOST:PORT",
            ),
            (
                "prometheus",
                "http://me:hunter2@",
                None,
                None,
                "spec.provider.address: not an address (empty host); write it as http://HOST:PORT or https://HOST:PORT",
            ),
            ("prometheus", fine, Some(("a b", "x")), None, "spec.provider.headers.a b: this is not a name of a header"),
            (
                "prometheus",
                fine,
                Some(("X-Tenant", "a\nb")),
                None,
                "spec.provider.headers.X-Tenant: the value has a line break or another control character; remove it",
            ),
            (
                "prometheus",
                fine,
                None,
                Some(&[]),
                "spec.provider.secretRef `creds`: none of the keys that can be used; add `token`, or `username` and \
                 `password`",
            ),
            (
                "prometheus",
                fine,
                None,
                Some(&[("username", b"me")]),
                "spec.provider.secretRef `creds`: `username` without `password`; add the key `password`",
            ),
            (
                "prometheus",
                fine,
                None,
                Some(&[("password", b"hunter2")]),
                "spec.provider.secretRef `creds`: `password` without `username`; add the key `username`",
            ),
            (
                "prometheus",
                fine,
                None,
                Some(&[("token", b"\xff")]),
                "spec.provider.secretRef `creds`: `token` is not UTF-8 text",
            ),
            (
                "prometheus",
                fine,
                None,
                Some(&[("token", b"hunter2\nx")]),
                "spec.provider.secretRef `creds`: `token` has a line break or another control character in it",
            ),
            ("prometheus", fine, None, None, ""),
        ];
        for (kind, address, header, pairs, expected) in cases {
            let data = pairs.map(secret);
            let result = Backend::from_template(&template(kind, address, header, pairs.is_some()), data.as_ref());
            let text = result.err().map_or_else(String::new, |error| error.to_string());
            assert_eq!(text, expected, "{kind} {address} {header:?}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let error = Backend::from_template(&template("prometheus", fine, None, true), None).unwrap_err();
        assert_eq!(error.to_string(), "spec.provider.secretRef `creds`: the Secret does not exist; create it");
    }

    #[test]
    fn trust_follows_scheme_flag_and_secret() {
        let authority: Pairs<'_> = &[("ca.crt", b"pem")];
        let cases: [(&str, bool, Option<Pairs<'_>>, Trust); 6] = [
            ("http://p", false, None, Trust::Plain),
            ("http://p", true, Some(authority), Trust::Plain),
            ("https://p", false, None, Trust::System),
            ("https://p", true, None, Trust::Anything),
            ("https://p", true, Some(authority), Trust::Anything),
            ("https://p", false, Some(authority), Trust::Authorities(b"pem".to_vec())),
        ];
        for (address, skip, pairs, expected) in cases {
            let mut spec = template("prometheus", address, None, false);
            spec.provider.insecure_skip_verify = Some(skip);
            let data = pairs.map(secret);
            assert_eq!(Backend::from_template(&spec, data.as_ref()).unwrap().trust, expected, "{address} {skip}");
        }
    }

    #[test]
    fn people_never_see_the_password() {
        let backend =
            Backend::prometheus("https://me:hunter2@host:9090/base/?token=hunter2", "--metrics-server").unwrap();
        assert_eq!(format!("{backend:?}"), "prometheus at https://host:9090/base");
    }
}
