//! What `make fuzz` does without end, for some seconds: every file of the corpora (`fuzz/corpus`), and a number of changes
//! to each, goes through its target.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may panic, and is no library")]
#![allow(clippy::indexing_slicing, clippy::missing_panics_doc, reason = "that is how a target tells")]

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fuzz::mutation::{mutate_in_place, mutated, spliced};
use fuzz::{TARGETS, Target};
use tokio::time::Instant;

/// Inputs that are made of each target's corpus.
const MUTATIONS: u64 = 150;

/// The longest time for one input, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Name and content of each file in the corpus of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("corpus").join(target)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.into_iter().map(|path| (name(&path), fs::read(path).unwrap())).collect()
}

/// Has a target read an input, and says what came of it where it does not come back well and in time.
fn complaint(target: &Target, origin: &str, input: &[u8]) -> Option<String> {
    let started = Instant::now();
    let outcome = catch_unwind(|| (target.run)(input));
    let elapsed = started.elapsed();
    let problem = match outcome {
        Ok(()) if elapsed < LONGEST => return None,
        Ok(()) => format!("took {elapsed:?}"),
        Err(panic) => words(panic.as_ref()),
    };
    let shown = String::from_utf8_lossy(input);
    Some(format!("{} {origin}: {problem}\nKeep this in fuzz/corpus/{0}:\n{shown}", target.name))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} inputs; the first of them:\n{}", complaints.len(), complaints[0]);
}

#[test]
fn every_file_of_the_corpora_comes_back() {
    let files = TARGETS.iter().flat_map(|target| corpus(target.name).into_iter().map(move |file| (target, file)));
    let complaints: Vec<_> = files.filter_map(|(target, (name, input))| complaint(target, &name, &input)).collect();
    assert_none(&complaints);
}

#[test]
fn changes_to_the_corpora_come_back() {
    let mut complaints = Vec::new();
    for target in &TARGETS {
        for (seed, (name, input)) in (0..MUTATIONS).zip(corpus(target.name).iter().cycle()) {
            let input = mutated(input, seed).unwrap_or_else(|| spliced(input, seed));
            complaints.extend(complaint(target, &format!("{name} with seed {seed}"), &input));
        }
    }
    assert_none(&complaints);
}

#[test]
fn each_target_is_built_and_has_a_small_corpus() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let listed: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .collect();
    assert_eq!(listed, TARGETS.iter().map(|target| target.name).collect());
    let files: Vec<_> = TARGETS.iter().flat_map(|target| corpus(target.name)).collect();
    assert!(TARGETS.iter().all(|target| !corpus(target.name).is_empty()));
    assert!(files.len() < 300 && files.iter().map(|(_, input)| input.len()).sum::<usize>() < 1_000_000);
}

#[test]
fn the_same_seed_makes_the_same_change() {
    let input = br#"{"spec": {"replicas": 1, "selector": {"a": "b"}}}"#;
    assert!((0..100).all(|seed| mutated(input, seed) == mutated(input, seed)));
    let different: BTreeSet<_> = (0..100).map(|seed| mutated(input, seed)).collect();
    assert!(different.len() > 50, "only {} changes", different.len());
    let mut buffer = [input.as_slice(), &[0; 100]].concat();
    let size = mutate_in_place(&mut buffer, input.len(), input.len() + 100, 1);
    assert_eq!(mutated(input, 1), size.map(|size| buffer[..size].to_vec()));
}
