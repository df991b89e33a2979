//! The real kubectl against the in-memory API server on its loopback socket: a session in which each command builds on
//! those before it, and what it printed.
//!
//! `cargo test --test kubectl`; `INSTA_UPDATE=always` writes the golden file anew.

#![allow(clippy::print_stderr, reason = "a test tells why it could not run")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]
#![allow(missing_docs, reason = "a test")]

mod objects;
mod session;

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::session::Shell;

/// How long kubectl may take to begin.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `kubectl` is told, and what it is given on its standard input.
type Command = (&'static str, &'static str);

/// Reading: discovery, tables, and the other forms of output.
const READ: &[Command] = &[
    ("version", ""),
    ("api-resources --no-headers", ""),
    ("get --raw /readyz", ""),
    ("get canaries", ""),
    ("get can -o wide", ""),
    ("get canaries -A", ""),
    ("get deploy,rs,ds,svc,hpa,httproutes,cm,secrets,lease", ""),
    ("get deploy,rs,svc,pods -o wide", ""),
    ("get pods --show-labels -l app=frontend", ""),
    ("get pods --sort-by=.metadata.name", ""),
    ("get events", ""),
    ("get events.events.k8s.io -o wide", ""),
    ("get all", ""),
    ("get ns", ""),
    ("get canary frontend -o name", ""),
    ("get canary frontend -o jsonpath={.status.phase}", ""),
    ("get service frontend -o yaml", ""),
    ("get deployments --chunk-size=1 -A", ""),
    ("get deployment missing", ""),
    ("describe canary frontend", ""),
    ("describe deployment frontend", ""),
    ("describe service frontend", ""),
    ("describe pod frontend-1", ""),
    ("describe hpa frontend", ""),
    ("logs frontend-1", ""),
    ("explain canary.spec.analysis.threshold", ""),
    ("explain deployment.spec.replicas", ""),
];

/// Writing.
const WRITE: &[Command] = &[
    ("apply -f -", objects::APP),
    ("apply -f -", objects::APP),
    ("apply -f -", objects::APP_WITH_ANOTHER_IMAGE),
    ("get deployment app -o jsonpath={.spec.template.spec.containers}", ""),
    ("diff -f -", objects::APP),
    ("apply --dry-run=server -f -", objects::APP),
    ("apply -f -", objects::APP_WITH_A_MISTAKE),
    ("apply --validate=warn -f -", objects::APP_WITH_A_MISTAKE),
    ("apply --server-side -f -", objects::APP),
    ("apply --server-side --force-conflicts -f -", objects::APP),
    ("apply -f -", objects::CANARY),
    ("apply -f -", objects::CANARY_WITH_ANOTHER_WEIGHT),
    ("get canary app -o jsonpath={.spec.analysis.stepWeight}", ""),
    ("apply -f -", objects::CANARY_WITH_A_MISTAKE),
    ("set image deployment/app app=app:3", ""),
    ("set env deployment/app COLOR=red ERROR_RATE-", ""),
    ("get deployment app -o jsonpath={.spec.template.spec.containers}", ""),
    ("scale deployment/app --replicas=5", ""),
    ("scale deployment/app --replicas=5 --current-replicas=2", ""),
    ("get deployment app --subresource=scale -o jsonpath={.spec.replicas}", ""),
    ("annotate canary app owner=me", ""),
    ("label deployment app tier=web", ""),
    (
        "patch canary app --type=merge --subresource=status -p {\"status\":{\"phase\":\"Failed\",\"canaryWeight\":0,\"failedChecks\":1,\"iterations\":0,\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}}",
        "",
    ),
    (
        "patch deployment app -p {\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"sidecar\",\"image\":\"s:1\"}]}}}}",
        "",
    ),
    ("patch deployment app --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/template/spec/containers/1\"}]", ""),
    ("rollout restart deployment/app", ""),
    ("rollout pause deployment/app", ""),
    ("rollout resume deployment/app", ""),
    ("edit deployment app", ""),
    ("create configmap settings --from-literal=a=1", ""),
    ("create deployment other --image=other:1 --port=8080", ""),
    ("expose deployment other --port=80", ""),
    ("autoscale deployment other --min=2 --max=4 --cpu=80%", ""),
    ("replace -f -", objects::APP),
    ("delete deployment app", ""),
    ("delete -f -", objects::CANARY),
    ("delete configmaps --all", ""),
    ("delete pod frontend-1 --now", ""),
    ("get all", ""),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        serin_testbed::enter();
    }
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    fn trial(name: &str, run: fn(&Shell) -> Result<()>) -> Trial {
        Trial::test(name, move || {
            let result = Shell::start().context("the server").and_then(|shell| run(&shell));
            result.map_err(|error| Failed::from(format!("{error:#}")))
        })
    }
    vec![
        trial("reading_prints_what_a_real_cluster_does", |shell| golden(shell, "reading", READ)),
        trial("writing_does_what_a_real_cluster_does", |shell| golden(shell, "writing", WRITE)),
        trial("watches_print_what_changes", watch),
        trial("waiting_ends_when_it_is_so", wait),
    ]
}

fn golden(shell: &Shell, name: &str, commands: &[Command]) -> Result<()> {
    let mut text = String::new();
    for (command, input) in commands {
        let words: Vec<&str> = command.split(' ').collect();
        writeln!(text, "$ kubectl {command}\n{}", shell.kubectl.run(&words, input)?)?;
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("golden");
    settings.bind(|| insta::assert_snapshot!(name, text));
    Ok(())
}

fn watch(shell: &Shell) -> Result<()> {
    for wide in [false, true] {
        let words: &[&str] = if wide { &["get", "can", "-w", "-o", "wide"] } else { &["get", "canaries", "-w"] };
        let mut watch = shell.kubectl.start(words)?;
        let first = [watch.line()?, watch.line()?];
        anyhow::ensure!(first[0].starts_with("NAME") && first[1].contains("Progressing   10"), "{first:?}");
        for (phase, weight) in [("Progressing", 20), ("Failed", 0)] {
            shell.set_canary(phase, weight)?;
            let line = watch.line()?;
            anyhow::ensure!(line.starts_with("frontend") && line.contains(phase), "{line}");
            anyhow::ensure!(line.split_whitespace().nth(2) == Some(weight.to_string().as_str()), "{line}");
        }
        shell.set_canary("Progressing", 10)?;
    }
    Ok(())
}

fn wait(shell: &Shell) -> Result<()> {
    type Act = fn(&Shell) -> Result<()>;
    let cases: [(&str, Act, &str); 3] = [
        (
            "wait --for=condition=Ready canary/frontend --timeout=60s",
            Shell::make_ready,
            "canary.flagger.app/frontend condition met",
        ),
        ("rollout status deployment/frontend --timeout=60s", Shell::make_ready, "successfully rolled out"),
        ("wait --for=delete pod/frontend-2 --timeout=60s", Shell::delete_pod, "pod/frontend-2 condition met"),
    ];
    for (command, act, expected) in cases {
        let kubectl = shell.kubectl.clone();
        let words: Vec<&'static str> = command.split(' ').collect();
        let waiting = std::thread::spawn(move || kubectl.run(&words, ""));
        // So that it begins to wait before it is so. Were it late, it would still see it.
        std::thread::sleep(PATIENCE);
        act(shell)?;
        let printed = waiting.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        anyhow::ensure!(printed.contains(expected), "{command} printed {printed}");
    }
    Ok(())
}
