//! The binary: how large it is, and how soon it is ready.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bed::{Bed, until_ready};
use crate::report::{Figure, Report, highest, median};

const STARTS: usize = 10;
/// Finer than what is measured, coarser than what would slow it down.
const READY_INTERVAL: Duration = Duration::from_millis(3);

pub fn size(report: &mut Report) -> Result<()> {
    let path = env!("CARGO_BIN_EXE_serin");
    let bytes = fs::metadata(path).with_context(|| format!("the size of {path}"))?.len();
    report.add(Figure {
        name: "size of the stripped release binary".to_owned(),
        unit: "MB",
        value: bytes as f64 / 1e6,
        goal: Some(12.0),
        detail: json!({"bytes": bytes}),
    });
    Ok(())
}

pub async fn start(bed: &Bed, report: &mut Report) -> Result<()> {
    for (name, election) in
        [("start to ready, without leader election", false), ("start to ready, with leader election", true)]
    {
        let mut seconds = Vec::new();
        for number in 0..STARTS {
            let launch = bed.launch(&format!("serin-start-{election}-{number}")).await?;
            let launch = launch.argument(format!("--enable-leader-election={election}"));
            let started = Instant::now();
            let mut process = launch.spawn()?;
            until_ready(&mut process, READY_INTERVAL).await?;
            seconds.push(started.elapsed().as_secs_f64());
            process.stop(Duration::from_secs(5));
        }
        report.add(Figure {
            name: name.to_owned(),
            unit: "s",
            value: median(&seconds),
            goal: Some(0.3),
            detail: json!({"highest": highest(&seconds), "each": seconds}),
        });
    }
    Ok(())
}
