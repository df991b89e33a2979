//! The in-memory API server on a socket of this machine, for `kubectl`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api_server::{ApiServer, Caller, Connection};

/// The largest body of a request, as the real server takes them.
const LARGEST_BODY_BYTES: usize = 3 * 1024 * 1024;
/// The name of the cluster, the user and the context in a kubeconfig.
pub const NAME: &str = "serin-simulation";

/// Why the API server is not on a socket.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// The port can't be had.
    #[error(
        "cannot serve the simulated API server on 127.0.0.1:{port}: {source}; choose another port, or 0 for any free one"
    )]
    Bind {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// It stopped.
    #[error("the socket of the simulated API server failed: {0}")]
    Serve(#[from] io::Error),
}

/// Takes a port on 127.0.0.1; port 0 takes any free one. The server has no authentication, so no other address will do.
///
/// # Errors
/// The port can't be had.
pub async fn bind(port: u16) -> Result<TcpListener, LoopbackError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| LoopbackError::Bind { port, source })
}

/// A kubeconfig for the server at this address: no encryption, no user, the namespace `default`. (JSON is YAML.)
pub fn kubeconfig(address: SocketAddr) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": NAME, "user": {}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
    });
    format!("{config:#}\n")
}

#[derive(Clone)]
struct Served {
    connection: Connection,
    stop: CancellationToken,
}

/// Answers as this caller until `stop`; then watches end, and what is being answered is finished.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    server: ApiServer,
    caller: Caller,
    stop: CancellationToken,
) -> Result<(), LoopbackError> {
    let answering = Served { connection: server.connection(caller), stop: stop.clone() };
    let router = Router::new().fallback(answer).with_state(answering);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn answer(State(served): State<Served>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, LARGEST_BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => return (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()).into_response(),
    };
    match served.connection.answer(parts, body).await {
        Ok(response) => response.map(|body| ending(body, served.stop)),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// A body without a known length is a watch; it ends when the server stops.
fn ending(body: Body, stop: CancellationToken) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::from_stream(body.into_data_stream().take_until(stop.cancelled_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;

    struct Running {
        url: String,
        server: ApiServer,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<Result<(), LoopbackError>>,
    }

    async fn start() -> Running {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (server, stop) = (ApiServer::new(), CancellationToken::new());
        let listener = bind(0).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let caller = Caller { user: "kubectl".to_owned(), ..Caller::default() };
        let task = tokio::spawn(serve(listener, server.clone(), caller, stop.clone()));
        Running { url, server, stop, task }
    }

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}})
    }

    #[tokio::test]
    async fn requests_are_answered() {
        let running = start().await;
        let client = reqwest::Client::new();
        let path = format!("{}/api/v1/namespaces/default/configmaps", running.url);
        let created = client.post(&path).json(&config_map("a")).send().await.unwrap();
        assert_eq!((created.status().as_u16(), running.server.list("v1", "ConfigMap").len()), (201, 1));
        let health = client.get(format!("{}/readyz", running.url)).send().await.unwrap();
        assert_eq!(health.text().await.unwrap(), "ok");
        let missing: Value = client.get(format!("{path}/b")).send().await.unwrap().json().await.unwrap();
        assert_eq!(missing["reason"], "NotFound");
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn watches_stream_and_end_when_the_server_stops() {
        let running = start().await;
        let url = format!("{}/api/v1/configmaps?watch=true", running.url);
        let mut watch = reqwest::Client::new().get(url).send().await.unwrap();
        for name in ["a", "b"] {
            running.server.create(config_map(name)).unwrap();
            let line = tokio::time::timeout(Duration::from_secs(10), watch.chunk()).await.unwrap().unwrap().unwrap();
            let event: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
        }
        running.stop.cancel();
        assert_eq!(watch.chunk().await.unwrap(), None);
        running.task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_kubeconfig_leads_to_the_server() {
        let address = "127.0.0.1:1234".parse().unwrap();
        let config: Value = serde_saphyr::from_str(&kubeconfig(address)).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "http://127.0.0.1:1234");
        assert_eq!(config["contexts"][0]["context"]["namespace"], "default");
        let taken = bind(0).await.unwrap();
        let error = bind(taken.local_addr().unwrap().port()).await.unwrap_err();
        assert!(error.to_string().contains("choose another port"), "{error}");
    }
}
