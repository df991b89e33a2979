//! `serin demo` as people start it: what it prints without a terminal, and its cluster for whoever has a kubeconfig.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

/// Longest time for what takes a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.arg("demo").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// A demo, ended with the test.
struct Running(Option<Child>);

impl Running {
    fn start(arguments: &[&str]) -> Result<Self> {
        Ok(Self(Some(demo(arguments).spawn()?)))
    }

    fn interrupt(&self) -> Result<()> {
        let id = self.0.as_ref().context("it runs")?.id();
        ensure!(Command::new("kill").args(["-INT", &id.to_string()]).status()?.success(), "kill failed");
        Ok(())
    }

    fn wait(mut self) -> Result<Output> {
        Ok(self.0.take().context("it runs")?.wait_with_output()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error.context(what.to_owned())),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    eventually("the kubeconfig", async || {
        let (config, options) = (Kubeconfig::read_from(kubeconfig)?, KubeConfigOptions::default());
        Ok(Client::try_from(Config::from_custom_kubeconfig(config, &options).await?)?)
    })
    .await
}

fn api(client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        "Canary" => ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), "canaries"),
        _ => ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
    };
    Api::namespaced_with(client.clone(), "default", &resource)
}

/// Waits until the Canary's last run ended so.
async fn ended(canaries: &Api<DynamicObject>, name: &str, outcome: &str) -> Result<Value> {
    eventually(name, async || {
        let status = canaries.get(name).await?.data["status"].clone();
        ensure!(status["history"][0]["outcome"] == outcome, "{status:#}");
        Ok(status)
    })
    .await
}

#[tokio::test]
async fn its_cluster_answers_while_it_runs_and_takes_releases() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let running = Running::start(&["--speed", "20", "--kubeconfig-out", path.to_str().context("a path")?])?;
    let client = client(&path).await?;
    let canaries = api(&client, "flagger.app", "v1beta1", "Canary");
    let deployments = api(&client, "apps", "v1", "Deployment");
    ended(&canaries, "frontend", "Promoted").await?;
    let refused = ended(&canaries, "payments", "RolledBack").await?;
    assert!(refused["history"][0]["reason"].as_str().is_some_and(|reason| reason.contains("< 99")), "{refused:#}");
    assert_eq!(canaries.list(&ListParams::default()).await?.items.len(), 2);

    // As `kubectl set env` sends it.
    let container = json!({"name": "app", "env": [{"name": "ERROR_RATE", "value": "0.5"}]});
    let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    deployments.patch("frontend", &PatchParams::default(), &Patch::Strategic(change)).await?;
    ended(&canaries, "frontend", "RolledBack").await?;

    running.interrupt()?;
    let output = running.wait()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("frontend 1.1.0 was promoted"), "{}", text(&output));
    assert_eq!(std::fs::read_dir(folder.path())?.count(), 0, "nothing is left behind");
    Ok(())
}

#[test]
fn a_file_that_is_no_demos_is_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("config");
    std::fs::write(&path, "somebody's kubeconfig")?;
    let output = demo(&["--kubeconfig-out", path.to_str().context("a path")?]).output()?;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("name another file"), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(&path)?, "somebody's kubeconfig");
    Ok(())
}

#[test]
fn without_a_terminal_there_are_plain_lines() -> Result<()> {
    let output = demo(&["--speed", "100", "--scenario", "blue-green"]).output()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(!text(&output).contains('\x1b'), "{}", text(&output));
    assert!(text(&output).contains("search 3.1.0 was promoted"), "{}", text(&output));
    Ok(())
}

#[test]
fn it_can_be_stopped_and_says_what_is_wrong_with_a_flag() -> Result<()> {
    let mut running = Running::start(&["--speed", "0.1"])?;
    let child = running.0.as_mut().context("it runs")?;
    let mut first = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().context("its output")?, &mut first)?;
    running.interrupt()?;
    assert_eq!(running.wait()?.status.code(), Some(130));
    for (arguments, expected) in [
        (["--speed", "0"], "give a number from 0.1 to 100"),
        (["--scenario", "none"], "two-releases"),
        (["--stay", "1"], "--kubeconfig-out"),
    ] {
        let output = demo(&arguments).output()?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(expected), "{arguments:?}: {}", text(&output));
    }
    Ok(())
}
