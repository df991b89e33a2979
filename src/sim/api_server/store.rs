//! The objects, their history, and the counters that name things.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::fields::Managers;
use super::resources::{self, Resource};
use super::stored::{Applied, Stored};
use super::{Change, ChangeKind, WriteRecord};
use crate::api::checked::ObjectKey;
use crate::rollout::ResourceId;

/// Changes that a table remembers for watches.
const HISTORY: usize = 4096;
/// Lists whose rest is kept for a `continue`.
const OPEN_LISTS: usize = 64;
/// Changes that a subscriber may be behind.
const SUBSCRIBER_LAG: usize = 4096;
/// The letters of generated names, as in Kubernetes.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index of its resource.
    pub resource: usize,
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The resource that it is of.
    pub fn resource(&self) -> &'static Resource {
        &resources::all()[self.resource]
    }
}

/// Who writes, for the records.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub user: &'a str,
    pub verb: &'static str,
    pub subresource: &'a str,
    /// Whether nothing is committed.
    pub is_dry_run: bool,
}

/// A change, as watches see it.
#[derive(Clone, Debug)]
pub struct Event {
    pub version: u64,
    pub kind: ChangeKind,
    /// As it is; for a deletion as it was, with the version of the deletion.
    pub object: Stored,
    pub previous: Option<Stored>,
    pub at: Instant,
}

/// The objects of one resource.
#[derive(Debug)]
pub struct Table {
    objects: BTreeMap<(String, String), Stored>,
    history: VecDeque<Event>,
    /// How many events there were before the history begins.
    forgotten: u64,
    /// The version of the last event that is forgotten.
    compacted: u64,
    signal: watch::Sender<u64>,
}

impl Table {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            compacted: 0,
            signal: watch::Sender::new(0),
        }
    }

    /// The same objects, without what they were before.
    fn fork(&self, version: u64) -> Self {
        Self { objects: self.objects.clone(), compacted: version, ..Self::new() }
    }

    /// All objects, or those of one namespace, by namespace and name.
    pub fn objects<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Stored> + use<'a> {
        let from = (namespace.unwrap_or_default().to_owned(), String::new());
        self.objects
            .range(from..)
            .take_while(move |((found, _), _)| namespace.is_none_or(|namespace| namespace == found))
            .map(|(_, stored)| stored)
    }

    /// The event number `sequence` since the beginning; `Err` if it is forgotten, `None` if it has not happened yet.
    pub fn event(&self, sequence: u64) -> Result<Option<&Event>, u64> {
        let index = sequence.checked_sub(self.forgotten).ok_or(self.compacted)?;
        Ok(usize::try_from(index).ok().and_then(|index| self.history.get(index)))
    }

    /// The number of the first event after `version`; `Err` with the oldest known version if some are forgotten.
    pub fn sequence_after(&self, version: u64) -> Result<u64, u64> {
        if version < self.compacted {
            return Err(self.compacted);
        }
        Ok(self.forgotten + self.history.partition_point(|event| event.version <= version) as u64)
    }

    /// The number of the next event.
    pub fn next_sequence(&self) -> u64 {
        self.forgotten + self.history.len() as u64
    }

    /// Hears of each new event.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.signal.subscribe()
    }

    fn remember(&mut self, event: Event) {
        self.history.push_back(event);
        if self.history.len() > HISTORY {
            self.forget(1);
        }
        let next = self.next_sequence();
        self.signal.send_replace(next);
    }

    fn forget(&mut self, count: usize) {
        for event in self.history.drain(..count) {
            self.forgotten += 1;
            self.compacted = event.version;
        }
    }
}

/// The rest of a list that was asked for in parts.
#[derive(Clone, Debug)]
pub struct OpenList {
    pub version: u64,
    pub rest: VecDeque<Stored>,
}

/// Everything that a server knows.
#[derive(Debug)]
pub struct State {
    pub version: u64,
    tables: Vec<Table>,
    uids: u64,
    suffixes: u64,
    writes: u64,
    /// Where objects with these uids are.
    living: HashMap<String, Key>,
    /// What these uids own.
    dependents: HashMap<String, BTreeSet<Key>>,
    /// Owners that are gone, whose dependents have not been looked at yet.
    pub bereaved: VecDeque<String>,
    /// Committed writes that no check has seen yet.
    pub records: Vec<WriteRecord>,
    pub is_recording: bool,
    pub changes: broadcast::Sender<Change>,
    lists: BTreeMap<u64, OpenList>,
    lists_opened: u64,
    /// How often all watches were ended.
    pub watch_ends: u64,
}

impl State {
    pub fn new() -> Self {
        Self {
            version: 1,
            tables: resources::all().iter().map(|_| Table::new()).collect(),
            uids: 0,
            suffixes: 0,
            writes: 0,
            living: HashMap::new(),
            dependents: HashMap::new(),
            bereaved: VecDeque::new(),
            records: Vec::new(),
            is_recording: false,
            changes: broadcast::channel(SUBSCRIBER_LAG).0,
            lists: BTreeMap::new(),
            lists_opened: 0,
            watch_ends: 0,
        }
    }

    /// The same objects, of which nobody knows the history, and the same counters.
    pub fn fork(&self) -> Self {
        Self {
            version: self.version,
            tables: self.tables.iter().map(|table| table.fork(self.version)).collect(),
            uids: self.uids,
            suffixes: self.suffixes,
            living: self.living.clone(),
            dependents: self.dependents.clone(),
            ..Self::new()
        }
    }

    pub fn table(&self, resource: usize) -> &Table {
        &self.tables[resource]
    }

    pub fn get(&self, key: &Key) -> Option<&Stored> {
        // A map of pairs can't be asked with borrowed parts.
        self.tables[key.resource].objects.get(&(key.namespace.clone(), key.name.clone()))
    }

    pub fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Five letters that no name had before.
    pub fn next_suffix(&mut self) -> String {
        self.suffixes += 1;
        // Scattered, so that the names don't look alike: a multiplier without common factors with 27^5.
        let mut rest = self.suffixes.wrapping_mul(5_700_358) % 27_u64.pow(5);
        let mut suffix = String::new();
        for _ in 0..5 {
            suffix.push(char::from(SUFFIX_LETTERS[(rest % 27) as usize]));
            rest /= 27;
        }
        suffix
    }

    /// Commits an object under the next version.
    pub fn put(&mut self, key: &Key, mut object: Value, managers: Arc<Managers>, author: Author<'_>) -> Stored {
        if author.is_dry_run {
            return Stored::new(Arc::new(object), managers);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let stored = Stored::new(Arc::new(object), managers);
        let place = (key.namespace.clone(), key.name.clone());
        let previous = self.tables[key.resource].objects.insert(place, stored.clone());
        if let Some(previous) = &previous {
            self.unindex(key, &previous.value);
        }
        self.index(key, &stored.value);
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.record(key, author, previous.as_ref(), Some(&stored));
        self.announce(kind, key, &stored, previous);
        stored
    }

    /// Notes that an object has a default that is not stored.
    pub fn mark_ahead_of_storage(&mut self, key: &Key) {
        if let Some(stored) = self.get_mut(key) {
            stored.is_ahead_of_storage = true;
        }
    }

    /// Notes what would change nothing if it were applied again.
    pub fn note_applied(&mut self, key: &Key, applied: Arc<Applied>) {
        if let Some(stored) = self.get_mut(key) {
            stored.applied = Some(applied);
        }
    }

    fn get_mut(&mut self, key: &Key) -> Option<&mut Stored> {
        self.tables[key.resource].objects.get_mut(&(key.namespace.clone(), key.name.clone()))
    }

    /// Commits that an object is gone. Returns it as it was, with the version of the deletion.
    pub fn remove(&mut self, key: &Key, author: Author<'_>) -> Option<Stored> {
        if author.is_dry_run {
            return self.get(key).cloned();
        }
        let previous = self.tables[key.resource].objects.remove(&(key.namespace.clone(), key.name.clone()))?;
        self.version += 1;
        self.unindex(key, &previous.value);
        let uid = previous.value["metadata"]["uid"].as_str().unwrap_or_default();
        if self.dependents.contains_key(uid) {
            self.bereaved.push_back(uid.to_owned());
        }
        let last = previous.at_version(self.version);
        self.record(key, author, Some(&previous), None);
        self.announce(ChangeKind::Deleted, key, &last, Some(previous));
        Some(last)
    }

    fn announce(&mut self, kind: ChangeKind, key: &Key, object: &Stored, previous: Option<Stored>) {
        let event = Event { version: self.version, kind, object: object.clone(), previous, at: Instant::now() };
        self.tables[key.resource].remember(event);
        // Nobody needs to listen.
        let _ = self.changes.send(Change { kind, object: object.value.clone() });
    }

    fn record(&mut self, key: &Key, author: Author<'_>, before: Option<&Stored>, after: Option<&Stored>) {
        let index = self.writes;
        self.writes += 1;
        if self.is_recording {
            let resource = key.resource();
            let subresource = (!author.subresource.is_empty()).then(|| author.subresource.to_owned());
            self.records.push(WriteRecord {
                user: author.user.to_owned(),
                verb: author.verb,
                id: ResourceId::new(&resource.api_version(), resource.kind, ObjectKey::new(&key.namespace, &key.name)),
                subresource,
                before: before.map(|stored| stored.value.clone()),
                after: after.map(|stored| stored.value.clone()),
                index,
            });
        }
    }

    fn index(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.living.insert(uid.to_owned(), key.clone());
        }
        for owner in owners(object) {
            self.dependents.entry(owner.to_owned()).or_default().insert(key.clone());
        }
    }

    fn unindex(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.living.remove(uid);
        }
        for owner in owners(object) {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    /// Whether an object with this uid is there.
    pub fn is_alive(&self, uid: &str) -> bool {
        self.living.contains_key(uid)
    }

    /// What the object with this uid owns.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Owners that are named by somebody and not there.
    pub fn missing_owners(&self) -> Vec<String> {
        let mut missing: Vec<String> = self.dependents.keys().filter(|uid| !self.is_alive(uid)).cloned().collect();
        missing.sort();
        missing
    }

    /// Forgets the history of all resources: watches and lists that go on from an older version are told so.
    pub fn compact(&mut self) {
        self.version += 1;
        for table in &mut self.tables {
            table.forget(table.history.len());
            table.compacted = self.version;
        }
        self.lists.clear();
    }

    /// Ends every watch that is open now.
    pub fn end_watches(&mut self) {
        self.watch_ends += 1;
        for table in &self.tables {
            table.signal.send_replace(table.next_sequence());
        }
    }

    /// Keeps the rest of a list, and returns what to ask for it with.
    pub fn open_list(&mut self, list: OpenList) -> u64 {
        self.lists_opened += 1;
        self.lists.insert(self.lists_opened, list);
        while self.lists.len() > OPEN_LISTS {
            self.lists.pop_first();
        }
        self.lists_opened
    }

    /// The rest of a list, once.
    pub fn take_list(&mut self, token: u64) -> Option<OpenList> {
        self.lists.remove(&token)
    }
}

/// The uids that own an object.
pub fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"].as_array();
    references.into_iter().flatten().filter_map(|reference| reference["uid"].as_str())
}
