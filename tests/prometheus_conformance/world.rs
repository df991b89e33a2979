//! A simulated cluster in which everything happens that changes what is scraped.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::Value;
use serin::sim::load::{Behaviour, Load};
use serin::sim::prometheus::{Outcome, Prometheus, Scraping, Settings};

use crate::compare::Answer;

const SCRAPE_INTERVAL_SECONDS: i64 = 15;
/// How long the story goes on.
const END_SECONDS: i64 = 1500;

/// When is asked, in seconds of the story.
pub const MOMENTS: &[i64] = &[
    0, 5, 20, 61, 97, 150, 299, 301, 345, 412, 450, 508, 525, 533, 560, 601, 640, 705, 760, 890, 905, 931, 1001, 1030,
    1060, 1101, 1200, 1310, 1500,
];

/// Real time: the storage of Prometheus takes nothing that is very old.
static START: LazyLock<DateTime<Utc>> = LazyLock::new(|| {
    let now = serin::clock::now() - TimeDelta::minutes(40);
    DateTime::from_timestamp(now.timestamp() / 60 * 60, 0).expect("a time")
});

pub fn at(seconds: i64) -> DateTime<Utc> {
    *START + TimeDelta::seconds(seconds)
}

fn load(service: &str, workload: &str, pods: &[&str], requests_per_second: f64, behaviour: (f64, f64)) -> Load {
    Load {
        namespace: "default".to_owned(),
        service: service.to_owned(),
        port: 80,
        workload: workload.to_owned(),
        ready_pods: pods.iter().map(ToString::to_string).collect(),
        requests_per_second,
        behaviour: Behaviour { version: String::new(), error_share: behaviour.0, latency_milliseconds: behaviour.1 },
    }
}

/// The whole story.
pub fn run() -> Prometheus {
    let settings = Settings {
        scrape_interval: Duration::from_secs(SCRAPE_INTERVAL_SECONDS.unsigned_abs()),
        ..Settings::default()
    };
    let mut prometheus = Prometheus::new(&settings);
    let primary = |requests| load("web-primary", "web-primary", &["web-primary-1-a"], requests, (0.01, 7.0));
    let canary = |pods: &[&str], requests, behaviour| load("web-canary", "web", pods, requests, behaviour);
    let traffic = &mut prometheus.traffic;
    traffic.set(at(1), &[primary(30.0), canary(&["web-5d-a", "web-5d-b"], 10.0, (0.05, 20.0))]);
    traffic.set(at(300), &[primary(20.0), canary(&["web-5d-a", "web-5d-b"], 20.0, (0.05, 20.0))]);
    traffic.restart_pod(at(400), "default", "web-5d-a");
    traffic.set(at(600), &[primary(40.0), canary(&[], 3.0, (0.0, 20.0))]);
    traffic.set(at(700), &[primary(20.0), canary(&["web-7f-c"], 17.3, (1.0, 350.0))]);
    traffic.restart_gateway(at(900));
    traffic.set(at(1000), &[primary(40.0)]);
    traffic.set(at(1100), &[primary(33.3), canary(&["web-7f-d"], 0.1, (0.0, 0.0))]);
    traffic.set(at(1250), &[primary(33.3), canary(&["web-7f-d"], 0.0, (0.0, 0.0))]);
    prometheus.set_scraping(at(500), Scraping::Fails);
    prometheus.set_scraping(at(530), Scraping::Works);
    prometheus.set_scraping(at(755), Scraping::Fails);
    prometheus.set_scraping(at(765), Scraping::Works);
    prometheus
}

/// Asks the simulated Prometheus.
pub fn query(prometheus: &mut Prometheus, text: &str, at: DateTime<Utc>) -> Result<Answer> {
    let form = reqwest::Url::parse_with_params("http://form", [("query", text), ("time", &at.to_rfc3339())])?;
    let body = form.query().unwrap_or_default().as_bytes();
    let reply = prometheus.answer(&Method::POST, "/api/v1/query", body, self::at(END_SECONDS));
    match reply.outcome {
        Outcome::Answer(answer) => Ok((answer.status, serde_json::from_str(&answer.body)?)),
        other => bail!("{other:?}"),
    }
}

/// A series: its labels, in their order, and its samples by time. `None` is where it is known to have ended.
pub struct Stored {
    pub labels: Vec<(String, String)>,
    pub samples: Vec<(i64, Option<f64>)>,
}

/// Every sample that was scraped.
pub fn samples(prometheus: &mut Prometheus) -> Result<Vec<Stored>> {
    let (_, answer) = query(prometheus, &format!("{{__name__=~\".+\"}}[{}s]", END_SECONDS + 60), at(END_SECONDS))?;
    let series = answer["data"]["result"].as_array().context("a list of series")?;
    series.iter().map(stored).collect()
}

fn stored(series: &Value) -> Result<Stored> {
    let labels = series["metric"].as_object().context("labels")?;
    let mut labels: Vec<(String, String)> =
        labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    labels.sort();
    let mut samples: Vec<(i64, Option<f64>)> = Vec::new();
    for sample in series["values"].as_array().context("samples")? {
        let milliseconds = (sample[0].as_f64().context("a time")? * 1000.0) as i64;
        // The first scrape that does not see a series says that it ended.
        if let Some((before, _)) = samples.last().filter(|(before, _)| milliseconds - before > interval()) {
            samples.push((before + interval(), None));
        }
        samples.push((milliseconds, Some(sample[1].as_str().context("a number")?.parse()?)));
    }
    let (last, _) = samples.last().context("a series has samples")?;
    if *last < at(END_SECONDS).timestamp_millis() {
        samples.push((last + interval(), None));
    }
    Ok(Stored { labels, samples })
}

fn interval() -> i64 {
    SCRAPE_INTERVAL_SECONDS * 1000
}
