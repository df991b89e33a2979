//! Creating, replacing, patching and deleting objects.

use std::borrow::Cow;
use std::sync::Arc;

use kube::core::Status;
use serde_json::{Map, Value, json};

use super::decode::{self, WrongType};
use super::errors;
use super::fields::{FieldSet, Managers, Writer};
use super::patch::Patch;
use super::resources::{Family, Resource};
use super::store::{Author, Key, State, owners};
use super::stored::{Applied, Stored};
use super::strategy::{self, Part, set_or_remove};
use crate::rollout::object::{find, is_same_but_status};

/// Who the garbage collector is in the records.
pub const GARBAGE_COLLECTOR: &str = "garbage-collector";

/// A write, but for what it writes.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub user: &'a str,
    pub verb: &'static str,
    pub manager: &'a str,
    pub part: Part,
    /// In RFC 3339.
    pub time: &'a str,
    /// Whether nothing is committed.
    pub is_dry_run: bool,
}

impl<'a> Context<'a> {
    fn author(&self) -> Author<'a> {
        Author { user: self.user, verb: self.verb, subresource: self.subresource(), is_dry_run: self.is_dry_run }
    }

    fn subresource(&self) -> &'static str {
        match self.part {
            Part::Object => "",
            Part::Status => "status",
            Part::Scale => "scale",
        }
    }

    fn writer<'b>(&'b self, api_version: &'b str) -> Writer<'b> {
        Writer { manager: self.manager, api_version, subresource: self.subresource(), time: self.time }
    }
}

/// What became of an object that was written.
#[derive(Debug)]
pub struct Written {
    pub object: Stored,
    pub is_new: bool,
}

/// What a deletion asks for.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    /// Whether the dependents stay, without their owner.
    pub orphans_dependents: bool,
}

/// What a deletion did.
#[derive(Debug)]
pub enum Deletion {
    /// The object is gone; as it was.
    Gone(Stored),
    /// It waits for its finalizers.
    Marked(Stored),
}

impl State {
    /// Creates an object.
    pub fn create(
        &mut self,
        context: &Context<'_>,
        resource: usize,
        namespace: &str,
        body: Value,
    ) -> Result<Written, Status> {
        let key = Key { resource, namespace: namespace.to_owned(), name: String::new() };
        let kind = key.resource();
        let mut object = checked_body(kind, body)?;
        admit(kind, None, &mut object)?;
        check_namespace(&mut object, kind, namespace)?;
        let has_version = object["metadata"].get("resourceVersion").is_some();
        let managers = requested_managers(&object, &Managers::default());
        remove_managers(&mut object);
        let (api_version, reset) = (kind.api_version(), kind.reset_of(context.part));
        let managers = managers.after_update(&kind.schema, &kind.empty, &object, &context.writer(&api_version), reset);
        self.insert(context, key, object, managers, has_version)
    }

    fn insert(
        &mut self,
        context: &Context<'_>,
        mut key: Key,
        mut object: Value,
        managers: Managers,
        names_version: bool,
    ) -> Result<Written, Status> {
        let kind = key.resource();
        let metadata = &mut object["metadata"];
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            set_or_remove(metadata, field, None);
        }
        metadata["uid"] = json!(self.next_uid());
        metadata["creationTimestamp"] = json!(context.time);
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        if text("name").is_empty() && !text("generateName").is_empty() {
            let name = format!("{}{}", text("generateName"), self.next_suffix());
            metadata["name"] = json!(name);
        }
        key.name = metadata["name"].as_str().unwrap_or_default().to_owned();
        strategy::prepare_create(kind, &mut object);
        let problems = strategy::validate(kind, None, &object);
        if !problems.is_empty() {
            return Err(errors::invalid(kind.group, kind.kind, &key.name, &problems));
        }
        if names_version {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(errors::failure(500, "", message));
        }
        if self.get(&key).is_some() {
            return Err(errors::already_exists(kind, &key.name));
        }
        self.allocate(kind.family, &mut object);
        let has_default_status = kind.is_custom() && object.get("status").is_some();
        let object = self.put(&key, object, managers.into(), context.author());
        if has_default_status {
            self.mark_ahead_of_storage(&key);
        }
        Ok(Written { object, is_new: true })
    }

    /// What the real server hands out when an object is new.
    fn allocate(&mut self, family: Family, object: &mut Value) {
        if family == Family::Service && object["spec"]["type"] != "ExternalName" {
            let number = self.version;
            let spec = &mut object["spec"];
            if spec.get("clusterIP").is_none() {
                spec["clusterIP"] =
                    json!(format!("10.{}.{}.{}", 96 + number / 65536 % 16, number / 256 % 256, number % 256));
            }
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
            // Without pods of its own, a headless Service may have addresses of any family.
            let is_free = spec["clusterIP"] == "None" && spec.get("selector").is_none();
            let (families, policy) =
                if is_free { (json!(["IPv4", "IPv6"]), "RequireDualStack") } else { (json!(["IPv4"]), "SingleStack") };
            spec["ipFamilies"] = families;
            spec["ipFamilyPolicy"] = json!(policy);
        }
    }

    /// Replaces an object.
    pub fn update(&mut self, context: &Context<'_>, key: &Key, body: Value) -> Result<Written, Status> {
        let kind = key.resource();
        let mut object = checked_body(kind, body)?;
        let live = self.get(key).cloned();
        admit(kind, live.as_ref().map(|live| &*live.value), &mut object)?;
        check_namespace(&mut object, kind, &key.namespace)?;
        check_name(&object, &key.name)?;
        if live.is_none() && !kind.is_created_by_update() {
            return Err(errors::not_found(kind, &key.name));
        }
        let found = live.as_ref().and_then(|live| live.value["metadata"]["uid"].as_str()).unwrap_or_default();
        check_uid(kind, key, object["metadata"]["uid"].as_str(), found)?;
        let Some(live) = live else {
            set_or_remove(&mut object["metadata"], "resourceVersion", None);
            return self.create(context, key.resource, &key.namespace, object);
        };
        self.track_and_replace(context, key, &live, object)
    }

    /// Patches an object; an apply may create it.
    pub fn patch(&mut self, context: &Context<'_>, key: &Key, patch: &Patch) -> Result<Written, Status> {
        let live = self.get(key).cloned();
        match (patch, live) {
            (Patch::Apply { configuration, force }, live) => {
                self.apply(context, key, live.as_ref(), configuration, *force)
            }
            (_, None) => Err(errors::not_found(key.resource(), &key.name)),
            (patch, Some(live)) => {
                let kind = key.resource();
                let mut object = if patch.may_name_managers() {
                    patch.applied_to(&kind.schema, live.shown())?
                } else {
                    patch.applied_to(&kind.schema, (*live.value).clone())?
                };
                admit(kind, Some(&live.value), &mut object).map_err(|error| patched_wrongly(&error))?;
                check_namespace(&mut object, kind, &key.namespace)?;
                check_name(&object, &key.name)?;
                self.track_and_replace(context, key, &live, object)
            }
        }
    }

    fn apply(
        &mut self,
        context: &Context<'_>,
        key: &Key,
        live: Option<&Stored>,
        configuration: &Value,
        force: bool,
    ) -> Result<Written, Status> {
        let kind = key.resource();
        if live.is_none() && context.part == Part::Status && !kind.is_created_by_update() {
            return Err(errors::not_found(kind, &key.name));
        }
        if let Some(live) = live
            && is_applied(context, live, configuration)
        {
            return Ok(Written { object: live.clone(), is_new: false });
        }
        check_configuration(kind, key, configuration)?;
        let (api_version, reset) = (kind.api_version(), kind.reset_of(context.part));
        let writer = context.writer(&api_version);
        let (before, managers) = match live {
            None => (&kind.empty, Managers::default()),
            Some(live) if live.managers.is_empty() => {
                let managers = Managers::before_first_apply(&kind.schema, &kind.empty, &live.value, &writer);
                (&*live.value, managers)
            }
            Some(live) => (&*live.value, (*live.managers).clone()),
        };
        let applied = managers.after_apply(&kind.schema, before, configuration, &writer, force, reset);
        let (mut object, managers) = applied.map_err(|conflicts| errors::apply_conflict(&conflicts))?;
        if object["kind"].is_null() {
            object["kind"] = json!(kind.kind);
            object["apiVersion"] = json!(api_version);
        }
        admit_merged(kind, live.map(|live| &*live.value), &mut object)?;
        if live.is_none() {
            check_named_uid(kind, key, object["metadata"]["uid"].as_str())?;
        }
        check_namespace(&mut object, kind, &key.namespace)?;
        check_name(&object, &key.name)?;
        remove_managers(&mut object);
        let written = match live {
            None => self.insert(context, key.clone(), object, managers, false),
            Some(live) => self.replace(context, key, live, object, managers),
        }?;
        // With a version it is refused the next time.
        let names_version = find(configuration, "/metadata/resourceVersion").is_some();
        if context.part == Part::Object && !context.is_dry_run && !names_version {
            let (manager, configuration) = (context.manager.to_owned(), configuration.clone());
            self.note_applied(key, Arc::new(Applied { manager, configuration }));
        }
        Ok(written)
    }

    /// Replaces an object that is in the form in which it is kept, and notes who changed which fields.
    pub fn track_and_replace(
        &mut self,
        context: &Context<'_>,
        key: &Key,
        live: &Stored,
        mut object: Value,
    ) -> Result<Written, Status> {
        let kind = key.resource();
        let managers = match context.part {
            Part::Status | Part::Scale => (*live.managers).clone(),
            Part::Object => requested_managers(&object, &live.managers),
        };
        remove_managers(&mut object);
        // The owners of a Scale are those of the replicas; if there are none, none are added.
        let is_owned = match context.part {
            Part::Scale => managers.own(&FieldSet::of(&[&["spec", "replicas"]])),
            Part::Object | Part::Status => !managers.is_empty(),
        };
        let managers = if is_owned {
            let api_version = kind.api_version();
            let reset = kind.reset_of(context.part);
            // A Scale without replicas has no such field, which nobody can own.
            let written = match context.part {
                Part::Scale if object["spec"]["replicas"] == 0 => Cow::Owned(without_replicas(&object)),
                _ => Cow::Borrowed(&object),
            };
            managers.after_update(&kind.schema, &live.value, &written, &context.writer(&api_version), reset)
        } else {
            managers
        };
        self.replace(context, key, live, object, managers)
    }

    fn replace(
        &mut self,
        context: &Context<'_>,
        key: &Key,
        live: &Stored,
        mut object: Value,
        managers: Managers,
    ) -> Result<Written, Status> {
        let kind = key.resource();
        check_version(kind, key, &live.value, &mut object)?;
        keep_system_fields(&live.value, &mut object);
        strategy::prepare_update(kind, context.part, &live.value, &mut object);
        if kind.family == Family::Service {
            keep_allocated(&live.value, &mut object);
        }
        let problems = strategy::validate(kind, Some(&live.value), &object);
        if !problems.is_empty() {
            return Err(errors::invalid(kind.group, kind.kind, &key.name, &problems));
        }
        let is_same = *live.value == object && live.managers.is_same_but_times(&managers);
        if is_same && !live.is_ahead_of_storage {
            return Ok(Written { object: live.clone(), is_new: false });
        }
        if find(&object, "/metadata/deletionTimestamp").is_some() && !has_finalizers(&object) {
            self.remove(key, context.author());
            return Ok(Written { object: Stored::new(Arc::new(object), managers.into()), is_new: false });
        }
        let applied = live.applied.clone().filter(|_| is_same_to_appliers(live, &object, &managers));
        let written = self.put(key, object, managers.into(), context.author());
        if let (Some(applied), false) = (applied, context.is_dry_run) {
            self.note_applied(key, applied);
        }
        Ok(Written { object: written, is_new: false })
    }

    /// Deletes an object, or marks it if finalizers hold it.
    pub fn delete(&mut self, context: &Context<'_>, key: &Key, options: &DeleteOptions) -> Result<Deletion, Status> {
        let kind = key.resource();
        let live = self.get(key).cloned().ok_or_else(|| errors::not_found(kind, &key.name))?;
        check_preconditions(kind, key, &live.value, options)?;
        if options.orphans_dependents && !context.is_dry_run {
            let uid = live.value["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            for dependent in self.dependents(&uid) {
                self.disown(&dependent, &|owner| owner == uid, context.time);
            }
        }
        if !has_finalizers(&live.value) {
            if kind.family == Family::Pod {
                // It says that it is being deleted, even if nothing is waited for.
                self.put(key, marked(&live.value, context.time), live.managers.clone(), context.author());
            }
            let gone = self.remove(key, context.author());
            return Ok(Deletion::Gone(gone.unwrap_or(live)));
        }
        if find(&live.value, "/metadata/deletionTimestamp").is_some() {
            return Ok(Deletion::Marked(live));
        }
        let object = marked(&live.value, context.time);
        Ok(Deletion::Marked(self.put(key, object, live.managers, context.author())))
    }

    /// Deletes what nobody owns any more, as far as it is known that owners went.
    pub fn collect_bereaved(&mut self, time: &str) {
        while let Some(owner) = self.bereaved.pop_front() {
            if self.is_alive(&owner) {
                continue;
            }
            for dependent in self.dependents(&owner) {
                self.collect(&dependent, time);
            }
        }
    }

    fn collect(&mut self, key: &Key, time: &str) {
        let Some(object) = self.get(key).map(|stored| stored.value.clone()) else { return };
        if owners(&object).any(|owner| self.is_alive(owner)) {
            let gone: Vec<&str> = owners(&object).filter(|owner| !self.is_alive(owner)).collect();
            self.disown(key, &|owner| gone.contains(&owner), time);
            return;
        }
        let context = collector("delete", time);
        // It was there a moment ago, and no precondition is asked for.
        let _ = self.delete(&context, key, &DeleteOptions::default());
    }

    fn disown(&mut self, key: &Key, is_gone: &dyn Fn(&str) -> bool, time: &str) {
        let Some(live) = self.get(key).cloned() else { return };
        let mut object = (*live.value).clone();
        if let Some(references) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
            references.retain(|reference| !reference["uid"].as_str().is_some_and(is_gone));
            if references.is_empty() {
                set_or_remove(&mut object["metadata"], "ownerReferences", None);
            }
        }
        let context = collector("patch", time);
        // It fails only if the object is wrong in other ways; then it stays as it is.
        let _ = self.track_and_replace(&context, key, &live, object);
    }
}

/// Whether an apply would change nothing, because the same manager applied the same before and nothing has changed since
/// that it could notice.
fn is_applied(context: &Context<'_>, live: &Stored, configuration: &Value) -> bool {
    let is_same = |applied: &Arc<Applied>| applied.is(context.manager, configuration);
    context.part == Part::Object && !live.is_ahead_of_storage && live.applied.as_ref().is_some_and(is_same)
}

/// Whether a write changed the status at most, and nobody's ownership of anything else.
fn is_same_to_appliers(live: &Stored, object: &Value, managers: &Managers) -> bool {
    is_same_but_status(&live.value, object) && live.managers.is_same_but_subresources(managers)
}

fn without_replicas(workload: &Value) -> Value {
    let mut workload = workload.clone();
    set_or_remove(&mut workload["spec"], "replicas", None);
    workload
}

/// An object that is being deleted.
fn marked(live: &Value, time: &str) -> Value {
    let mut object = live.clone();
    let metadata = &mut object["metadata"];
    metadata["deletionTimestamp"] = json!(time);
    metadata["deletionGracePeriodSeconds"] = json!(0);
    if let Some(generation) = metadata["generation"].as_i64() {
        metadata["generation"] = json!(generation + 1);
    }
    object
}

/// The garbage collector at work.
fn collector<'a>(verb: &'static str, time: &'a str) -> Context<'a> {
    let (user, manager) = (GARBAGE_COLLECTOR, GARBAGE_COLLECTOR);
    Context { user, verb, manager, part: Part::Object, time, is_dry_run: false }
}

fn has_finalizers(object: &Value) -> bool {
    find(object, "/metadata/finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
}

fn checked_body(kind: &Resource, mut body: Value) -> Result<Value, Status> {
    let api_version = kind.api_version();
    let Some(fields) = body.as_object_mut() else {
        return Err(errors::bad_request("the body of the request is not an object"));
    };
    if fields.get("apiVersion").is_some_and(|found| *found != api_version) {
        let found = fields.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let message =
            format!("the API version in the data ({found}) does not match the expected API version ({api_version})");
        return Err(errors::bad_request(message));
    }
    if fields.get("kind").is_some_and(|found| *found != kind.kind) {
        let found = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
        let message = format!("{found} in version {:?} cannot be handled as a {}", kind.version, kind.kind);
        return Err(errors::bad_request(message));
    }
    fields.insert("apiVersion".to_owned(), json!(api_version));
    fields.insert("kind".to_owned(), json!(kind.kind));
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    Ok(body)
}

/// Brings an object that came in into the form in which it is kept. What is as in the `live` object is in that form.
fn admit(kind: &Resource, live: Option<&Value>, object: &mut Value) -> Result<(), Status> {
    let mut unchanged = Vec::new();
    if let (Some(live), Some(fields)) = (live, object.as_object_mut()) {
        let names = ["spec", "status", "data"].into_iter().filter(|name| live.get(*name) == fields.get(*name));
        let names: Vec<&str> = names.collect();
        unchanged.extend(names.into_iter().filter_map(|name| fields.remove_entry(name)));
    }
    let admitted = admit_changed(kind, object);
    if let Some(fields) = object.as_object_mut() {
        fields.extend(unchanged);
    }
    admitted
}

fn admit_changed(kind: &Resource, object: &mut Value) -> Result<(), Status> {
    let refuse = |error: WrongType| {
        let message = format!(
            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal {} into Go struct field {} of type {}",
            kind.kind, kind.version, kind.kind, error.found, error.path, error.expected
        );
        errors::bad_request(message)
    };
    if kind.is_custom() {
        if let Some(metadata) = object.get_mut("metadata") {
            decode::built_in(kind.schema.child("metadata"), metadata).map_err(refuse)?;
        }
        decode::custom(&kind.schema, object);
    } else {
        decode::built_in(&kind.schema, object).map_err(refuse)?;
        strategy::apply_defaults(kind.family, object);
    }
    Ok(())
}

/// The same for the result of an apply: a custom resource keeps the nulls that are left of what was pruned away.
fn admit_merged(kind: &Resource, live: Option<&Value>, object: &mut Value) -> Result<(), Status> {
    let nulls: Vec<String> = match object.as_object() {
        Some(fields) if kind.is_custom() => {
            fields.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect()
        }
        _ => Vec::new(),
    };
    admit(kind, live, object)?;
    for name in nulls {
        if object.get(&name).is_none() {
            object[name] = Value::Null;
        }
    }
    Ok(())
}

fn patched_wrongly(error: &Status) -> Status {
    let problem = errors::FieldError {
        field: "patch".to_owned(),
        reason: "FieldValueInvalid",
        message: format!("Invalid value: {}", error.message),
    };
    errors::invalid("", "", "", &[problem])
}

fn check_namespace(object: &mut Value, kind: &Resource, namespace: &str) -> Result<(), Status> {
    let found = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !found.is_empty() && found != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(errors::bad_request(message));
    }
    if kind.is_namespaced {
        object["metadata"]["namespace"] = json!(namespace);
    }
    Ok(())
}

fn check_name(object: &Value, name: &str) -> Result<(), Status> {
    let found = object["metadata"]["name"].as_str().unwrap_or_default();
    if found == name {
        return Ok(());
    }
    let message = format!("the name of the object ({found}) does not match the name on the URL ({name})");
    Err(errors::bad_request(message))
}

fn check_configuration(kind: &Resource, key: &Key, configuration: &Value) -> Result<(), Status> {
    let api_version = kind.api_version();
    let found = configuration["apiVersion"].as_str().unwrap_or_default();
    if found != api_version {
        return Err(errors::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {api_version}"
        )));
    }
    if configuration["kind"] != kind.kind {
        return Err(errors::bad_request(format!("invalid object type: {found}, Kind={}", configuration["kind"])));
    }
    if find(configuration, "/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(errors::bad_request("metadata.managedFields must be nil"));
    }
    decode::check_typed(&kind.schema, configuration).map_err(|problem| untyped(kind, key, &problem))
}

fn untyped(kind: &Resource, key: &Key, problem: &str) -> Status {
    let place = format!("{}/{}; {}, Kind={}", key.namespace, key.name, kind.api_version(), kind.kind);
    errors::failure(500, "", format!("failed to create typed patch object ({place}): {problem}"))
}

fn check_version(kind: &Resource, key: &Key, live: &Value, object: &mut Value) -> Result<(), Status> {
    let version = &live["metadata"]["resourceVersion"];
    match &object["metadata"]["resourceVersion"] {
        Value::Null if kind.has_unconditional_update() => {
            object["metadata"]["resourceVersion"] = version.clone();
            Ok(())
        }
        Value::Null => {
            let problem =
                errors::FieldError::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            Err(errors::invalid(kind.group, kind.plural, &key.name, &[problem]))
        }
        found if found == version => Ok(()),
        _ => Err(errors::modified(kind, &key.name)),
    }
}

fn check_uid(kind: &Resource, key: &Key, wanted: Option<&str>, found: &str) -> Result<(), Status> {
    let Some(wanted) = wanted.filter(|wanted| *wanted != found) else { return Ok(()) };
    let detail = format!(
        "StorageError: invalid object, Code: 4, Key: /registry, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {wanted}, UID in object meta: {found}"
    );
    Err(errors::conflict(kind, &key.name, &detail))
}

/// An apply that names a uid is about an object that was there.
fn check_named_uid(kind: &Resource, key: &Key, named: Option<&str>) -> Result<(), Status> {
    let Some(uid) = named.filter(|uid| !uid.is_empty()) else { return Ok(()) };
    let detail = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
    Err(errors::conflict(kind, &key.name, &detail))
}

fn check_preconditions(kind: &Resource, key: &Key, live: &Value, options: &DeleteOptions) -> Result<(), Status> {
    for (name, wanted, field) in
        [("UID", &options.uid, "uid"), ("ResourceVersion", &options.resource_version, "resourceVersion")]
    {
        let found = live["metadata"][field].as_str().unwrap_or_default();
        if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
            let meaning = match field {
                "uid" => "The object might have been deleted and then recreated",
                _ => "The object might have been modified",
            };
            let detail = format!(
                "the {name} in the precondition ({wanted}) does not match the {name} in record ({found}). {meaning}"
            );
            return Err(errors::unmet_precondition(kind, &key.name, &detail));
        }
    }
    Ok(())
}

/// What an update can't change.
fn keep_system_fields(live: &Value, object: &mut Value) {
    let metadata = &mut object["metadata"];
    if metadata["uid"].is_null() {
        metadata["uid"] = live["metadata"]["uid"].clone();
    }
    for field in ["creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        set_or_remove(metadata, field, live["metadata"].get(field).cloned());
    }
}

/// What the server once handed out stays, where an update does not name it.
fn keep_allocated(live: &Value, object: &mut Value) {
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if object["spec"].get(field).is_none()
            && let Some(value) = live["spec"].get(field)
        {
            object["spec"][field] = value.clone();
        }
    }
}

fn requested_managers(object: &Value, live: &Managers) -> Managers {
    match find(object, "/metadata/managedFields").and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => Managers::default(),
        Some([only]) if only.as_object().is_some_and(Map::is_empty) => Managers::default(),
        Some(_) => Some(Managers::of(object)).filter(|managers| !managers.is_empty()).unwrap_or_else(|| live.clone()),
        None => live.clone(),
    }
}

fn remove_managers(object: &mut Value) {
    set_or_remove(&mut object["metadata"], "managedFields", None);
}
