//! Prometheus, which scrapes Envoy and every running pod each second.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::components::Components;
use crate::gateway::STATS_ADDRESS;
use crate::node::SCRAPE_FILE_NAME;
use crate::process::{Launch, Process};
use crate::state::StateDir;
use crate::wait::wait_until;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A Prometheus that a test may stop and start again; what it stored stays.
#[derive(Debug)]
pub struct PrometheusProcess {
    url: String,
    process: Process,
}

impl PrometheusProcess {
    pub(crate) fn spawn(components: &Components, state: &StateDir, name: &str, port: u16) -> Result<Self> {
        let config = state.write(&format!("{name}.json"), configuration(state).to_string())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let process = Launch::new(name, components.path("prometheus")?, state.join(&format!("{name}.log")))
            .argument(format!("--config.file={}", config.display()))
            .argument(format!("--storage.tsdb.path={}", state.join(&format!("{name}.data")).display()))
            .argument(format!("--web.listen-address={address}"))
            .argument("--web.enable-lifecycle")
            .spawn()?;
        Ok(Self { url: format!("http://{address}"), process })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process: to be frozen, for example.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it: connections to it are refused from now on.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the data that it had, and waits until it answers.
    pub async fn start(&mut self) -> Result<()> {
        self.process.restart()?;
        self.wait_until_ready().await
    }

    /// Waits until it answers queries.
    pub async fn wait_until_ready(&self) -> Result<()> {
        wait_until(self.process.name(), START_TIMEOUT, || answers_ok(format!("{}/-/ready", self.url))).await
    }
}

/// Whether a GET of this address is answered with success.
pub(crate) async fn answers_ok(url: String) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build().context("an HTTP client")?;
    let status = client.get(&url).send().await?.status();
    ensure!(status.is_success(), "{url} answered {status}");
    Ok(())
}

/// The same for every Prometheus. (JSON is YAML.)
fn configuration(state: &StateDir) -> Value {
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "static_configs": [{"targets": [STATS_ADDRESS]}],
            },
            {
                "job_name": "kubernetes-pods",
                "file_sd_configs": [{"files": [state.join(SCRAPE_FILE_NAME)], "refresh_interval": "1s"}],
            },
        ],
    })
}
