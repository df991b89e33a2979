//! `serin lint` as people and pipelines meet it: what is printed, and the exit code.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;
use serin::cli::lint::{LintArgs, run};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    lint: LintArgs,
}

/// Runs the command in the directory of fixtures, which is then left out of what was printed.
fn lint(arguments: &[&str]) -> (String, u8) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let place = |argument: &&str| {
        if argument.starts_with("--") || argument.contains(':') {
            (*argument).to_owned()
        } else {
            fixtures.join(argument).display().to_string()
        }
    };
    let arguments = std::iter::once("lint".to_owned()).chain(arguments.iter().map(place));
    let mut out = Vec::new();
    let exit = run(Command::parse_from(arguments).lint, &mut out);
    let code = (0..=2).find(|code| ExitCode::from(*code) == exit).expect("an exit code that is documented");
    (String::from_utf8(out).unwrap().replace(&format!("{}/", fixtures.display()), ""), code)
}

#[test]
fn clean_files_are_counted_and_exit_with_0() {
    let (printed, code) = lint(&["good"]);
    assert_eq!(printed, "3 Flagger objects checked in 2 files, 2 other objects skipped: 0 problems\n");
    assert_eq!(code, 0);
    assert_eq!(lint(&["good", "--output=json"]), ("[]\n".to_owned(), 0));
}

#[test]
fn each_problem_is_printed_with_file_line_object_and_field() {
    let (printed, code) = lint(&["bad"]);
    insta::assert_snapshot!(printed);
    assert_eq!(code, 1);
}

#[test]
fn problems_as_json_are_those_of_the_text() {
    let (text, _) = lint(&["bad"]);
    let (json, code) = lint(&["bad", "--output=json"]);
    let findings: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!((code, findings.len()), (1, text.lines().count() - 1));
    for (finding, line) in findings.iter().zip(text.lines()) {
        let part = |name: &str| finding[name].as_str().unwrap();
        assert!(line.starts_with(&format!("{}:{}: ", part("file"), finding["line"])), "{line}");
        assert!(line.ends_with(part("message")) && line.contains(part("field")), "{line}");
    }
}

#[test]
fn flags_are_the_controllers_defaults() {
    let without = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: a, namespace: b}\nspec:\n  \
                   targetRef: {apiVersion: apps/v1, kind: Deployment, name: a}\n  service: {port: 80, timeout: 5s}\n  \
                   analysis: {iterations: 2, alerts: [{name: x, providerRef: {name: p, namespace: other}}]}\n";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("canary.yaml");
    std::fs::write(&file, without).unwrap();
    let file = file.to_str().unwrap();
    for (flags, code, expected) in [
        (&[][..], 0, ": 0 problems"),
        (&["--gateway=infra/public"], 0, ": 0 problems"),
        (&["--provider=kubernetes"], 1, ":6: Canary a.b: spec.service.timeout: has no effect with provider kubernetes"),
        (&["--mesh-provider=kubernetes"], 1, ": 1 problem"),
        (
            &["--provider=kubernetes", "--no-cross-namespace-refs"],
            1,
            ":7: Canary a.b: spec.analysis.alerts[0].providerRef.namespace",
        ),
    ] {
        let arguments: Vec<&str> = std::iter::once(file).chain(flags.iter().copied()).collect();
        let (printed, exit) = lint(&arguments);
        assert!(exit == code && printed.contains(expected), "{flags:?}: exit code {exit}\n{printed}");
    }
}

#[test]
fn a_file_that_is_not_there_exits_with_2_and_the_others_are_checked_all_the_same() {
    let (printed, code) = lint(&["missing.yaml", "bad/list.yaml"]);
    assert!(printed.contains("bad/list.yaml:9: AlertProvider on-call.monitoring: "), "{printed}");
    assert_eq!(code, 2);
}

#[test]
fn a_bad_flag_is_refused_with_exit_code_2() {
    for arguments in [
        &["lint"][..],
        &["lint", "a.yaml", "--provider=istio"],
        &["lint", "a.yaml", "--gateway=public"],
        &["lint", "a.yaml", "--output=xml"],
        &["lint", "a.yaml", "--strict"],
    ] {
        let refused = Command::try_parse_from(arguments).map(|_| ()).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{arguments:?}");
    }
}
