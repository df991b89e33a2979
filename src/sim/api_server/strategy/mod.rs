//! What the server does with an object of each kind beyond the common: defaults, what a write may not touch, when the
//! generation grows, and what is right.

mod defaults;
mod metadata;
mod pod;
mod structural;
mod validation;

use serde_json::{Value, json};

pub use self::defaults::apply as apply_defaults;
use super::decode;
use super::errors::FieldError;
use super::resources::{Family, Resource};

/// The annotation in which a DaemonSet counts its templates.
pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object but for its status.
    Object,
    /// Its status.
    Status,
    /// Its number of replicas.
    Scale,
}

/// Makes a new object what it is at first: without a status, in its first generation.
pub fn prepare_create(resource: &Resource, object: &mut Value) {
    if resource.has_status && resource.family != Family::Event {
        match resource.empty.get("status") {
            Some(empty) => object["status"] = empty.clone(),
            None => {
                object.as_object_mut().map(|object| object.remove("status"));
            }
        }
    }
    match resource.family {
        Family::Deployment | Family::ReplicaSet => object["metadata"]["generation"] = json!(1),
        Family::Pod => {
            object["metadata"]["generation"] = json!(1);
            pod::admit(&mut object["spec"]);
            let class = pod::quality_of_service(&object["spec"]);
            object["status"] = json!({"phase": "Pending", "qosClass": class});
        }
        Family::Custom => {
            object["metadata"]["generation"] = json!(1);
            // The status may have a default.
            decode::custom(&resource.schema, object);
        }
        Family::DaemonSet => {
            object["metadata"]["generation"] = json!(1);
            object["metadata"]["annotations"][TEMPLATE_GENERATION] = json!("1");
        }
        Family::Namespace => object["status"] = json!({"phase": "Active"}),
        _ => {}
    }
}

/// Takes back what this write may not touch, and raises the generation where the write means something new.
pub fn prepare_update(resource: &Resource, part: Part, live: &Value, object: &mut Value) {
    match part {
        Part::Object | Part::Scale if resource.has_status => copy(live, object, "status"),
        Part::Object | Part::Scale => {}
        Part::Status if resource.is_custom() => {
            let version = object["metadata"]["resourceVersion"].take();
            let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
            take_back(live, object);
            object["metadata"]["resourceVersion"] = version;
            set_or_remove(object, "status", status);
        }
        Part::Status => {
            copy(live, object, "spec");
            if resource.family == Family::Deployment {
                let labels = live.pointer("/metadata/labels").cloned();
                set_or_remove(&mut object["metadata"], "labels", labels);
            }
        }
    }
    match resource.family {
        Family::DaemonSet => count_template(live, object),
        Family::Pod if part == Part::Status => {
            let references = live.pointer("/metadata/ownerReferences").cloned();
            set_or_remove(&mut object["metadata"], "ownerReferences", references);
            if object["status"].get("qosClass").is_none() {
                object["status"]["qosClass"] = live["status"]["qosClass"].clone();
            }
        }
        _ => {}
    }
    if has_new_generation(resource, live, object)
        && let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_i64)
    {
        object["metadata"]["generation"] = json!(generation + 1);
    }
}

/// Makes an object without a status what it was, but for the status.
fn take_back(live: &Value, object: &mut Value) {
    let (Some(live), Some(fields)) = (live.as_object(), object.as_object_mut()) else { return };
    fields.retain(|name, _| live.contains_key(name));
    for (name, value) in live.iter().filter(|(name, _)| *name != "status") {
        if fields.get(name) != Some(value) {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// The server counts the templates of a DaemonSet, and lets nobody else.
fn count_template(live: &Value, object: &mut Value) {
    let count = live["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
    let count: i64 = count.and_then(|count| count.parse().ok()).unwrap_or_default();
    let is_new = live["spec"]["template"] != object["spec"]["template"];
    object["metadata"]["annotations"][TEMPLATE_GENERATION] = json!((count + i64::from(is_new)).to_string());
}

fn has_new_generation(resource: &Resource, live: &Value, object: &Value) -> bool {
    let differs = |pointer: &str| live.pointer(pointer) != object.pointer(pointer);
    match resource.family {
        Family::Deployment => differs("/spec") || differs("/metadata/annotations"),
        Family::DaemonSet | Family::ReplicaSet | Family::Pod => differs("/spec"),
        Family::Custom => !meaning(live).eq(meaning(object)),
        _ => false,
    }
}

/// The fields of a custom resource whose changes mean something new.
fn meaning(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
}

fn copy(from: &Value, to: &mut Value, field: &str) {
    set_or_remove(to, field, from.get(field).cloned());
}

/// Sets a field, or takes it away where there is no value.
pub fn set_or_remove(object: &mut Value, field: &str, value: Option<Value>) {
    match (object.as_object_mut(), value) {
        (Some(object), Some(value)) => {
            object.insert(field.to_owned(), value);
        }
        (Some(object), None) => {
            object.remove(field);
        }
        _ => {}
    }
}

/// Everything that is wrong with an object; `live` is what it replaces.
pub fn validate(resource: &Resource, live: Option<&Value>, object: &Value) -> Vec<FieldError> {
    let mut errors = metadata::validate(resource, live, object);
    if resource.is_custom() {
        structural::validate(resource, live, object, &mut errors);
    } else {
        validation::validate(resource.family, live, object, &mut errors);
    }
    errors
}
