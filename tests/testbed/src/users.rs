//! People who use the application: real HTTP requests through the gateway, at a constant rate.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::header::HOST;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::wait_until;

/// A user waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a host may take until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// After so many good answers in a row a host is served.
const SERVED_AFTER: usize = 10;

/// One request that a user made.
#[derive(Clone, Debug)]
pub struct Hit {
    /// When it was sent.
    pub at: Instant,
    /// The HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// Who answered: the `x-version` header. Empty when the gateway answered by itself.
    pub version: String,
    /// From sending the request to having the whole answer.
    pub latency: Duration,
    /// Why no answer came.
    pub error: Option<String>,
}

impl Hit {
    /// Whether the user got what they asked for.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..400).contains(&status))
    }
}

/// Users who ask at a constant rate, however slow the answers are (open loop); they leave when dropped.
#[derive(Debug)]
pub struct Users {
    hits: Arc<Mutex<Vec<Hit>>>,
    generator: JoinHandle<()>,
}

impl Users {
    /// Sends `requests_per_second` to `/` on `host` through the gateway.
    pub fn start(gateway: SocketAddr, host: &str, requests_per_second: f64) -> Result<Self> {
        Self::start_with_headers(gateway, host, requests_per_second, &BTreeMap::new())
    }

    /// The same with headers in each request, such as the cookie or header of an A/B test.
    pub fn start_with_headers(
        gateway: SocketAddr,
        host: &str,
        requests_per_second: f64,
        headers: &BTreeMap<String, String>,
    ) -> Result<Self> {
        ensure!(requests_per_second > 0.0, "users ask at least now and then");
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().context("an HTTP client")?;
        let mut request = client.get(format!("http://{gateway}/")).header(HOST, host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.build().context("the users' request")?;
        let hits = Arc::new(Mutex::new(Vec::new()));
        let generator = tokio::spawn(generate(client, request, requests_per_second, Arc::clone(&hits)));
        Ok(Self { hits, generator })
    }

    /// The same, as soon as the gateway serves this host: its data plane takes a route some time after the route is
    /// accepted, and a first user who meets nobody has lost nothing.
    ///
    /// # Errors
    /// It is not served within a minute.
    pub async fn start_when_served(gateway: SocketAddr, host: &str, requests_per_second: f64) -> Result<Self> {
        let first = Self::start(gateway, host, requests_per_second)?;
        wait_until(&format!("answers to users of {host}"), SERVED_WITHIN, async || {
            let hits = first.snapshot();
            let latest: Vec<_> = hits.iter().rev().take(SERVED_AFTER).collect();
            let is_served = latest.len() == SERVED_AFTER && latest.iter().all(|hit| hit.is_success());
            ensure!(is_served, "the last of {} answers was {:?}", hits.len(), hits.last());
            Ok(())
        })
        .await?;
        Self::start(gateway, host, requests_per_second)
    }

    /// All requests that are answered (or given up) so far, in the order of their answers.
    pub fn snapshot(&self) -> Vec<Hit> {
        lock(&self.hits).clone()
    }

    /// Those that were sent at `since` or later.
    pub fn since(&self, since: Instant) -> Vec<Hit> {
        lock(&self.hits).iter().filter(|hit| hit.at >= since).cloned().collect()
    }

    /// The share, 0 to 1, of the requests since then that this version answered; 0 when there were none.
    pub fn share(&self, version: &str, since: Instant) -> f64 {
        let hits = self.since(since);
        let matching = hits.iter().filter(|hit| hit.version == version).count();
        if hits.is_empty() { 0.0 } else { matching as f64 / hits.len() as f64 }
    }

    /// The requests since then that did not succeed.
    pub fn failed(&self, since: Instant) -> Vec<Hit> {
        let mut hits = self.since(since);
        hits.retain(|hit| !hit.is_success());
        hits
    }

    /// Makes sure that every request since then succeeded.
    ///
    /// # Errors
    /// How many did not, and when the first was sent.
    pub fn ensure_served(&self, since: Instant) -> Result<()> {
        let failed = self.failed(since);
        let Some(first) = failed.first() else { return Ok(()) };
        let after = first.at.duration_since(since);
        bail!("{} of {} requests failed, the first {after:.2?} later: {first:?}", failed.len(), self.since(since).len())
    }

    /// No more requests from now on; what was recorded stays.
    pub fn stop(&self) {
        self.generator.abort();
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn generate(client: reqwest::Client, request: reqwest::Request, rate: f64, hits: Arc<Mutex<Vec<Hit>>>) {
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        interval.tick().await;
        let Some(request) = request.try_clone() else { return };
        let (client, hits) = (client.clone(), Arc::clone(&hits));
        tokio::spawn(async move {
            let hit = send(&client, request).await;
            lock(&hits).push(hit);
        });
    }
}

async fn send(client: &reqwest::Client, request: reqwest::Request) -> Hit {
    let at = Instant::now();
    let answer = async {
        let response = client.execute(request).await?;
        let status = response.status().as_u16();
        let version = response.headers().get("x-version").and_then(|value| value.to_str().ok()).map(str::to_owned);
        // Read to the end, so that the connection can be used again.
        response.bytes().await?;
        Ok::<_, reqwest::Error>((status, version.unwrap_or_default()))
    };
    match answer.await {
        Ok((status, version)) => Hit { at, status: Some(status), version, latency: at.elapsed(), error: None },
        Err(error) => Hit {
            at,
            status: None,
            version: String::new(),
            latency: at.elapsed(),
            error: Some(format!("{:#}", anyhow::Error::from(error))),
        },
    }
}

fn lock(hits: &Mutex<Vec<Hit>>) -> MutexGuard<'_, Vec<Hit>> {
    hits.lock().unwrap_or_else(PoisonError::into_inner)
}
