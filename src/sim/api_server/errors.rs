//! Refusals, in the words of the real API server.

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails, StatusSummary};
use serde_json::{Value, json};

use super::fields::Conflict;
use super::resources::Resource;

/// A problem with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where, such as `spec.ports[0].port`.
    pub field: String,
    /// `FieldValueRequired` and the like.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
}

impl FieldError {
    /// A field that has to be there.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    /// A value that does not do.
    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {detail}") }
    }

    /// A value that is there twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { field: field.into(), reason: "FieldValueDuplicate", message: format!("Duplicate value: {value}") }
    }
}

/// A refusal of this kind.
pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Status {
    Status {
        status: Some(StatusSummary::Failure),
        code,
        message: message.into(),
        metadata: None,
        reason: reason.to_owned(),
        details: None,
    }
}

fn about(mut status: Status, name: &str, group: &str, kind: &str, causes: Vec<StatusCause>) -> Status {
    status.details = Some(StatusDetails {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        uid: String::new(),
        causes,
        retry_after_seconds: 0,
    });
    status
}

/// There is no such object.
pub fn not_found(resource: &Resource, name: &str) -> Status {
    let message = format!("{} {name:?} not found", resource.qualified_plural());
    about(failure(404, "NotFound", message), name, resource.group, resource.plural, Vec::new())
}

/// There is no such resource.
pub fn no_resource() -> Status {
    about(failure(404, "NotFound", "the server could not find the requested resource"), "", "", "", Vec::new())
}

/// The object is there already.
pub fn already_exists(resource: &Resource, name: &str) -> Status {
    let message = format!("{} {name:?} already exists", resource.qualified_plural());
    about(failure(409, "AlreadyExists", message), name, resource.group, resource.plural, Vec::new())
}

/// Somebody else was faster.
pub fn modified(resource: &Resource, name: &str) -> Status {
    let detail = "the object has been modified; please apply your changes to the latest version and try again";
    conflict(resource, name, detail)
}

/// The request does not fit the object's state.
pub fn conflict(resource: &Resource, name: &str, detail: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {detail}", resource.qualified_plural());
    about(failure(409, "Conflict", message), name, resource.group, resource.plural, Vec::new())
}

/// The object is not the one that a deletion means. (The real server names the kind here, not the resource.)
pub fn unmet_precondition(resource: &Resource, name: &str, detail: &str) -> Status {
    let qualified = match resource.group {
        "" => resource.kind.to_owned(),
        group => format!("{}.{group}", resource.kind),
    };
    let message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {detail}");
    about(failure(409, "Conflict", message), name, resource.group, resource.kind, Vec::new())
}

/// The request makes no sense.
pub fn bad_request(message: impl Into<String>) -> Status {
    failure(400, "BadRequest", message)
}

/// The resource has no such verb.
pub fn not_allowed(message: &str) -> Status {
    failure(405, "MethodNotAllowed", message)
}

/// The media type of a patch is none that the server knows.
pub fn unsupported_media_type(resource: &Resource) -> Status {
    let mut accepted = "application/json-patch+json, application/merge-patch+json, ".to_owned();
    if !resource.is_custom() {
        accepted += "application/strategic-merge-patch+json, ";
    }
    accepted += "application/apply-patch+yaml";
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    failure(415, "UnsupportedMediaType", message)
}

/// The object is not right.
pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let mut sorted: Vec<String> = Vec::new();
    for error in errors {
        let text = format!("{}: {}", error.field, error.message);
        if !sorted.contains(&text) {
            sorted.push(text);
        }
    }
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let list = match sorted.as_slice() {
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let causes = errors.iter().map(|error| StatusCause {
        reason: error.reason.to_owned(),
        message: error.message.clone(),
        field: error.field.clone(),
    });
    let message = format!("{qualified} {name:?} is invalid: {list}");
    about(failure(422, "Invalid", message), name, group, kind, causes.collect())
}

/// A JSON patch does not fit the object.
pub fn rejected() -> Status {
    let message = "the server rejected our request due to an error in our request";
    about(failure(422, "Invalid", message), "", "", "", Vec::new())
}

/// Others own fields that were applied.
pub fn apply_conflict(conflicts: &[Conflict]) -> Status {
    let message = match conflicts {
        [only] => format!("Apply failed with 1 conflict: conflict with {}: {}", only.manager, only.path),
        many => {
            let mut managers: Vec<&str> = many.iter().map(|conflict| conflict.manager.as_str()).collect();
            managers.sort_unstable();
            managers.dedup();
            let mut lines = Vec::new();
            for manager in managers {
                lines.push(format!("conflicts with {manager}:"));
                let paths = many.iter().filter(|conflict| conflict.manager == manager);
                lines.extend(paths.map(|conflict| format!("- {}", conflict.path)));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let causes = conflicts.iter().map(|conflict| StatusCause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {}", conflict.manager),
        field: conflict.path.clone(),
    });
    about(failure(409, "Conflict", message), "", "", "", causes.collect())
}

/// The history that a watch or a list asks for is gone.
pub fn expired(message: impl Into<String>) -> Status {
    failure(410, "Expired", message)
}

/// A fault, not a decision.
pub fn fault(code: u16) -> Status {
    let (reason, message) = match code {
        409 => (
            "Conflict",
            "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
        ),
        410 => ("Expired", "The provided continue parameter is too old or the history is gone"),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
        _ => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    };
    failure(code, reason, message)
}

/// As it goes over the wire.
pub fn body(status: &Status) -> Value {
    let mut body = serde_json::to_value(status).unwrap_or_default();
    body["kind"] = json!("Status");
    body["apiVersion"] = json!("v1");
    body["metadata"] = json!({});
    body
}
