//! A sequence of operations, from a seed.

use serde_json::{Value, json};

use crate::objects::{Kind, pointers, thinned};
use crate::random::Random;

/// Which version a write says that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// None.
    Unsaid,
    /// The newest that was seen.
    Newest,
    /// The first that was seen.
    First,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Operation {
    Create {
        body: Value,
    },
    Get {
        form: Form,
    },
    List {
        labels: &'static str,
        fields: String,
        limit: usize,
        form: Form,
    },
    /// The newest object that was seen with these changes (a merge patch), or the object as a whole.
    Update {
        status: bool,
        version: Version,
        base: Base,
        manager: &'static str,
    },
    Merge {
        status: bool,
        version: Version,
        body: Value,
        manager: &'static str,
    },
    Json {
        body: Value,
        manager: &'static str,
    },
    Strategic {
        status: bool,
        version: Version,
        body: Value,
        manager: &'static str,
    },
    GetScale,
    /// This many replicas more than there are.
    ReplaceScale {
        version: Version,
        more: i64,
        manager: &'static str,
    },
    PatchScale {
        media_type: &'static str,
        more: i64,
        manager: &'static str,
    },
    Apply {
        status: bool,
        version: Version,
        force: bool,
        body: Value,
        manager: &'static str,
    },
    Delete {
        precondition: Option<Version>,
    },
}

/// In which form an answer is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Whole,
    Partial,
    Table,
}

/// What a PUT is made from.
#[derive(Clone, Debug)]
pub enum Base {
    Changed(Value),
    Whole(Value),
}

/// An operation on an object.
#[derive(Clone, Debug)]
pub struct Step {
    pub kind: Kind,
    pub name: &'static str,
    pub operation: Operation,
}

/// The sequence of a seed.
pub fn generate(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let kind = random.pick(&Kind::ALL);
    let count = 8 + random.below(16);
    let mut steps = vec![step(&mut random, kind, true)];
    for _ in 1..count {
        steps.push(step(&mut random, kind, false));
    }
    steps
}

fn step(random: &mut Random, kind: Kind, is_first: bool) -> Step {
    let name = if random.percent(75) { "a" } else { "b" };
    let manager = random.pick(&["one", "two"]);
    let version = match random.below(10) {
        0 => Version::First,
        1..=3 => Version::Newest,
        _ => Version::Unsaid,
    };
    let status = kind.has_status() && random.percent(25);
    let choice = if is_first { random.below(2) * 60 } else { random.below(124) };
    let operation = match choice {
        0..12 => Operation::Create { body: named(random, kind, name) },
        12..16 => Operation::Get { form: random.pick(&FORMS) },
        16..22 => list(random),
        22..34 => update(random, kind, name, status, version, manager),
        34..48 => {
            let whole = if status { json!({"status": kind.status(random)}) } else { kind.object(random) };
            let mut body = thinned(random, &whole, 50);
            nullify(random, &mut body);
            Operation::Merge { status, version, body, manager }
        }
        48..56 => Operation::Json { body: json_patch(random, kind), manager },
        56..90 => {
            let body = if status {
                let mut body =
                    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "status": kind.status(random)});
                body["metadata"] = json!({"name": name});
                thinned(random, &body, 10)
            } else {
                let object = named(random, kind, name);
                without_empty_metadata(thinned(random, &object, 12))
            };
            Operation::Apply { status, version, force: random.percent(45), body, manager }
        }
        100..114 => {
            let whole = if status { json!({"status": kind.status(random)}) } else { kind.object(random) };
            let mut body = thinned(random, &whole, 50);
            nullify(random, &mut body);
            direct(random, &mut body);
            Operation::Strategic { status, version, body, manager }
        }
        114..124 if kind.has_scale() => scale(random, version, manager),
        114..124 => Operation::Get { form: Form::Table },
        _ => {
            let precondition = random.percent(25).then(|| random.pick(&[Version::Newest, Version::First]));
            Operation::Delete { precondition }
        }
    };
    Step { kind, name, operation }
}

const FORMS: [Form; 4] = [Form::Whole, Form::Whole, Form::Partial, Form::Table];

fn scale(random: &mut Random, version: Version, manager: &'static str) -> Operation {
    let more = random.pick(&[-2, -1, 1, 2]);
    match random.below(5) {
        0 => Operation::GetScale,
        1 | 2 => Operation::ReplaceScale { version, more, manager },
        3 => Operation::PatchScale { media_type: "application/merge-patch+json", more, manager },
        _ => Operation::PatchScale { media_type: "application/strategic-merge-patch+json", more, manager },
    }
}

/// Puts directives of strategic merge patches here and there.
fn direct(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let named: Vec<(String, Vec<Value>)> = fields
                .iter()
                .filter_map(|(name, list)| {
                    let names = list.as_array()?.iter().map(|entry| entry.get("name").cloned());
                    Some((name.clone(), names.collect::<Option<Vec<Value>>>()?))
                })
                .collect();
            for (name, mut names) in named.into_iter().filter(|(name, _)| matches!(name.as_str(), "containers" | "env"))
            {
                if random.percent(30) {
                    names.push(json!(random.pick(&["app", "sidecar", "A", "B"])));
                    names.dedup();
                    let order: Vec<Value> = names.into_iter().map(|name| json!({"name": name})).collect();
                    fields.insert(format!("$setElementOrder/{name}"), json!(order));
                }
            }
            if fields.contains_key("emptyDir") && random.percent(50) {
                fields.insert("$retainKeys".to_owned(), json!(["name", "emptyDir"]));
            }
            fields.values_mut().for_each(|inner| direct(random, inner));
        }
        Value::Array(items) => {
            for item in items {
                if item.get("name").is_some() && random.percent(15) {
                    item["$patch"] = json!(random.pick(&["delete", "delete", "replace"]));
                } else {
                    direct(random, item);
                }
            }
        }
        _ => {}
    }
}

fn list(random: &mut Random) -> Operation {
    let labels = random.pick(&["", "", "app=x", "app!=x", "app in (x,y)", "tier", "!tier", "app=x,tier=y"]);
    let fields = random.pick(&["", "", "metadata.name=a", "metadata.name!=a"]).to_owned();
    Operation::List { labels, fields, limit: random.pick(&[0, 0, 1]), form: random.pick(&FORMS) }
}

fn update(
    random: &mut Random,
    kind: Kind,
    name: &str,
    status: bool,
    version: Version,
    manager: &'static str,
) -> Operation {
    let base = if status {
        Base::Changed(json!({"status": kind.status(random)}))
    } else if random.percent(50) {
        let object = kind.object(random);
        Base::Changed(thinned(random, &object, 60))
    } else {
        Base::Whole(named(random, kind, name))
    };
    // What was read and is written back has its version.
    let version = match base {
        Base::Changed(_) if version == Version::Unsaid && random.percent(70) => Version::Newest,
        _ => version,
    };
    Operation::Update { status, version, base, manager }
}

fn named(random: &mut Random, kind: Kind, name: &str) -> Value {
    let mut object = kind.object(random);
    object["metadata"]["name"] = json!(if random.percent(2) { "Not_A_Name" } else { name });
    if random.percent(3) {
        let all = pointers(&object);
        let pointer = random.pick(&all);
        if let Some(place) =
            object.pointer_mut(&pointer).filter(|_| pointer.starts_with("/spec") || pointer.starts_with("/data"))
        {
            *place = random.pick(&[json!(7), json!("seven"), json!(true), json!([1]), json!({"seven": 7})]);
        }
    }
    object
}

/// See the wanted differences.
fn without_empty_metadata(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
    object
}

/// Sets some of the fields to null, which takes them away.
fn nullify(random: &mut Random, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    for (name, inner) in fields.iter_mut() {
        if random.percent(12) && !matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
            *inner = Value::Null;
        } else {
            nullify(random, inner);
        }
    }
}

fn json_patch(random: &mut Random, kind: Kind) -> Value {
    let object = kind.object(random);
    let all: Vec<String> = pointers(&object)
        .into_iter()
        .filter(|pointer| !matches!(pointer.as_str(), "/apiVersion" | "/kind" | "/metadata"))
        .collect();
    let mut operations = Vec::new();
    for _ in 0..=random.below(2) {
        let Some(path) = (!all.is_empty()).then(|| random.pick(&all)) else { continue };
        let value = object.pointer(&path).cloned().unwrap_or_default();
        operations.push(match random.below(4) {
            0 => json!({"op": "remove", "path": path}),
            1 => json!({"op": "replace", "path": path, "value": value}),
            2 => json!({"op": "test", "path": path, "value": value}),
            _ => json!({"op": "add", "path": path, "value": value}),
        });
    }
    Value::Array(operations)
}
