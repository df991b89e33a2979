//! What the watches have seen, overlaid with what Serin itself wrote and read since: a cache may lag behind our own
//! writes, and a decision made from before them would be made twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use kube::api::{Api, PartialObjectMeta};
use kube::core::DynamicResourceScope;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector::store::Writer};
use kube::{Client, Resource};
use serde_json::Value;
use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::kinds::Kind;
use super::object::Object;
use super::vanished::Vanished;
use super::watch_retries;
use crate::api::checked::ObjectKey;

/// How often a kind that is not installed is looked for.
const INSTALL_CHECK: Duration = Duration::from_secs(60);

/// How long our own last answer is preferred to an older one of the watch. A watch that lags for longer is believed:
/// it may be right about an object that is gone.
const OWN_LIFETIME: Duration = Duration::from_secs(60);

/// An object that changed, or was deleted, by the watch of its kind.
pub type Touched = BoxStream<'static, Result<Object, watcher::Error>>;

/// What the watches have seen.
pub struct Cache {
    stores: HashMap<Kind, Store<Object>>,
    unlisted: Unlisted,
    own: Own,
    doubts: Doubts,
}

/// Objects of which the cache may be behind what is there: a write was refused as out of date or ended in the unknown, or
/// they went away while nobody watched. Clones share them.
#[derive(Clone, Default)]
pub struct Doubts(Arc<Mutex<HashSet<(Kind, ObjectKey)>>>);

impl Doubts {
    /// All of them.
    pub fn lock(&self) -> MutexGuard<'_, HashSet<(Kind, ObjectKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Starts a watch for each kind, in one namespace or all. Polling the streams is what keeps the cache going. A kind
    /// in `missing` is not installed now: its watch starts once it is.
    pub fn start(client: &Client, namespace: Option<&str>, missing: &[Kind]) -> (Self, BTreeMap<Kind, Touched>) {
        let mut stores = HashMap::new();
        let mut streams = BTreeMap::new();
        let unlisted = Unlisted::new(Kind::ALL.into_iter().filter(|kind| !missing.contains(kind)));
        let (own, doubts) = (Own::default(), Doubts::default());
        for kind in Kind::ALL {
            let writer = Writer::new(kind);
            stores.insert(kind, writer.as_reader());
            let events = if kind.metadata_only() {
                metadata_events(api(client, namespace, kind))
            } else {
                object_events(api(client, namespace, kind))
            };
            let events = if missing.contains(&kind) {
                let installed = wait_until_installed(client.clone(), kind);
                stream::once(installed).flat_map(move |()| stream::empty()).chain(events).boxed()
            } else {
                events
            };
            let (deletions, listed) = (own.clone(), unlisted.clone());
            let touched = events
                .backoff(watch_retries::pauses())
                .inspect_ok(move |event| {
                    if let Event::Delete(object) = event {
                        deletions.forget(kind, object);
                    }
                })
                .modify(move |object| trim(kind, object))
                .map_ok(with_vanished(kind, own.clone(), doubts.clone()))
                .try_flatten()
                .reflect(writer)
                .inspect_ok(move |event| {
                    if matches!(event, Event::InitDone) {
                        listed.remove(kind);
                    }
                })
                .touched_objects()
                .boxed();
            streams.insert(kind, touched);
        }
        (Self { stores, unlisted, own, doubts }, streams)
    }

    /// The objects that are to be read again before a decision rests on them.
    pub fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// The store of the Canaries, for the controller.
    pub fn store(&self, kind: Kind) -> Option<Store<Object>> {
        self.stores.get(&kind).cloned()
    }

    /// Waits until every kind that was installed at the start is listed.
    pub async fn wait_until_ready(&self) {
        self.unlisted.wait_until_none().await;
    }

    /// The newest known state of an object: by a watch, or by our own last request.
    pub fn get(&self, kind: Kind, key: &ObjectKey) -> Option<Arc<Object>> {
        let reference = ObjectRef::new_with(&key.name, kind).within(&key.namespace);
        let seen = self.stores.get(&kind).and_then(|store| store.get(&reference));
        self.own.newer(kind, key, seen)
    }

    /// The newest known state of an object as plain JSON.
    pub fn value(&self, kind: Kind, key: &ObjectKey) -> Option<Arc<Value>> {
        self.get(kind, key).map(|object| object.json().clone())
    }

    /// All objects of a kind, as the watch has them.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Object>> {
        self.stores.get(&kind).map(Store::state).unwrap_or_default()
    }

    /// Remembers what the API server answered to our own request, until the watch has caught up; as much of it as of what
    /// the watch sees.
    pub fn remember(&self, kind: Kind, mut object: Object) -> Object {
        trim(kind, &mut object);
        self.own.remember(kind, object.clone());
        object
    }

    /// Remembers that the API server has no such object, until the watch has caught up.
    pub fn remember_gone(&self, kind: Kind, key: &ObjectKey) {
        if let Some(seen) = self.get(kind, key) {
            self.own.remember_gone(kind, key, seen.uid().map(str::to_owned));
        }
    }
}

/// An event, followed by the deletions that it is silent about. Whether our own last answer to such an object came before
/// or after it went can't be told: it is read again.
///
/// The watch may never have seen what we made: our own answers from before the list count as seen.
fn with_vanished(kind: Kind, own: Own, doubts: Doubts) -> impl FnMut(Event<Object>) -> Flat {
    let mut vanished = Vanished::default();
    move |event| {
        if matches!(event, Event::Init) {
            vanished.expect(own.of(kind));
        }
        let gone = vanished.found_by(&event);
        if !kind.metadata_only() {
            doubts.lock().extend(gone.iter().map(|object| (kind, object.key())));
        }
        let events: Vec<_> = std::iter::once(event).chain(gone.into_iter().map(Event::Delete)).map(Ok).collect();
        stream::iter(events)
    }
}

type Flat = stream::Iter<std::vec::IntoIter<Result<Event<Object>, watcher::Error>>>;

/// Takes out of an object what no pass needs.
fn trim(kind: Kind, object: &mut Object) {
    if kind.metadata_only() {
        object.drop_content();
    }
}

/// Kinds that are not listed yet. Unlike `Store::wait_until_ready`, which wakes the last of several waiters only and lets
/// the others sleep for ever (kube-runtime 5.0, `utils/delayed_init.rs`), this wakes all of them; and in the order in
/// which they came, which a channel of tokio's `sync::watch` does not.
#[derive(Clone)]
struct Unlisted(Arc<Listing>);

struct Listing {
    unlisted: Mutex<BTreeSet<Kind>>,
    done: SetOnce<()>,
}

impl Unlisted {
    fn new(kinds: impl Iterator<Item = Kind>) -> Self {
        let unlisted: BTreeSet<Kind> = kinds.collect();
        let done = SetOnce::new_with(unlisted.is_empty().then_some(()));
        Self(Arc::new(Listing { unlisted: Mutex::new(unlisted), done }))
    }

    fn remove(&self, kind: Kind) {
        let mut unlisted = self.0.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        unlisted.remove(&kind);
        if unlisted.is_empty() {
            // A kind that is listed again finds it set.
            let _ = self.0.done.set(());
        }
    }

    async fn wait_until_none(&self) {
        self.0.done.wait().await;
    }
}

/// The API server's answers to our own requests.
#[derive(Clone, Default)]
struct Own(Arc<Mutex<OwnObjects>>);

type OwnObjects = HashMap<(Kind, ObjectKey), (Instant, Answer)>;

/// What the API server answered.
enum Answer {
    /// The object as it is.
    There(Arc<Object>),
    /// The object with this uid is gone. It never comes back: another one of its name has another uid.
    Gone { uid: Option<String> },
}

impl Answer {
    /// Whether this is news to a watch that has seen the object like this.
    fn is_newer_than(&self, seen: Option<&Object>) -> bool {
        match self {
            Self::There(written) => seen.is_none_or(|seen| is_older(seen, written)),
            Self::Gone { uid } => seen.is_some_and(|seen| seen.uid() == uid.as_deref()),
        }
    }

    /// Whether a deletion that the watch saw is of what was answered, or of what came after it.
    fn is_outlived_by(&self, deleted: &Object) -> bool {
        match self {
            Self::There(written) => !is_older(deleted, written),
            Self::Gone { uid } => deleted.uid() == uid.as_deref(),
        }
    }
}

impl Own {
    fn lock(&self) -> MutexGuard<'_, OwnObjects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, kind: Kind, object: Object) {
        let entry = (kind, object.key());
        let mut own = self.lock();
        // Two passes may ask for the same ConfigMap, and take in the answers the other way round.
        let is_news = own.get(&entry).is_none_or(|(_, known)| match known {
            Answer::There(known) => !is_older(&object, known),
            Answer::Gone { uid } => object.uid() != uid.as_deref(),
        });
        if is_news {
            own.insert(entry, (Instant::now(), Answer::There(Arc::new(object))));
        }
    }

    /// The objects of a kind that were there by our own last answers.
    fn of(&self, kind: Kind) -> Vec<Object> {
        let own = self.lock();
        let there = own.iter().filter_map(|((of, _), (_, answer))| match answer {
            Answer::There(object) if *of == kind => Some((**object).clone()),
            _ => None,
        });
        there.collect()
    }

    fn remember_gone(&self, kind: Kind, key: &ObjectKey, uid: Option<String>) {
        self.lock().insert((kind, key.clone()), (Instant::now(), Answer::Gone { uid }));
    }

    fn forget(&self, kind: Kind, deleted: &Object) {
        let entry = (kind, deleted.key());
        let mut own = self.lock();
        if own.get(&entry).is_some_and(|(_, answer)| answer.is_outlived_by(deleted)) {
            own.remove(&entry);
        }
    }

    /// Ours where it is newer than what the watch has seen, else the watch's; ours is dropped once the watch caught up.
    fn newer(&self, kind: Kind, key: &ObjectKey, seen: Option<Arc<Object>>) -> Option<Arc<Object>> {
        #[cfg(test)]
        if super::mistakes::is_made(super::mistakes::Mistake::TrustTheCache) {
            return seen;
        }
        let entry = (kind, key.clone());
        let mut own = self.lock();
        let Some((time, answer)) = own.get(&entry) else { return seen };
        if time.elapsed() < OWN_LIFETIME && answer.is_newer_than(seen.as_deref()) {
            return match answer {
                Answer::There(written) => Some(written.clone()),
                Answer::Gone { .. } => None,
            };
        }
        own.remove(&entry);
        seen
    }
}

/// Whether `seen` is older than `written`. Resource versions are compared as numbers, as Kubernetes allows since 1.35;
/// an object that was deleted and made again has another uid, and then the watch is right.
fn is_older(seen: &Object, written: &Object) -> bool {
    let number = |object: &Object| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    match (number(seen), number(written)) {
        (Some(seen), Some(written)) => seen < written,
        _ => seen.uid() == written.uid() && seen.resource_version() != written.resource_version(),
    }
}

type Events = BoxStream<'static, Result<Event<Object>, watcher::Error>>;

fn api<K>(client: &Client, namespace: Option<&str>, kind: Kind) -> Api<K>
where
    K: Resource<DynamicType = Kind, Scope = DynamicResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

fn object_events(api: Api<Object>) -> Events {
    watcher(api, watcher::Config::default().any_semantic()).boxed()
}

fn metadata_events(api: Api<PartialObjectMeta<Object>>) -> Events {
    watcher(api, watcher::Config::default().any_semantic())
        .map(|event| event.map(|event| map_event(event, Object::from)))
        .boxed()
}

fn map_event<A, B>(event: Event<A>, map: impl Fn(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(map(object)),
        Event::Delete(object) => Event::Delete(map(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(map(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// Which of the kinds that may be absent are not installed. Anything but a plain 404 counts as installed: the watch will
/// tell.
pub async fn missing_kinds(client: &Client) -> Vec<Kind> {
    if is_installed(client, Kind::HttpRoute).await { Vec::new() } else { vec![Kind::HttpRoute] }
}

async fn is_installed(client: &Client, kind: Kind) -> bool {
    match client.list_api_group_resources(&Object::api_version(&kind)).await {
        Ok(list) => list.resources.iter().any(|found| found.name == kind.plural()),
        Err(kube::Error::Api(status)) => !status.is_not_found(),
        Err(_) => true,
    }
}

async fn wait_until_installed(client: Client, kind: Kind) {
    while !is_installed(&client, kind).await {
        tokio::time::sleep(INSTALL_CHECK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: &str) -> Object {
        let metadata = json!({"name": "frontend", "namespace": "default", "uid": uid, "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_answer_wins_until_the_watch_has_caught_up() {
        let key = ObjectKey::new("default", "frontend");
        let cases = [
            // written by us, seen by the watch, seconds since the write, version that a pass gets
            (Some("7"), Some("5"), 0, Some("7")),
            (Some("7"), Some("7"), 0, Some("7")),
            (Some("7"), Some("9"), 0, Some("9")),
            (Some("7"), Some("10"), 0, Some("10")),
            (Some("7"), None, 0, Some("7")),
            (Some("7"), None, 61, None),
            (Some("7"), Some("5"), 61, Some("5")),
            (None, Some("5"), 0, Some("5")),
            (None, None, 0, None),
        ];
        for (written, seen, seconds, expected) in cases {
            let own = Own::default();
            if let Some(version) = written {
                own.remember(Kind::Canary, object("a", version));
            }
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let seen_object = seen.map(|version| Arc::new(object("a", version)));
            let got = own.newer(Kind::Canary, &key, seen_object);
            assert_eq!(
                got.as_ref().and_then(|object| object.resource_version()),
                expected,
                "written {written:?}, seen {seen:?}, after {seconds} s"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_known_to_be_gone_stays_so_until_the_watch_has_caught_up() {
        let key = ObjectKey::new("default", "frontend");
        let cases = [
            // uid that is gone, uid that the watch shows, seconds since, whether a pass gets it
            ("a", Some("a"), 0, false),
            ("a", Some("a"), 61, true),
            ("a", Some("b"), 0, true),
            ("a", None, 0, false),
        ];
        for (gone, seen, seconds, expected) in cases {
            let own = Own::default();
            own.remember_gone(Kind::Canary, &key, Some(gone.to_owned()));
            tokio::time::advance(Duration::from_secs(seconds)).await;
            let seen_object = seen.map(|uid| Arc::new(object(uid, "7")));
            let got = own.newer(Kind::Canary, &key, seen_object);
            assert_eq!(got.is_some(), expected, "{gone} is gone, {seen:?} seen, after {seconds} s");
        }
    }

    #[test]
    fn an_object_that_the_watch_saw_deleted_is_not_held_on_to() {
        let key = ObjectKey::new("default", "frontend");
        let cases = [
            // version at deletion, whether our own answer at version 7 stays
            ("9", false),
            ("7", false),
            ("5", true),
        ];
        for (deleted_at, stays) in cases {
            let own = Own::default();
            own.remember(Kind::Canary, object("a", "7"));
            own.forget(Kind::Canary, &object("a", deleted_at));
            assert_eq!(own.newer(Kind::Canary, &key, None).is_some(), stays, "deleted at {deleted_at}");
        }
    }

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_lists_is_woken_in_order() {
        let unlisted = Unlisted::new([Kind::Canary, Kind::Secret].into_iter());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..16)
            .map(|number| {
                let (unlisted, woken) = (unlisted.clone(), woken.clone());
                tokio::spawn(async move {
                    unlisted.wait_until_none().await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        unlisted.remove(Kind::Secret);
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
        unlisted.remove(Kind::Canary);
        for waiter in waiting {
            tokio::time::timeout(Duration::from_secs(5), waiter).await.unwrap().unwrap();
        }
        unlisted.wait_until_none().await;
        assert_eq!(*woken.lock().unwrap(), (0..16).collect::<Vec<_>>());
        Unlisted::new(std::iter::empty()).wait_until_none().await;
    }

    #[test]
    fn watches_start_in_the_order_of_the_kinds() {
        assert!(Kind::ALL.is_sorted());
    }

    /// The content of Secrets stays out of this process's memory unless a Deployment refers to it.
    #[tokio::test]
    async fn of_configuration_only_the_metadata_is_asked_for() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = wiremock::MockServer::start().await;
        let client = Client::try_from(kube::Config::new(server.uri().parse().unwrap())).unwrap();
        let (_cache, streams) = Cache::start(&client, Some("default"), &[]);
        for (_, mut stream) in streams {
            // The first request of each kind is its list; the server knows nothing.
            assert!(stream.next().await.is_some_and(|first| first.is_err()));
        }
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let plural = kind.plural();
            let list = requests.iter().find(|request| request.url.path().ends_with(&format!("/{plural}"))).unwrap();
            let accepted = list.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let metadata_only = accepted.contains("as=PartialObjectMetadataList");
            assert_eq!(metadata_only, matches!(kind, Kind::ConfigMap | Kind::Secret), "{plural}: {accepted}");
        }
    }
}
