//! Which Canaries a changed object matters to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::api::checked::ObjectKey;
use crate::cluster::kinds::Kind;

type Entry = (Kind, ObjectKey);

/// Which Canaries a changed object matters to: each pass tells what it looked at.
#[derive(Default)]
pub struct Index(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    by_canary: HashMap<ObjectKey, Vec<Entry>>,
    by_object: HashMap<Entry, BTreeSet<ObjectKey>>,
}

impl Index {
    /// Remembers everything that matters to a Canary, in place of what was remembered before.
    pub fn set(&self, canary: &ObjectKey, objects: &[Entry]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.by_canary.get(canary).is_some_and(|known| known == objects) {
            return;
        }
        inner.remove(canary);
        for entry in objects {
            inner.by_object.entry(entry.clone()).or_default().insert(canary.clone());
        }
        inner.by_canary.insert(canary.clone(), objects.to_vec());
    }

    /// Forgets a Canary.
    pub fn remove(&self, canary: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(canary);
    }

    /// The Canaries that an object matters to.
    pub fn canaries(&self, kind: Kind, key: &ObjectKey) -> Vec<ObjectKey> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_object.get(&(kind, key.clone())).map(|found| found.iter().cloned().collect()).unwrap_or_default()
    }
}

impl Inner {
    fn remove(&mut self, canary: &ObjectKey) {
        for entry in self.by_canary.remove(canary).unwrap_or_default() {
            if let Some(canaries) = self.by_object.get_mut(&entry) {
                canaries.remove(canary);
                if canaries.is_empty() {
                    self.by_object.remove(&entry);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_object_wakes_exactly_the_canaries_that_looked_at_it_last() {
        let key = |name: &str| ObjectKey::new("default", name);
        let index = Index::default();
        index.set(&key("a"), &[(Kind::Deployment, key("web")), (Kind::Secret, key("token"))]);
        index.set(&key("b"), &[(Kind::Secret, key("token"))]);
        index.set(&key("a"), &[(Kind::Deployment, key("web"))]);
        let cases = [
            (Kind::Deployment, "web", vec![key("a")]),
            (Kind::Secret, "token", vec![key("b")]),
            (Kind::ConfigMap, "token", vec![]),
            (Kind::Deployment, "other", vec![]),
        ];
        for (kind, name, expected) in cases {
            assert_eq!(index.canaries(kind, &key(name)), expected, "{kind:?} {name}");
        }
        index.remove(&key("a"));
        assert!(index.canaries(Kind::Deployment, &key("web")).is_empty());
    }
}
