//! What a caller may do.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::core::Status;
use kube::core::response::StatusDetails;

use super::errors;
use super::request::{Request, Target};
use super::resources;

/// Refuses a request that no rule allows.
///
/// # Errors
/// 403, in the words of the real API server.
pub fn check(user: &str, rules: Option<&[PolicyRule]>, request: &Request) -> Result<(), Status> {
    let (Some(rules), Target::Objects { resource, namespace, name, subresource }) = (rules, &request.target) else {
        return Ok(());
    };
    let resource = &resources::all()[*resource];
    let qualified = match subresource {
        Some(subresource) => format!("{}/{subresource}", resource.plural),
        None => resource.plural.to_owned(),
    };
    let matches = |list: Option<&Vec<String>>, wanted: &str| {
        list.into_iter().flatten().any(|entry| entry == "*" || entry == wanted)
    };
    let is_allowed = rules.iter().any(|rule| {
        let names = rule.resource_names.as_deref().unwrap_or_default();
        matches(Some(&rule.verbs), request.verb)
            && matches(rule.api_groups.as_ref(), resource.group)
            && matches(rule.resources.as_ref(), &qualified)
            && (names.is_empty() || name.as_ref().is_some_and(|name| names.contains(name)))
    });
    if is_allowed {
        return Ok(());
    }
    let object = name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let place = match namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let message = format!(
        "{}{object} is forbidden: User {user:?} cannot {} resource {qualified:?} in API group {:?} {place}",
        resource.qualified_plural(),
        request.verb,
        resource.group
    );
    let mut status = errors::failure(403, "Forbidden", message);
    status.details = Some(StatusDetails {
        name: name.clone().unwrap_or_default(),
        group: resource.group.to_owned(),
        kind: resource.plural.to_owned(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    Err(status)
}
