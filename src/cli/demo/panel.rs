//! The panel: how each rollout stands, as it changes.

use std::io::Write;

use chrono::{DateTime, Utc};

use super::rollout::Rollout;
use super::screen::{Screen, Tone, bar};
use super::tally::{Tally, whole};
use super::words;
use crate::api::status::{CheckReport, Phase, Verdict};

/// Columns of the bar.
const BAR: usize = 40;

/// The lines about one rollout.
pub fn lines<W: Write>(screen: &Screen<W>, rollout: &Rollout, tally: Tally, now: DateTime<Utc>) -> Vec<String> {
    let mut lines = vec![String::new(), title(screen, rollout, now), traffic(screen, rollout)];
    lines.extend(rollout.status.checks.iter().map(|report| check(screen, report)));
    let users = format!("  users: {} requests failed so far", tally.users.text());
    lines.push(screen.paint(if whole(tally.users.failed) == "0" { Tone::Faint } else { Tone::Bad }, &users));
    lines
}

fn title<W: Write>(screen: &Screen<W>, rollout: &Rollout, now: DateTime<Utc>) -> String {
    let status = &rollout.status;
    let tone = match status.phase {
        Phase::Failed => Tone::Bad,
        Phase::Succeeded | Phase::Initialized => Tone::Good,
        _ => Tone::Move,
    };
    let phase = if status.phase == Phase::New { "New".to_owned() } else { format!("{:?}", status.phase) };
    let name = screen.paint(Tone::Heading, &format!("{:<10}", rollout.name));
    let phase = screen.paint(tone, &format!("{phase:<13}"));
    let next = match status.next_check_time.filter(|_| rollout.is_running()) {
        Some(due) => format!("next look in {:.0} s", (due - now).as_seconds_f64().max(0.0).ceil()),
        None => String::new(),
    };
    let failed = match status.failed_checks {
        0 => String::new(),
        count => format!("failed checks: {count} of {}  ", rollout.threshold),
    };
    format!("{name} {phase} {}{}", screen.paint(Tone::Bad, &failed), screen.paint(Tone::Faint, &next))
}

/// Who has what: the old release on the left, the new one on the right.
fn traffic<W: Write>(screen: &Screen<W>, rollout: &Rollout) -> String {
    let weight = rollout.status.canary_weight;
    let (new, old) = bar(weight, BAR);
    let bar = format!("{}{}", screen.paint(Tone::Faint, &old), screen.paint(Tone::Move, &new));
    let promoted = if rollout.promoted.is_empty() { "-" } else { &rollout.promoted };
    if rollout.is_running() {
        format!("  {promoted} {:>3} % {bar} {weight} % {}", 100 - weight, rollout.tried())
    } else {
        format!("  {promoted} {:>3} % {bar}", 100 - weight)
    }
}

fn check<W: Write>(screen: &Screen<W>, report: &CheckReport) -> String {
    let (tone, mark) = match report.verdict {
        Verdict::Pass => (Tone::Good, "pass"),
        Verdict::Fail => (Tone::Bad, "FAIL"),
        Verdict::Inconclusive => (Tone::Bad, "????"),
    };
    format!("  {} {}", screen.paint(tone, mark), words::measured(report))
}
