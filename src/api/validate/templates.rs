//! `MetricTemplate` and `AlertProvider` objects.

use serde_json::Value;

use super::{is, object_key};
use crate::api::problem::{Invalid, Problems};
use crate::api::rules;
use crate::api::schema;

/// Checks a `MetricTemplate`. `check_query` judges the query's template language and says what is wrong with it.
///
/// # Errors
/// Everything that is wrong with it, each with field and mend.
pub fn validate_metric_template(
    object: &Value,
    check_query: &dyn Fn(&str) -> Result<(), String>,
) -> Result<(), Invalid> {
    let mut object = object.clone();
    let mut problems = schema::check("MetricTemplate", &mut object).problems;
    let mut found = Problems::default();
    object_key(&object, &mut found);
    let (provider, query) = (&object["spec"]["provider"], object["spec"]["query"].as_str().unwrap_or_default());
    let kind = provider["type"].as_str().unwrap_or_default();
    if kind == "prometheus" {
        check_address(&provider["address"], "spec.provider.address", &mut found);
        if provider.get("address").is_none() {
            found.add("spec.provider.address", "is missing: add it, such as http://prometheus.monitoring:9090");
        }
    } else {
        let message = format!("{kind} is not supported yet by this version of Serin; use prometheus");
        found.add("spec.provider.type", message);
    }
    if query.trim().is_empty() {
        found.add("spec.query", "is empty: write the query");
    } else if let Err(message) = check_query(query) {
        found.add("spec.query", message);
    }
    problems.extend_uncovered(found);
    problems.or(())
}

/// Checks an `AlertProvider`.
///
/// # Errors
/// Everything that is wrong with it, each with field and mend.
pub fn validate_alert_provider(object: &Value) -> Result<(), Invalid> {
    let mut written = object.clone();
    let mut problems = schema::check("AlertProvider", &mut written).problems;
    let mut found = Problems::default();
    object_key(&written, &mut found);
    let spec = &object["spec"];
    if spec["address"].is_null() && spec["secretRef"].is_null() {
        found.add("spec", rules::ADDRESS_OR_SECRET.message);
    }
    check_address(&spec["address"], "spec.address", &mut found);
    check_address(&spec["proxy"], "spec.proxy", &mut found);
    problems.extend_uncovered(found);
    problems.or(())
}

fn check_address(address: &Value, field: &str, problems: &mut Problems) {
    if let Some(address) = address.as_str()
        && !is::is_http_address(address)
    {
        problems.add(field, format!("{address:?} is not an address: begin it with http:// or https://"));
    }
}
