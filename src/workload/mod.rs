//! The pair: the target Deployment that Git owns, and the primary that serves users.
//!
//! Given raw objects of the API server, this room says what the primary, its Services, its autoscaler and the copies of
//! its configuration shall look like, as [`Write`](crate::rollout::Write)s. What is there already is changed by a merge
//! patch of what differs, so that nothing is written where nothing differs; the primary is replaced as a whole.

mod autoscaler;
mod configs;
mod metadata;
mod primary;
mod readiness;
mod revert;
mod revision;
mod selector;
mod services;
#[cfg(test)]
mod testing;

pub use autoscaler::{plan_autoscaler, plan_scale, replicas, scale_up_replicas};
pub use configs::{ConfigKind, ConfigReference, checksum, plan_copy, references};
pub use primary::{blueprint, initial_replicas, matches, plan_primary, promoted_replicas, written_revision};
pub use readiness::{can_serve, readiness};
pub use revert::{Remains, plan_revert};
pub use revision::{revision, template_hash};
pub use services::{ExistingServices, plan_services};

use crate::api::checked::ObjectKey;

/// What the controller's flags say about every pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Labels by which a target may be selected, the first that it has is used (`--selector-labels`).
    pub selector_labels: Vec<String>,
    /// Prefixes of the labels that are copied to generated objects, `*` for all (`--include-label-prefix`).
    pub include_label_prefixes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            selector_labels: ["app", "name", "app.kubernetes.io/name"].map(str::to_owned).to_vec(),
            include_label_prefixes: Vec::new(),
        }
    }
}

/// Why the pair can't be planned, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// The target has none of the labels that tell the primary from the canary.
    #[error(
        "Deployment {target} must have one of the labels {} in spec.selector.matchLabels: add one, or name the one that it has with --selector-labels",
        .wanted.join(", ")
    )]
    NoSelectorLabel {
        /// The target.
        target: ObjectKey,
        /// The labels that were looked for.
        wanted: Vec<String>,
    },
    /// The primary's label would be longer than Kubernetes allows.
    #[error(
        "Deployment {target}: label {label} can't become \"{value}-primary\" for the primary, a label has at most 63 characters: shorten it to 55"
    )]
    LabelTooLong {
        /// The target.
        target: ObjectKey,
        /// The label.
        label: String,
        /// Its value on the target.
        value: String,
    },
    /// The target lacks a field that every Deployment has.
    #[error("Deployment {target} has no {field}: it is not a Deployment of apps/v1 as the API server gives it")]
    Incomplete {
        /// The target.
        target: ObjectKey,
        /// The missing field.
        field: &'static str,
    },
    /// An object with a name that this Canary needs belongs to somebody else.
    #[error("{kind} {key} is needed by this Canary but belongs to {owner}: {mend}")]
    Taken {
        /// Kind of the object.
        kind: &'static str,
        /// The object.
        key: ObjectKey,
        /// To whom it belongs.
        owner: String,
        /// What to do.
        mend: &'static str,
    },
    /// The target was recreated with another selector; that of the primary can't be changed.
    #[error(
        "Deployment {primary} selects its pods by {label}={value}, which the pods of the new revision don't have: a selector can't be changed, so delete {primary} when it can be missed; it is made anew from the target"
    )]
    SelectorChanged {
        /// The primary.
        primary: ObjectKey,
        /// The label.
        label: String,
        /// The value that the primary's selector wants.
        value: String,
    },
    /// The bounds of the primary's autoscaler contradict each other.
    #[error(
        "HorizontalPodAutoscaler {key} would have minReplicas {min} above maxReplicas {max}: mend spec.autoscalerRef.primaryScalerReplicas"
    )]
    AutoscalerBounds {
        /// The primary's autoscaler.
        key: ObjectKey,
        /// Its lower bound.
        min: i64,
        /// Its upper bound.
        max: i64,
    },
}
