//! `serin lint`: checks manifests offline, with the code that the controller uses.

mod document;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use self::document::{Document, Unreadable};
use crate::api::checked::{ObjectKey, Provider};
use crate::api::problem::{Invalid, Problem};
use crate::api::schema;
use crate::api::validate::{Defaults, validate, validate_alert_provider, validate_metric_template};
use crate::metrics::template;

/// Check Canary, MetricTemplate and AlertProvider manifests without a cluster.
///
/// Exit code 0: nothing to mend. 1: something in the files is wrong. 2: the command itself could not run.
#[derive(clap::Args, Clone, Debug)]
pub struct LintArgs {
    /// Files, directories (every .yaml, .yml and .json below them), or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Technology that moves traffic for Canaries that do not say; the controller's --mesh-provider
    #[arg(long, alias = "mesh-provider", default_value = "gatewayapi:v1", value_parser = parse_provider)]
    pub provider: Provider,
    /// Gateway for Canaries without gatewayRefs; repeatable; the controller's --gateway. Without it, lint takes it that the
    /// controller has one
    #[arg(long = "gateway", value_name = "NAMESPACE/NAME", value_parser = parse_gateway)]
    pub gateways: Vec<ObjectKey>,
    /// References to other namespaces are wrong; the controller's --no-cross-namespace-refs
    #[arg(long)]
    pub no_cross_namespace_refs: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for each, and a summary.
    Text,
    /// A list of objects.
    Json,
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file as it was named, or was found in a directory.
    pub file: String,
    /// The line of the field, or of the nearest one that it would be part of; from 1.
    pub line: u64,
    /// Kind of the object; empty when the file can't be read.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// The field; empty for the object as a whole.
    pub field: String,
    /// What is wrong, and the mend.
    pub message: String,
}

/// Runs `serin lint` and prints findings on `out`, failures of the command itself on standard error.
#[allow(clippy::needless_pass_by_value, reason = "every subcommand takes its arguments by value")]
pub fn run(args: LintArgs, out: &mut dyn Write) -> ExitCode {
    let mut linter = Linter::new(&args);
    for file in &args.files {
        linter.path(file);
    }
    let printed = match args.output {
        Output::Text => linter.print_text(out),
        Output::Json => linter.print_json(out),
    };
    if let Err(error) = printed {
        linter.failures.push(format!("cannot print: {error}"));
    }
    for failure in &linter.failures {
        // Nothing is left to be told to whoever closed standard error too.
        let _ = writeln!(std::io::stderr(), "serin lint: {failure}");
    }
    match (linter.failures.is_empty(), linter.findings.is_empty()) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(1),
        (false, _) => ExitCode::from(2),
    }
}

/// What is wrong in one text, which is called `file` in the findings: `serin lint` without files and without printing.
pub fn check(args: &LintArgs, file: &str, text: Vec<u8>) -> Vec<Finding> {
    let mut linter = Linter::new(args);
    linter.text(file, text);
    linter.findings
}

/// The documents of a text that can be read, as [`check`] sees them. For the fuzz targets.
#[doc(hidden)]
pub fn documents(text: &str) -> Vec<Value> {
    document::read(text).into_iter().map_while(Result::ok).map(|document| document.value).collect()
}

fn parse_provider(name: &str) -> Result<Provider, String> {
    Provider::parse(name).ok_or_else(|| "write gatewayapi:v1 or kubernetes".to_owned())
}

fn parse_gateway(text: &str) -> Result<ObjectKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}

/// Judges the template language of a query and says what is wrong with it.
fn check_query(query: &str) -> Result<(), String> {
    template::parse(query).map(drop).map_err(|error| error.to_string())
}

struct Linter {
    defaults: Defaults,
    findings: Vec<Finding>,
    failures: Vec<String>,
    files: usize,
    checked: usize,
    skipped: usize,
}

impl Linter {
    fn new(args: &LintArgs) -> Self {
        // Offline nobody can tell; a controller that has no default gateway says so at each Canary that needs one.
        let assumed = ObjectKey::new("default", "gateway");
        let gateways = if args.gateways.is_empty() { vec![assumed] } else { args.gateways.clone() };
        let no_cross_namespace_refs = args.no_cross_namespace_refs;
        let defaults = Defaults { provider: args.provider, gateways, no_cross_namespace_refs };
        Self { defaults, findings: Vec::new(), failures: Vec::new(), files: 0, checked: 0, skipped: 0 }
    }

    fn path(&mut self, path: &Path) {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            match std::io::stdin().read_to_end(&mut bytes) {
                Ok(_) => self.text("<stdin>", bytes),
                Err(error) => self.failures.push(format!("cannot read standard input: {error}")),
            }
        } else if path.is_dir() {
            self.directory(path);
        } else {
            self.file(path);
        }
    }

    /// Hidden entries are left out: `.git` is no manifest.
    fn directory(&mut self, path: &Path) {
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.failures.push(format!("cannot read directory {}: {error}", path.display())),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries.iter().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
            let path = entry.path();
            // A link to a directory may lead back here.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.directory(&path);
            } else if is_manifest(&path) && path.is_file() {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match std::fs::read(path) {
            Ok(bytes) => self.text(&path.display().to_string(), bytes),
            Err(error) => self.failures.push(format!("cannot read {}: {error}", path.display())),
        }
    }

    fn text(&mut self, file: &str, bytes: Vec<u8>) {
        self.files += 1;
        let Ok(text) = String::from_utf8(bytes) else {
            return self
                .unreadable(file, Unreadable { line: 1, message: "cannot be read: it is not UTF-8 text".into() });
        };
        for document in document::read(&text) {
            match document {
                Ok(document) => self.object(file, &document, &document.value, ""),
                Err(error) => self.unreadable(file, error),
            }
        }
    }

    fn unreadable(&mut self, file: &str, error: Unreadable) {
        self.findings.push(Finding {
            file: file.to_owned(),
            line: error.line,
            kind: String::new(),
            namespace: String::new(),
            name: String::new(),
            field: String::new(),
            message: error.message,
        });
    }

    /// Checks the object at `place` in a document: at its root, or in the items of a list.
    fn object(&mut self, file: &str, document: &Document, object: &Value, place: &str) {
        let kind = object["kind"].as_str().unwrap_or_default();
        let version = object["apiVersion"].as_str().unwrap_or_default();
        if let (Some(items), true) = (object["items"].as_array(), kind.ends_with("List") && !version.is_empty()) {
            for (index, item) in items.iter().enumerate() {
                self.object(file, document, item, &format!("items[{index}]"));
            }
            return;
        }
        if version.split('/').next() != Some("flagger.app") {
            self.skipped += 1;
            return;
        }
        self.checked += 1;
        let mut findings: Vec<Finding> = self
            .problems(version, kind, object)
            .into_iter()
            .map(|problem| finding(file, document, object, place, problem))
            .collect();
        findings.sort_by_key(|finding| finding.line);
        self.findings.append(&mut findings);
    }

    fn problems(&self, version: &str, kind: &str, object: &Value) -> Vec<Problem> {
        if version != "flagger.app/v1beta1" {
            let message = format!("{version} is not known: write flagger.app/v1beta1");
            return vec![Problem { field: "apiVersion".into(), message }];
        }
        let checked = match kind {
            "Canary" => validate(object, &self.defaults).map(drop),
            "MetricTemplate" => validate_metric_template(object, &check_query),
            "AlertProvider" => validate_alert_provider(object),
            _ => {
                let message = format!("{kind:?} is not one of Canary, MetricTemplate, AlertProvider");
                return vec![Problem { field: "kind".into(), message }];
            }
        };
        let mut problems = checked.err().map_or_else(Vec::new, |Invalid { problems }| problems);
        problems.extend(schema::check(kind, &mut object.clone()).unknown);
        if kind == "Canary" {
            problems.extend(query_problems(object));
        }
        problems
    }

    fn print_text(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for finding in &self.findings {
            let Finding { file, line, kind, namespace, name, field, message } = finding;
            let object = if kind.is_empty() { String::new() } else { format!("{kind} {name}.{namespace}: ") };
            let problem = Problem { field: field.clone(), message: message.clone() };
            writeln!(out, "{file}:{line}: {object}{problem}")?;
        }
        writeln!(
            out,
            "{} checked in {}, {} skipped: {}",
            count(self.checked, "Flagger object"),
            count(self.files, "file"),
            count(self.skipped, "other object"),
            count(self.findings.len(), "problem")
        )
    }

    fn print_json(&self, out: &mut dyn Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &self.findings)?;
        writeln!(out)
    }
}

/// What is wrong with the template language of in-line queries.
fn query_problems(object: &Value) -> Vec<Problem> {
    let metrics = object.pointer("/spec/analysis/metrics").and_then(Value::as_array);
    let queries = metrics.into_iter().flatten().enumerate();
    queries
        .filter_map(|(index, metric)| {
            let message = check_query(metric["query"].as_str()?).err()?;
            Some(Problem { field: format!("spec.analysis.metrics[{index}].query"), message })
        })
        .collect()
}

fn finding(file: &str, document: &Document, object: &Value, place: &str, problem: Problem) -> Finding {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let separator = if place.is_empty() || problem.field.is_empty() { "" } else { "." };
    Finding {
        file: file.to_owned(),
        line: document.line(&format!("{place}{separator}{}", problem.field)),
        kind: text("/kind").unwrap_or_default().to_owned(),
        namespace: text("/metadata/namespace").unwrap_or("default").to_owned(),
        name: text("/metadata/name").unwrap_or("(no name)").to_owned(),
        field: problem.field,
        message: problem.message,
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
