//! The requests of users, and what everybody who sees them counts.
//!
//! Between two changes of the load everything is constant, so a count at any time is computed when somebody asks for
//! it. Counts are real numbers, floored to whole requests where they are read. There is no noise: the same loads give
//! the same counts. Half of all answers take the application's latency or less, 99 of 100 twice that or less.

mod latency;
mod life;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub(in crate::sim) use latency::share_within;
use life::Rate;
pub(in crate::sim) use life::{Flow, Life, REFUSED};

use super::load::Load;

/// Who counts requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Place {
    /// The gateway, for one Service.
    Cluster { namespace: Arc<str>, service: Arc<str>, port: u16 },
    /// A pod, its application as well as its sidecar.
    Pod { namespace: Arc<str>, pod: Arc<str> },
}

/// What is counted in one place.
#[derive(Debug)]
pub(in crate::sim) struct Counters {
    /// The Deployment or DaemonSet.
    pub(in crate::sim) workload: Arc<str>,
    /// In the order of time; at most the last one goes on.
    pub(in crate::sim) lives: Vec<Life>,
    /// What lives counted that are forgotten.
    forgotten: Counted,
}

/// Requests until some time, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Answered with 200.
    pub succeeded: f64,
    /// Answered with 500, by the application.
    pub failed: f64,
    /// Answered with 503, by the gateway, for want of a ready pod.
    pub refused: f64,
}

/// The model of traffic.
#[derive(Debug)]
pub struct Traffic {
    retention_milliseconds: i64,
    /// The time of the last change; time does not go back.
    changed_milliseconds: i64,
    places: BTreeMap<Place, Counters>,
}

impl Traffic {
    /// Without any requests. Counts older than `retention` can no longer be asked for.
    pub fn new(retention: Duration) -> Self {
        Self {
            retention_milliseconds: i64::try_from(retention.as_millis()).unwrap_or(i64::MAX),
            changed_milliseconds: i64::MIN,
            places: BTreeMap::new(),
        }
    }

    /// These are all Services with their requests, from now on. A `now` before the last change counts as that change.
    ///
    /// A Service that is not named any more loses its cluster at the gateway, and a pod that is not ready any more is
    /// not scraped any more: their series vanish. If they come back they count from zero, as after a restart.
    pub fn set(&mut self, now: DateTime<Utc>, loads: &[Load]) {
        let at = self.advance(now);
        let mut wanted: BTreeMap<Place, (&str, Vec<Rate>)> = BTreeMap::new();
        for load in loads {
            gather(load, &mut wanted);
        }
        for (place, counters) in &mut self.places {
            if !wanted.contains_key(place) {
                counters.end(at);
            }
        }
        for (place, (workload, rates)) in wanted {
            let counters = self.places.entry(place).or_insert_with(|| Counters::new(workload));
            counters.living(at).set(at, rates);
        }
        self.forget(at);
    }

    /// The container of this pod starts anew: its counters begin at zero.
    pub fn restart_pod(&mut self, now: DateTime<Utc>, namespace: &str, pod: &str) {
        let at = self.advance(now);
        let place = Place::Pod { namespace: namespace.into(), pod: pod.into() };
        if let Some(counters) = self.places.get_mut(&place) {
            counters.restart(at);
        }
    }

    /// The gateway starts anew: all of its counters begin at zero.
    pub fn restart_gateway(&mut self, now: DateTime<Utc>) {
        let at = self.advance(now);
        for (place, counters) in &mut self.places {
            if matches!(place, Place::Cluster { .. }) {
                counters.restart(at);
            }
        }
    }

    /// The requests that this Service got until now: what really happened, whatever was scraped of it.
    pub fn counted(&self, now: DateTime<Utc>, namespace: &str, service: &str, port: u16) -> Counted {
        let place = Place::Cluster { namespace: namespace.into(), service: service.into(), port };
        self.places.get(&place).map_or_else(Counted::default, |counters| {
            let lives = counters.lives.iter();
            lives.fold(counters.forgotten, |counted, life| counted.plus(life, now.timestamp_millis()))
        })
    }

    fn advance(&mut self, now: DateTime<Utc>) -> i64 {
        self.changed_milliseconds = self.changed_milliseconds.max(now.timestamp_millis());
        self.changed_milliseconds
    }

    /// Everything that was counted, by who counts it.
    pub(in crate::sim) fn places(&self) -> impl Iterator<Item = (&Place, &Counters)> {
        self.places.iter()
    }

    fn forget(&mut self, at_milliseconds: i64) {
        let before = at_milliseconds.saturating_sub(self.retention_milliseconds);
        self.places.retain(|place, counters| {
            counters.forget(before);
            // What a cluster counted is still asked for.
            !counters.lives.is_empty() || matches!(place, Place::Cluster { .. })
        });
    }
}

/// What of a load falls on one of `shares` equal places.
fn rates(load: &Load, shares: usize) -> Vec<Rate> {
    let all = if load.requests_per_second.is_finite() { load.requests_per_second.max(0.0) } else { 0.0 };
    if load.ready_pods.is_empty() {
        return vec![Rate { code: REFUSED, latency_milliseconds: 0.0, per_second: all }];
    }
    let per_second = all / shares.max(1) as f64;
    let error_share = load.behaviour.error_share.clamp(0.0, 1.0);
    let rate = |code, share: f64| Rate {
        code,
        latency_milliseconds: load.behaviour.latency_milliseconds,
        per_second: per_second * share,
    };
    vec![rate(200, 1.0 - error_share), rate(500, error_share)]
}

/// Adds the requests of one Service to those who count them.
fn gather<'a>(load: &'a Load, wanted: &mut BTreeMap<Place, (&'a str, Vec<Rate>)>) {
    let namespace: Arc<str> = load.namespace.as_str().into();
    let mut add = |place, rates: &[Rate]| {
        let (_, sums) = wanted.entry(place).or_insert_with(|| (load.workload.as_str(), Vec::new()));
        for rate in rates {
            match sums.iter_mut().find(|sum| sum.is_alike(rate)) {
                Some(sum) => sum.per_second += rate.per_second,
                None => sums.push(*rate),
            }
        }
    };
    let service = load.service.as_str().into();
    add(Place::Cluster { namespace: Arc::clone(&namespace), service, port: load.port }, &rates(load, 1));
    let of_one = rates(load, load.ready_pods.len());
    for pod in &load.ready_pods {
        add(Place::Pod { namespace: Arc::clone(&namespace), pod: pod.as_str().into() }, &of_one);
    }
}

impl Counters {
    fn new(workload: &str) -> Self {
        Self { workload: workload.into(), lives: Vec::new(), forgotten: Counted::default() }
    }

    /// The life that goes on, or a new one.
    fn living(&mut self, at_milliseconds: i64) -> &mut Life {
        if self.lives.last().is_none_or(Life::is_over) {
            self.lives.push(Life::new(at_milliseconds));
        }
        let last = self.lives.len() - 1;
        &mut self.lives[last]
    }

    fn end(&mut self, at_milliseconds: i64) -> Option<Vec<Rate>> {
        self.lives.last_mut().filter(|life| !life.is_over()).map(|life| life.end(at_milliseconds))
    }

    fn restart(&mut self, at_milliseconds: i64) {
        if let Some(rates) = self.end(at_milliseconds) {
            self.living(at_milliseconds).set(at_milliseconds, rates);
        }
    }

    fn forget(&mut self, before_milliseconds: i64) {
        let mut forgotten = self.forgotten;
        self.lives.retain(|life| {
            let is_old = life.ended_before(before_milliseconds);
            if is_old {
                forgotten = forgotten.plus(life, before_milliseconds);
            }
            !is_old
        });
        self.forgotten = forgotten;
        for flow in self.lives.iter_mut().flat_map(|life| &mut life.flows) {
            flow.line.forget(before_milliseconds);
        }
    }
}

impl Counted {
    fn plus(mut self, life: &Life, at_milliseconds: i64) -> Self {
        for flow in &life.flows {
            let sum = match flow.code {
                200 => &mut self.succeeded,
                REFUSED => &mut self.refused,
                _ => &mut self.failed,
            };
            *sum += flow.line.at(at_milliseconds);
        }
        self
    }
}
