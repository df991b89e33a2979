//! Telling people, in the background: whoever is slow to hear holds no pass up.

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
    /// Records Events about a Canary, one after the other.
    pub(super) fn publish(self: &Arc<Self>, key: &ObjectKey, uid: &str, notices: &[Notice]) {
        let canary = CanaryReference { key: key.clone(), uid: uid.to_owned() };
        // They bear the time of the decision.
        let events: Vec<_> = notices.iter().filter_map(|notice| self.recorder.note(&canary, notice)).collect();
        if !events.is_empty() {
            let context = Arc::clone(self);
            self.messages.spawn(async move {
                for event in events {
                    context.recorder.send(event).await;
                }
            });
        }
    }

    /// The mistake of that name: the pass waits until the Events are recorded.
    #[cfg(test)]
    pub(super) async fn tell_first(&self, canary: &ValidatedCanary, notices: &[Notice]) {
        let canary = CanaryReference { key: canary.key.clone(), uid: canary.uid.clone() };
        for event in notices.iter().filter_map(|notice| self.recorder.note(&canary, notice)) {
            self.recorder.send(event).await;
        }
    }

    /// Sends alerts to everybody who wants them.
    pub(super) fn send_alerts(self: &Arc<Self>, canary: &ValidatedCanary, alerts: &[AlertRecord]) {
        for alert in alerts {
            for wanted in canary.analysis.alerts.iter().filter(|wanted| alert.severity >= wanted.severity) {
                let canary = CanaryReference { key: canary.key.clone(), uid: canary.uid.clone() };
                let (context, wanted, alert) = (Arc::clone(self), wanted.clone(), alert.clone());
                self.messages.spawn(async move { context.send_alert(&canary, &wanted, &alert).await });
            }
        }
    }

    async fn send_alert(self: &Arc<Self>, canary: &CanaryReference, wanted: &Alert, alert: &AlertRecord) {
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
                self.publish(
                    &canary.key,
                    &canary.uid,
                    &[Notice { kind: NoticeKind::Warning, reason: "AlertFailed", message }],
                );
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
