//! The scale subresource: a workload's number of replicas as an `autoscaling/v1` Scale.

use kube::core::Status;
use serde_json::{Value, json};

use super::errors::{self, FieldError};
use super::patch::Patch;
use super::resources::Resource;
use super::schema::Schema;
use super::store::{Key, State};
use super::strategy::set_or_remove;
use super::table::selector_text;
use super::verbs::{Context, Written};

/// A write of the scale.
#[derive(Clone, Debug)]
pub enum ScaleChange {
    /// This is the new Scale.
    Replacement(Value),
    /// The Scale changes like this.
    Patch(Patch),
}

/// The scale of a workload.
pub fn scale_of(workload: &Value) -> Value {
    let metadata = &workload["metadata"];
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": {},
        "status": {"replicas": workload["status"]["replicas"].as_i64().unwrap_or_default()},
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        scale["metadata"][field] = metadata[field].clone();
    }
    // Go leaves zeros out.
    if let Some(replicas) = workload["spec"]["replicas"].as_i64().filter(|replicas| *replicas != 0) {
        scale["spec"]["replicas"] = json!(replicas);
    }
    let selector = selector_text(&workload["spec"]["selector"]);
    if !selector.is_empty() {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

impl State {
    /// Changes the scale of a workload; answers with the workload.
    ///
    /// # Errors
    /// The workload is not there, or the scale is not right.
    pub fn write_scale(&mut self, context: &Context<'_>, key: &Key, change: &ScaleChange) -> Result<Written, Status> {
        let kind = key.resource();
        let live = self.get(key).cloned().ok_or_else(|| errors::not_found(kind, &key.name))?;
        let old = scale_of(&live.value);
        let new = match change {
            ScaleChange::Replacement(scale) => scale.clone(),
            ScaleChange::Patch(Patch::Apply { configuration, force }) => {
                let configuration = of_workload(kind, key, configuration)?;
                return self.patch(context, key, &Patch::Apply { configuration, force: *force });
            }
            ScaleChange::Patch(patch) => patch.applied_to(Schema::any(), old.clone())?,
        };
        let wrong_type = || match change {
            ScaleChange::Patch(_) => {
                errors::invalid("", "", "", &[FieldError::invalid("patch", &new, "spec.replicas is no number")])
            }
            ScaleChange::Replacement(_) => errors::bad_request("Scale in version \"v1\" cannot be handled as a Scale"),
        };
        let replicas = match &new["spec"]["replicas"] {
            Value::Null => 0,
            replicas => replicas.as_i64().ok_or_else(wrong_type)?,
        };
        check(kind, key, &live.value, &new, replicas)?;
        let mut workload = (*live.value).clone();
        workload["spec"]["replicas"] = json!(replicas);
        let version = new["metadata"].get("resourceVersion").filter(|version| !version.is_null()).cloned();
        set_or_remove(&mut workload["metadata"], "resourceVersion", version);
        self.track_and_replace(context, key, &live, workload)
    }
}

fn check(kind: &Resource, key: &Key, live: &Value, scale: &Value, replicas: i64) -> Result<(), Status> {
    let metadata = &scale["metadata"];
    if metadata["name"] != key.name {
        let message =
            format!("the name of the object ({}) does not match the name on the URL ({})", metadata["name"], key.name);
        return Err(errors::bad_request(message));
    }
    if replicas < 0 {
        let problem = FieldError::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(errors::invalid("autoscaling", "Scale", &key.name, &[problem]));
    }
    match metadata["uid"].as_str().filter(|uid| live["metadata"]["uid"] != **uid) {
        Some(uid) => {
            let detail = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                live["metadata"]["uid"]
            );
            Err(errors::conflict(kind, &key.name, &detail))
        }
        None => Ok(()),
    }
}

/// What an applied Scale means for the workload.
fn of_workload(kind: &Resource, key: &Key, configuration: &Value) -> Result<Value, Status> {
    if configuration["apiVersion"] != "autoscaling/v1" || configuration["kind"] != "Scale" {
        return Err(errors::bad_request("what is applied to the scale must be a Scale of autoscaling/v1"));
    }
    let mut metadata = json!({"name": key.name});
    set_or_remove(&mut metadata, "resourceVersion", configuration["metadata"].get("resourceVersion").cloned());
    let mut spec = json!({});
    set_or_remove(&mut spec, "replicas", configuration["spec"].get("replicas").cloned());
    Ok(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "spec": spec}))
}
