//! What the command line says about the loop, as plain checked values.

use crate::api::checked::{ObjectKey, Provider};

/// How the controller works. Made by the command line, which checks every value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The only namespace that is watched; `None` watches all.
    pub namespace: Option<String>,
    /// URL of the Prometheus that Canaries use which name none.
    pub metrics_server: String,
    /// Name of the query profile for built-in metrics; `None` chooses by what is found.
    pub metrics_profile: Option<String>,
    /// Technology that moves traffic for Canaries that name none.
    pub provider: Provider,
    /// Gateways for Canaries that name none.
    pub gateways: Vec<ObjectKey>,
    /// Label keys that may select a target's pods, in order of preference; never empty.
    pub selector_labels: Vec<String>,
    /// Prefixes of the Canary's labels that its generated objects get too.
    pub include_label_prefixes: Vec<String>,
    /// Name of this cluster in alerts.
    pub cluster_name: Option<String>,
    /// Refuse references to objects in other namespaces.
    pub no_cross_namespace_refs: bool,
    /// Whether ConfigMaps and Secrets belong to a revision.
    pub config_tracking: bool,
    /// Passes that run at the same time, 1 to 256.
    pub parallel_passes: usize,
}
