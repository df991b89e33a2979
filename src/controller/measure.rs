//! Resolving what a check refers to, and having it measured.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::context::Context;
use crate::analysis::Measurement;
use crate::api::checked::{Check, CheckSource, ObjectKey, ValidatedCanary};
use crate::api::duration::parse_seconds;
use crate::api::status::CanaryStatus;
use crate::metrics::{Source, Subject};

impl Context {
    /// Measures every check of a Canary. A template, Secret or backend that can't be used is an answer too.
    pub(super) async fn measure(
        &self,
        canary: &ValidatedCanary,
        status: &CanaryStatus,
        now: DateTime<Utc>,
    ) -> Vec<Measurement> {
        let subject = Subject::of(canary, self.metrics_profile);
        let checks: Vec<Check> = canary.analysis.checks.iter().map(|check| within_run(check, status, now)).collect();
        let mut asked = Vec::with_capacity(checks.len());
        for check in &checks {
            asked.push((check, self.source(canary, check).await));
        }
        self.metrics.measure_all(&subject, asked).await
    }

    async fn source(&self, canary: &ValidatedCanary, check: &Check) -> Result<Source, String> {
        let CheckSource::Template { template, .. } = &check.source else {
            let (address, field) = match &canary.metrics_server {
                Some(address) => (address, "spec.metricsServer"),
                None => (&self.options.metrics_server, "--metrics-server"),
            };
            return Source::server(address, field).map_err(|error| error.to_string());
        };
        let spec = self.cluster.metric_template(template)?;
        let secret = match &spec.provider.secret_ref {
            Some(secret) => Some(self.secret(&template.namespace, &secret.name).await?),
            None => None,
        };
        Source::template(&spec, secret.as_ref()).map_err(|error| format!("MetricTemplate {template}: {error}"))
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
        self.cluster.secret(&ObjectKey::new(namespace, name)).await
    }
}

/// The check with a window that does not reach beyond the start of the analysis: what the revision before answered, until
/// its last pod was gone, is not this one's merit or fault.
fn within_run(check: &Check, status: &CanaryStatus, now: DateTime<Utc>) -> Check {
    let mut check = check.clone();
    let start = status.analysis_start_time.or(status.run_start_time);
    let age_seconds = start.map(|start| (now - start).num_seconds().max(1));
    if let (Some(age), Ok(window)) = (age_seconds, parse_seconds(&check.window))
        && age < window
    {
        check.window = format!("{age}s");
    }
    check
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::api::checked::{OnError, OnNoData};

    #[test]
    fn a_window_ends_where_the_analysis_began() {
        let cases = [
            // window as written, seconds since the start of the run, and of its analysis, window that is asked for
            ("1m", Some(300), None, "1m"),
            ("1m", Some(60), None, "1m"),
            ("1m", Some(12), None, "12s"),
            ("5m", Some(61), None, "61s"),
            ("1m", Some(0), None, "1s"),
            ("1m", None, None, "1m"),
            ("1m", Some(300), Some(90), "1m"),
            ("1m", Some(300), Some(20), "20s"),
        ];
        for (window, run, analysis, expected) in cases {
            let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
            let check = Check {
                name: "request-success-rate".to_owned(),
                source: CheckSource::RequestSuccessRate,
                window: window.to_owned(),
                min: None,
                max: None,
                on_no_data: OnNoData::Fail,
                on_error: OnError::Hold,
                dry_run: false,
            };
            let ago = |seconds: Option<i64>| seconds.map(|seconds| now - TimeDelta::seconds(seconds));
            let (run_start_time, analysis_start_time) = (ago(run), ago(analysis));
            let status = CanaryStatus { run_start_time, analysis_start_time, ..CanaryStatus::default() };
            assert_eq!(within_run(&check, &status, now).window, expected, "{window}, {run:?} s and {analysis:?} s ago");
        }
    }
}
