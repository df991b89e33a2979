//! HTTP: metrics and health.

pub mod telemetry;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::telemetry::{CONTENT_TYPE, Telemetry};
use crate::cluster::lease::Leadership;

/// Why there is no HTTP server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port can't be had.
    #[error("cannot listen on port {port} for metrics and health: {source}; choose another one with --port")]
    Bind {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// It stopped.
    #[error("the server for metrics and health failed: {0}")]
    Serve(#[from] io::Error),
}

/// What the answers are made from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The metrics and the state of the caches.
    pub telemetry: Arc<Telemetry>,
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
}

/// Takes a port on all addresses, IPv6 where the machine has it. Port 0 takes any free one.
pub async fn bind(port: u16) -> Result<TcpListener, ServerError> {
    let all = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    TcpListener::bind(all.as_slice()).await.map_err(|source| ServerError::Bind { port, source })
}

/// Answers until `stop`, then finishes what it is answering.
pub async fn serve(listener: TcpListener, sources: Sources, stop: CancellationToken) -> Result<(), ServerError> {
    axum::serve(listener, router(sources)).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// The paths: `/healthz`, `/readyz` and `/metrics`.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(sources)
}

async fn readyz(State(sources): State<Sources>) -> (StatusCode, String) {
    let missing = missing(&sources);
    if missing.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join("; ")))
}

/// What this process still lacks. One that stands by needs no caches: it must be ready, or a Deployment could never
/// replace the leader's pod by it.
fn missing(sources: &Sources) -> Vec<String> {
    match &*sources.leadership.borrow() {
        Leadership::Unknown { reason } => vec![format!("leadership is not known: {reason}")],
        Leadership::Standby { .. } => Vec::new(),
        Leadership::Leading(guard) if guard.is_leader_now() => sources.telemetry.missing_caches(),
        Leadership::Leading(_) => vec!["leadership was lost".to_owned()],
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    sources.telemetry.set_leader(sources.leadership.borrow().is_leader_now());
    match sources.telemetry.exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::api::checked::Provider;

    fn sources(leadership: Leadership) -> (Sources, watch::Sender<Leadership>) {
        let (sender, leadership) = watch::channel(leadership);
        (Sources { telemetry: Arc::new(Telemetry::new(Provider::Kubernetes)), leadership }, sender)
    }

    fn unknown() -> Leadership {
        Leadership::Unknown { reason: "the API server does not answer".to_owned() }
    }

    async fn ask(sources: &Sources, path: &str) -> (u16, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(sources.clone()).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readyz_says_what_is_missing_until_nothing_is() {
        let (sources, leadership) = sources(unknown());
        let ready = async || {
            let (status, _, body) = ask(&sources, "/readyz").await;
            (status, body)
        };
        let not = |reason: &str| (503, format!("not ready: {reason}\n"));
        let ok = || (200, "ok\n".to_owned());
        assert_eq!(ready().await, not("leadership is not known: the API server does not answer"));
        leadership.send_replace(Leadership::Standby { holder: "serin-1".to_owned() });
        assert_eq!(ready().await, ok());
        leadership.send_replace(Leadership::uncontested());
        assert_eq!(ready().await, not("the controller has not started"));
        sources.telemetry.report_caches(&["Canaries", "HTTPRoutes"]);
        let lists = "waiting for the first list of Canaries; waiting for the first list of HTTPRoutes";
        assert_eq!(ready().await, not(lists));
        sources.telemetry.report_caches(&[]);
        assert_eq!(ready().await, ok());
    }

    #[tokio::test]
    async fn healthz_is_well_from_the_start() {
        let (sources, _leadership) = sources(unknown());
        let (status, _, body) = ask(&sources, "/healthz").await;
        assert_eq!((status, body.as_str()), (200, "ok\n"));
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_and_tell_who_leads() {
        let (sources, leadership) = sources(unknown());
        let (status, kind, body) = ask(&sources, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
        assert!(body.contains("\nserin_leader 0\n"), "{body}");
        leadership.send_replace(Leadership::uncontested());
        let (_, _, body) = ask(&sources, "/metrics").await;
        assert!(body.contains("\nserin_leader 1\n"), "{body}");
    }

    #[tokio::test]
    async fn it_serves_on_a_port_until_it_is_stopped() {
        let (sources, _leadership) = sources(unknown());
        let listener = bind(0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = bind(port).await.unwrap_err().to_string();
        assert!(taken.starts_with(&format!("cannot listen on port {port} for metrics and health: ")), "{taken}");
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, sources, stop.clone()));
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
