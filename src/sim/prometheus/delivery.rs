//! The way between [`crate::outbound`] and the model: requests as it takes them, replies as they arrive.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Answer, Outcome, Reply};
use crate::outbound::{self, TransportError};

/// Path and query of a request.
pub fn path_and_query(request: &outbound::Request) -> String {
    let path = request.url.path();
    request.url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Lets a reply arrive when it is due; one that never comes is waited for without end.
///
/// # Errors
/// Nobody listens.
pub async fn deliver(reply: Reply) -> Result<outbound::Reply, TransportError> {
    tokio::time::sleep(reply.after).await;
    match reply.outcome {
        Outcome::Answer(answer) => Ok(answered(answer)),
        Outcome::ConnectionRefused => Err(refused()),
        Outcome::Never => std::future::pending().await,
    }
}

/// An answer as it arrives.
pub fn answered(answer: Answer) -> outbound::Reply {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    let status = StatusCode::from_u16(answer.status).unwrap_or_default();
    outbound::Reply::whole(status, headers, answer.body.into_bytes())
}

/// Nobody listens.
pub fn refused() -> TransportError {
    TransportError::Connect { cause: "connection refused".to_owned() }
}
