//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and the credentials to speak with them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::audit;
use crate::components::Components;
use crate::process::{Launch, Process};
use crate::state::StateDir;

/// Where the API server listens.
pub(crate) const API_SERVER_URL: &str = "https://127.0.0.1:6443";
const ETCD_URL: &str = "http://127.0.0.1:2379";
const AUDIT_LOG: &str = "audit.log";

/// Everybody whom a static token lets in; all of them may do everything. Roles are proved by `ServiceAccount`s.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    Admin,
    ControllerManager,
    Scheduler,
    Contour,
    Node,
}

impl User {
    const ALL: [Self; 5] = [Self::Admin, Self::ControllerManager, Self::Scheduler, Self::Contour, Self::Node];

    /// The name that the audit log shows.
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Contour => "contour",
            Self::Node => "node",
        }
    }

    /// Known to everybody: the API server can be reached from nowhere but its own namespace.
    fn token(self) -> String {
        format!("token-of-{}", self.name())
    }
}

/// The files that the control plane's programs share.
#[derive(Debug)]
pub(crate) struct Credentials {
    folder: PathBuf,
    tokens: PathBuf,
    service_account_key: PathBuf,
    service_account_public_key: PathBuf,
}

impl Credentials {
    pub(crate) fn create(state: &StateDir) -> Result<Self> {
        let tokens: Vec<String> = User::ALL
            .iter()
            .map(|user| format!("{},{},{},system:masters", user.token(), user.name(), user.name()))
            .collect();
        let key = rcgen::KeyPair::generate().context("the key that signs ServiceAccounts' tokens")?;
        let credentials = Self {
            folder: state.path().to_owned(),
            tokens: state.write("tokens.csv", tokens.join("\n"))?,
            service_account_key: state.write("service-account.key", key.serialize_pem())?,
            service_account_public_key: state.write("service-account.pub", key.public_key_pem())?,
        };
        for user in User::ALL {
            let text = kubeconfig(&credentials.certificate_authority(), &user.token(), "default");
            state.write(&format!("{}.kubeconfig", user.name()), text)?;
        }
        Ok(credentials)
    }

    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.folder.join(format!("{}.kubeconfig", user.name()))
    }

    /// The certificate that the API server makes for itself when it starts, with the authority that signed it.
    pub(crate) fn certificate_authority(&self) -> PathBuf {
        self.folder.join("kube-apiserver").join("apiserver.crt")
    }
}

/// A kubeconfig that lets in whoever has this token. (JSON is YAML.)
pub(crate) fn kubeconfig(certificate_authority: &Path, token: &str, namespace: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "testbed",
        "clusters": [{"name": "testbed", "cluster": {
            "server": API_SERVER_URL,
            "certificate-authority": certificate_authority,
        }}],
        "users": [{"name": "testbed", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed", "namespace": namespace}}],
    })
    .to_string()
}

/// The audit log's path.
pub(crate) fn audit_log(state: &StateDir) -> PathBuf {
    state.join(AUDIT_LOG)
}

pub(crate) fn start_etcd(components: &Components, state: &StateDir) -> Result<Process> {
    Launch::new("etcd", components.path("etcd")?, state.join("etcd.log"))
        .argument(format!("--data-dir={}", state.join("etcd").display()))
        .argument(format!("--listen-client-urls={ETCD_URL}"))
        .argument(format!("--advertise-client-urls={ETCD_URL}"))
        .argument("--listen-peer-urls=http://127.0.0.1:2380")
        // Nothing of this outlives the run.
        .argument("--unsafe-no-fsync")
        .spawn()
}

pub(crate) fn start_api_server(
    components: &Components,
    state: &StateDir,
    credentials: &Credentials,
) -> Result<Process> {
    let policy = state.write("audit-policy.json", audit::POLICY)?;
    Launch::new("kube-apiserver", components.path("kube-apiserver")?, state.join("kube-apiserver.log"))
        .argument(format!("--etcd-servers={ETCD_URL}"))
        .arguments(["--bind-address=127.0.0.1", "--secure-port=6443"])
        .argument(format!("--cert-dir={}", state.join("kube-apiserver").display()))
        .argument(format!("--token-auth-file={}", credentials.tokens.display()))
        .argument("--authorization-mode=RBAC")
        .argument("--service-account-issuer=https://kubernetes.default.svc")
        .argument(format!("--service-account-key-file={}", credentials.service_account_public_key.display()))
        .argument(format!("--service-account-signing-key-file={}", credentials.service_account_key.display()))
        .argument("--service-cluster-ip-range=10.96.0.0/16")
        // It has no address that an EndpointSlice would take.
        .arguments(["--endpoint-reconciler-type=none", "--advertise-address=192.0.2.2"])
        .argument("--shutdown-delay-duration=0s")
        .argument(format!("--audit-policy-file={}", policy.display()))
        .argument(format!("--audit-log-path={}", audit_log(state).display()))
        .spawn()
}

pub(crate) fn start_controller_manager(
    components: &Components,
    state: &StateDir,
    credentials: &Credentials,
) -> Result<Process> {
    let kubeconfig = credentials.kubeconfig(User::ControllerManager);
    let name = "kube-controller-manager";
    Launch::new(name, components.path(name)?, state.join("kube-controller-manager.log"))
        .argument(format!("--kubeconfig={}", kubeconfig.display()))
        .argument(format!("--service-account-private-key-file={}", credentials.service_account_key.display()))
        .argument(format!("--root-ca-file={}", credentials.certificate_authority().display()))
        // Nobody renews the node's lease.
        .argument("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller")
        .arguments(["--leader-elect=false", "--bind-address=127.0.0.1"])
        .argument("--horizontal-pod-autoscaler-sync-period=1s")
        .arguments(["--kube-api-qps=500", "--kube-api-burst=1000"])
        .spawn()
}

pub(crate) fn start_scheduler(components: &Components, state: &StateDir, credentials: &Credentials) -> Result<Process> {
    let kubeconfig = credentials.kubeconfig(User::Scheduler);
    Launch::new("kube-scheduler", components.path("kube-scheduler")?, state.join("kube-scheduler.log"))
        .argument(format!("--kubeconfig={}", kubeconfig.display()))
        .arguments(["--leader-elect=false", "--bind-address=127.0.0.1"])
        .spawn()
}
