//! The pod template of a workload, and what is read out of it once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::environment::Environment;
use crate::rollout::object::{integer, strings, text};

/// Where the template is in a Deployment and in a DaemonSet.
pub const TEMPLATE: &str = "/spec/template";
/// The letters of names that Kubernetes makes up: they spell no word.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters of a template's hash.
const HASH_LENGTH: usize = 10;

/// A pod template.
#[derive(Debug)]
pub struct Template {
    /// Tells it from others.
    pub hash: String,
    /// The labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// The image of the first container.
    pub image: String,
    /// The labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Where its environment comes from.
    pub environment: Environment,
    /// The workload whose template it is.
    source: Arc<Value>,
}

impl Template {
    /// Reads the template of a workload.
    pub fn of(workload: &Arc<Value>) -> Self {
        let body = workload.pointer(TEMPLATE).unwrap_or(&Value::Null);
        let spec = body.get("spec").unwrap_or(&Value::Null);
        Self {
            hash: letters(fnv(body.to_string().as_bytes()), HASH_LENGTH),
            labels: strings(body, "/metadata/labels"),
            image: text(spec, "/containers/0/image").unwrap_or_default().to_owned(),
            node_selector: strings(spec, "/nodeSelector"),
            environment: Environment::of(spec),
            source: workload.clone(),
        }
    }

    /// The template as it was written.
    pub fn body(&self) -> Option<&Value> {
        self.source.pointer(TEMPLATE)
    }

    /// Whether the workload has this template.
    pub fn is_of(&self, workload: &Value) -> bool {
        self.body() == workload.pointer(TEMPLATE)
    }
}

/// `spec.minReadySeconds` of a workload.
pub fn minimum_ready(workload: &Value) -> Duration {
    let seconds = integer(workload, "/spec/minReadySeconds").unwrap_or(0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The 64-bit FNV-1a hash (RFC 9923).
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number in `length` letters of made-up names.
pub fn letters(mut number: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        text.extend(LETTERS.get((number % 27) as usize).map(|letter| char::from(*letter)));
        number /= 27;
    }
    text
}
