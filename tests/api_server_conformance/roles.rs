//! What the shipped role may not do, on both servers.

use anyhow::{Context, Result, ensure};
use http::{Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use serin::sim::api_server::{ApiServer, Caller};
use serin_testbed::Testbed;

const USER: &str = "system:serviceaccount:serin-system:serin";

/// Method, path.
const REQUESTS: [(&str, &str); 12] = [
    ("GET", "/api/v1/namespaces/default/configmaps/a"),
    ("GET", "/api/v1/namespaces/default/pods"),
    ("GET", "/api/v1/pods"),
    ("GET", "/apis/flagger.app/v1beta1/canaries"),
    ("GET", "/apis/flagger.app/v1beta1/canaries?watch=true&timeoutSeconds=1"),
    ("GET", "/apis/apps/v1/daemonsets?watch=true"),
    ("POST", "/apis/flagger.app/v1beta1/namespaces/default/canaries"),
    ("DELETE", "/apis/flagger.app/v1beta1/namespaces/default/canaries/a"),
    ("DELETE", "/apis/apps/v1/namespaces/default/deployments/a"),
    ("PATCH", "/apis/apps/v1/namespaces/default/deployments/a/status"),
    ("PUT", "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/a/status"),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/default/leases/serin"),
];

/// Installs the role and its account.
pub async fn install(testbed: &Testbed) -> Result<()> {
    let base = format!("{}/deploy/base", env!("CARGO_MANIFEST_DIR"));
    for file in ["namespace", "service_account", "cluster_role", "cluster_role_binding"] {
        testbed.kubectl(&["create", "--filename", &format!("{base}/{file}.yaml")]).await?;
    }
    Ok(())
}

/// Refusals have the same words.
pub async fn refusals(testbed: &Testbed) -> Result<()> {
    let path = testbed.state_dir().join("conformance-kubeconfig");
    testbed.service_account_kubeconfig("serin-system", "serin", &path).await?;
    let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(&path)?, &KubeConfigOptions::default()).await?;
    let real = Client::try_from(config)?;
    let text = std::fs::read_to_string(format!("{}/deploy/base/cluster_role.yaml", env!("CARGO_MANIFEST_DIR")))?;
    let role: ClusterRole = serde_saphyr::from_str(&text).context("the shipped role")?;
    let caller = Caller { user: USER.to_owned(), rules: role.rules, interposer: None };
    let simulated = ApiServer::new().client(caller);
    let mut refused = 0;
    for (method, path) in REQUESTS {
        let (real, simulated) = (answer(&real, method, path).await?, answer(&simulated, method, path).await?);
        // What is allowed has other answers: nobody made the same objects.
        if real.0 == 403 || simulated.0 == 403 {
            ensure!(real == simulated, "{method} {path}: real {real:?}, simulated {simulated:?}");
            refused += 1;
        }
    }
    ensure!(refused == 9, "{refused} requests were refused");
    Ok(())
}

async fn answer(client: &Client, method: &str, path: &str) -> Result<(u16, Value)> {
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes())?)
        .uri(path)
        .header("content-type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" })
        .body(Body::from(b"{}".to_vec()))?;
    let response = client.send(request).await?;
    let code = response.status().as_u16();
    if code < 300 {
        return Ok((code, Value::Null));
    }
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
}
