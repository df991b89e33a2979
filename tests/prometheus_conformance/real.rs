//! A real Prometheus that scrapes nothing and is written to.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use tempfile::TempDir;

use crate::compare::Answer;
use crate::world::Stored;

/// The NaN by which Prometheus marks the end of a series (`StaleNaN` of its `model/value`).
const STALE: u64 = 0x7ff0_0000_0000_0002;

pub struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
    _data: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    pub async fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let config = data.path().join("prometheus.yml");
        std::fs::write(&config, "{}")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let process = Command::new(binary()?)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting Prometheus")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let prometheus = Self { process, url: format!("http://127.0.0.1:{port}"), client, _data: data };
        for _ in 0..300 {
            let ready = prometheus.client.get(format!("{}/-/ready", prometheus.url)).send().await;
            if ready.is_ok_and(|response| response.status().is_success()) {
                return Ok(prometheus);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("Prometheus did not get ready within 30 s")
    }

    /// Writes samples by its remote-write protocol, version 1.
    pub async fn write(&self, series: &[Stored]) -> Result<()> {
        let request = self
            .client
            .post(format!("{}/api/v1/write", self.url))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(snappy(&write_request(series)));
        let response = request.send().await?;
        let status = response.status();
        ensure!(status.is_success(), "writing samples: {status} {}", response.text().await?);
        Ok(())
    }

    /// Asks it.
    pub async fn query(&self, text: &str, at: DateTime<Utc>) -> Result<Answer> {
        let url = format!("{}/api/v1/query", self.url);
        let url = reqwest::Url::parse_with_params(&url, [("query", text), ("time", &at.timestamp().to_string())])?;
        let response = self.client.get(url).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }
}

/// The binary that the testbed builds, or the one that is named.
fn binary() -> Result<String> {
    if let Ok(path) = std::env::var("SERIN_PROMETHEUS") {
        return Ok(path);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/build");
    let output = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let path = text.lines().find_map(|line| line.strip_prefix("prometheus="));
    path.map(ToOwned::to_owned).context("the testbed's build script names no Prometheus")
}

/// `WriteRequest` of `prompb/remote.proto`.
fn write_request(series: &[Stored]) -> Vec<u8> {
    let mut request = Vec::new();
    for Stored { labels, samples } in series {
        let mut message = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut message, 1, &label);
        }
        for (milliseconds, value) in samples {
            let value = value.unwrap_or(f64::from_bits(STALE));
            // Field 1 is a double, field 2 a varint.
            let mut sample = vec![(1 << 3) | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, milliseconds.unsigned_abs());
            field(&mut message, 2, &sample);
        }
        field(&mut request, 1, &message);
    }
    request
}

/// A field of bytes.
fn field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    message.push((number << 3) | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

/// Snappy's block format, with nothing compressed: a length, and literals of up to 64 KiB.
fn snappy(content: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    varint(&mut block, content.len() as u64);
    for literal in content.chunks(1 << 16) {
        // 61: two bytes of length follow.
        block.push(61 << 2);
        block.extend(((literal.len() - 1) as u16).to_le_bytes());
        block.extend(literal);
    }
    block
}
