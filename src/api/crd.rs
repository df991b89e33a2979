//! The three custom resource definitions, as `serin crd` prints them.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceSubresourceStatus, CustomResourceSubresources, JSON, JSONSchemaProps,
    JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::alert_provider::AlertProvider;
use super::canary::Canary;
use super::metric_template::MetricTemplate;

/// Canary, MetricTemplate and AlertProvider.
pub fn all() -> [CustomResourceDefinition; 3] {
    // kstatus reads an observedGeneration that lags behind as "not there yet", so a Canary that no controller has
    // seen is never mistaken for a ready one.
    let unseen = json!({ "observedGeneration": -1 });
    [finish(Canary::crd(), Some(&unseen)), finish(MetricTemplate::crd(), None), finish(AlertProvider::crd(), None)]
}

/// The OpenAPI schema of a kind of `flagger.app/v1beta1`; `None` for a kind that there isn't.
pub fn schema(kind: &str) -> Option<&'static Value> {
    static SCHEMAS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
        all()
            .into_iter()
            .filter_map(|crd| {
                let schema = crd.spec.versions.into_iter().next()?.schema?.open_api_v3_schema?;
                Some((crd.spec.names.kind, serde_json::to_value(schema).ok()?))
            })
            .collect()
    });
    SCHEMAS.iter().find(|(name, _)| name == kind).map(|(_, schema)| schema)
}

fn finish(mut crd: CustomResourceDefinition, status: Option<&Value>) -> CustomResourceDefinition {
    crd.metadata.annotations.get_or_insert_default().insert("helm.sh/resource-policy".into(), "keep".into());
    for version in &mut crd.spec.versions {
        version.subresources.get_or_insert_with(|| CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus(json!({}))),
            ..Default::default()
        });
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            plain(schema);
            if let (Some(default), Some(properties)) = (status, &mut schema.properties)
                && let Some(status) = properties.get_mut("status")
            {
                status.default = Some(JSON(default.clone()));
            }
        }
    }
    crd
}

/// Takes out what the derived schema says about Rust rather than about Canaries: its defaults, which the API server
/// would write into every object, and its nullable fields, which would keep the API server from dropping nulls.
fn plain(schema: &mut JSONSchemaProps) {
    schema.default = None;
    schema.nullable = None;
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(plain);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        plain(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        plain(values);
    }
}
