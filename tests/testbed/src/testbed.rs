//! A whole running testbed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::io::AsyncWriteExt;

use crate::audit::{self, AuditEntry};
use crate::components::Components;
use crate::control_plane::{self, Credentials, User};
use crate::gateway::{self, GATEWAY_ADDRESS, GATEWAY_NAME, GATEWAY_NAMESPACE, STATS_ADDRESS};
use crate::namespace::{self, PROGRAM_VARIABLE, Program};
use crate::process::{Launch, Process};
use crate::prometheus::{PrometheusProcess, answers_ok};
use crate::state::{STATE_VARIABLE, StateDir};
use crate::wait::wait_until;

const START_TIMEOUT: Duration = Duration::from_secs(90);
const PROMETHEUS_PORT: u16 = 9090;
const TOKEN_LIFETIME_SECONDS: i64 = 24 * 60 * 60;

/// How a testbed is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where it keeps its files; a new folder among the temporary files if `None`.
    pub state_dir: Option<PathBuf>,
    /// Leaves the files there at the end, to be read. `SERIN_TESTBED_KEEP=1` does the same.
    pub keep_state: bool,
}

/// A running cluster of real components; all of it ends when this is dropped.
pub struct Testbed {
    client: Client,
    components: Components,
    credentials: Credentials,
    prometheus: PrometheusProcess,
    // Dropped in this order: who asks goes before who answers, and the files go last.
    processes: Mutex<Vec<Process>>,
    state: StateDir,
}

impl Testbed {
    /// Starts everything and waits until it is ready. [`crate::enter`] must have been called.
    pub async fn start(options: Options) -> Result<Self> {
        let components = Components::from_environment()?;
        let keep = options.keep_state || env::var("SERIN_TESTBED_KEEP").is_ok_and(|value| value == "1");
        let state = StateDir::create(options.state_dir, keep)?;
        let credentials = Credentials::create(&state)?;
        let mut processes = vec![
            control_plane::start_etcd(&components, &state)?,
            control_plane::start_api_server(&components, &state, &credentials)?,
        ];
        let client = wait_for_api_server(&credentials, &mut processes).await?;
        // The node makes the file that Prometheus reads.
        processes.push(start_node(&state, &credentials)?);
        processes.push(control_plane::start_controller_manager(&components, &state, &credentials)?);
        processes.push(control_plane::start_scheduler(&components, &state, &credentials)?);
        let prometheus = PrometheusProcess::spawn(&components, &state, "prometheus", PROMETHEUS_PORT)?;
        processes.push(gateway::start_envoy(&components, &state)?);
        let testbed = Self { client, components, credentials, prometheus, processes: Mutex::new(processes), state };
        testbed.start_gateway().await?;
        testbed.write_enter_script()?;
        testbed.wait_until_ready().await?;
        Ok(testbed)
    }

    /// A client that may do everything; the audit log calls it `admin`.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig of the same user.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.credentials.kubeconfig(User::Admin)
    }

    /// Where the API server answers.
    pub fn api_server_url(&self) -> &'static str {
        control_plane::API_SERVER_URL
    }

    /// The certificates to trust when asking it.
    pub fn certificate_authority_path(&self) -> PathBuf {
        self.credentials.certificate_authority()
    }

    /// Where users come in. Envoy listens there as soon as there is a route.
    pub fn gateway_address(&self) -> SocketAddr {
        GATEWAY_ADDRESS
    }

    /// Where Prometheus answers.
    pub fn prometheus_url(&self) -> &str {
        self.prometheus.url()
    }

    /// The folder with logs, keys and data.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// A script that runs a command inside this testbed from another shell.
    pub fn enter_script_path(&self) -> PathBuf {
        self.state.join("enter")
    }

    /// The requests to the API server of `user` (of everybody, if `None`) that arrived at `since` or later.
    pub fn audit_requests(&self, user: Option<&str>, since: SystemTime) -> Result<Vec<AuditEntry>> {
        audit::read(&control_plane::audit_log(&self.state), user, since)
    }

    /// Does something to a component's process: `etcd`, `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`,
    /// `node`, `contour` or `envoy`. It may be killed, frozen and started again.
    pub fn with_component<T>(&self, name: &str, act: impl FnOnce(&mut Process) -> T) -> Result<T> {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let process = processes.iter_mut().find(|process| process.name() == name);
        Ok(act(process.with_context(|| format!("the testbed has no {name}"))?))
    }

    /// What a component has printed so far.
    pub fn log_of(&self, name: &str) -> Result<String> {
        self.with_component(name, |process| process.log())
    }

    /// Starts a further Prometheus, which scrapes the same, and waits until it answers.
    pub async fn start_prometheus(&self, name: &str, port: u16) -> Result<PrometheusProcess> {
        let prometheus = PrometheusProcess::spawn(&self.components, &self.state, name, port)?;
        prometheus.wait_until_ready().await?;
        Ok(prometheus)
    }

    /// Writes a kubeconfig with a token of this ServiceAccount, which must exist.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str, path: &Path) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_LIFETIME_SECONDS), ..Default::default() }),
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("a token for {namespace}/{name}"))?;
        let token = answer.status.and_then(|status| status.token).context("the answer has no token")?;
        let text = control_plane::kubeconfig(&self.certificate_authority_path(), &token, namespace);
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Runs kubectl as admin and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with_input(arguments, "").await
    }

    /// Applies manifests, in YAML or JSON, as kubectl does by default (client-side).
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_with_input(&["apply", "--filename=-"], manifests).await
    }

    /// Runs kubectl as admin with this on its standard input.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = tokio::process::Command::new(self.components.path("kubectl")?)
            .arg(format!("--kubeconfig={}", self.kubeconfig_path().display()))
            .arg(format!("--cache-dir={}", self.state.join("kubectl-cache").display()))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting kubectl")?;
        // It may end without reading all of it; then its own message says more.
        let _ = child.stdin.take().context("kubectl's input")?.write_all(input.as_bytes()).await;
        let output = child.wait_with_output().await.context("running kubectl")?;
        if !output.status.success() {
            bail!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The environment of a command that is to use this testbed.
    pub fn environment(&self) -> Result<Vec<(&'static str, String)>> {
        let kubectl = self.components.path("kubectl")?.parent().context("kubectl's folder")?;
        let path = env::var("PATH").unwrap_or_default();
        Ok(vec![
            ("KUBECONFIG", self.kubeconfig_path().display().to_string()),
            (STATE_VARIABLE, self.state.path().display().to_string()),
            ("SERIN_TESTBED_GATEWAY", GATEWAY_ADDRESS.to_string()),
            ("SERIN_TESTBED_PROMETHEUS", self.prometheus_url().to_owned()),
            ("PATH", format!("{}:{path}", kubectl.display())),
        ])
    }

    async fn start_gateway(&self) -> Result<()> {
        let gateway_api = self.components.path("gateway-api-crds")?.display().to_string();
        let contour = self.components.path("contour-crds")?.display().to_string();
        self.kubectl(&["create", "--validate=false", "--filename", &gateway_api, "--filename", &contour]).await?;
        self.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all"]).await?;
        let objects = gateway::objects().to_string();
        self.kubectl_with_input(&["create", "--validate=false", "--filename=-"], &objects).await?;
        let contour = gateway::start_contour(&self.components, &self.state, &self.credentials)?;
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(contour);
        Ok(())
    }

    fn write_enter_script(&self) -> Result<()> {
        let path = self.state.write("enter", namespace::enter_script(&self.environment()?)?)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("making the enter script executable")
    }

    async fn wait_until_ready(&self) -> Result<()> {
        tokio::try_join!(
            wait_until("the node", START_TIMEOUT, || node_is_ready(self.client())),
            wait_until("the Gateway", START_TIMEOUT, || gateway_is_programmed(self.client())),
            wait_until("the default ServiceAccount", START_TIMEOUT, || async {
                let accounts: Api<ServiceAccount> = Api::default_namespaced(self.client());
                accounts.get("default").await
            }),
            wait_until("Envoy", START_TIMEOUT, || answers_ok(format!("http://{STATS_ADDRESS}/ready"))),
            self.prometheus.wait_until_ready(),
        )
        .with_context(|| format!("the testbed did not start; its logs: {}", self.state.path().display()))?;
        Ok(())
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let processes = self.processes.get_mut().unwrap_or_else(PoisonError::into_inner);
        for process in processes.iter_mut().rev() {
            if process.name() == Program::Node.name() {
                // Its pods end with it only if it can tell them.
                process.stop(Duration::from_secs(2));
            }
            process.kill();
        }
    }
}

/// A client for the user of a kubeconfig.
pub(crate) async fn client_from(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.context("a kubeconfig")?;
    Client::try_from(config).context("a client")
}

async fn wait_for_api_server(credentials: &Credentials, processes: &mut [Process]) -> Result<Client> {
    let kubeconfig = credentials.kubeconfig(User::Admin);
    let authority = credentials.certificate_authority();
    wait_until("the API server's certificate", START_TIMEOUT, || async {
        authority.exists().then_some(()).context("no file yet")
    })
    .await?;
    wait_until("the API server", START_TIMEOUT, async || -> Result<Result<Client>> {
        if let Some(ended) = processes.iter_mut().find_map(|process| (!process.is_running()).then_some(process)) {
            // Waiting longer would not help.
            return Ok(Err(anyhow!("{} ended: {}", ended.name(), last_lines(&ended.log()))));
        }
        let client = client_from(&kubeconfig).await?;
        let request = axum::http::Request::get("/readyz").body(Vec::new())?;
        client.request_text(request).await.context("GET /readyz")?;
        Ok(Ok(client))
    })
    .await?
}

fn start_node(state: &StateDir, credentials: &Credentials) -> Result<Process> {
    let executable = env::current_exe().context("the path of this program")?;
    Launch::new(Program::Node.name(), executable, state.join("node.log"))
        .environment(PROGRAM_VARIABLE, Program::Node.name())
        .environment("KUBECONFIG", credentials.kubeconfig(User::Node))
        .environment(STATE_VARIABLE, state.path())
        .spawn()
}

async fn node_is_ready(client: Client) -> Result<()> {
    let nodes = Api::<Node>::all(client).list(&ListParams::default()).await?.items;
    let node = nodes.first().context("no node yet")?;
    let tainted = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty());
    ensure!(!tainted, "the node is tainted");
    let status = node.status.as_ref().context("the node has no status")?;
    ensure!(status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready"), "the node is not ready");
    Ok(())
}

async fn gateway_is_programmed(client: Client) -> Result<()> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "Gateway");
    let gateways: Api<DynamicObject> = Api::namespaced_with(client, GATEWAY_NAMESPACE, &ApiResource::from_gvk(&kind));
    let gateway = gateways.get(GATEWAY_NAME).await?;
    let conditions = gateway.data.pointer("/status/conditions").cloned().unwrap_or_default();
    let programmed = conditions
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Programmed" && condition["status"] == "True");
    ensure!(programmed, "its conditions are {conditions}");
    Ok(())
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
