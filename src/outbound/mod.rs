//! HTTP to whatever is not Kubernetes: metrics backends, and receivers of alerts.
//!
//! A [`Transport`] carries a request there: [`Pools`] over the network, a simulation in memory. What must hold for
//! both, the limits of time and size, is in [`exchange`].

mod pools;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

pub use pools::Pools;

/// What is sent, and by which way.
#[derive(Clone)]
pub struct Request {
    /// For example GET.
    pub method: Method,
    /// An `http` or `https` address. User information in it is sent as basic authentication, unless `headers` has
    /// `Authorization`.
    pub url: Url,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// The way there.
    pub route: Route,
}

impl std::fmt::Debug for Request {
    /// Without path, query and headers, which may hold credentials.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} to {}", self.method, self.url.host_str().unwrap_or_default())
    }
}

/// The way to a server. Each has connections of its own. Not shown: the address of a proxy may hold credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// How the server proves who it is.
    pub trust: Trust,
    /// The proxy in between; `None` for the one of the environment, if it names one.
    pub proxy: Option<Url>,
}

/// How a server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Not at all: plain HTTP.
    Plain,
    /// By a certificate that the system's authorities signed.
    System,
    /// By a certificate that one of these authorities signed, in PEM.
    Authorities(Vec<u8>),
    /// By any certificate.
    Anything,
}

/// The head of an answer, and its body as it comes.
pub struct Reply {
    /// For example 200.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body in pieces, of any length.
    pub body: BodyStream,
}

impl Reply {
    /// An answer that is there as a whole.
    pub fn whole(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body: stream::iter([Ok(body)]).boxed() }
    }
}

/// A body in pieces.
pub type BodyStream = BoxStream<'static, Result<Vec<u8>, TransportError>>;

/// Carries requests to servers.
pub trait Transport: Send + Sync {
    /// Sends a request once, and gives the answer as soon as its head is there. Redirects are answers. It may take for
    /// ever: [`exchange`] limits the time.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Reply, TransportError>>;
}

/// What answers in memory may be a function.
impl<F> Transport for F
where
    F: Fn(Request) -> BoxFuture<'static, Result<Reply, TransportError>> + Send + Sync,
{
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self(request)
    }
}

/// Why there is no answer, or no whole one. Never tells an address or a credential; what to do about it depends on who
/// asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// [`Trust::Authorities`] can't be used.
    #[error("no certificate in PEM format among the given authorities")]
    Authorities,
    /// [`Route::proxy`] can't be used.
    #[error("the address can't be used as a proxy")]
    Proxy,
    /// This process can't open connections that are secure in the wanted way.
    #[error("can't set up TLS: {cause}")]
    Tls {
        /// What happened.
        cause: String,
    },
    /// The server was not reached: it knows nothing of the request.
    #[error("can't connect: {cause}")]
    Connect {
        /// What happened.
        cause: String,
    },
    /// The time is over. What the server did with the request is not known.
    #[error("no answer within {within:?}")]
    Late {
        /// Time for the whole exchange.
        within: Duration,
    },
    /// The body is larger than it may be.
    #[error("the answer has more than {bytes_max} bytes")]
    TooLarge {
        /// Largest size that is read.
        bytes_max: usize,
    },
    /// The exchange broke off. What the server did with the request is not known.
    #[error("{cause}")]
    Broken {
        /// What happened.
        cause: String,
    },
}

/// How much of an exchange is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the start to the end of the body.
    pub time: Duration,
    /// Largest body, in bytes.
    pub body_bytes: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// For example 200.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, as far as it came within the limits.
    pub body: Vec<u8>,
    /// Why that is not the whole body.
    pub cut_off: Option<TransportError>,
}

/// Sends a request and waits for the answer, within limits.
///
/// # Errors
/// The head of the answer did not come. A body that breaks off is no error: see [`Response::cut_off`].
pub async fn exchange(transport: &dyn Transport, request: Request, limits: Limits) -> Result<Response, TransportError> {
    let deadline = Instant::now() + limits.time;
    let late = |_| TransportError::Late { within: limits.time };
    let reply = timeout_at(deadline, transport.send(request)).await.map_err(late)??;
    let mut body = Vec::new();
    let whole = timeout_at(deadline, read(reply.body, &mut body, limits.body_bytes)).await.map_err(late).flatten();
    Ok(Response { status: reply.status, headers: reply.headers, body, cut_off: whole.err() })
}

async fn read(mut chunks: BodyStream, body: &mut Vec<u8>, bytes_max: usize) -> Result<(), TransportError> {
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let room = bytes_max - body.len();
        match chunk.get(..room) {
            Some(fitting) if fitting.len() < chunk.len() => {
                body.extend_from_slice(fitting);
                return Err(TransportError::TooLarge { bytes_max });
            }
            _ => body.extend_from_slice(&chunk),
        }
    }
    Ok(())
}
