//! The definitions in `crds/` are what `serin crd` prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;
use serin::api::crd;
use serin::cli::crd::{CrdArgs, files, run};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    let mut names = Vec::new();
    for (name, generated) in files().unwrap() {
        let committed = std::fs::read_to_string(directory().join(&name)).unwrap_or_default();
        assert!(committed == generated, "crds/{name} is out of date: run `cargo run -- crd --directory crds`");
        names.push(name);
    }
    let mut there: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    there.sort();
    names.sort();
    assert_eq!(there, names, "files in crds/");
}

#[test]
fn what_is_printed_is_what_is_written() {
    let mut printed = Vec::new();
    run(CrdArgs::default(), &mut printed);
    let printed: Vec<Value> = serde_saphyr::from_slice_multiple(&printed).unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut named = Vec::new();
    assert_eq!(run(CrdArgs { directory: Some(target.path().into()) }, &mut named), ExitCode::SUCCESS);
    let written: Vec<Value> = String::from_utf8(named)
        .unwrap()
        .lines()
        .map(|path| serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    assert_eq!((printed.len(), &printed), (3, &written));
}

#[test]
fn a_directory_that_is_not_there_is_a_failure_of_the_command() {
    let arguments = CrdArgs { directory: Some("/nowhere/at/all".into()) };
    assert_eq!(run(arguments, &mut Vec::new()), ExitCode::from(2));
}

#[test]
fn the_printer_columns_are_flaggers() {
    let columns = |kind: &str| -> Vec<String> {
        let crd = crd::all().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        let columns = crd.spec.versions.into_iter().next().unwrap().additional_printer_columns.unwrap();
        let wide = |priority: Option<i32>| if priority == Some(1) { " wide" } else { "" };
        columns.iter().map(|column| format!("{} {}{}", column.name, column.json_path, wide(column.priority))).collect()
    };
    assert_eq!(
        columns("Canary"),
        [
            "Status .status.phase",
            "Weight .status.canaryWeight",
            "Suspended .spec.suspend wide",
            "FailedChecks .status.failedChecks wide",
            "Interval .spec.analysis.interval wide",
            "Mirror .spec.analysis.mirror wide",
            "StepWeight .spec.analysis.stepWeight wide",
            "StepWeights .spec.analysis.stepWeights wide",
            "MaxWeight .spec.analysis.maxWeight wide",
            "LastTransitionTime .status.lastTransitionTime",
        ]
    );
    assert_eq!(columns("MetricTemplate"), ["Provider .spec.provider.type"]);
    assert_eq!(columns("AlertProvider"), ["Type .spec.type"]);
}

#[test]
fn the_schemas_have_no_default_but_the_status_that_no_controller_has_seen() {
    for kind in ["Canary", "MetricTemplate", "AlertProvider"] {
        let mut defaults = Vec::new();
        find_defaults(crd::schema(kind).unwrap(), kind, &mut defaults);
        let expected: &[&str] =
            if kind == "Canary" { &["Canary.properties.status {\"observedGeneration\":-1}"] } else { &[] };
        assert_eq!(defaults, expected);
    }
}

fn find_defaults(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            // A property may itself be called default.
            if let Some(default) = fields.get("default").filter(|_| !path.ends_with("properties")) {
                found.push(format!("{path} {default}"));
            }
            fields.iter().for_each(|(key, value)| find_defaults(value, &format!("{path}.{key}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| find_defaults(item, path, found)),
        _ => {}
    }
}
