//! What users write and read: Canary, `MetricTemplate` and `AlertProvider` of `flagger.app/v1beta1`.

pub mod alert_provider;
pub mod analysis;
pub mod canary;
pub mod checked;
pub mod crd;
pub mod duration;
pub mod http_match;
pub mod metric_template;
mod names;
pub mod path;
pub mod problem;
pub mod rules;
pub mod schema;
pub mod service;
pub mod session_affinity;
pub mod status;
mod unknown;
pub mod validate;
pub mod webhook;
