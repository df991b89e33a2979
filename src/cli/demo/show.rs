//! The course of the demo: what the script says is done, and what happens is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

use super::panel;
use super::rollout::{Rollout, Seen, Watcher};
use super::scenario::{ALERTS, Act, Mark, Release, Scenario};
use super::screen::{Screen, Tone};
use super::summary::Books;
use super::tally::Tally;
use super::words;
use crate::api::checked::ObjectKey;
use crate::api::status::{Outcome, Phase};
use crate::clock;
use crate::rollout::ResourceId;
use crate::rollout::object::{items_mut, text};
use crate::sim::api_server::{ApiServer, Change};
use crate::sim::installation::Installation;
use crate::sim::settings::Users;

/// How many requests the users of one application send in a second.
const USERS_PER_SECOND: f64 = 200.0;
/// The same for the testers of a canary that no traffic goes to.
const TESTERS_PER_SECOND: f64 = 20.0;
/// What the controller tells last comes so soon after what it did.
const AFTERMATH: Duration = Duration::from_millis(500);
/// The longest that a script may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Why the demo did not go as it should.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Nobody takes the output any more.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
    /// A manifest of the demo can't be applied.
    #[error("the demo's {what} was refused: {message}")]
    Refused {
        /// The object.
        what: String,
        /// In the words of the API server.
        message: String,
    },
    /// A run ended in another way.
    #[error("{application} {version} should have ended as {expected:?}, and ended as {found:?}")]
    Otherwise {
        /// The application.
        application: &'static str,
        /// The version.
        version: &'static str,
        /// As the scenario says.
        expected: Outcome,
        /// As it was; `None` if it did not end.
        found: Option<Outcome>,
    },
    /// It takes too long.
    #[error("the script was not over after {} s", LIMIT.as_secs())]
    Late,
}

/// A demo under way.
pub struct Show<W> {
    installation: Installation,
    changes: Receiver<Change>,
    alerts: UnboundedReceiver<Value>,
    watcher: Watcher,
    users: BTreeMap<ObjectKey, Vec<Users>>,
    books: Books,
    screen: Screen<W>,
    script: VecDeque<&'static Act>,
    /// The script goes on then at the earliest.
    due: Instant,
    began: Instant,
    /// How often the panel is drawn; `None` where there is none.
    redraw: Option<Duration>,
}

impl<W: Write> Show<W> {
    /// A new cluster, where a scenario begins. `speed` is how fast its time goes.
    pub fn new(scenario: &'static Scenario, screen: Screen<W>, speed: f64) -> Self {
        let (mut installation, alerts) = Installation::new();
        installation.start_controller();
        let redraw = screen.look().is_live.then(|| Duration::from_millis(250).mul_f64(speed));
        Self {
            changes: installation.server().changes(),
            installation,
            alerts,
            watcher: Watcher::default(),
            users: BTreeMap::new(),
            books: Books::default(),
            screen,
            script: scenario.script.iter().collect(),
            due: Instant::now(),
            began: Instant::now(),
            redraw,
        }
    }

    /// The API server of its cluster.
    pub fn server(&self) -> &ApiServer {
        self.installation.server()
    }

    /// Whether the script was played to its end.
    pub fn is_over(&self) -> bool {
        self.script.is_empty()
    }

    /// Where it prints.
    pub fn screen(&mut self) -> &mut Screen<W> {
        &mut self.screen
    }

    /// Plays the script to its end.
    ///
    /// # Errors
    /// Something in it can't be done, or takes too long.
    pub async fn play(&mut self) -> Result<(), ShowError> {
        self.apply("examples/demo/alerts.yaml", ALERTS)?;
        let limit = self.began + LIMIT;
        while self.goes_on()? {
            if Instant::now() >= limit {
                return Err(ShowError::Late);
            }
            self.step(limit).await?;
        }
        self.stay(AFTERMATH).await?;
        Ok(self.screen.show(Vec::new())?)
    }

    /// Goes on telling for so long.
    ///
    /// # Errors
    /// Nobody takes the output any more.
    pub async fn stay(&mut self, time: Duration) -> Result<(), ShowError> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.step(end).await?;
        }
        Ok(())
    }

    /// Whether the runs ended as the scenario promises.
    ///
    /// # Errors
    /// One did not.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ShowError> {
        for &(application, version, expected) in scenario.endings {
            let found = self.watcher.rollout(application).and_then(|rollout| rollout.outcome_of(version));
            if found != Some(expected) {
                return Err(ShowError::Otherwise { application, version, expected, found });
            }
        }
        Ok(())
    }

    /// Says what became of the runs.
    ///
    /// # Errors
    /// Nobody takes the output any more.
    pub fn summarize(&mut self) -> io::Result<()> {
        self.screen.say(Tone::Heading, "\nWhat happened")?;
        for (tone, paragraph) in self.books.summary() {
            self.screen.tell("  - ", tone, &paragraph)?;
        }
        Ok(())
    }

    /// Waits for the next thing to tell, at most until then.
    async fn step(&mut self, end: Instant) -> Result<(), ShowError> {
        let now = Instant::now();
        let script = if self.due > now { self.due } else { end };
        let redraw = self.redraw.map_or(end, |redraw| now + redraw);
        tokio::select! {
            biased;
            change = self.changes.recv() => match change {
                Ok(change) => self.changed(&change)?,
                // What was missed shows in what comes next.
                Err(RecvError::Lagged(_) | RecvError::Closed) => {}
            },
            Some(alert) = self.alerts.recv() => self.alerted(&alert)?,
            () = sleep_until(script.min(redraw).min(end)) => {}
        }
        self.draw()?;
        Ok(())
    }
}

/// The script.
impl<W: Write> Show<W> {
    /// Does what is due; false when nothing is left.
    fn goes_on(&mut self) -> Result<bool, ShowError> {
        while let Some(act) = self.script.front().copied() {
            let is_due = match act {
                Act::Until(application, mark) => self.is_there(application, *mark),
                _ => true,
            };
            if !is_due || Instant::now() < self.due {
                return Ok(true);
            }
            self.script.pop_front();
            self.act(act)?;
        }
        Ok(Instant::now() < self.due)
    }

    fn is_there(&self, application: &str, mark: Mark) -> bool {
        let Some(rollout) = self.watcher.rollout(application) else { return false };
        match mark {
            Mark::Phase(phase) => rollout.status.phase == phase,
            Mark::Weight(weight) => rollout.status.canary_weight >= weight,
            Mark::Ended(version) => rollout.has_ended(version),
        }
    }

    fn act(&mut self, act: &'static Act) -> Result<(), ShowError> {
        match act {
            Act::Apply { file, manifests } => self.apply(file, manifests)?,
            Act::Ship(release) => self.ship(release)?,
            Act::Prometheus(fault, text) => {
                self.installation.set_prometheus(*fault);
                self.tell("", "fault", Tone::Bad, text)?;
            }
            Act::Kill => {
                self.installation.kill_controller();
                self.tell(
                    "",
                    "fault",
                    Tone::Bad,
                    "the controller is killed; users don't notice, traffic stays as it is",
                )?;
            }
            Act::Restart => {
                self.installation.start_controller();
                self.tell("", "fault", Tone::Move, "a new controller starts, and reads in the status where to go on")?;
            }
            Act::Wait(time) => self.due = Instant::now() + *time,
            Act::Until(..) => {}
        }
        Ok(())
    }

    fn apply(&mut self, file: &str, manifests: &str) -> Result<(), ShowError> {
        self.tell("", "apply", Tone::Plain, &format!("kubectl apply -f {file}"))?;
        let refused = |what: &str, message: String| ShowError::Refused { what: what.to_owned(), message };
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(manifests).map_err(|error| refused(file, error.to_string()))?;
        for object in objects {
            self.server().apply("kubectl", true, object).map_err(|status| refused(file, status.message))?;
        }
        Ok(())
    }

    fn ship(&mut self, release: &Release) -> Result<(), ShowError> {
        let Release { application, version, what, error_rate } = *release;
        self.tell(application, "ship", Tone::Heading, &format!("{version} is shipped, {what}"))?;
        let id = ResourceId::new("apps/v1", "Deployment", ObjectKey::new("default", application));
        let refused = |message: &str| ShowError::Refused {
            what: format!("release {application} {version}"),
            message: message.to_owned(),
        };
        let mut object = self.server().get(&id).ok_or_else(|| refused("its Deployment is gone"))?;
        for container in items_mut(&mut object, "/spec/template/spec/containers") {
            let image =
                text(container, "/image").and_then(|image| image.rsplit_once(':')).map_or("app", |(name, _)| name);
            container["image"] = json!(format!("{image}:{version}"));
            for variable in items_mut(container, "/env").filter(|variable| variable["name"] == "ERROR_RATE") {
                variable["value"] = json!(error_rate);
            }
        }
        let containers = object.pointer("/spec/template/spec/containers").cloned().unwrap_or_default();
        let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        self.server().patch(&id, &change).map_err(|status| refused(&status.message))?;
        Ok(())
    }
}

/// Telling.
impl<W: Write> Show<W> {
    fn tell(&mut self, name: &str, topic: &str, tone: Tone, text: &str) -> io::Result<()> {
        let before = format!("{:6.1} s  {name:<8} {topic:<6} ", self.began.elapsed().as_secs_f64());
        self.screen.tell(&before, tone, text)
    }

    fn changed(&mut self, change: &Change) -> io::Result<()> {
        match self.watcher.take(change) {
            Some(Seen::Rollout(before, now)) => {
                let tally = Tally::of(&now, &self.installation);
                self.books.note(before.as_deref(), &now, self.began.elapsed(), tally);
                for line in words::story(before.as_deref(), &now) {
                    self.tell(&now.name, line.topic, line.tone, &line.text)?;
                }
                self.let_users_in(&now)
            }
            Some(Seen::Gone(canary)) => {
                self.users.remove(&canary);
                self.send_users();
                self.tell(&canary.name, "gone", Tone::Plain, "the Canary was deleted")
            }
            Some(Seen::Event(canary, is_warning, note)) => {
                let kind = if is_warning { "Warning: " } else { "" };
                self.tell(&canary, "event", Tone::Faint, &format!("{kind}{note}"))
            }
            None => Ok(()),
        }
    }

    fn alerted(&mut self, alert: &Value) -> io::Result<()> {
        let part = |pointer| text(alert, pointer).unwrap_or_default().to_owned();
        let severity = part("/severity");
        let tone = if severity == "info" { Tone::Faint } else { Tone::Bad };
        self.tell(&part("/name"), "alert", tone, &format!("{severity}: {}", part("/message")))
    }

    /// The users of an application come when it is up.
    fn let_users_in(&mut self, rollout: &Rollout) -> io::Result<()> {
        let canary = ObjectKey::new(&rollout.service.namespace, &rollout.name);
        let is_up = !matches!(rollout.status.phase, Phase::New | Phase::Initializing);
        if !is_up || self.users.contains_key(&canary) {
            return Ok(());
        }
        let users = |service, requests_per_second| Users { service, host: rollout.host.clone(), requests_per_second };
        let mut all = vec![users(rollout.service.clone(), USERS_PER_SECOND)];
        let mut testers = String::new();
        if rollout.is_apart {
            let service = ObjectKey::new(&rollout.service.namespace, format!("{}-canary", rollout.service.name));
            all.push(Users { host: None, ..users(service, TESTERS_PER_SECOND) });
            testers = format!(", and {TESTERS_PER_SECOND} of testers to whatever is tried");
        }
        self.users.insert(canary, all);
        self.send_users();
        let words = format!("{USERS_PER_SECOND} requests a second from now on{testers}");
        self.tell(&rollout.name, "users", Tone::Plain, &words)
    }

    fn send_users(&self) {
        self.installation.set_users(self.users.values().flatten().cloned().collect());
    }

    fn draw(&mut self) -> io::Result<()> {
        if self.redraw.is_none() {
            return Ok(());
        }
        let now = clock::now();
        let of = |rollout: &Rollout| panel::lines(&self.screen, rollout, Tally::of(rollout, &self.installation), now);
        let lines = self.watcher.rollouts().flat_map(of).collect();
        self.screen.show(lines)
    }
}
