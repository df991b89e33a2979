//! What one step of a run asks the API server for.

use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use serin::api::status::Phase;
use serin_testbed::AuditEntry;

use crate::bed::{Bed, Kind, canary, deployment, reach};
use crate::report::{Figure, Report, highest, median};

const NAMESPACE: &str = "steps";
const NAME: &str = "frontend";
/// What the controller has to do after its last decision.
const SETTLE: Duration = Duration::from_secs(3);

pub async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    bed.namespace(NAMESPACE).await?;
    let analysis = json!({"interval": "4s", "threshold": 3, "maxWeight": 50, "stepWeight": 10});
    bed.apply(&[deployment(NAMESPACE, NAME, "1.0.0", "0"), canary(NAMESPACE, NAME, &analysis)]).await?;
    let _controller = bed.controller(NAMESPACE).await?;
    reach(bed, NAMESPACE, NAME, "the first release", |status| status.phase == Phase::Initialized).await?;
    let _users = bed.users(NAMESPACE, NAME)?;
    tokio::time::sleep(SETTLE).await;
    let route = bed.record(Kind::HttpRoute, NAMESPACE, NAME);
    let shipped = SystemTime::now();
    bed.apply(&[deployment(NAMESPACE, NAME, "1.1.0", "0")]).await?;
    reach(bed, NAMESPACE, NAME, "the promotion", |status| status.phase == Phase::Succeeded).await?;
    tokio::time::sleep(SETTLE).await;
    let requests = bed.requests(shipped)?;
    let steps = split(&requests, &route.weights());
    let weights: Vec<i64> = steps.iter().map(|(weight, _)| *weight).collect();
    ensure!(weights == [0, 10, 20, 30, 40, 50], "the route went {weights:?}");
    // Before the first step the canary's pods come up; after the last one it is promoted. Both are told, not judged.
    let counts: Vec<f64> = steps.iter().skip(1).take(4).map(|(_, step)| step.len() as f64).collect();
    let detail: Vec<Value> =
        steps.iter().map(|(weight, step)| json!({"weight": weight, "requests": told(step)})).collect();
    report.add(Figure {
        name: "API requests per step, median".to_owned(),
        unit: "requests",
        value: median(&counts),
        goal: Some(4.0),
        detail: json!({"each": counts}),
    });
    report.add(Figure {
        name: "API requests per step, highest".to_owned(),
        unit: "requests",
        value: highest(&counts),
        goal: Some(4.0),
        detail: json!({"parts": detail, "whole run": requests.len()}),
    });
    Ok(())
}

/// The requests that are no watches, by the weight that they began with: a step begins with the write that raised the weight.
fn split<'a>(requests: &'a [AuditEntry], weights: &[(SystemTime, i64)]) -> Vec<(i64, Vec<&'a AuditEntry>)> {
    let mut steps = vec![(0, Vec::new())];
    let mut rising = weights.iter().filter(|(_, weight)| *weight > 0).peekable();
    for (index, request) in requests.iter().enumerate().filter(|(_, request)| request.verb != "watch") {
        let is_last_write_before = |seen: SystemTime| {
            let next = requests.iter().skip(index + 1).find(|later| writes_route(later));
            writes_route(request) && request.time <= seen && next.is_none_or(|next| next.time > seen)
        };
        if let Some((_, weight)) = rising.next_if(|(seen, _)| is_last_write_before(*seen)) {
            steps.push((*weight, Vec::new()));
        }
        if let Some((_, step)) = steps.last_mut() {
            step.push(request);
        }
    }
    steps
}

/// Whether a request wrote a route (its status is the gateway's).
pub fn writes_route(request: &AuditEntry) -> bool {
    request.is_write() && request.resource == "httproutes" && request.subresource.is_empty()
}

fn told(requests: &[&AuditEntry]) -> Vec<String> {
    let one = |request: &&AuditEntry| {
        let slash = if request.subresource.is_empty() { "" } else { "/" };
        format!("{} {}{slash}{}", request.verb, request.resource, request.subresource)
    };
    requests.iter().map(one).collect()
}
