//! What happens, in sentences: what was measured, against what bound, over how many requests, and what follows.

use super::rollout::Rollout;
use super::screen::Tone;
use crate::api::status::{CheckReport, Outcome, Phase, Run, Verdict};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is meant.
    pub tone: Tone,
    /// What it is about, in a word.
    pub topic: &'static str,
    /// One sentence.
    pub text: String,
}

fn line(tone: Tone, topic: &'static str, text: String) -> Line {
    Line { tone, topic, text }
}

/// What is to be told about a change of a rollout.
pub fn story(before: Option<&Rollout>, now: &Rollout) -> Vec<Line> {
    let new = Rollout::default();
    let before = before.unwrap_or(&new);
    let mut lines = Vec::new();
    if let Some(why) = now.stalled().filter(|why| before.stalled() != Some(why)) {
        lines.push(line(Tone::Bad, "stalled", why.to_owned()));
    }
    if now.is_running() && now.status.revisions.pinned != before.status.revisions.pinned {
        lines.push(begun(before, now));
    } else if now.status.checks != before.status.checks && !now.status.checks.is_empty() {
        lines.push(checked(before, now));
    } else if now.status.phase != before.status.phase || now.status.canary_weight != before.status.canary_weight {
        lines.extend(moved(before, now));
    }
    lines
}

fn begun(before: &Rollout, now: &Rollout) -> Line {
    let (tried, promoted) = (now.tried(), &now.promoted);
    let text = if before.is_running() {
        let given_up = before.tried();
        format!("{given_up} is out of date, so {tried} is tried from the start; all traffic is on {promoted} again")
    } else {
        format!("{tried} is new: its pods start beside those of {promoted}, without traffic")
    };
    line(Tone::Move, "run", text)
}

/// A check, and what follows from it.
fn checked(before: &Rollout, now: &Rollout) -> Line {
    let (tone, follows) = consequence(before, now);
    line(tone, "check", format!("{}: {follows}", all_measured(&now.status.checks)))
}

/// What all checks measured; what they have in common is said once.
pub fn all_measured(reports: &[CheckReport]) -> String {
    let Some((first, others)) = reports.split_first() else { return "nothing was measured".to_owned() };
    let is_alike = |report: &CheckReport| report.value.is_none() && cause(report) == cause(first);
    if !others.is_empty() && reports.iter().all(is_alike) {
        return format!("nothing is known ({})", cause(first));
    }
    let mut texts = vec![measured(first)];
    for report in others {
        let requests = report.sample_size.filter(|_| report.sample_size != first.sample_size);
        texts.push(measured(&CheckReport { sample_size: requests, ..report.clone() }));
    }
    texts.join(", and ")
}

/// What was measured, against what bound, over how many requests.
pub fn measured(report: &CheckReport) -> String {
    let Some(value) = report.value else { return format!("{} is not known ({})", report.name, cause(report)) };
    let requests = report.sample_size.map(|size| format!("{size:.0} requests"));
    match report.name.as_str() {
        "request-success-rate" => {
            let of = requests.unwrap_or_else(|| "the requests".to_owned());
            format!("{} % of {of} succeeded ({})", number(value), bound(report, " %"))
        }
        "request-duration" => {
            let of = requests.map_or_else(String::new, |requests| format!(" of {requests}"));
            format!("99 %{of} took {} ms or less ({})", number(value), bound(report, " ms"))
        }
        name => {
            let of = requests.map_or_else(String::new, |requests| format!(" over {requests}"));
            format!("{name} is {}{of} ({})", number(value), bound(report, ""))
        }
    }
}

/// The reason without the query, which is long.
fn cause(report: &CheckReport) -> &str {
    report.reason.split_once(" (query: ").map_or(report.reason.as_str(), |(cause, _)| cause)
}

/// The bound of a check.
pub fn bound(report: &CheckReport, unit: &str) -> String {
    match (report.min, report.max) {
        (Some(min), Some(max)) => format!("{} to {}{unit}", number(min), number(max)),
        (Some(min), None) => format!("at least {}{unit}", number(min)),
        (None, Some(max)) => format!("at most {}{unit}", number(max)),
        (None, None) => "without bound".to_owned(),
    }
}

/// One decimal at most.
pub fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn consequence(before: &Rollout, now: &Rollout) -> (Tone, String) {
    let (was, is) = (&before.status, &now.status);
    let (tried, service, weight) = (before.tried(), &now.service.name, is.canary_weight);
    let stays = if now.is_apart {
        format!("all users stay on {}", now.promoted)
    } else {
        format!("the traffic stays as it is, {weight} %")
    };
    // The end of a run takes its count away.
    let failed = format!("failed, {} of {}", was.failed_checks + 1, now.threshold);
    let has = |verdict| is.checks.iter().any(|check| check.verdict == verdict && !check.dry_run);
    if let Some(run) = ended(before, now) {
        return taken_back(now, run, if has(Verdict::Fail) { &failed } else { &run.reason });
    }
    if is.phase == Phase::Promoting {
        (Tone::Good, format!("passed, and it was the last one, so {service}-primary gets {tried}"))
    } else if weight > was.canary_weight {
        (Tone::Good, format!("passed, so {weight} % of the traffic goes to {tried}"))
    } else if is.iterations > was.iterations {
        let of = now.iterations.unwrap_or_default();
        (Tone::Good, format!("passed, {} of {of}; {stays}", is.iterations))
    } else if has(Verdict::Fail) {
        (Tone::Bad, format!("{failed}, so {stays}"))
    } else if has(Verdict::Inconclusive) {
        (Tone::Bad, format!("not knowing is not failing, so {tried} is held: {stays}"))
    } else {
        (Tone::Plain, stays)
    }
}

/// The record of the run that this change ended.
fn ended<'a>(before: &Rollout, now: &'a Rollout) -> Option<&'a Run> {
    let last = now.status.history.first()?;
    (before.status.history.first() != Some(last)).then_some(last)
}

fn taken_back(now: &Rollout, run: &Run, why: &str) -> (Tone, String) {
    let tried = now.versions.get(&run.revision).map_or("it", String::as_str);
    (Tone::Bad, format!("{why}, so {tried} is taken back: all traffic is on {} again", now.promoted))
}

/// A change without a check.
fn moved(before: &Rollout, now: &Rollout) -> Option<Line> {
    let (was, is) = (&before.status, &now.status);
    let (name, tried, weight) = (&now.service.name, now.tried(), is.canary_weight);
    if let Some(run) = ended(before, now).filter(|run| run.outcome != Outcome::Promoted) {
        let (tone, text) = taken_back(now, run, &run.reason);
        return Some(line(tone, "end", text));
    }
    let (tone, topic, text) = match is.phase {
        Phase::Initializing if was.phase != is.phase => {
            (Tone::Move, "start", format!("Serin makes {name}-primary, a copy of {name} that will serve the users"))
        }
        Phase::Initialized => (Tone::Good, "ready", format!("{name}-primary serves all users, with {}", now.promoted)),
        Phase::Progressing if weight > was.canary_weight => {
            (Tone::Move, "step", format!("the pods of {tried} are ready, so {weight} % of the traffic goes to it"))
        }
        Phase::Finalising if was.phase != is.phase && now.is_apart => {
            (Tone::Move, "end", format!("{name}-primary runs {tried} and is ready: all users have it"))
        }
        Phase::Finalising if was.phase != is.phase => {
            (Tone::Move, "end", format!("{name}-primary runs {tried} and is ready, so it gets all the traffic back"))
        }
        Phase::Succeeded => {
            (Tone::Good, "end", format!("promoted: all users have {}; the canary's pods go", now.promoted))
        }
        _ => return None,
    };
    Some(line(tone, topic, text))
}
