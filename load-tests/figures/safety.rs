//! How long users stay with a bad release after the check that decided against it was due.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::json;
use serin::api::status::{CanaryStatus, Phase};

use crate::bed::{Bed, Kind, Record, canary, deployment, reach, status_of};
use crate::report::{Figure, Report, highest, median};
use crate::steps::writes_route;

const NAMESPACE: &str = "safety";
const NAME: &str = "frontend";
const ROLLBACKS: usize = 7;
const THRESHOLD: i32 = 2;
/// From a rollback to the next release: the refused pods are gone by then.
const SETTLE: Duration = Duration::from_secs(4);

pub async fn measure(bed: &Bed, report: &mut Report) -> Result<()> {
    bed.namespace(NAMESPACE).await?;
    let analysis = json!({"interval": "3s", "threshold": THRESHOLD, "maxWeight": 50, "stepWeight": 50});
    bed.apply(&[deployment(NAMESPACE, NAME, "1.0.0", "0"), canary(NAMESPACE, NAME, &analysis)]).await?;
    let _controller = bed.controller(NAMESPACE).await?;
    reach(bed, NAMESPACE, NAME, "the first release", |status| status.phase == Phase::Initialized).await?;
    let _users = bed.users(NAMESPACE, NAME)?;
    let mut seconds = Vec::new();
    for number in 1..=ROLLBACKS {
        seconds.push(roll_back(bed, &format!("1.{number}.0")).await?);
        tokio::time::sleep(SETTLE).await;
    }
    report.add(Figure {
        name: "failing check due to route at weight 0, median".to_owned(),
        unit: "s",
        value: median(&seconds),
        goal: Some(0.3),
        detail: json!({"each": seconds}),
    });
    report.add(Figure {
        name: "failing check due to route at weight 0, highest".to_owned(),
        unit: "s",
        value: highest(&seconds),
        goal: Some(0.3),
        detail: json!({"rollbacks": seconds.len()}),
    });
    Ok(())
}

/// Ships a release that answers nothing but errors; seconds from the deciding check's due time to the route's write.
async fn roll_back(bed: &Bed, version: &str) -> Result<f64> {
    let statuses = bed.record(Kind::Canary, NAMESPACE, NAME);
    let route = bed.record(Kind::HttpRoute, NAMESPACE, NAME);
    let shipped = SystemTime::now();
    bed.apply(&[deployment(NAMESPACE, NAME, version, "1")]).await?;
    reach(bed, NAMESPACE, NAME, "the run", |status| status.phase == Phase::Progressing).await?;
    reach(bed, NAMESPACE, NAME, "the rollback", |status| status.phase == Phase::Failed).await?;
    // The records and the audit log come a little later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let weights: Vec<i64> = route.weights().into_iter().map(|(_, weight)| weight).collect();
    ensure!(weights == [0, 50, 0], "the route went {weights:?}");
    let due = SystemTime::from(deciding_check(&statuses)?);
    let requests = bed.requests(shipped)?;
    let write = requests.iter().find(|request| writes_route(request) && request.time >= due);
    let write = write.with_context(|| format!("no write of the route after {due:?}"))?;
    Ok(write.time.duration_since(due)?.as_secs_f64())
}

/// When the check was due that made the failures as many as the threshold.
fn deciding_check(statuses: &Record) -> Result<DateTime<Utc>> {
    let versions = statuses.versions();
    let statuses: Vec<CanaryStatus> = versions.iter().map(|(_, canary)| status_of(canary)).collect::<Result<_>>()?;
    let is_before =
        |status: &&CanaryStatus| status.phase == Phase::Progressing && status.failed_checks == THRESHOLD - 1;
    let last = statuses.iter().rfind(is_before).context("no status before the deciding check was seen")?;
    last.next_check_time.context("the status before the deciding check names no next check")
}
