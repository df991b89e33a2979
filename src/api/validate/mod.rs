//! Turns a Canary as it is written into one that is checked. Everything that is wrong is told at once, each by its field
//! and with the mend; what this version cannot do is a problem too, never silently left out.

mod analysis;
mod metrics;
mod numbers;
mod route;
mod service;
mod strategy;
mod target;
mod templates;
mod unsupported;

#[cfg(test)]
mod tests;

use serde_json::Value;

pub use templates::{validate_alert_provider, validate_metric_template};

use super::canary::CanarySpec;
use super::checked::{ObjectKey, Provider, ValidatedCanary};
use super::problem::Problems;
pub use super::problem::{Invalid, Problem};
use super::{names as is, schema};

/// Flagger's finalizer, which Serin keeps so that the two can take over from each other.
const FINALIZER: &str = "finalizer.flagger.app";

/// What the controller's flags give to Canaries that do not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `--mesh-provider`.
    pub provider: Provider,
    /// `--gateway`: parents of routes of Canaries without `gatewayRefs`.
    pub gateways: Vec<ObjectKey>,
    /// `--no-cross-namespace-refs`.
    pub no_cross_namespace_refs: bool,
}

/// Checks a Canary object as the API server stores it, or as a manifest has it.
///
/// # Errors
/// Everything that is wrong with it, each with field and mend.
pub fn validate(object: &Value, defaults: &Defaults) -> Result<ValidatedCanary, Invalid> {
    let mut object = object.clone();
    let written = object.pointer("/spec/analysis").cloned().unwrap_or_default();
    let mut problems = schema::check("Canary", &mut object).problems;
    let spec = match decode(object.get("spec")) {
        Ok(spec) => spec,
        Err((field, message)) => {
            problems.add(field, message);
            CanarySpec::default()
        }
    };
    let mut found = Problems::default();
    let key = object_key(&object, &mut found);
    let context = Context { namespace: &key.namespace, defaults, provider: provider(&spec, defaults) };
    strategy::check_rules(&spec, &written, &mut found);
    let checked = read(&object, key.clone(), &spec, &context, &mut found);
    problems.extend_uncovered(found);
    problems.or(checked)
}

/// What the fields of a spec are read with.
struct Context<'a> {
    /// The Canary's namespace.
    namespace: &'a str,
    defaults: &'a Defaults,
    /// `None` for a technology that is not built yet: what belongs to it is not judged.
    provider: Option<Provider>,
}

fn read(
    object: &Value,
    key: ObjectKey,
    spec: &CanarySpec,
    context: &Context<'_>,
    problems: &mut Problems,
) -> ValidatedCanary {
    unsupported::check(spec, context, problems);
    let metadata = &object["metadata"];
    let finalizers = metadata["finalizers"].as_array();
    let progress_deadline_seconds = target::progress_deadline_seconds(spec, problems);
    ValidatedCanary {
        key,
        uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
        generation: metadata["generation"].as_i64().unwrap_or_default(),
        deleting: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
        has_finalizer: finalizers.is_some_and(|finalizers| finalizers.iter().any(|name| name == FINALIZER)),
        provider: context.provider.unwrap_or(context.defaults.provider),
        target_name: target::name(spec, problems),
        autoscaler: target::autoscaler(spec, problems),
        service: service::read(spec, context, problems),
        analysis: analysis::read(spec, progress_deadline_seconds, context, problems),
        progress_deadline_seconds,
        skip_analysis: spec.skip_analysis,
        suspended: spec.suspend,
        revert_on_deletion: spec.revert_on_deletion,
        metrics_server: target::metrics_server(spec, problems),
    }
}

/// Reads the spec from JSON that fits the schema; what is missing was told before.
fn decode(spec: Option<&Value>) -> Result<CanarySpec, (String, String)> {
    let Some(spec) = spec else { return Ok(CanarySpec::default()) };
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let field = format!("spec.{}", error.path());
        (field, format!("cannot be read: {}", error.into_inner()))
    })
}

/// Namespace and name of an object; `default` is the namespace of a manifest that names none.
fn object_key(object: &Value, problems: &mut Problems) -> ObjectKey {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        problems.add("metadata.name", "is missing: add it");
    }
    ObjectKey::new(metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty()).unwrap_or("default"), name)
}

/// The technology that a spec asks for, if it is built.
fn provider(spec: &CanarySpec, defaults: &Defaults) -> Option<Provider> {
    match spec.provider.as_str() {
        "" => Some(defaults.provider),
        name => Provider::parse(name),
    }
}

/// Notes a problem when an object is referred to in another namespace although the controller forbids it.
fn check_namespace(namespace: &str, field: &str, context: &Context<'_>, problems: &mut Problems) {
    if context.defaults.no_cross_namespace_refs && !namespace.is_empty() && namespace != context.namespace {
        let message = format!(
            "namespace {namespace} is not the Canary's, and the controller runs with --no-cross-namespace-refs: remove \
             it, and keep the object in namespace {}",
            context.namespace
        );
        problems.add(field, message);
    }
}
