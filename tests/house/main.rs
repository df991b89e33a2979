//! The rules of the house (ARCHITECTURE.md), held against every file of `src/`; and proof that each rule bites.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rules;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{check, map_breaches};
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of `src/` that is not a test.
fn house() -> Vec<Source> {
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        Source::new(&name, &fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn rooms(files: &[Source]) -> Vec<&str> {
    let rooms: BTreeSet<&str> =
        files.iter().map(Source::room).filter(|room| !matches!(*room, "lib" | "main")).collect();
    rooms.into_iter().collect()
}

#[test]
fn the_house_keeps_its_rules() {
    let files = house();
    assert!(files.len() > 10, "only {} files found: is this the right folder?", files.len());
    let breaches: Vec<String> = files
        .iter()
        .flat_map(check)
        .map(|breach| format!("{}: {}: {}", breach.place, breach.rule, breach.what))
        .collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn every_room_is_on_both_maps() {
    let files = house();
    let rooms = rooms(&files);
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert_eq!(map_breaches(&rooms, &library, |room| format!("| [`{room}`] |")), [""; 0], "src/lib.rs");
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert_eq!(map_breaches(&rooms, &architecture, |room| format!("| `{room}` |")), [""; 0], "ARCHITECTURE.md");
}

#[test]
fn every_rule_bites() {
    const PURE: &str = "pure rooms do nothing but compute";
    const ARROWS: &str = "imports point one way";
    const REQUESTS: &str = "only cluster talks to Kubernetes";
    const OUTBOUND: &str = "only outbound sends HTTP to others";
    const CLOCK: &str = "only clock.rs reads the clock";
    const PRINT: &str = "only cli prints";
    const NAMES: &str = "a module's name says what is inside";
    const LENGTH: &str = "a function fits on a screen";
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(69));
    let fitting = format!("fn fitting() {{\n{}}}\n", "    step();\n".repeat(68));

    // File, content, the rules that it breaks.
    let cases: &[(&str, &str, &[&str])] = &[
        ("rollout/decide.rs", "pub async fn decide() {}", &[PURE]),
        ("rollout/decide.rs", "fn f() { tokio::spawn(x); }", &[PURE]),
        ("api/canary.rs", "use reqwest::Url;", &[PURE]),
        ("analysis/mod.rs", "fn f() { tracing::info!(x); }", &[PURE]),
        ("workload/mod.rs", "use tracing::info;", &[PURE]),
        ("analysis/mod.rs", "let x = rand::random();", &[PURE]),
        ("routing/mod.rs", "use std::{env, fmt};", &[PURE]),
        ("routing/mod.rs", "use std::time::Instant;", &[PURE]),
        ("workload/mod.rs", "use kube::{Client, ResourceExt};", &[PURE, REQUESTS]),
        ("workload/mod.rs", "fn f(a: kube::Api<Pod>) {}", &[PURE, REQUESTS]),
        ("rollout/decide.rs", "let now = Utc::now();", &[PURE, CLOCK]),
        ("rollout/decide.rs", "let now = crate::clock::now();", &[PURE, ARROWS]),
        ("rollout/decide.rs", "use std::time::Duration; use kube::CustomResource;", &[]),
        ("api/canary.rs", "use kube::{CustomResource, ResourceExt}; use std::fmt;", &[]),
        ("api/canary.rs", "use crate::analysis::Verdict;", &[ARROWS]),
        ("analysis/mod.rs", "use crate::{api::status, rollout::Seen};", &[ARROWS]),
        ("rollout/mod.rs", "use super::workload::Blueprint;", &[ARROWS]),
        ("workload/mod.rs", "use crate::routing::plan;", &[ARROWS]),
        ("metrics/mod.rs", "use crate::cluster::Cluster;", &[ARROWS]),
        ("alerts/slack.rs", "use crate::rollout::Notice;", &[ARROWS]),
        ("cluster/mod.rs", "use crate::controller::Trigger;", &[ARROWS]),
        ("server/mod.rs", "use crate::cli::Arguments;", &[ARROWS]),
        ("controller/mod.rs", "use crate::sim::World;", &[ARROWS]),
        ("main.rs", "use serin::controller;", &[ARROWS]),
        ("attic/mod.rs", "", &[ARROWS]),
        ("controller/mod.rs", "use crate::{cluster, metrics, clock::now};", &[]),
        ("cli/lint.rs", "use super::controller::Options; use crate::api::Canary;", &[]),
        ("main.rs", "fn main() { serin::cli::run() }", &[]),
        ("controller/mod.rs", "use kube::runtime::watcher;", &[REQUESTS]),
        ("metrics/mod.rs", "use kube::api::{Api, ObjectMeta};", &[REQUESTS]),
        ("server/mod.rs", "use kube_client::Client;", &[REQUESTS]),
        ("metrics/mod.rs", "use kube::api::ObjectMeta; use reqwest::{Method, header::HeaderMap};", &[]),
        ("metrics/mod.rs", "use reqwest::Client;", &[OUTBOUND]),
        ("alerts/delivery.rs", "fn f() { reqwest::get(x) }", &[OUTBOUND]),
        ("outbound/pools.rs", "use reqwest::{Client, Proxy};", &[]),
        ("outbound/mod.rs", "use crate::api::Canary;", &[ARROWS]),
        ("cluster/mod.rs", "use kube::{Api, Client, runtime::watcher};", &[]),
        ("cli/controller.rs", "use kube::Client; fn f(client: kube::Client) {}", &[]),
        ("cli/controller.rs", "use kube::Api; fn f() { kube::Client::try_default() }", &[REQUESTS]),
        ("controller/mod.rs", "let start = std::time::Instant::now();", &[CLOCK]),
        ("cluster/lease.rs", "use std::time::Instant; fn f() { Instant::now() }", &[CLOCK]),
        ("cluster/lease.rs", "fn f() { chrono::Local::now() }", &[CLOCK]),
        ("cluster/lease.rs", "use tokio::time::Instant; fn f() { Instant::now() }", &[]),
        ("controller/mod.rs", "fn f() { crate::clock::now() }", &[]),
        ("clock.rs", "fn now() { Utc::now() }", &[]),
        ("controller/mod.rs", "fn f() { eprintln!(\"x\") }", &[PRINT]),
        ("metrics/mod.rs", "use std::io::stderr;", &[PRINT]),
        ("cluster/mod.rs", "fn f() { std::io::stdout().write(b) }", &[PRINT]),
        ("controller/logs.rs", "fn f() { subscriber(std::io::stdout) }", &[]),
        ("cli/lint.rs", "fn f() { println!(\"x\") }", &[]),
        ("cluster/mod.rs", "fn f() { writeln!(out, \"x\") }", &[]),
        ("cluster/utils.rs", "", &[NAMES]),
        ("helpers/mod.rs", "", &[ARROWS, NAMES]),
        ("controller/manager.rs", "", &[NAMES]),
        ("cluster/mod.rs", &long, &[LENGTH]),
        ("cluster/mod.rs", &fitting, &[]),
        ("api/mod.rs", "// Utc::now()\nconst A: &str = \"tokio println!\";", &[]),
        ("api/mod.rs", "#[cfg(test)]\nmod tests {\n    use tokio::test;\n    fn f() { Utc::now() }\n}", &[]),
    ];
    for (path, text, expected) in cases {
        let mut broken: Vec<&str> = check(&Source::new(path, text)).iter().map(|breach| breach.rule).collect();
        broken.dedup();
        assert_eq!(&broken, expected, "{path}: {text}");
    }
}

#[test]
fn a_room_missing_on_a_map_is_noticed() {
    let found = map_breaches(&["api", "attic"], "| `api` | what users write |", |room| format!("| `{room}` |"));
    assert_eq!(found, ["attic is not on the map"]);
}
