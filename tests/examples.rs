//! The examples are what people copy: each passes `serin lint`, and each Canary finds its target beside it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Every YAML file under `examples/`.
fn files() -> Vec<PathBuf> {
    let mut folders = vec![examples()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn objects(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The objects of one kind that stand in the same folder as `file`.
fn neighbours(file: &Path, kind: &str) -> Vec<Value> {
    let beside = files().into_iter().filter(|other| other.parent() == file.parent());
    beside.flat_map(|other| objects(&other)).filter(|object| object["kind"] == kind).collect()
}

fn canaries() -> Vec<(PathBuf, Value)> {
    let all = files().into_iter().flat_map(|file| objects(&file).into_iter().map(move |object| (file.clone(), object)));
    all.filter(|(_, object)| object["kind"] == "Canary").collect()
}

/// The exit code of `serin lint`, and what it says.
fn lint(files: &[PathBuf]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_serin")).arg("lint").args(files).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), text)
}

#[test]
fn every_example_passes_lint() {
    let (code, text) = lint(&files());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn an_example_with_a_misspelt_field_would_not_pass() {
    let first = fs::read_to_string(examples().join("frontend/canary.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("canary.yaml");
    fs::write(&file, first.replace("stepWeight:", "stepWieght:")).unwrap();
    let (code, text) = lint(&[file]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("stepWieght"), "{text}");
}

#[test]
fn every_canary_finds_its_target_beside_it() {
    let canaries = canaries();
    assert_eq!(canaries.len(), 9);
    for (file, canary) in canaries {
        let name = &canary["spec"]["targetRef"]["name"];
        let target = neighbours(&file, "Deployment").into_iter().find(|object| &object["metadata"]["name"] == name);
        let target = target.unwrap_or_else(|| panic!("{}: no Deployment {name} in this folder", file.display()));
        let pod = &target["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        assert_eq!(target["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"], "{}", file.display());
        assert_eq!(target["spec"]["replicas"], Value::Null, "{}: Serin scales the target", file.display());
        assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/healthz", "port": 8080}));
        assert_eq!(container["ports"], json!([{"name": "http", "containerPort": 8080}]));
    }
}

#[test]
fn every_reference_of_a_canary_is_beside_it() {
    for (file, canary) in canaries() {
        let list = |pointer: &str| canary.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let templates = list("/spec/analysis/metrics").into_iter().map(|metric| metric["templateRef"]["name"].clone());
        let providers = list("/spec/analysis/alerts").into_iter().map(|alert| alert["providerRef"]["name"].clone());
        let autoscaler = std::iter::once(canary["spec"]["autoscalerRef"]["name"].clone());
        let references = templates
            .map(|name| ("MetricTemplate", name))
            .chain(providers.map(|name| ("AlertProvider", name)))
            .chain(autoscaler.map(|name| ("HorizontalPodAutoscaler", name)));
        for (kind, name) in references.filter(|(_, name)| !name.is_null()) {
            let found = neighbours(&file, kind).iter().any(|object| object["metadata"]["name"] == name);
            assert!(found, "{}: no {kind} {name} in this folder", file.display());
        }
    }
}

#[test]
fn the_git_tree_holds_the_first_example() {
    for name in ["canary.yaml", "deployment.yaml"] {
        let [first, in_git] = ["frontend", "gitops/apps/frontend"].map(|folder| examples().join(folder).join(name));
        assert_eq!(objects(&first), objects(&in_git), "{name}");
    }
}
