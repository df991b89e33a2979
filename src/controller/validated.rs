//! Canaries that were validated before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::api::checked::{ObjectKey, ValidatedCanary};
use crate::api::validate::{Defaults, Invalid, validate};
use crate::rollout::object::is_same_but_status;

/// Canaries that were validated before. Nearly every pass finds one that nobody changed but for its status.
#[derive(Default)]
pub struct ValidatedCanaries(Mutex<Known>);

type Known = HashMap<ObjectKey, (Arc<Value>, Arc<ValidatedCanary>)>;

impl ValidatedCanaries {
    /// Validates a Canary, if it is not as it was the last time.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(
        &self,
        key: &ObjectKey,
        object: &Arc<Value>,
        defaults: &Defaults,
    ) -> Result<Arc<ValidatedCanary>, Invalid> {
        let is_same = |known: &Arc<Value>| Arc::ptr_eq(known, object) || is_same_but_status(known, object);
        let known = self.known().get(key).filter(|(known, _)| is_same(known)).cloned();
        let canary = match known {
            Some((_, canary)) => canary,
            None => Arc::new(validate(object, defaults)?),
        };
        // The newest object, which others hold too, rather than one more.
        self.known().insert(key.clone(), (object.clone(), canary.clone()));
        Ok(canary)
    }

    /// Forgets a Canary.
    pub fn forget(&self, key: &ObjectKey) {
        self.known().remove(key);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::checked::Provider;

    fn canary() -> Value {
        json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {
                "name": "frontend", "namespace": "default", "uid": "u", "generation": 1, "resourceVersion": "7",
            },
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"},
                "service": {"port": 80},
                "analysis": {"interval": "10s", "threshold": 3, "maxWeight": 50, "stepWeight": 10, "metrics": []},
            },
            "status": {"phase": "Progressing"},
        })
    }

    fn defaults() -> Defaults {
        let gateways = vec![ObjectKey::new("infra", "public")];
        Defaults { provider: Provider::GatewayApi, gateways, no_cross_namespace_refs: false }
    }

    #[test]
    fn a_canary_is_validated_again_when_something_changed_that_is_not_its_status() {
        let key = ObjectKey::new("default", "frontend");
        let cases = [
            // where, what stands there now, whether it is the same to users
            ("/status/phase", json!("Failed"), true),
            ("/metadata/resourceVersion", json!("8"), true),
            ("/metadata/generation", json!(2), false),
            ("/metadata/uid", json!("other"), false),
            ("/spec/analysis/threshold", json!(4), false),
        ];
        for (pointer, value, is_same) in cases {
            let canaries = ValidatedCanaries::default();
            let first = canaries.validate(&key, &Arc::new(canary()), &defaults()).unwrap();
            let mut changed = canary();
            *changed.pointer_mut(pointer).unwrap() = value;
            let second = canaries.validate(&key, &Arc::new(changed.clone()), &defaults()).unwrap();
            assert_eq!(Arc::ptr_eq(&first, &second), is_same, "{pointer}");
            assert_eq!(*second, validate(&changed, &defaults()).unwrap(), "{pointer}");
        }
    }

    #[test]
    fn a_canary_that_became_wrong_is_told_so() {
        let key = ObjectKey::new("default", "frontend");
        let canaries = ValidatedCanaries::default();
        let mut wrong = canary();
        wrong["spec"]["analysis"]["threshold"] = json!("many");
        for (object, is_right) in [(canary(), true), (wrong, false), (canary(), true)] {
            assert_eq!(canaries.validate(&key, &Arc::new(object), &defaults()).is_ok(), is_right);
        }
    }
}
