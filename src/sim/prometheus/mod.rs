//! Prometheus: its HTTP API for instant queries, over scrapes of the simulated traffic.
//!
//! Synchronous, and without a clock: every call says what time it is. Nothing happens between calls; what the scrapes
//! of the past saw is computed when a query needs it.

pub mod delivery;
mod exposition;
mod fault;
mod log;
pub mod promql;
mod queries;
mod reply;
mod request;
mod scrapes;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;

pub use delivery::{answered, deliver, path_and_query, refused};
pub use exposition::ClusterNames;
pub use fault::Fault;
pub use log::{Answered, With};
pub use queries::Queries;
pub use reply::{Answer, Outcome, Reply};
pub use scrapes::Scraping;

use super::traffic::Traffic;
use log::Log;
use promql::evaluate;
use request::{Query, Request};
use scrapes::{Schedule, Scrapes};

/// How a Prometheus is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often all targets are scraped.
    pub scrape_interval: Duration,
    /// How far the scrapes are from whole multiples of the interval since 1970.
    pub scrape_offset: Duration,
    /// How long counts are kept.
    pub retention: Duration,
    /// How the gateway names its clusters.
    pub cluster_names: ClusterNames,
    /// Queries read before, shared by all clones.
    pub queries: Queries,
}

impl Default for Settings {
    /// Every 15 seconds, an hour, Contour.
    fn default() -> Self {
        Self {
            scrape_interval: Duration::from_secs(15),
            scrape_offset: Duration::ZERO,
            retention: Duration::from_secs(3600),
            cluster_names: ClusterNames::default(),
            queries: Queries::default(),
        }
    }
}

/// The model of a Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// What it scrapes.
    pub traffic: Traffic,
    cluster_names: ClusterNames,
    schedule: Schedule,
    queries: Queries,
    fault: Fault,
    log: Log,
}

impl Prometheus {
    /// Without traffic and faults.
    pub fn new(settings: &Settings) -> Self {
        let Settings { scrape_interval, scrape_offset, retention, cluster_names, .. } = *settings;
        Self {
            traffic: Traffic::new(retention),
            cluster_names,
            schedule: Schedule::new(scrape_interval, scrape_offset, retention),
            queries: settings.queries.clone(),
            fault: Fault::None,
            log: Log::default(),
        }
    }

    /// How it answers from now on. What it scrapes does not change: a Prometheus that does not run neither answers nor
    /// scrapes, so that [`Self::set_scraping`] belongs to it.
    pub fn set_fault(&mut self, fault: Fault) {
        self.fault = fault;
    }

    /// Whether scrapes succeed from now on. Times must not decrease.
    pub fn set_scraping(&mut self, now: DateTime<Utc>, scraping: Scraping) {
        self.schedule.set(now.timestamp_millis(), scraping);
    }

    /// How long after a scrape its samples can be queried, as with a remote store that lags behind.
    pub fn set_lateness(&mut self, lateness: Duration) {
        self.schedule.set_lateness(lateness);
    }

    /// The newest queries and their answers, in the order in which they were asked.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = &Answered> {
        self.log.iter()
    }

    /// Answers a request. `body` is a form, if anything.
    pub fn answer(&mut self, method: &Method, path_and_query: &str, body: &[u8], now: DateTime<Utc>) -> Reply {
        let request = Request::read(method, path_and_query, body);
        let Request::Query(query) = request else {
            let answer = match request {
                Request::WrongMethod => Answer::text(405, "Method Not Allowed\n"),
                Request::Ready => Answer::text(200, "Prometheus Server is Ready.\n"),
                _ => Answer::text(404, "404 page not found\n"),
            };
            let reply = Reply { after: Duration::ZERO, outcome: Outcome::Answer(answer) };
            return self.fault.reply(None).unwrap_or(reply);
        };
        let (reply, with) = self.answer_query(&query, now);
        self.log.add(Answered { at: now, query: query.text, fault: self.fault, with });
        reply
    }

    fn answer_query(&self, query: &Query, now: DateTime<Utc>) -> (Reply, With) {
        let timeout = query.timeout();
        let known_timeout = timeout.as_ref().ok().copied().flatten();
        if let Some(reply) = self.fault.reply(known_timeout) {
            return (reply, With::Error);
        }
        let now_milliseconds = now.timestamp_millis();
        let evaluated = timeout
            .and_then(|_| query.time_milliseconds())
            .map_err(|message| Answer::error(400, "bad_data", &message))
            .and_then(|time| {
                let at_milliseconds = time.unwrap_or(now_milliseconds);
                Ok((self.evaluate(&query.text, at_milliseconds, now_milliseconds)?, at_milliseconds))
            });
        let (answer, with) = match evaluated {
            Ok((value, at_milliseconds)) => {
                let value = self.fault.falsify(value);
                (Answer::value(&value, at_milliseconds, self.fault.warnings()), With::of(&value))
            }
            Err(answer) => (answer, With::Error),
        };
        (Reply { after: self.fault.delay(), outcome: Outcome::Answer(answer) }, with)
    }

    fn evaluate(&self, text: &str, at_milliseconds: i64, now_milliseconds: i64) -> Result<promql::Value, Answer> {
        let expression = self
            .queries
            .parse(text)
            .map_err(|error| Answer::error(400, "bad_data", &format!("invalid parameter \"query\": {error}")))?;
        let scrapes = Scrapes {
            traffic: &self.traffic,
            cluster_names: self.cluster_names,
            schedule: &self.schedule,
            now_milliseconds,
        };
        evaluate(&expression, at_milliseconds, &scrapes)
            .map_err(|error| Answer::error(422, "execution", &error.to_string()))
    }
}
