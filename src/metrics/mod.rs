//! Fetching numbers. Whatever goes wrong is an [`Answer`], never an error: what follows from it is decided elsewhere.
//!
//! A new backend is one file with a `MetricsProvider` and one line in the registry.

mod backend;
mod profile;
mod prometheus;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::{BoxFuture, join};
use futures::stream;
use reqwest::StatusCode;

pub use backend::{Backend, MetricsError};
pub use profile::Profile;

use crate::analysis::{Answer, Measurement};
use crate::api::checked::{Check, CheckSource, ValidatedCanary};
use crate::api::metric_template::MetricTemplateSpec;
use crate::outbound::Transport;

/// Most checks of one pass that are asked at the same time.
const CONCURRENT_CHECKS_MAX: usize = 8;

/// A kind of backend.
trait MetricsProvider: Send + Sync {
    /// Asks for one number. A failure names the backend, what was asked and the mend, and no credential.
    fn query<'a>(&'a self, backend: &'a Backend, query: &'a str) -> BoxFuture<'a, Answer>;
}

type MakeProvider = fn(Arc<dyn Transport>) -> Box<dyn MetricsProvider>;

/// The registry: the name in `spec.provider.type`, and what makes the provider.
const REGISTRY: &[(&str, MakeProvider)] =
    &[(prometheus::KIND, |transport| Box::new(prometheus::Prometheus::new(transport)))];

/// The kinds that can be used in `spec.provider.type`.
fn kinds() -> Vec<&'static str> {
    REGISTRY.iter().map(|(kind, _)| *kind).collect()
}

/// What is measured: the Canary and what belongs to it, under the names of Flagger's template functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Name of the Canary.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Name of the target Deployment.
    pub target: String,
    /// Name of the apex Service.
    pub service: String,
    /// Name of the Ingress; the target's, as in Flagger where there is none.
    pub ingress: String,
    /// Name of the route; the target's, as in Flagger where there is none.
    pub route: String,
    /// Port of the Service.
    pub port: i32,
    /// How the data plane counts requests.
    pub profile: Profile,
}

impl Subject {
    /// The subject that a Canary is. `profile` is what the flag `--metrics-profile` says, if anything.
    pub fn of(canary: &ValidatedCanary, profile: Option<Profile>) -> Self {
        Self {
            name: canary.key.name.clone(),
            namespace: canary.key.namespace.clone(),
            target: canary.target_name.clone(),
            service: canary.service.name.clone(),
            ingress: canary.target_name.clone(),
            route: canary.target_name.clone(),
            port: canary.service.port,
            profile: profile.unwrap_or_else(|| Profile::default_for(canary.provider)),
        }
    }
}

/// What is read from an answer of Prometheus. For the fuzz targets, which have no server.
#[doc(hidden)]
pub fn interpret(status: u16, media_type: Option<&str>, body: &[u8]) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    prometheus::interpret(status, media_type, body).unwrap_or_else(Answer::Error)
}

/// What a check's source was resolved to.
#[derive(Clone, Debug)]
pub struct Source {
    backend: Backend,
    /// Text of the `MetricTemplate`.
    query: Option<String>,
}

impl Source {
    /// For built-in and in-line queries: a Prometheus. `field` names where the address comes from, for the error:
    /// `spec.metricsServer` or `--metrics-server`.
    pub fn server(address: &str, field: &str) -> Result<Self, MetricsError> {
        Ok(Self { backend: Backend::prometheus(address, field)?, query: None })
    }

    /// For checks with a `templateRef`: the `MetricTemplate`, and the data of its Secret where it names one.
    pub fn template(
        spec: &MetricTemplateSpec,
        secret: Option<&BTreeMap<String, Vec<u8>>>,
    ) -> Result<Self, MetricsError> {
        Ok(Self { backend: Backend::from_template(spec, secret)?, query: Some(spec.query.clone()) })
    }
}

/// Fetches numbers. One for the whole process.
pub struct Metrics {
    providers: BTreeMap<&'static str, Box<dyn MetricsProvider>>,
}

impl Metrics {
    /// Asks by this transport.
    pub fn new(transport: &Arc<dyn Transport>) -> Self {
        Self { providers: REGISTRY.iter().map(|(kind, make)| (*kind, make(Arc::clone(transport)))).collect() }
    }

    /// Asks for all checks of a pass, a few at a time. The answers come in the order of the checks. A source that
    /// could not be resolved comes as the text that says so, and becomes an [`Answer::Error`].
    pub async fn measure_all<'a>(
        &self,
        subject: &Subject,
        checks: impl IntoIterator<Item = (&'a Check, Result<Source, String>)>,
    ) -> Vec<Measurement> {
        let measurements: Vec<_> = checks
            .into_iter()
            .map(|(check, source)| async move { self.measure(subject, check, source).await })
            .collect();
        stream::iter(measurements).buffered(CONCURRENT_CHECKS_MAX).collect().await
    }

    /// Asks for one check.
    pub async fn measure(&self, subject: &Subject, check: &Check, source: Result<Source, String>) -> Measurement {
        let question = source.and_then(|source| question(subject, check, source));
        let (answer, sample_size) = match question {
            Err(problem) => (Answer::Error(problem), None),
            Ok(question) => self.ask(&question).await,
        };
        Measurement { check: check.name.clone(), answer, sample_size }
    }

    async fn ask(&self, question: &Question) -> (Answer, Option<f64>) {
        let Some(provider) = self.providers.get(question.backend.kind) else {
            return (Answer::Error(format!("no such backend: {}", question.backend.kind)), None);
        };
        let value = provider.query(&question.backend, &question.query);
        let Some(built_in) = &question.built_in else { return (value.await, None) };
        let (answer, requests) = join(value, provider.query(&question.backend, &built_in.sample_size)).await;
        let answer = match answer {
            Answer::NoData(_) => Answer::NoData(built_in.without_requests.clone()),
            other => other,
        };
        match requests {
            Answer::Value(requests) if requests.is_finite() => (answer, Some(requests)),
            _ => (answer, None),
        }
    }
}

/// What is asked of whom.
struct Question {
    backend: Backend,
    query: String,
    built_in: Option<BuiltIn>,
}

/// What is known of built-in queries beyond their text.
struct BuiltIn {
    /// Query for the number of requests that the value rests on.
    sample_size: String,
    /// What an empty answer means, and the mend.
    without_requests: String,
}

fn question(subject: &Subject, check: &Check, source: Source) -> Result<Question, String> {
    let Source { backend, query } = source;
    let profile = subject.profile;
    let window = check.window.as_str();
    let built_in = |query| Question {
        built_in: Some(BuiltIn {
            sample_size: profile.sample_size(subject, window),
            without_requests: format!(
                "no requests to {}.{} were counted in {window}; send traffic to it, or choose the --metrics-profile of \
                 the data plane (now {})",
                subject.target,
                subject.namespace,
                profile.as_str()
            ),
        }),
        query,
        backend: backend.clone(),
    };
    let none = BTreeMap::new();
    let (text, variables) = match (&check.source, &query) {
        (CheckSource::RequestSuccessRate, _) => return Ok(built_in(profile.success_rate(subject, window))),
        (CheckSource::RequestDuration, _) => return Ok(built_in(profile.duration(subject, window))),
        (CheckSource::Query(text), _) => (text, &none),
        (CheckSource::Template { variables, .. }, Some(text)) => (text, variables),
        (CheckSource::Template { template, .. }, None) => {
            return Err(format!("MetricTemplate {template} was not read"));
        }
    };
    let context = template::Context { subject, interval: window, variables };
    let rendered = template::parse(text).and_then(|template| template.render(&context));
    let query = rendered.map_err(|error| match &check.source {
        CheckSource::Template { template, .. } => format!("spec.query of MetricTemplate {template}: {error}"),
        _ => format!("query of metric `{}`: {error}", check.name),
    })?;
    match query.trim() {
        "" => Err(format!("the query of metric `{}` is empty; write one", check.name)),
        query => Ok(Question { query: query.to_owned(), backend, built_in: None }),
    }
}
