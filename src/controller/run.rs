//! The loop's place in the process.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::options::Options;
use super::telemetry::Telemetry;
use crate::cluster::lease::Leadership;

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Nobody publishes leadership any more.
    #[error("the task that holds the leader election lease is gone")]
    LeadershipGone,
}

/// Runs until `shutdown`; returns when the last pass has ended.
#[allow(clippy::needless_pass_by_value, reason = "the loop keeps all of them")]
pub async fn run(
    _options: Options,
    telemetry: Arc<Telemetry>,
    mut leadership: watch::Receiver<Leadership>,
    _client: kube::Client,
    shutdown: CancellationToken,
) -> Result<(), ControllerError> {
    telemetry.report_caches(&[]);
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        gone = async { while leadership.changed().await.is_ok() {} } => {
            let () = gone;
            Err(ControllerError::LeadershipGone)
        }
    }
}
