//! Identity of what a target would run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::rollout::Revision;
use crate::rollout::object::{find, pruned};

/// Marks the way in which a template's hash was made, so that another way never looks like another template.
const TEMPLATE_HASH_VERSION: &str = "serin1:";

/// Length of a revision's id, in hexadecimal digits.
const ID_LENGTH: usize = 12;

/// Hash of the target's pod template: `serin1:` and 16 hexadecimal digits. Nulls, empty maps and lists and the order of
/// keys don't count, so that it stays the same where only the API server's way of writing changed.
pub fn template_hash(target: &Value) -> String {
    let template = find(target, "/spec/template").map_or(Value::Null, pruned);
    // Maps of JSON keep their keys sorted, and it is written without white space.
    format!("{TEMPLATE_HASH_VERSION}{}", hex_digest(&template.to_string(), 16))
}

/// Revision of the target, given Flagger's checksums of what it refers to, by `configmap/NAME` and `secret/NAME`.
pub fn revision(target: &Value, configs: &BTreeMap<String, String>) -> Revision {
    let template_hash = template_hash(target);
    let mut identity = template_hash.clone();
    for (name, checksum) in configs {
        // Neither names nor checksums hold a line feed.
        let _ = write!(identity, "\n{name}={checksum}");
    }
    Revision { id: hex_digest(&identity, ID_LENGTH), template_hash, configs: configs.clone() }
}

/// The first digits of the SHA-256 of a text, in hexadecimal, at most 64.
pub(super) fn hex_digest(text: &str, digits: usize) -> String {
    hex(&Sha256::digest(text.as_bytes()), digits)
}

/// The first hexadecimal digits of some bytes.
pub(super) fn hex(bytes: &[u8], digits: usize) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(digits.div_ceil(2)) {
        let _ = write!(text, "{byte:02x}");
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::target;
    use super::*;

    fn with(pointer: &str, value: Value) -> Value {
        let mut target = target();
        *target.pointer_mut(pointer).unwrap() = value;
        target
    }

    /// A stored hash of an older release must still mean the same template, or an upgrade starts a run everywhere.
    #[test]
    fn the_hash_of_a_template_never_changes_between_releases() {
        let cases = [
            (json!({"spec": {"b": [1, "x"], "a": null}}), "serin1:32dd8d989c0ec965"),
            (
                json!({"spec": {"z": "\n\u{e9}\"", "k": {"y": 0.5, "x": true}}, "metadata": {"b": -1}}),
                "serin1:425590dcdd46768f",
            ),
        ];
        for (template, hash) in cases {
            assert_eq!(template_hash(&json!({"spec": {"template": template}})), hash, "{template}");
        }
    }

    #[test]
    fn what_runs_differently_is_another_revision_and_nothing_else_is() {
        let same = [
            with("/spec/replicas", json!(7)),
            with("/metadata/annotations", json!({"new": "annotation"})),
            with("/spec/template/metadata/creationTimestamp", json!({})),
            with("/spec/template/spec/containers/0/resources", json!(null)),
            with("/status", json!({})),
        ];
        for target in same {
            assert_eq!(template_hash(&target), template_hash(&super::super::testing::target()), "{target}");
        }
        let different = [
            with("/spec/template/spec/containers/0/image", json!("frontend:2")),
            with("/spec/template/metadata/annotations", json!({"kubectl.kubernetes.io/restartedAt": "now"})),
            with("/spec/template/spec/containers/0/resources", json!({"limits": {"cpu": "1"}})),
            with("/spec/template/spec/volumes/3", json!({"name": "scratch"})),
            with("/spec/template/spec/topologySpreadConstraints/0/labelSelector", json!({})),
        ];
        for target in different {
            assert_ne!(template_hash(&target), template_hash(&super::super::testing::target()), "{target}");
        }
    }

    #[test]
    fn configuration_is_part_of_the_revision() {
        let configs = |entries: &[(&str, &str)]| {
            entries.iter().map(|(name, sum)| ((*name).to_owned(), (*sum).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let id = |entries| revision(&target(), &configs(entries)).id;
        let first = id(&[("configmap/a", "1")]);
        assert_eq!(first.len(), 12);
        assert_eq!(first, id(&[("configmap/a", "1")]));
        for other in [
            id(&[]),
            id(&[("configmap/a", "2")]),
            id(&[("secret/a", "1")]),
            id(&[("configmap/a", "1"), ("secret/b", "1")]),
        ] {
            assert_ne!(first, other);
        }
    }
}
