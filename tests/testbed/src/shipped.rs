//! Serin as it is shipped: installed as a cluster does it, and run as the ServiceAccount that it is given there.

use std::path::Path;

use anyhow::{Context, Result};

use crate::gateway::{GATEWAY_NAME, GATEWAY_NAMESPACE};
use crate::process::Launch;
use crate::testbed::Testbed;

/// The namespace that `deploy/base` makes.
const NAMESPACE: &str = "serin-system";
/// The ServiceAccount in it that the controller's pods run as.
const SERVICE_ACCOUNT: &str = "serin";

/// The controller's user, as the audit log names it.
pub const CONTROLLER_USER: &str = "system:serviceaccount:serin-system:serin";

impl Testbed {
    /// Installs what `kubectl apply -k BASE` does but for Deployments: who uses a testbed starts the controller as a
    /// process of its own. `base` is the folder `deploy/base`.
    pub async fn install(&self, base: &Path) -> Result<()> {
        let rendered = self.kubectl(&["kustomize", &base.display().to_string()]).await?;
        let manifests: Vec<&str> =
            rendered.split("\n---\n").filter(|manifest| !manifest.contains("kind: Deployment\n")).collect();
        self.kubectl_with_input(&["apply", "--server-side", "--filename=-"], &manifests.join("\n---\n")).await?;
        self.kubectl(&["wait", "--for=condition=Established", "customresourcedefinitions", "--all"]).await?;
        Ok(())
    }

    /// How to run `program` (`serin`) as the installed ServiceAccount, with its health and metrics at `port`. It watches
    /// all namespaces and elects a leader as the shipped Deployment does; arguments that are added win.
    pub async fn controller(&self, program: &Path, name: &str, port: u16) -> Result<Launch> {
        let kubeconfig = self.state_dir().join(format!("{name}.kubeconfig"));
        self.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT, &kubeconfig)
            .await
            .context("the controller's kubeconfig; is Serin installed?")?;
        Ok(Launch::new(name, program, self.state_dir().join(format!("{name}.log")))
            .argument("controller")
            .argument(format!("--kubeconfig={}", kubeconfig.display()))
            .argument(format!("--leader-election-namespace={NAMESPACE}"))
            .argument(format!("--gateway={GATEWAY_NAMESPACE}/{GATEWAY_NAME}"))
            .argument(format!("--metrics-server={}", self.prometheus_url()))
            .argument("--metrics-profile=contour")
            .argument(format!("--port={port}"))
            .argument("--log-format=text"))
    }
}
