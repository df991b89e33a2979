//! What users write and read: Canary, `MetricTemplate` and `AlertProvider` of `flagger.app/v1beta1`.

pub mod alert_provider;
pub mod checked;
pub mod metric_template;
pub mod status;
