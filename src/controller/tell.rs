//! Telling people: Events right away, alerts in the background.

use std::sync::Arc;

use tracing::info;

use super::context::Context;
use crate::alerts::{Destination, Message};
use crate::api::checked::{Alert, ObjectKey, ValidatedCanary};
use crate::api::status::{AlertRecord, CanaryStatus, Outcome};
use crate::cluster::events::CanaryReference;
use crate::rollout::{Decision, Notice, NoticeKind};
use crate::server::telemetry::CanaryReport;

impl Context {
    /// Records Events about a Canary.
    pub(super) async fn publish(&self, key: &ObjectKey, uid: &str, notices: &[Notice]) {
        let canary = CanaryReference { key: key.clone(), uid: uid.to_owned() };
        for notice in notices {
            self.recorder.publish(&canary, notice).await;
        }
    }

    /// Sends alerts to everybody who wants them, in the background: a slow sink holds nothing up.
    pub(super) fn send_alerts(self: &Arc<Self>, canary: &ValidatedCanary, alerts: &[AlertRecord]) {
        for alert in alerts {
            for wanted in canary.analysis.alerts.iter().filter(|wanted| alert.severity >= wanted.severity) {
                let canary = CanaryReference { key: canary.key.clone(), uid: canary.uid.clone() };
                let (context, wanted, alert) = (Arc::clone(self), wanted.clone(), alert.clone());
                self.alerts.spawn(async move { context.send_alert(&canary, &wanted, &alert).await });
            }
        }
    }

    async fn send_alert(&self, canary: &CanaryReference, wanted: &Alert, alert: &AlertRecord) {
        let message = Message { canary: &canary.key, alert, cluster_name: self.options.cluster_name.as_deref() };
        let sent = match self.destination(wanted).await {
            Ok(destination) => {
                let sent = self.sinks.send(&destination, &message).await;
                sent.map_err(|error| format!("AlertProvider {}: {error}", wanted.provider))
            }
            Err(problem) => Err(problem),
        };
        self.telemetry.count_alert(sent.is_ok());
        match sent {
            Ok(()) => info!(canary = %canary.key, alert = wanted.name, "alert sent"),
            Err(problem) => {
                let message = format!("Alert {} was not sent: {problem}", wanted.name);
                self.recorder
                    .publish(canary, &Notice { kind: NoticeKind::Warning, reason: "AlertFailed", message })
                    .await;
            }
        }
    }

    async fn destination(&self, wanted: &Alert) -> Result<Destination, String> {
        let spec = self.cluster.alert_provider(&wanted.provider)?;
        let secret = match &spec.secret_ref {
            Some(secret) => Some(self.secret(&wanted.provider.namespace, &secret.name).await?),
            None => None,
        };
        Destination::new(&spec, secret.as_ref()).map_err(|error| format!("AlertProvider {}: {error}", wanted.provider))
    }

    /// Brings the metrics about a Canary up to date with a decision that was carried out.
    pub(super) fn report(&self, canary: &ValidatedCanary, before: &CanaryStatus, decision: &Decision) {
        let after = &decision.status;
        self.telemetry.record_canary(&CanaryReport {
            key: &canary.key,
            target_name: &canary.target_name,
            status: after,
        });
        if after.checks != before.checks {
            for check in &after.checks {
                self.telemetry.count_verdict(&canary.key, &check.name, check.verdict);
            }
        }
        if after.history.first() != before.history.first()
            && let Some(run) = after.history.first()
            && matches!(run.outcome, Outcome::Promoted | Outcome::RolledBack)
        {
            self.telemetry.count_run_end(canary, run.outcome == Outcome::Promoted);
        }
    }
}
