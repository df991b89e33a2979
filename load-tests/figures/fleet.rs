//! Many Canaries with nothing to do: what they ask the API server for, and how much memory they take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};
use serin::api::status::Phase;
use serin_testbed::{CONTROLLER_USER, Process, wait_until};

use crate::bed::{Bed, Kind, canary, deployment, status_of, until_ready};
use crate::report::{Figure, Report};

const NAMESPACE: &str = "fleet";
/// As many at a time as the pods of one machine can come up for.
const BATCH: usize = 25;
const SMALL: usize = 50;
const LARGE: usize = 500;
const IDLE_SECONDS: u64 = 300;
/// From the last change to idleness.
const SETTLE: Duration = Duration::from_secs(20);
const BATCH_PATIENCE: Duration = Duration::from_secs(300);

pub async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    let large = number("FIGURES_CANARIES", LARGE)?.max(1);
    let small = SMALL.min(large);
    bed.namespace(NAMESPACE).await?;
    let mut controller = bed.controller(NAMESPACE).await?;
    grow(bed, 0, small).await?;
    tokio::time::sleep(SETTLE).await;
    idle(bed, report, small).await?;
    memory(report, "", small, &controller, &Value::Null)?;
    if large > small {
        let started = Instant::now();
        grow(bed, small, large).await?;
        tokio::time::sleep(SETTLE).await;
        let detail = json!({"seconds to initialise the further ones": started.elapsed().as_secs()});
        memory(report, "", large, &controller, &detail)?;
    }
    controller.stop(Duration::from_secs(10));
    let started = Instant::now();
    controller = bed.controller(NAMESPACE).await?;
    until_ready(&mut controller, Duration::from_millis(5)).await?;
    let ready = started.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    memory(
        report,
        "peak memory, 500 canaries, after a restart",
        large,
        &controller,
        &json!({"seconds to ready": ready}),
    )
}

/// Adds Canaries until there are `wanted`, and waits until all of them have their primary.
async fn grow(bed: &Bed, there: usize, wanted: usize) -> Result<()> {
    let analysis = json!({"interval": "1m", "threshold": 10, "maxWeight": 50, "stepWeight": 10});
    for first in (there..wanted).step_by(BATCH) {
        let end = (first + BATCH).min(wanted);
        let names = (first..end).map(|number| format!("app-{number:03}"));
        let objects: Vec<Value> = names
            .flat_map(|name| [deployment(NAMESPACE, &name, "1.0.0", "0"), canary(NAMESPACE, &name, &analysis)])
            .collect();
        bed.apply(&objects).await?;
        wait_until(&format!("{end} initialised canaries"), BATCH_PATIENCE, async || {
            let canaries = bed.objects(Kind::Canary, NAMESPACE).list(&ListParams::default()).await?;
            let ready = canaries
                .iter()
                .filter(|canary| status_of(canary).is_ok_and(|status| status.phase == Phase::Initialized));
            let ready = ready.count();
            ensure!(ready == end, "{ready} are initialised");
            Ok(())
        })
        .await?;
        println!("    {end} canaries are initialised");
    }
    Ok(())
}

/// Counts what is asked for while nothing happens.
async fn idle(bed: &Bed, report: &mut Report, canaries: usize) -> Result<()> {
    let seconds = number("FIGURES_IDLE_SECONDS", IDLE_SECONDS)?;
    let since = SystemTime::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let requests = bed.testbed.audit_requests(Some(CONTROLLER_USER), since)?;
    let mut by_verb: BTreeMap<String, usize> = BTreeMap::new();
    for request in &requests {
        *by_verb.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    let is_counted = |verb: &str, resource: &str| verb != "watch" && resource != "leases";
    let counted = requests.iter().filter(|request| is_counted(&request.verb, &request.resource)).count();
    report.add(Figure {
        name: format!("API requests of {canaries} idle canaries in {seconds} s"),
        unit: "requests",
        value: counted as f64,
        goal: Some(0.0),
        detail: json!({
            "canaries": canaries,
            "seconds": seconds,
            "by verb, with watches that were opened anew and the leader's lease": by_verb,
        }),
    });
    Ok(())
}

fn memory(report: &mut Report, when: &str, canaries: usize, controller: &Process, also: &Value) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", controller.id())).context("the controller's status")?;
    let kib = |field: &str| -> Result<f64> {
        let line = status.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field}"))?;
        let number = line.split_whitespace().nth(1).with_context(|| format!("no number in {line}"))?;
        number.parse().with_context(|| format!("the number in {line}"))
    };
    report.add(Figure {
        name: format!("peak memory, {canaries} canaries{when}"),
        unit: "MiB",
        value: kib("VmHWM:")? / 1024.0,
        goal: None,
        detail: json!({"canaries": canaries, "resident now": kib("VmRSS:")? / 1024.0, "also": also}),
    });
    Ok(())
}

/// A number from the environment, for trying it out.
fn number<T: std::str::FromStr>(variable: &str, default: T) -> Result<T> {
    match env::var(variable) {
        Ok(text) => text.parse().map_err(|_| anyhow::anyhow!("{variable} is not a number: {text}")),
        Err(_) => Ok(default),
    }
}
