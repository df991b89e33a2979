//! A real HTTP server that writes down what it is sent: the far end of alerts and webhooks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// GET, POST, ...
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// Header names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as JSON; a string when it is not JSON.
    pub body: Value,
    /// When it arrived, before any delay.
    pub at: Instant,
}

#[derive(Debug)]
struct Behaviour {
    received: Vec<Received>,
    status: StatusCode,
    answer: String,
    delay: Duration,
}

/// The server; ends when dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    server: JoinHandle<()>,
}

impl Sink {
    /// Listens on this port of the loopback address; on any free one for 0. Answers 200 at once until told otherwise.
    pub async fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.context("binding the sink")?;
        let address = listener.local_addr().context("the sink's address")?;
        let behaviour = Arc::new(Mutex::new(Behaviour {
            received: Vec::new(),
            status: StatusCode::OK,
            answer: String::new(),
            delay: Duration::ZERO,
        }));
        let router = Router::new().fallback(receive).with_state(Arc::clone(&behaviour));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the sink ended: {error}");
            }
        });
        Ok(Self { address, behaviour, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path on it, which starts with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What arrived so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.behaviour).received.clone()
    }

    /// Forgets what arrived so far.
    pub fn clear(&self) {
        lock(&self.behaviour).received.clear();
    }

    /// Answers every request from now on with this status and body.
    pub fn answer_with(&self, status: u16, body: &str) -> Result<()> {
        let status = StatusCode::from_u16(status).context("not an HTTP status")?;
        let mut behaviour = lock(&self.behaviour);
        behaviour.status = status;
        body.clone_into(&mut behaviour.answer);
        Ok(())
    }

    /// Lets every request from now on wait this long for its answer.
    pub fn answer_after(&self, delay: Duration) {
        lock(&self.behaviour).delay = delay;
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(behaviour): State<Arc<Mutex<Behaviour>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let received = Received {
        method: method.to_string(),
        path: uri.to_string(),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
        at: Instant::now(),
    };
    let (status, answer, delay) = {
        let mut behaviour = lock(&behaviour);
        behaviour.received.push(received);
        (behaviour.status, behaviour.answer.clone(), behaviour.delay)
    };
    tokio::time::sleep(delay).await;
    (status, answer)
}

fn lock(behaviour: &Mutex<Behaviour>) -> MutexGuard<'_, Behaviour> {
    behaviour.lock().unwrap_or_else(PoisonError::into_inner)
}
