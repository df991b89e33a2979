//! The flags of `serin controller`: Flagger's, with Flagger's names and defaults, and a few of Serin's own.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum};

use crate::api::checked::{ObjectKey, Provider};
use crate::controller::logs::{LogFormat, LogLevel};
use crate::controller::options::Options;

/// Flags of `serin controller`. One dash will do, and of a flag that comes twice the last one holds, as in Flagger.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true)]
pub struct ControllerArgs {
    /// Kubeconfig file [default: KUBECONFIG, ~/.kube/config, or the pod's service account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<String>,

    /// Prometheus for Canaries that name none
    #[arg(long, value_name = "URL", default_value = "http://prometheus:9090")]
    metrics_server: String,

    /// Query profile for the built-in metrics [default: chosen by the data plane]
    #[arg(long, value_name = "NAME")]
    metrics_profile: Option<String>,

    /// Port of /metrics, /healthz and /readyz
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// Watch this namespace only [default: all]
    #[arg(long)]
    namespace: Option<String>,

    /// What moves traffic, for Canaries that don't say: gatewayapi:v1, gatewayapi:v1beta1 or kubernetes
    #[arg(long, default_value = "gatewayapi:v1")]
    mesh_provider: String,

    /// Gateway for Canaries that name none; repeatable
    #[arg(long = "gateway", value_name = "NAMESPACE/NAME")]
    gateways: Vec<String>,

    /// Label keys that may select a target's pods, the first that is there wins
    #[arg(long, value_name = "KEY,...", default_value = "app,name,app.kubernetes.io/name")]
    selector_labels: String,

    /// Prefixes of the Canary's labels that generated objects get too
    #[arg(long, value_name = "PREFIX,...", default_value = "")]
    include_label_prefix: String,

    /// Let one of several processes lead (unlike Flagger, the default: without it two processes work against each other)
    #[arg(long, value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", action = ArgAction::Set)]
    enable_leader_election: bool,

    /// Namespace of the Lease [default: --namespace, or else the pod's own]
    #[arg(long, value_name = "NAMESPACE")]
    leader_election_namespace: Option<String>,

    /// Name of this cluster in alerts
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,

    /// Refuse references to objects in other namespaces
    #[arg(long, value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", action = ArgAction::Set)]
    no_cross_namespace_refs: bool,

    /// Count ConfigMaps and Secrets as part of a revision
    #[arg(long, value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", action = ArgAction::Set)]
    enable_config_tracking: bool,

    /// Passes that run at the same time, 1 to 256
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    threadiness: u16,

    /// Least important level that is logged
    #[arg(long, value_enum, ignore_case = true, default_value = "info")]
    log_level: LogLevel,

    /// How log lines look; console is text
    #[arg(long, alias = "zap-encoding", value_enum, default_value = "json")]
    log_format: LogFormat,

    #[command(flatten)]
    foreign: super::foreign::ForeignArgs,
}

/// What the flags say, checked.
#[derive(Debug)]
pub struct Settings {
    /// The kubeconfig file, where one is named.
    pub kubeconfig: Option<PathBuf>,
    /// Port of the HTTP server.
    pub port: u16,
    /// Whether processes elect a leader.
    pub leader_election: bool,
    /// Namespace of the Lease; `None` means the client's default.
    pub lease_namespace: Option<String>,
    /// What is logged.
    pub log_level: LogLevel,
    /// How.
    pub log_format: LogFormat,
    /// What the loop wants to know.
    pub options: Options,
    /// Flags that are accepted and mean nothing here, in words for the log.
    pub warnings: Vec<String>,
}

/// A flag that the controller can't start with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The value is wrong.
    #[error("--{flag} {value}: {mend}")]
    Value {
        /// Name without dashes.
        flag: &'static str,
        /// As given.
        value: String,
        /// What is expected.
        mend: &'static str,
    },
    /// A flag of Flagger, or its environment variable, that asks for what Serin does another way.
    #[error("{given} is not supported: {mend}")]
    Unsupported {
        /// The flag with its dashes, or the variable.
        given: String,
        /// What to do instead.
        mend: &'static str,
    },
}

impl ControllerArgs {
    /// Checks everything and reports all that is wrong, not the first only. `environment` looks up variables.
    pub fn check(self, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, Vec<FlagError>> {
        let mut errors = Vec::new();
        let warnings = self.foreign.check(environment, &mut errors);
        let provider = provider(&self.mesh_provider).unwrap_or_else(|error| {
            errors.push(error);
            Provider::GatewayApi
        });
        errors.extend(metrics_server(&self.metrics_server).err());
        let selector_labels = list(&self.selector_labels);
        if selector_labels.is_empty() {
            errors.push(wrong(
                "selector-labels",
                &self.selector_labels,
                "name at least one label key, for example app",
            ));
        }
        let mut gateways = Vec::new();
        for value in &self.gateways {
            match gateway(value) {
                Ok(gateway) => gateways.push(gateway),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let namespace = given(self.namespace);
        Ok(Settings {
            kubeconfig: given(self.kubeconfig).map(PathBuf::from),
            port: self.port,
            leader_election: self.enable_leader_election,
            lease_namespace: given(self.leader_election_namespace).or_else(|| namespace.clone()),
            log_level: self.log_level,
            log_format: self.log_format,
            options: Options {
                namespace,
                metrics_server: self.metrics_server,
                metrics_profile: given(self.metrics_profile),
                provider,
                gateways,
                selector_labels,
                include_label_prefixes: list(&self.include_label_prefix),
                cluster_name: given(self.cluster_name),
                no_cross_namespace_refs: self.no_cross_namespace_refs,
                config_tracking: self.enable_config_tracking,
                parallel_passes: usize::from(self.threadiness),
            },
            warnings,
        })
    }
}

fn wrong(flag: &'static str, value: &str, mend: &'static str) -> FlagError {
    FlagError::Value { flag, value: value.to_owned(), mend }
}

/// An empty value is how a Helm chart says "not set".
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn provider(value: &str) -> Result<Provider, FlagError> {
    match value {
        "gatewayapi:v1" | "gatewayapi:v1beta1" => Ok(Provider::GatewayApi),
        "kubernetes" => Ok(Provider::Kubernetes),
        _ => Err(wrong(
            "mesh-provider",
            value,
            "this provider is not built in; use gatewayapi:v1 (gatewayapi:v1beta1 means the same) or kubernetes",
        )),
    }
}

fn metrics_server(value: &str) -> Result<(), FlagError> {
    let url: Option<http::Uri> = value.parse().ok();
    match url {
        Some(url) if matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() => Ok(()),
        _ => Err(wrong("metrics-server", value, "give a URL, for example http://prometheus:9090")),
    }
}

fn gateway(value: &str) -> Result<ObjectKey, FlagError> {
    let is_name = |part: &str| {
        let is_valid = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        part.starts_with(is_valid) && part.chars().all(|character| is_valid(character) || "-.".contains(character))
    };
    match value.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => Ok(ObjectKey::new(namespace, name)),
        _ => Err(wrong("gateway", value, "give NAMESPACE/NAME, for example projectcontour/contour")),
    }
}

/// A Boolean as Go's flag package reads it.
pub(super) fn go_bool(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

impl ValueEnum for LogLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Trace => PossibleValue::new("trace"),
            Self::Debug => PossibleValue::new("debug"),
            Self::Info => PossibleValue::new("info"),
            Self::Warn => PossibleValue::new("warning").alias("warn"),
            // Flagger's names, of which the last ones end the process there.
            Self::Error => PossibleValue::new("error").aliases(["fatal", "panic"]),
        })
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Json, Self::Text]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Json => PossibleValue::new("json"),
            Self::Text => PossibleValue::new("text").alias("console"),
        })
    }
}
