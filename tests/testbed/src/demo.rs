//! The main job, to watch: one release is promoted, the next one is taken back, with real traffic and real numbers.

mod screen;
mod seen;
mod watcher;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::json;
use serin_testbed::{Options, Received, Sink, Testbed, Users, wait_until};

use screen::{Screen, Tone};
use watcher::{Ending, Watcher};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const DEPLOYMENT: &str = include_str!("../../../examples/frontend/deployment.yaml");
const CANARY: &str = include_str!("../../../examples/frontend/canary.yaml");
const NAME: &str = "frontend";
const IMAGE: &str = "ghcr.io/serin-dev/testbed-app";
const CONTROLLER_PORT: u16 = 20_000;
const REQUESTS_PER_SECOND: f64 = 50.0;
/// Longest time for all that does not depend on the interval between checks.
const PATIENCE: Duration = Duration::from_secs(120);
/// A run has at most this many checks: five steps and the promotion, or ten failures; some more for slow pods.
const CHECKS_PER_RUN: u32 = 20;

/// How the demo is run.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoOptions {
    /// The controller to show [default: `serin` beside this program].
    #[arg(long, value_name = "PATH")]
    serin: Option<PathBuf>,
    /// How often numbers are checked: every 5 seconds, or every minute as in the example.
    #[arg(long, value_enum, default_value = "fast")]
    speed: Speed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Speed {
    Fast,
    Real,
}

impl Speed {
    fn interval(self) -> Duration {
        Duration::from_secs(if self == Self::Fast { 5 } else { 60 })
    }

    /// Over how long the numbers are taken.
    fn metric_interval(self) -> Duration {
        Duration::from_secs(if self == Self::Fast { 10 } else { 60 })
    }
}

impl DemoOptions {
    fn program(&self) -> Result<PathBuf> {
        let path = match &self.serin {
            Some(path) => path.clone(),
            None => std::env::current_exe().context("the path of this program")?.with_file_name("serin"),
        };
        let mend = "build it with `cargo build -p serin`, or name it with --serin PATH";
        ensure!(path.is_file(), "there is no controller at {}; {mend}", path.display());
        Ok(path)
    }
}

/// Shows it all; succeeds only if both releases ended as they should.
pub async fn run(options: DemoOptions) -> Result<ExitCode> {
    let program = options.program()?;
    let mut screen = Screen::new();
    screen.say(Tone::Heading, "Serin: one release is promoted, the next one is taken back");
    screen.tell(Tone::Faint, "start", "a cluster of real components (7 to 13 seconds)");
    let testbed = Testbed::start(Options::default()).await?;
    screen.tell(Tone::Faint, "start", &format!("logs are in {}", testbed.state_dir().display()));
    screen.tell(Tone::Faint, "start", "`kubectl apply -k deploy/base`, and `serin controller` as its ServiceAccount");
    testbed.install(&PathBuf::from(REPOSITORY).join("deploy/base")).await?;
    let controller = testbed.controller(&program, "serin", CONTROLLER_PORT).await?.spawn()?;
    let watcher = Watcher::new(screen, &testbed, Sink::start(0).await?, controller);
    let mut demo = Demo { speed: options.speed, watcher, testbed };
    match demo.play().await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            demo.watcher.explain(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Demo {
    speed: Speed,
    // Dropped in this order: who asks goes before who answers.
    watcher: Watcher,
    testbed: Testbed,
}

/// A release that the demo ships.
struct Release {
    version: &'static str,
    what: &'static str,
    error_rate: &'static str,
    /// The phase that it must end in, and the one that it must not.
    expected: &'static str,
    dreaded: &'static str,
}

const HEALTHY: Release =
    Release { version: "1.1.0", what: "a healthy release", error_rate: "0", expected: "Succeeded", dreaded: "Failed" };

const BAD: Release = Release {
    version: "1.2.0",
    what: "a release that answers every fifth request with an error",
    error_rate: "0.2",
    expected: "Failed",
    dreaded: "Succeeded",
};

/// What became of a release.
struct Told {
    seconds: f64,
    weights: Vec<i64>,
    requests: usize,
    failed: usize,
}

impl Demo {
    async fn play(&mut self) -> Result<()> {
        let started = Instant::now();
        self.bring_up().await?;
        let users = self.let_users_in().await?;
        let promoted = self.promotion(&users).await?;
        let refused = self.rollback(&users).await?;
        self.summarize(&promoted, &refused, users.snapshot().len(), started.elapsed());
        Ok(())
    }

    /// The first release: the controller makes the primary from it.
    async fn bring_up(&mut self) -> Result<()> {
        self.watcher.screen.say(Tone::Heading, "\n1.0.0 is what users have");
        let provider = json!({
            "apiVersion": "flagger.app/v1beta1",
            "kind": "AlertProvider",
            "metadata": {"name": "sink", "namespace": "default"},
            "spec": {"type": "webhook", "address": self.watcher.sink.url("/alerts")},
        });
        self.testbed.apply(&provider.to_string()).await?;
        self.testbed.apply(DEPLOYMENT).await?;
        let canary = self.canary().await?;
        self.testbed.apply(&canary).await?;
        let text = "examples/frontend/deployment.yaml, and its canary.yaml with alerts and a shorter interval";
        self.watcher.screen.tell(Tone::Plain, "apply", text);
        let ending = Ending { expected: "Initialized", dreaded: "Failed", limit: PATIENCE };
        self.watcher.watch(&ending, None).await.context("the first release did not come up")?;
        Ok(())
    }

    /// The example's Canary, with this demo's intervals and alerts.
    async fn canary(&self) -> Result<String> {
        let seconds = |duration: Duration| format!("{}s", duration.as_secs());
        let metric_interval = seconds(self.speed.metric_interval());
        let patch = json!([
            {"op": "replace", "path": "/spec/analysis/interval", "value": seconds(self.speed.interval())},
            {"op": "replace", "path": "/spec/analysis/metrics/0/interval", "value": metric_interval},
            {"op": "replace", "path": "/spec/analysis/metrics/1/interval", "value": metric_interval},
            {"op": "add", "path": "/spec/analysis/alerts", "value": [
                {"name": "sink", "severity": "info", "providerRef": {"name": "sink"}},
            ]},
        ]);
        let patch = format!("--patch={patch}");
        let arguments = ["patch", "--local", "--filename=-", "--type=json", &patch, "--output=json"];
        self.testbed.kubectl_with_input(&arguments, CANARY).await
    }

    /// Users come as soon as the gateway answers.
    async fn let_users_in(&mut self) -> Result<Users> {
        let gateway = self.testbed.gateway_address();
        let users = Users::start_when_served(gateway, "frontend.example", REQUESTS_PER_SECOND).await?;
        let text = format!("{REQUESTS_PER_SECOND} real requests per second through Envoy from now on");
        self.watcher.screen.tell(Tone::Plain, "users", &text);
        Ok(users)
    }

    async fn promotion(&mut self, users: &Users) -> Result<Told> {
        let told = self.ship(&HEALTHY, users).await?;
        ensure!(
            told.failed == 0,
            "{} of {} requests failed while {} was promoted",
            told.failed,
            told.requests,
            HEALTHY.version
        );
        self.primary_runs(HEALTHY.version).await?;
        wait_until("all users to have the new release", PATIENCE, async || {
            let since = Instant::now();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let share = users.share(HEALTHY.version, since);
            ensure!(share > 0.99, "its share is {share:.2}");
            Ok(())
        })
        .await?;
        self.watcher.screen.tell(Tone::Good, "good", "promoted: every user has 1.1.0 now, and no request failed");
        Ok(told)
    }

    async fn rollback(&mut self, users: &Users) -> Result<Told> {
        let told = self.ship(&BAD, users).await?;
        let elsewhere = users.snapshot().into_iter().find(|hit| !hit.is_success() && hit.version != BAD.version);
        ensure!(elsewhere.is_none(), "a request failed that {} did not answer: {elsewhere:?}", BAD.version);
        let backends = self.watcher.objects.backends(NAME).await?;
        let exposed = backends.iter().any(|(name, weight)| name.ends_with("-canary") && *weight != 0);
        ensure!(!exposed && !backends.is_empty(), "the route still sends users to the refused release: {backends:?}");
        let sink = &self.watcher.sink;
        let alert = wait_until("the alert", PATIENCE, async || {
            sink.received().into_iter().find(|alert| alert.body["severity"] == "error")
        })
        .await?;
        self.watcher.tell_alerts();
        self.show_alert(&alert)?;
        self.primary_runs(HEALTHY.version).await?;
        // What was under way has been answered by now.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let share = users.share(BAD.version, after);
        ensure!(share == 0.0, "after the rollback, {share:.3} of the requests still reach {}", BAD.version);
        self.watcher.screen.tell(Tone::Good, "good", "taken back: every user has 1.1.0 again");
        Ok(told)
    }

    /// Ships a release as a person does, and watches until it ends as expected.
    async fn ship(&mut self, release: &Release, users: &Users) -> Result<Told> {
        let Release { version, what, .. } = release;
        self.watcher.screen.say(Tone::Heading, &format!("\n{version} is shipped: {what}"));
        let patch = json!({"spec": {"template": {"spec": {"containers": [{
            "name": "app",
            "image": format!("{IMAGE}:{version}"),
            "env": [{"name": "ERROR_RATE", "value": release.error_rate}],
        }]}}}});
        let shipped = Instant::now();
        self.testbed.kubectl(&["patch", "deployment", NAME, &format!("--patch={patch}")]).await?;
        self.watcher.screen.tell(
            Tone::Plain,
            "ship",
            &format!("kubectl patch deployment {NAME}: image {IMAGE}:{version}"),
        );
        let limit = PATIENCE + self.speed.interval() * CHECKS_PER_RUN;
        let ending = Ending { expected: release.expected, dreaded: release.dreaded, limit };
        let weights = self.watcher.watch(&ending, Some(users)).await?;
        Ok(Told {
            seconds: shipped.elapsed().as_secs_f64(),
            weights,
            requests: users.since(shipped).len(),
            failed: users.failed(shipped).len(),
        })
    }

    async fn primary_runs(&self, version: &str) -> Result<()> {
        let image = self.watcher.objects.image(&format!("{NAME}-primary")).await?;
        ensure!(image.ends_with(&format!(":{version}")), "the primary runs {image}, not {version}");
        Ok(())
    }

    fn show_alert(&mut self, alert: &Received) -> Result<()> {
        self.watcher.screen.say(Tone::Heading, "\nThe alert, as the webhook got it");
        let text = serde_json::to_string_pretty(&alert.body).context("the alert")?;
        self.watcher.screen.say(Tone::Plain, &format!("{text}\n\n"));
        Ok(())
    }

    fn summarize(&mut self, promoted: &Told, refused: &Told, requests: usize, elapsed: Duration) {
        let line = |release: &Release, told: &Told, ended: &str| {
            let weights: Vec<String> = told.weights.iter().map(ToString::to_string).collect();
            format!(
                "  {}  {ended} after {:.0} s; weights {}; {} of {} requests failed\n",
                release.version,
                told.seconds,
                weights.join(" "),
                told.failed,
                told.requests,
            )
        };
        let happened = line(&HEALTHY, promoted, "promoted  ") + &line(&BAD, refused, "taken back");
        let total = format!(
            "  {requests} real requests, {} failed, each of them answered by 1.2.0; {:.0} s in total",
            promoted.failed + refused.failed,
            elapsed.as_secs_f64(),
        );
        self.watcher.screen.say(Tone::Heading, "\nWhat happened");
        self.watcher.screen.say(Tone::Plain, &(happened + &total));
        self.watcher.screen.say(Tone::Heading, "\nWhat to try next");
        let next = "  make testbed   leaves a cluster like this one running, for releases of your own\n  \
                    README.md      a first canary on your cluster, and what to do when one stalls\n  \
                    examples/      blue/green, lists of weights, alerts, autoscalers";
        self.watcher.screen.say(Tone::Plain, next);
    }
}
