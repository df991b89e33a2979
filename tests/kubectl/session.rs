//! A server with objects, and kubectl at its socket.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use regex::Regex;
use serde_json::{Value, json};
use serin::api::checked::ObjectKey;
use serin::rollout::ResourceId;
use serin::sim::api_server::{ApiServer, Caller};
use serin::sim::loopback;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::objects;

/// What differs from run to run, and what stands for it.
static REDACTED: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r"\b(\d+m)?\d+s\b|\b(\d+y)?\d+d\b", "AGE"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( \w+)?", "TIME"),
        (r"/tmp/[\w./-]+", "FILE"),
        // Columns are as wide as what is in them.
        (r"(\S)  +", "$1  "),
        // A rule under a heading.
        (r"-----+", "-----"),
        (r"(?m) +$", ""),
    ]
    .into_iter()
    .map(|(pattern, replacement)| (Regex::new(pattern).expect("a pattern"), replacement))
    .collect()
});

/// kubectl with a kubeconfig.
pub struct Kubectl {
    path: PathBuf,
    folder: TempDir,
}

impl Kubectl {
    /// What it prints, on both streams, without what differs from run to run.
    pub fn run(&self, words: &[&str], input: &str) -> Result<String> {
        let mut child = self.command(words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("kubectl")?;
        child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text += &String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            writeln!(text, "({})", output.status)?;
        }
        for (pattern, replacement) in REDACTED.iter() {
            text = pattern.replace_all(&text, *replacement).into_owned();
        }
        Ok(text)
    }

    /// Starts it, to read what it prints line by line.
    pub fn start(&self, words: &[&str]) -> Result<Running> {
        let mut child = self.command(words).stdin(Stdio::null()).spawn().context("kubectl")?;
        let lines = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Running { child, lines })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("KUBE_EDITOR", "sed -i s/s:1/s:2/")
            .args(words)
            .stdout(Stdio::piped());
        command
    }
}

/// A kubectl that goes on until this is dropped.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// The next line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with objects, and kubectl.
pub struct Shell {
    pub kubectl: Arc<Kubectl>,
    server: ApiServer,
    stop: CancellationToken,
    /// Dropped last: the server lives in it.
    _runtime: Runtime,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shell {
    /// Starts a server of its own.
    pub fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let (server, stop) = (ApiServer::new(), CancellationToken::new());
        objects::plant(&server)?;
        let listener = runtime.block_on(loopback::bind(0))?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("kubeconfig"), loopback::kubeconfig(listener.local_addr()?))?;
        let caller = Caller { user: "kubectl".to_owned(), ..Caller::default() };
        runtime.spawn(loopback::serve(listener, server.clone(), caller, stop.clone()));
        let path = serin_testbed::component("kubectl")?;
        Ok(Self { kubectl: Arc::new(Kubectl { path, folder }), server, stop, _runtime: runtime })
    }

    /// Writes the status of the Canary `frontend`.
    pub fn set_canary(&self, phase: &str, weight: i64) -> Result<()> {
        self.patch_status("flagger.app/v1beta1", "Canary", "frontend", &json!({"phase": phase, "canaryWeight": weight}))
    }

    /// Has the Canary and the Deployment `frontend` be where they are to be.
    pub fn make_ready(&self) -> Result<()> {
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Settled", "message": "", "lastTransitionTime": objects::TIME}]);
        let status = json!({"conditions": ready, "observedGeneration": 1});
        self.patch_status("flagger.app/v1beta1", "Canary", "frontend", &status)?;
        let counts = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
        self.patch_status("apps/v1", "Deployment", "frontend", &counts)
    }

    /// Deletes the pod `frontend-2`.
    pub fn delete_pod(&self) -> Result<()> {
        let pod = ResourceId::new("v1", "Pod", ObjectKey::new("default", "frontend-2"));
        self.server.delete(&pod).map_err(|status| anyhow::anyhow!("{}", status.message))
    }

    fn patch_status(&self, api_version: &str, kind: &str, name: &str, status: &Value) -> Result<()> {
        let id = ResourceId::new(api_version, kind, ObjectKey::new("default", name));
        let patched = self.server.patch_status(&id, &json!({"status": status}));
        patched.map(|_| ()).map_err(|status| anyhow::anyhow!("{}", status.message))
    }
}
