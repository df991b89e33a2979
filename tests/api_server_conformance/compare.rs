//! What has to be the same, and what may differ.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::run::Seen;

/// A way in which the in-memory server is wanted to differ from the real one.
pub struct Wanted {
    pub reason: &'static str,
    /// Whether it shows in this answer of the real server. The step is not sent to the in-memory one then. Never, if no
    /// sequence is generated in which it could.
    pub shows: fn(&Seen) -> bool,
}

/// The columns of Tables whose cells depend on the time.
const AGES: [&str; 4] = ["Age", "Last Seen", "First Seen", "Restarts"];

/// Where the in-memory server is wanted to differ. Masks (see [`masked`]) are for what can't be the same.
pub const WANTED: &[Wanted] = &[
    Wanted {
        reason: "rules in CEL are not evaluated: an interpreter in the shipped binary for a dozen rules is not worth it",
        shows: is_refused_by_rule,
    },
    Wanted {
        reason: "an empty map in the metadata of an applied custom resource is not remembered: the real server stores it, \
                 never shows it, and takes the next write that changes nothing for a change",
        shows: never,
    },
    Wanted { reason: "the columns of built-in kinds have no descriptions: nobody sees them", shows: never },
    Wanted {
        reason: "a write to a Scale that leaves the number as it is splits an entry of managedFields of the real server in \
                 two, of which the next write loses one: sequences change the number",
        shows: never,
    },
    Wanted {
        reason: "a pod that runs is gone at once, without its grace period: sequences have none that is on a node",
        shows: never,
    },
    Wanted {
        reason: "an object without `kind` or `apiVersion` gets them where the real server refuses it in different ways",
        shows: never,
    },
    Wanted {
        reason: "the garbage collector is done before the answer to the deletion, and foreground deletion is background \
                 deletion: in between is nothing that Serin could see",
        shows: never,
    },
];

fn never(_: &Seen) -> bool {
    false
}

/// Whether an object was refused by a rule in CEL of its CRD.
fn is_refused_by_rule(seen: &Seen) -> bool {
    static MESSAGES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).expect("a file of the repository");
        let canary: Value = serde_saphyr::from_str(&read("crds/canaries.yaml")).expect("a CRD");
        let route: Value = serde_json::from_str(&read("src/sim/api_server/schemas/http_route.json")).expect("a schema");
        let mut messages = Vec::new();
        for schema in [&canary, &route] {
            collect_messages(schema, &mut messages);
        }
        messages
    });
    let causes = seen.body.pointer("/details/causes").and_then(Value::as_array).into_iter().flatten();
    let texts: Vec<&str> = causes.filter_map(|cause| cause["message"].as_str()).collect();
    texts.iter().any(|text| MESSAGES.iter().any(|message| text.contains(message)))
}

fn collect_messages(schema: &Value, messages: &mut Vec<String>) {
    if let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) {
        messages.extend(rules.iter().filter_map(|rule| rule["message"].as_str()).map(ToOwned::to_owned));
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|inner| collect_messages(inner, messages)),
        Value::Array(items) => items.iter().for_each(|inner| collect_messages(inner, messages)),
        _ => {}
    }
}

/// The same with everything that can't be the same replaced by what must be: names for uids and times, ranks for versions.
pub fn masked(seen: &[Seen]) -> Vec<Seen> {
    let mut versions = BTreeSet::new();
    for seen in seen {
        collect_versions(&seen.body, &mut versions);
    }
    let mut mask = Mask {
        versions: versions
            .into_iter()
            .enumerate()
            .map(|(rank, version)| (version.to_string(), format!("version-{rank}")))
            .collect(),
        uids: HashMap::new(),
    };
    seen.iter()
        .map(|seen| {
            let mut body = seen.body.clone();
            mask.apply(&mut body);
            for table in body.as_array_mut().into_iter().flatten() {
                mask_table(table);
            }
            mask_table(&mut body);
            if body["kind"] == "Status" {
                mask_status(&mut body);
            }
            Seen { body, ..seen.clone() }
        })
        .collect()
}

fn collect_versions(body: &Value, versions: &mut BTreeSet<u64>) {
    if let Some(version) = body["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()) {
        versions.insert(version);
    }
    for list in [body.as_array(), body["items"].as_array()] {
        list.into_iter().flatten().for_each(|item| collect_versions(item, versions));
    }
    for row in body["rows"].as_array().into_iter().flatten() {
        collect_versions(&row["object"], versions);
    }
}

struct Mask {
    versions: HashMap<String, String>,
    uids: HashMap<String, String>,
}

impl Mask {
    fn apply(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(list) = fields.get_mut("managedFields").and_then(Value::as_array_mut) {
                    // The order depends on the second in which something happened.
                    list.sort_by_key(|entry| {
                        json!([entry["manager"], entry["operation"], entry["subresource"]]).to_string()
                    });
                }
                for (name, inner) in fields.iter_mut() {
                    match (name.as_str(), &inner) {
                        ("uid", Value::String(uid)) if !uid.contains("1111111-") => {
                            let next = format!("uid-{}", self.uids.len());
                            *inner = json!(self.uids.entry(uid.clone()).or_insert(next));
                        }
                        ("resourceVersion", Value::String(version)) => {
                            *inner = json!(self.versions.get(version).cloned().unwrap_or_else(|| "unknown".to_owned()));
                        }
                        ("creationTimestamp" | "deletionTimestamp" | "time", Value::String(_)) => {
                            *inner = json!("time");
                        }
                        ("clusterIP", Value::String(address)) if address != "None" => *inner = json!("address"),
                        ("clusterIPs", Value::Array(list)) if *list != [json!("None")] => *inner = json!("addresses"),
                        _ => self.apply(inner),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.apply(item)),
            _ => {}
        }
    }
}

/// Ages, addresses, and the descriptions that nobody sees.
fn mask_table(table: &mut Value) {
    if table["kind"] != "Table" {
        return;
    }
    let mut masked = Vec::new();
    for (index, column) in table["columnDefinitions"].as_array_mut().into_iter().flatten().enumerate() {
        column["description"] = json!("masked");
        if AGES.iter().chain(&["Cluster-IP"]).any(|name| column["name"] == *name) {
            masked.push(index);
        }
    }
    let has_columns = table["columnDefinitions"].is_array();
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        for (index, cell) in row["cells"].as_array_mut().into_iter().flatten().enumerate() {
            // Only the first event of a watch says which columns there are; a cell that may be an age is one then.
            let may_be_age = |text: &str| text.ends_with(['s', 'm']) && text.starts_with(|c: char| c.is_ascii_digit());
            let may_be_address = |text: &str| text.starts_with("10.");
            let text = cell.as_str().unwrap_or_default();
            if masked.contains(&index) || (!has_columns && (may_be_age(text) || may_be_address(text))) {
                *cell = json!("masked");
            }
        }
    }
}

/// Lists of problems are in no order, and the wording of decoding errors is Go's.
fn mask_status(status: &mut Value) {
    if let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
        for cause in causes.iter_mut() {
            let message = cause["message"].as_str().unwrap_or_default().to_owned();
            if let Some((_, rest)) = message.split_once(" in body ") {
                // The real server calls the same field by a shorter name when only the status is written, and speaks of
                // the format of a number instead of its type for some values.
                cause["message"] = json!(rest.split_once("must be of type ").map_or(rest, |(before, _)| before));
            } else if cause["field"] == "metadata.ownerReferences" {
                // The order of fields in Go's structs.
                cause["message"] = json!(message.rsplit(": ").next());
            }
        }
        causes.sort_by_key(ToString::to_string);
        // Custom resources' metadata is checked more than once.
        causes.dedup();
        status["message"] = json!("see causes");
    }
    // Clients don't act on which problems a built-in kind has, and the real list is long.
    let is_built_in = matches!(
        status["details"]["kind"].as_str(),
        Some("ConfigMap" | "DaemonSet" | "Deployment" | "Pod" | "ReplicaSet" | "Scale" | "Service" | "")
    );
    if status["reason"] == "Invalid" && (is_built_in || status["details"].get("kind").is_none()) {
        status["details"]["causes"] = json!("masked");
        status["message"] = json!("masked");
    }
    if matches!(status["code"].as_u64(), Some(400 | 500 | 415)) {
        status["message"] = json!("masked");
    }
    if status["code"] == 409
        && let Some(message) = status["message"].as_str()
    {
        let known =
            ["Precondition failed: UID", "in the precondition", "the object has been modified", "already exists"];
        let kind = known.iter().find(|known| message.contains(**known)).copied();
        if let Some(kind) = kind {
            status["message"] = json!(kind);
        }
    }
}

/// The first difference between the two that is not wanted, in words.
pub fn difference(real: &[Seen], simulated: &[Seen]) -> Option<String> {
    let (real, simulated) = (masked(real), masked(simulated));
    for (index, (real, simulated)) in real.iter().zip(&simulated).enumerate() {
        let is_same = real.outcome == simulated.outcome && real.body == simulated.body;
        if is_same {
            continue;
        }
        let lines = changed_lines(&real.body, &simulated.body);
        return Some(format!(
            "step {index}: {}\n  real {}, simulated {}\n{}",
            real.what, real.outcome, simulated.outcome, lines
        ));
    }
    (real.len() != simulated.len()).then(|| {
        let longer = if real.len() > simulated.len() { &real } else { &simulated };
        let extra = longer.get(real.len().min(simulated.len()));
        format!("real has {} answers and events, simulated {}; first extra: {extra:?}", real.len(), simulated.len())
    })
}

fn changed_lines(real: &Value, simulated: &Value) -> String {
    let mut lines = Vec::new();
    walk("", Some(real), Some(simulated), &mut lines);
    lines.truncate(7);
    lines.join("\n")
}

fn walk(path: &str, real: Option<&Value>, simulated: Option<&Value>, lines: &mut Vec<String>) {
    if real == simulated {
        return;
    }
    match (real, simulated) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                walk(&format!("{path}/{name}"), one.get(name), other.get(name), lines);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                walk(&format!("{path}/{index}"), one.get(index), other.get(index), lines);
            }
        }
        _ => {
            let text = |value: Option<&Value>| value.map_or_else(|| "-".to_owned(), ToString::to_string);
            lines.push(format!("  {path}: real {} simulated {}", text(real), text(simulated)));
        }
    }
}
