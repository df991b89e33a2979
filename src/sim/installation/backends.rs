//! Everybody whom the controller speaks to beside Kubernetes: Prometheus, and whoever is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::PROMETHEUS_HOST;
use crate::clock;
use crate::outbound::{Reply, Request, Transport, TransportError};
use crate::sim::prometheus::{self, Answer, Prometheus};

/// Prometheus by its host; any other host takes what is posted to it, as an alert.
#[derive(Clone)]
pub(super) struct Backends {
    pub(super) prometheus: Arc<Mutex<Prometheus>>,
    pub(super) alerts: UnboundedSender<Value>,
}

impl Backends {
    pub(super) fn prometheus(&self) -> MutexGuard<'_, Prometheus> {
        self.prometheus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request) -> Result<Reply, TransportError> {
        if request.url.host_str() == Some(PROMETHEUS_HOST) {
            let path = prometheus::path_and_query(&request);
            let reply = self.prometheus().answer(&request.method, &path, &request.body, clock::now());
            return prometheus::deliver(reply).await;
        }
        if request.method != Method::POST {
            return Err(prometheus::refused());
        }
        // Nobody may be listening any more, and a body that is no JSON is told as nothing.
        let _ = self.alerts.send(serde_json::from_slice(&request.body).unwrap_or_default());
        Ok(prometheus::answered(Answer { status: 200, content_type: "text/plain", body: String::new() }))
    }
}

impl Transport for Backends {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.clone().answer(request).boxed()
    }
}
