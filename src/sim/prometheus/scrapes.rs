//! Which samples Prometheus has: the counts of its targets at the times of its scrapes.
//!
//! Nothing is stored. A sample is computed when a query needs it, from the time of the scrape.

use std::collections::VecDeque;
use std::time::Duration;

use super::exposition::{ClusterNames, Exposed, select};
use super::promql::{Point, Sample, Samples, Selector, Series};
use crate::sim::traffic::Traffic;

/// How far back the newest sample of a series may be (`--query.lookback-delta`).
const LOOKBACK_MILLISECONDS: i64 = 300_000;
/// Most samples of one series that a query reads; of more, the newest.
const SCRAPES_MAX: i64 = 10_000;
/// Most changes of [`Scraping`] that are remembered.
const CHANGES_MAX: usize = 1024;

/// Whether scrapes succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scraping {
    /// They do.
    #[default]
    Works,
    /// They fail: all series are stale from the first failed scrape on.
    Fails,
    /// Prometheus does not run: there are no samples, and nothing says that a series ended.
    Stopped,
}

/// When scrapes take place, and which of them succeed.
#[derive(Debug)]
pub(super) struct Schedule {
    interval_milliseconds: i64,
    offset_milliseconds: i64,
    /// How old a sample is when it can be queried at first.
    lateness_milliseconds: i64,
    retention_milliseconds: i64,
    changes: VecDeque<(i64, Scraping)>,
}

impl Schedule {
    pub(super) fn new(interval: Duration, offset: Duration, retention: Duration) -> Self {
        Self {
            interval_milliseconds: milliseconds(interval).max(1),
            offset_milliseconds: milliseconds(offset),
            lateness_milliseconds: 0,
            retention_milliseconds: milliseconds(retention),
            changes: VecDeque::new(),
        }
    }

    pub(super) fn set(&mut self, at_milliseconds: i64, scraping: Scraping) {
        self.changes.push_back((at_milliseconds, scraping));
        if self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
        }
    }

    pub(super) fn set_lateness(&mut self, lateness: Duration) {
        self.lateness_milliseconds = milliseconds(lateness);
    }

    fn scraping_at(&self, at_milliseconds: i64) -> Scraping {
        let before = self.changes.partition_point(|(since, _)| *since <= at_milliseconds);
        let change = before.checked_sub(1).and_then(|index| self.changes.get(index));
        change.map_or(Scraping::Works, |(_, scraping)| *scraping)
    }

    /// The times of scrapes that did not fail to take place, from the newest back.
    fn times_back(&self, after: i64, until: i64, now: i64) -> impl Iterator<Item = i64> {
        let (interval, offset) = (self.interval_milliseconds, self.offset_milliseconds);
        let until = until.min(now.saturating_sub(self.lateness_milliseconds));
        let after = after.max(now.saturating_sub(self.retention_milliseconds));
        let newest = until.saturating_sub(offset).div_euclid(interval);
        let times = (0..SCRAPES_MAX).map(move |back| (newest - back) * interval + offset);
        times.take_while(move |at| *at > after).filter(|at| self.scraping_at(*at) != Scraping::Stopped)
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What a query at `now` may see.
pub(super) struct Scrapes<'a> {
    pub(super) traffic: &'a Traffic,
    pub(super) cluster_names: ClusterNames,
    pub(super) schedule: &'a Schedule,
    pub(super) now_milliseconds: i64,
}

impl Samples for Scrapes<'_> {
    fn newest(&self, selector: &Selector, at_milliseconds: i64) -> Vec<Sample> {
        let after = at_milliseconds.saturating_sub(LOOKBACK_MILLISECONDS);
        let newest = self.schedule.times_back(after, at_milliseconds, self.now_milliseconds).next();
        // What the newest scrape did not see is stale.
        let Some(at) = newest.filter(|at| self.schedule.scraping_at(*at) == Scraping::Works) else { return Vec::new() };
        let exposed = self.select(selector).into_iter();
        exposed.filter_map(|series| Some(Sample { value: series.at(at)?, labels: series.labels })).collect()
    }

    fn within(&self, selector: &Selector, after_milliseconds: i64, until_milliseconds: i64) -> Vec<Series> {
        let times = self.schedule.times_back(after_milliseconds, until_milliseconds, self.now_milliseconds);
        let mut times: Vec<i64> = times.filter(|at| self.schedule.scraping_at(*at) == Scraping::Works).collect();
        times.reverse();
        let series = self.select(selector).into_iter().map(|series| {
            let point = |at: &i64| Some(Point { at_milliseconds: *at, value: series.at(*at)? });
            Series { points: times.iter().filter_map(point).collect(), labels: series.labels }
        });
        series.filter(|series| !series.points.is_empty()).collect()
    }
}

impl Scrapes<'_> {
    fn select(&self, selector: &Selector) -> Vec<Exposed<'_>> {
        select(self.traffic, self.cluster_names, selector)
    }
}
