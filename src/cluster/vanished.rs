//! Objects that went away while nobody watched. A new list simply leaves them out: kube's reflector forgets them without a
//! word, and nobody would be woken for what is missing.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use super::object::Object;
use crate::api::checked::ObjectKey;

/// What one watch has seen.
#[derive(Default)]
pub struct Vanished {
    known: BTreeMap<ObjectKey, Object>,
    /// What a list that is under way has brought so far.
    listed: BTreeSet<ObjectKey>,
}

impl Vanished {
    /// Takes in objects that were there before a list began: what it leaves out of these is gone too.
    pub fn expect(&mut self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            self.known.entry(object.key()).or_insert(object);
        }
    }

    /// The objects that are found to be gone by this event, which says nothing of them.
    pub fn found_by(&mut self, event: &Event<Object>) -> Vec<Object> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(object.key());
                self.known.insert(object.key(), object.clone());
            }
            Event::Apply(object) => {
                self.known.insert(object.key(), object.clone());
            }
            Event::Delete(object) => {
                self.known.remove(&object.key());
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let all = std::mem::take(&mut self.known).into_iter();
                let (known, gone) = all.partition(|(key, _)| listed.contains(key));
                self.known = known;
                return BTreeMap::into_values(gone).collect();
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str) -> Object {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}})).unwrap()
    }

    #[test]
    fn what_was_expected_and_is_not_listed_is_gone() {
        let mut vanished = Vanished::default();
        vanished.expect([object("listed"), object("left out")]);
        let events = [Event::Init, Event::InitApply(object("listed")), Event::InitDone];
        let found: Vec<Object> = events.iter().flat_map(|event| vanished.found_by(event)).collect();
        assert_eq!(found.iter().map(Object::key).collect::<Vec<_>>(), [ObjectKey::new("default", "left out")]);
    }

    #[test]
    fn what_a_new_list_leaves_out_is_gone_unless_it_was_told() {
        use Event::{Apply, Delete, Init, InitApply, InitDone};
        let cases = [
            (vec![Init, InitApply(object("a")), InitDone], vec![]),
            (vec![Init, InitApply(object("b")), InitDone], vec!["a"]),
            (vec![Apply(object("c")), Init, InitDone], vec!["b", "c"]),
            (vec![Apply(object("d")), Delete(object("d")), Init, InitDone], vec![]),
            // A list that broke off says nothing.
            (vec![Apply(object("e")), Init, Init, InitApply(object("e")), InitDone], vec![]),
        ];
        let mut vanished = Vanished::default();
        for (events, expected) in cases {
            let found: Vec<Object> = events.iter().flat_map(|event| vanished.found_by(event)).collect();
            let names: Vec<String> = found.iter().map(|object| object.key().name).collect();
            assert_eq!(names, expected, "{events:?}");
        }
    }
}
