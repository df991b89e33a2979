//! The labels that tell the primary's pods from the canary's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Settings, WorkloadError};
use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::rollout::object::{items, strings};

/// Longest value of a label.
const LABEL_LENGTH: usize = 63;

/// How the target selects its pods, and which of its labels differs on the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The label that differs: the first of the configured ones that the target has.
    pub label: String,
    /// Its value on the target.
    pub value: String,
    match_labels: BTreeMap<String, String>,
}

impl Selector {
    /// Reads the selector of the target.
    pub fn of(target: &Value, canary: &ValidatedCanary, settings: &Settings) -> Result<Self, WorkloadError> {
        let key = || ObjectKey::new(&canary.key.namespace, &canary.target_name);
        let match_labels = strings(target, "/spec/selector/matchLabels");
        let found = settings.selector_labels.iter().find_map(|label| match_labels.get_key_value(label));
        let Some((label, value)) = found.map(|(label, value)| (label.clone(), value.clone())) else {
            return Err(WorkloadError::NoSelectorLabel { target: key(), wanted: settings.selector_labels.clone() });
        };
        if primary_value(&value).len() > LABEL_LENGTH {
            return Err(WorkloadError::LabelTooLong { target: key(), label, value });
        }
        Ok(Self { label, value, match_labels })
    }

    /// Value of the differing label on the primary.
    pub fn primary_value(&self) -> String {
        primary_value(&self.value)
    }

    /// Labels that select the canary's pods.
    pub fn canary_labels(&self) -> BTreeMap<String, String> {
        self.match_labels.clone()
    }

    /// Labels that select the primary's pods: all of the target's, so that two targets which share the differing label
    /// and are told apart by another one don't get each other's pods. (Flagger keeps only the differing one.)
    pub fn primary_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.match_labels.clone();
        labels.insert(self.label.clone(), self.primary_value());
        labels
    }

    /// `spec.selector` of the primary: the target's, but for what it says about the differing label.
    pub fn primary_selector(&self, target: &Value) -> Value {
        let expressions: Vec<_> = items(target, "/spec/selector/matchExpressions")
            .iter()
            .filter(|expression| expression.get("key").and_then(Value::as_str) != Some(&self.label))
            .collect();
        let mut selector = json!({"matchLabels": self.primary_labels()});
        if !expressions.is_empty() {
            selector["matchExpressions"] = json!(expressions);
        }
        selector
    }
}

fn primary_value(value: &str) -> String {
    format!("{value}-primary")
}

#[cfg(test)]
mod tests {
    use super::super::testing::canary;
    use super::*;

    fn target(match_labels: &Value) -> Value {
        json!({"spec": {"selector": {"matchLabels": match_labels}}})
    }

    #[test]
    fn the_first_configured_label_that_the_target_has_differs() {
        let cases = [
            (json!({"app": "a"}), "app", "a"),
            (json!({"name": "n", "app": "a"}), "app", "a"),
            (json!({"app.kubernetes.io/name": "k", "name": "n"}), "name", "n"),
        ];
        for (match_labels, label, value) in cases {
            let selector = Selector::of(&target(&match_labels), &canary(), &Settings::default()).unwrap();
            assert_eq!((selector.label.as_str(), selector.value.as_str()), (label, value), "{match_labels}");
        }
    }

    #[test]
    fn a_target_that_cannot_be_told_apart_is_refused_with_the_mend() {
        let cases = [
            (
                target(&json!({"component": "web"})),
                "Deployment frontend.default must have one of the labels app, name, app.kubernetes.io/name in spec.selector.matchLabels",
            ),
            (json!({}), "must have one of the labels"),
            (target(&json!({"app": "a".repeat(56)})), "shorten it to 55"),
        ];
        for (target, message) in cases {
            let error = Selector::of(&target, &canary(), &Settings::default()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_other_parts_of_the_selector_are_kept() {
        let target = json!({"spec": {"selector": {
            "matchLabels": {"app": "shop", "component": "web"},
            "matchExpressions": [
                {"key": "app", "operator": "In", "values": ["shop"]},
                {"key": "tier", "operator": "Exists"},
            ],
        }}});
        let selector = Selector::of(&target, &canary(), &Settings::default()).unwrap();
        assert_eq!(
            selector.primary_selector(&target),
            json!({
                "matchLabels": {"app": "shop-primary", "component": "web"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}],
            })
        );
        assert_eq!(json!(selector.canary_labels()), json!({"app": "shop", "component": "web"}));
    }
}
