//! Watching a release: everything that changes is told as it comes, until the release ends.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serin_testbed::{Process, Sink, Testbed, Users};

use super::NAME;
use super::screen::{Screen, Tone, weight_bar};
use super::seen::{Check, Objects, Status};

const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// What "in the last seconds" means for the users' shares.
const WINDOW: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 15;

/// Who looks at the cluster, the alerts and the controller, and tells what is new.
pub struct Watcher {
    pub screen: Screen,
    pub objects: Objects,
    pub sink: Sink,
    controller: Process,
    last: Status,
    told_events: HashSet<String>,
    told_alerts: usize,
}

/// How a release may end: the phase to wait for, the one that it must not end in, and the longest time for either.
pub struct Ending {
    pub expected: &'static str,
    pub dreaded: &'static str,
    pub limit: Duration,
}

impl Watcher {
    pub fn new(screen: Screen, testbed: &Testbed, sink: Sink, controller: Process) -> Self {
        Self {
            screen,
            objects: Objects::new(&testbed.client()),
            sink,
            controller,
            last: Status::default(),
            told_events: HashSet::new(),
            told_alerts: 0,
        }
    }

    /// Shows what happens until the Canary is in the expected phase. Returns the weights that it went through; an error
    /// says what happened instead.
    pub async fn watch(&mut self, ending: &Ending, users: Option<&Users>) -> Result<Vec<i64>> {
        let Ending { expected, dreaded, limit } = *ending;
        let deadline = Instant::now() + limit;
        let mut weights = vec![self.last.canary_weight];
        // The phase that the release before has left does not count.
        let mut has_begun = users.is_none();
        loop {
            ensure!(self.controller.is_running(), "the controller ended");
            self.look().await;
            weights.push(self.last.canary_weight);
            has_begun |= self.last.is_running();
            if self.screen.wants_status() {
                let lines = self.status_lines(users);
                self.screen.show_status(lines);
            }
            match self.last.phase.as_str() {
                phase if has_begun && phase == expected => break,
                phase if has_begun && phase == dreaded => {
                    bail!("it ended as {phase} instead of {expected}{}", self.reason())
                }
                _ => {}
            }
            if let Some(message) = self.last.stalled() {
                bail!("the Canary is stalled: {message}");
            }
            let (phase, seconds) = (&self.last.phase, limit.as_secs());
            ensure!(Instant::now() < deadline, "after {seconds} s it is in phase {phase:?} and not {expected}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        // Events follow what they tell of.
        tokio::time::sleep(LOOK_INTERVAL * 2).await;
        self.look().await;
        self.screen.end_status();
        weights.dedup();
        Ok(weights)
    }

    fn reason(&self) -> String {
        self.last.history.first().map(|run| format!(": {}", run.reason)).unwrap_or_default()
    }

    /// Reads what there is now, and tells what is new.
    async fn look(&mut self) {
        // An answer that does not come now comes the next time; the limit of the wait holds.
        if let Ok(status) = self.objects.status(NAME).await {
            self.tell_changes(&status);
            self.last = status;
        }
        for (key, is_warning, text) in self.objects.events(NAME).await.unwrap_or_default() {
            if self.told_events.insert(key) {
                self.screen.tell(if is_warning { Tone::Bad } else { Tone::Faint }, "event", &text);
            }
        }
        self.tell_alerts();
    }

    fn tell_changes(&mut self, now: &Status) {
        if now.phase != self.last.phase {
            self.screen.tell(Tone::Move, "phase", &format!("{} -> {}", named(&self.last.phase), named(&now.phase)));
        }
        if now.canary_weight != self.last.canary_weight {
            let text = format!("{} -> {} % to the canary", self.last.canary_weight, now.canary_weight);
            self.screen.tell(Tone::Move, "weight", &text);
        }
        for check in &now.checks {
            let before = self.last.checks.iter().find(|before| before.name == check.name);
            if before.is_none_or(|before| before.verdict != check.verdict) {
                let tone = if check.verdict == "Pass" { Tone::Good } else { Tone::Bad };
                self.screen.tell(tone, "check", &check.text());
            }
        }
    }

    /// Tells of the alerts that came since the last time.
    pub fn tell_alerts(&mut self) {
        let received = self.sink.received();
        for alert in received.iter().skip(self.told_alerts) {
            let part = |name: &str| alert.body[name].as_str().unwrap_or_default().to_owned();
            let tone = if part("severity") == "error" { Tone::Bad } else { Tone::Faint };
            self.screen.tell(tone, "alert", &format!("{}: {}", part("severity"), part("message")));
        }
        self.told_alerts = received.len();
    }

    /// The state of things, in a few lines.
    fn status_lines(&self, users: Option<&Users>) -> Vec<String> {
        let now = &self.last;
        let mut lines = vec![format!(
            "{:<12} canary {} {:>3} %   next check {}   failed checks {}",
            named(&now.phase),
            weight_bar(now.canary_weight),
            now.canary_weight,
            now.next_check(),
            now.failed_checks,
        )];
        lines.extend(users.map(users_line));
        lines.extend(now.checks.iter().map(Check::text));
        lines
    }

    /// Says what went wrong, with what the controller printed last.
    pub fn explain(&mut self, error: &anyhow::Error) {
        self.screen.end_status();
        self.screen.say(Tone::Bad, &format!("\nNot as it should be: {error:#}"));
        let log = self.controller.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        self.screen.say(Tone::Plain, &format!("The controller's last lines:\n{}", last.join("\n")));
        self.screen.say(Tone::Plain, "SERIN_TESTBED_KEEP=1 make demo leaves all logs there.");
    }
}

fn named(phase: &str) -> &str {
    if phase.is_empty() { "New" } else { phase }
}

/// Who answered the users lately, and how many were answered badly in all.
fn users_line(users: &Users) -> String {
    let all = users.snapshot();
    let recent: Vec<_> = all.iter().filter(|hit| hit.at.elapsed() <= WINDOW).collect();
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for hit in &recent {
        *answers.entry(if hit.version.is_empty() { "nobody" } else { hit.version.as_str() }).or_default() += 1;
    }
    let shares: Vec<String> = answers
        .iter()
        .map(|(version, count)| format!("{version} {:.0} %", 100.0 * *count as f64 / recent.len() as f64))
        .collect();
    let failed = all.iter().filter(|hit| !hit.is_success()).count();
    format!("users: {} of the last {} s; {failed} of {} failed", shares.join(", "), WINDOW.as_secs(), all.len())
}
