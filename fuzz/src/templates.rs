//! Queries of MetricTemplates.

use std::collections::BTreeMap;

use serin::api::checked::Provider;
use serin::metrics::template::{Context, RENDERED_BYTES_MAX, parse};
use serin::metrics::{Profile, Subject};

/// Divides the template from `templateVariables`, one `NAME=VALUE` a line.
const DIVIDER: &str = "\n---\n";

/// Parses a template and fills it in.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (template, variables) = text.split_once(DIVIDER).unwrap_or((text, "job=frontend\nempty="));
    let variables: BTreeMap<String, String> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let subject = Subject {
        name: "frontend".to_owned(),
        namespace: "default".to_owned(),
        target: "frontend".to_owned(),
        service: "frontend".to_owned(),
        ingress: "frontend".to_owned(),
        route: "frontend".to_owned(),
        port: 80,
        profile: Profile::default_for(Provider::GatewayApi),
    };
    match parse(template) {
        Ok(parsed) => match parsed.render(&Context { subject: &subject, interval: "1m", variables: &variables }) {
            Ok(query) => assert!(query.len() <= RENDERED_BYTES_MAX, "{} bytes", query.len()),
            Err(error) => assert!(!error.message.is_empty() && error.position.line > 0),
        },
        Err(error) => assert!(!error.message.is_empty() && error.position.line > 0),
    }
}
