//! The network.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream;
use reqwest::{Certificate, Proxy, redirect};

use super::{BodyStream, Reply, Request, Route, Transport, TransportError, Trust};

/// Time to open a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Most kept connection pools, one for each way to a server.
const POOLS_MAX: usize = 64;

/// The network, with connections that are kept. One for the whole process.
#[derive(Default)]
pub struct Pools {
    clients: Mutex<HashMap<Route, reqwest::Client>>,
}

impl Pools {
    /// Without connections yet; the first request by each way sets it up.
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self, route: Route) -> Result<reqwest::Client, TransportError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&route) {
            return Ok(client.clone());
        }
        if clients.len() >= POOLS_MAX {
            clients.clear();
        }
        let client = build_client(&route)?;
        clients.insert(route, client.clone());
        Ok(client)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Transport for Pools {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            let Request { method, url, headers, body, route } = request;
            let mut builder = self.client(route)?.request(method, url).headers(headers);
            if !body.is_empty() {
                builder = builder.body(body);
            }
            let response = builder.send().await.map_err(|error| explain(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok(Reply { status, headers, body: body_of(response) })
        }
        .boxed()
    }
}

fn body_of(response: reqwest::Response) -> BodyStream {
    let next = async |mut response: reqwest::Response| {
        let chunk = response.chunk().await.map_err(|error| explain(&error))?;
        Ok(chunk.map(|chunk| (chunk.to_vec(), response)))
    };
    stream::try_unfold(response, next).boxed()
}

fn build_client(route: &Route) -> Result<reqwest::Client, TransportError> {
    // reqwest panics without a process-wide provider. Where `main` has set one, this does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none());
    builder = match &route.trust {
        // No authorities: an image without any must still reach a server by plain HTTP.
        Trust::Plain => builder.tls_certs_only([]),
        Trust::Anything => builder.tls_danger_accept_invalid_certs(true),
        Trust::System => builder,
        Trust::Authorities(pem) => match Certificate::from_pem_bundle(pem) {
            Ok(authorities) if !authorities.is_empty() => builder.tls_certs_only(authorities),
            _ => return Err(TransportError::Authorities),
        },
    };
    if let Some(proxy) = &route.proxy {
        builder = builder.proxy(Proxy::all(proxy.clone()).map_err(|_| TransportError::Proxy)?);
    }
    builder.build().map_err(|error| TransportError::Tls {
        cause: error.source().map_or_else(|| error.to_string(), ToString::to_string),
    })
}

/// What went wrong on the way, without the address, which may hold credentials.
fn explain(error: &reqwest::Error) -> TransportError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let cause = if cause.is::<reqwest::Error>() { "the request failed".to_owned() } else { cause.to_string() };
    if error.is_connect() { TransportError::Connect { cause } } else { TransportError::Broken { cause } }
}
