//! A gateway: it accepts HTTPRoutes after a while, and after another while its data plane sends requests the new way.
//!
//! Every parent that a route names is taken to be there and to let the route in, and every namespace to let others use its
//! Services. Mirrored requests are not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::api_server::{ApiServer, Change, ChangeKind};
use super::metadata::{generation, key, kind, timestamp, uid};
use super::model::Model;
use super::settings::GatewayDelays;
use crate::api::checked::ObjectKey;
use crate::rollout::ResourceId;
use crate::rollout::object::{integer, items, strings, text};

const API_VERSION: &str = "gateway.networking.k8s.io/v1";
const KIND: &str = "HTTPRoute";
/// Who accepts routes, in their status.
const CONTROLLER: &str = "serin.dev/simulated-gateway";

/// The gateway of a cluster, for all hosts.
pub struct Gateway {
    delays: GatewayDelays,
    routes: BTreeMap<ObjectKey, Route>,
    services: BTreeMap<ObjectKey, Service>,
    version: u64,
}

/// What is known of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The labels of its pods.
    pub selector: BTreeMap<String, String>,
    /// Its first port.
    pub port: u16,
}

/// How the data plane routes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The hosts; none: all.
    pub hosts: Vec<String>,
    /// Where the requests go that name no special header.
    pub backends: Vec<Backend>,
}

/// A Service that gets a share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The Service.
    pub service: ObjectKey,
    /// Its port.
    pub port: u16,
    /// Its share, of the sum of all weights.
    pub weight: u64,
}

#[derive(Debug)]
struct Route {
    /// The newest; `None` when it is deleted.
    object: Option<Arc<Value>>,
    /// What is to be accepted, and when.
    acceptance: VecDeque<(Instant, Arc<Value>)>,
    /// What is to be served, and when; `None` for a deletion.
    programming: VecDeque<(Instant, Option<Arc<Value>>)>,
    served: Option<Served>,
    reported: Option<Report>,
}

/// What the status of a route says.
#[derive(Clone, Debug, PartialEq)]
struct Report {
    uid: String,
    generation: i64,
    parents: Vec<Value>,
    /// The first backend that is not there.
    missing: Option<ObjectKey>,
    accepted_since: String,
    resolved_since: String,
}

impl Gateway {
    /// A gateway without routes.
    pub fn new(delays: GatewayDelays) -> Self {
        Self { delays, routes: BTreeMap::new(), services: BTreeMap::new(), version: 0 }
    }

    /// Grows whenever the ways of requests change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A Service.
    pub fn service(&self, name: &ObjectKey) -> Option<&Service> {
        self.services.get(name)
    }

    /// What the data plane serves, by route.
    pub fn served(&self) -> impl Iterator<Item = (&ObjectKey, &Served)> {
        self.routes.iter().filter_map(|(name, route)| Some((name, route.served.as_ref()?)))
    }

    /// Sets how long it takes from now on. What was never to be done is begun now.
    pub fn set_delays(&mut self, delays: GatewayDelays, now: Instant) {
        self.delays = delays;
        for route in self.routes.values_mut() {
            let object = route.object.clone();
            let is_accepted = match (&object, &route.reported) {
                (Some(object), Some(report)) => (uid(object), generation(object)) == (&report.uid, report.generation),
                (object, _) => object.is_none(),
            };
            if !is_accepted && route.acceptance.is_empty() {
                let due = object.clone().zip(delays.acceptance);
                route.acceptance.extend(due.map(|(object, delay)| (now + delay, object)));
            }
            if object.as_deref().map(Served::by) != route.served && route.programming.is_empty() {
                route.programming.extend(delays.programming.map(|delay| (now + delay, object)));
            }
        }
    }

    fn route_changed(&mut self, change: &Change, now: Instant) {
        let name = key(&change.object);
        let object = (change.kind != ChangeKind::Deleted).then(|| change.object.clone());
        let route = self.routes.entry(name).or_insert_with(|| Route {
            object: None,
            acceptance: VecDeque::new(),
            programming: VecDeque::new(),
            served: None,
            reported: None,
        });
        let identity = |object: &Arc<Value>| (uid(object).to_owned(), generation(object));
        let is_same = route.object.as_ref().map(identity) == object.as_ref().map(identity);
        route.object.clone_from(&object);
        if is_same {
            return;
        }
        if let (Some(delay), Some(object)) = (self.delays.acceptance, &object) {
            route.acceptance.push_back((now + delay, object.clone()));
        }
        if let Some(delay) = self.delays.programming {
            route.programming.push_back((now + delay, object));
        }
    }

    fn service_changed(&mut self, change: &Change, now: Instant) {
        let name = key(&change.object);
        let before = match change.kind {
            ChangeKind::Deleted => self.services.remove(&name),
            _ => self.services.insert(name.clone(), Service::of(&change.object)),
        };
        let is_there = self.services.contains_key(&name);
        self.version += u64::from(before.as_ref() != self.services.get(&name));
        if before.is_some() == is_there {
            return;
        }
        // A route that names it is looked at again.
        let Some(delay) = self.delays.acceptance else { return };
        for route in self.routes.values_mut() {
            let names_it = |object: &&Arc<Value>| references(object).any(|(service, _)| service == name);
            let object = route.object.as_ref().filter(names_it).cloned();
            route.acceptance.extend(object.map(|object| (now + delay, object)));
        }
    }
}

impl Model for Gateway {
    fn changed(&mut self, _: &ApiServer, change: &Change, now: Instant) {
        match kind(&change.object) {
            KIND => self.route_changed(change, now),
            "Service" => self.service_changed(change, now),
            _ => {}
        }
    }

    fn tick(&mut self, server: &ApiServer, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (name, route) in &mut self.routes {
            if let Some(Some(object)) = take_due(&mut route.acceptance, now).map(Some) {
                route.accept(server, name, &object, &self.services);
            }
            if let Some(object) = take_due(&mut route.programming, now) {
                let wanted = object.as_deref().map(Served::by);
                self.version += u64::from(wanted != route.served);
                route.served = wanted;
            }
            let due = [route.acceptance.front().map(|(due, _)| *due), route.programming.front().map(|(due, _)| *due)];
            next = due.into_iter().chain([next]).flatten().min();
        }
        self.routes
            .retain(|_, route| route.object.is_some() || route.served.is_some() || !route.programming.is_empty());
        next
    }
}

/// Takes what is due; the last of several, because the ones before are outdated by it.
fn take_due<T>(queue: &mut VecDeque<(Instant, T)>, now: Instant) -> Option<T> {
    let mut last = None;
    while queue.front().is_some_and(|(due, _)| *due <= now) {
        last = queue.pop_front().map(|(_, item)| item);
    }
    last
}

impl Route {
    fn accept(
        &mut self,
        server: &ApiServer,
        name: &ObjectKey,
        object: &Value,
        services: &BTreeMap<ObjectKey, Service>,
    ) {
        let missing = references(object).map(|(service, _)| service).find(|service| !services.contains_key(service));
        let before = self.reported.take().filter(|report| report.uid == uid(object));
        let is_same_resolution = |report: &&Report| report.missing.is_some() == missing.is_some();
        let report = Report {
            uid: uid(object).to_owned(),
            generation: generation(object),
            parents: items(object, "/spec/parentRefs").to_vec(),
            accepted_since: before.as_ref().map_or_else(timestamp, |report| report.accepted_since.clone()),
            resolved_since: before
                .as_ref()
                .filter(is_same_resolution)
                .map_or_else(timestamp, |report| report.resolved_since.clone()),
            missing,
        };
        if before.as_ref() != Some(&report) {
            let body = json!({"status": {"parents": report.parents()}});
            // It fails only if the route is gone, and then that change is on its way here.
            let _ = server.patch_status(&ResourceId::new(API_VERSION, KIND, name.clone()), &body);
        }
        self.reported = Some(report);
    }
}

impl Report {
    fn parents(&self) -> Vec<Value> {
        let condition = |kind: &str, holds: bool, reason: &str, message: &str, since: &str| {
            json!({
                "type": kind,
                "status": if holds { "True" } else { "False" },
                "reason": reason,
                "message": message,
                "observedGeneration": self.generation,
                "lastTransitionTime": since,
            })
        };
        let (reason, message) = match &self.missing {
            None => ("ResolvedRefs", "All references are resolved".to_owned()),
            Some(service) => ("BackendNotFound", format!("Service {}/{} not found", service.namespace, service.name)),
        };
        let resolved = condition("ResolvedRefs", self.missing.is_none(), reason, &message, &self.resolved_since);
        let accepted = condition("Accepted", true, "Accepted", "The route is accepted", &self.accepted_since);
        let parent = |reference: &Value| {
            json!({
                "parentRef": reference,
                "controllerName": CONTROLLER,
                "conditions": [accepted.clone(), resolved.clone()],
            })
        };
        self.parents.iter().map(parent).collect()
    }
}

impl Served {
    /// What a route asks for. Requests of users name no special header, so that the first rule counts that wants none.
    fn by(route: &Value) -> Self {
        let is_open = |rule: &&Value| {
            let matches = items(rule, "/matches");
            matches.is_empty() || matches.iter().any(|one| items(one, "/headers").is_empty())
        };
        let rule = items(route, "/spec/rules").iter().find(is_open);
        let backends = rule.into_iter().flat_map(|rule| items(rule, "/backendRefs")).map(|reference| Backend {
            service: service(route, reference),
            port: port(reference, "/port"),
            weight: integer(reference, "/weight").map_or(1, |weight| u64::try_from(weight).unwrap_or(0)),
        });
        let hosts = items(route, "/spec/hostnames").iter().filter_map(Value::as_str).map(str::to_owned);
        Self { hosts: hosts.collect(), backends: backends.collect() }
    }

    /// Whether it names a host, also by a wildcard such as `*.example.com`.
    pub fn names(&self, host: &str) -> bool {
        let is_named = |name: &String| match name.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => name == host,
        };
        self.hosts.iter().any(is_named)
    }
}

impl Service {
    fn of(object: &Value) -> Self {
        Self { selector: strings(object, "/spec/selector"), port: port(object, "/spec/ports/0/port") }
    }
}

fn port(object: &Value, pointer: &str) -> u16 {
    integer(object, pointer).and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
}

/// The Service of a reference to a backend.
fn service(route: &Value, reference: &Value) -> ObjectKey {
    let namespace = text(reference, "/namespace").or_else(|| text(route, "/metadata/namespace"));
    ObjectKey::new(namespace.unwrap_or_default(), text(reference, "/name").unwrap_or_default())
}

/// All Services that a route names, with the references.
fn references(route: &Value) -> impl Iterator<Item = (ObjectKey, &Value)> {
    let references = items(route, "/spec/rules").iter().flat_map(|rule| items(rule, "/backendRefs"));
    references.map(move |reference| (service(route, reference), reference))
}

#[cfg(test)]
mod tests;
