//! One pod: it starts, gets ready, crashes, restarts, and goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::application::Application;
use super::environment::Configs;
use super::objects::PublishedPod;
use super::template::Template;
use crate::sim::load::Behaviour;
use crate::sim::settings::Settings;

/// The longest pause before a restart, as the kubelet's `MaxContainerBackOff`.
const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(300);

/// A pod with one container that matters.
#[derive(Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// What it was made from.
    pub template: Arc<Template>,
    /// The number of its node.
    pub node: usize,
    /// How often its container was started anew.
    pub restarts: u32,
    /// How the application behaves, from the environment that it started with; `None` before it started.
    pub behaviour: Option<Behaviour>,
    /// What the API server has of it.
    pub published: Option<PublishedPod>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Its configuration is missing.
    Blocked,
    Starting {
        /// `None`: it never will.
        ready_at: Option<Instant>,
        crash_at: Option<Instant>,
    },
    Ready {
        since: Instant,
        crash_at: Option<Instant>,
    },
    Crashed {
        /// `None`: it stays so.
        restart_at: Option<Instant>,
    },
    Ending {
        gone_at: Instant,
    },
}

/// What the pods of a workload start with.
#[derive(Clone, Copy)]
pub struct Kubelet<'a> {
    pub namespace: &'a str,
    pub configs: &'a Configs,
    pub settings: &'a Settings,
    /// From the start of a container until its pod is ready.
    pub readiness_delay: Duration,
}

impl Pod {
    /// A new pod, whose container starts now if it can.
    pub fn start(name: String, template: Arc<Template>, node: usize, kubelet: &Kubelet<'_>, now: Instant) -> Self {
        let (restarts, behaviour, published) = (0, None, None);
        let mut pod = Self { name, template, node, restarts, behaviour, published, state: State::Blocked };
        pod.start_container(kubelet, now);
        pod
    }

    /// Whether it gets requests.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether it has been ready for `minimum`.
    pub fn is_available(&self, minimum: Duration, now: Instant) -> bool {
        self.available_at(minimum).is_some_and(|at| at <= now)
    }

    /// Whether it was not deleted. One that is on its way out counts no longer.
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Ending { .. })
    }

    /// Whether nothing is left of it.
    pub fn is_gone(&self, now: Instant) -> bool {
        matches!(self.state, State::Ending { gone_at } if gone_at <= now)
    }

    /// Whether it waits for a ConfigMap or Secret.
    pub fn is_blocked(&self) -> bool {
        matches!(self.state, State::Blocked)
    }

    /// Whether its container ended with an error and was not started anew yet.
    pub fn is_crashed(&self) -> bool {
        matches!(self.state, State::Crashed { .. })
    }

    /// When it has been ready for `minimum`, while it is ready.
    pub fn available_at(&self, minimum: Duration) -> Option<Instant> {
        match self.state {
            State::Ready { since, .. } => Some(since + minimum),
            _ => None,
        }
    }

    /// When something happens to it by itself.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Blocked => None,
            State::Starting { ready_at, crash_at } => ready_at.into_iter().chain(crash_at).min(),
            State::Ready { crash_at, .. } => crash_at,
            State::Crashed { restart_at } => restart_at,
            State::Ending { gone_at } => Some(gone_at),
        }
    }

    /// Does one thing that is due at `now`; `false` if there is none.
    pub fn advance(&mut self, kubelet: &Kubelet<'_>, now: Instant) -> bool {
        let is_due = |at: Option<Instant>| at.filter(|at| *at <= now);
        match self.state {
            State::Starting { crash_at, .. } | State::Ready { crash_at, .. } if is_due(crash_at).is_some() => {
                let restart_at = Some(now + self.restart_delay(kubelet.settings));
                self.state = State::Crashed { restart_at };
            }
            State::Starting { ready_at, crash_at } if is_due(ready_at).is_some() => {
                self.state = State::Ready { since: now, crash_at };
            }
            State::Crashed { restart_at } if is_due(restart_at).is_some() => {
                self.restarts += 1;
                self.start_container(kubelet, now);
            }
            _ => return false,
        }
        true
    }

    /// Starts the container of a pod that waited for its configuration. Returns whether it could.
    pub fn retry(&mut self, kubelet: &Kubelet<'_>, now: Instant) -> bool {
        if self.is_blocked() {
            self.start_container(kubelet, now);
            return !self.is_blocked();
        }
        false
    }

    /// Ends the container with an error; it starts anew after `back_after`, or never.
    pub fn crash(&mut self, back_after: Option<Duration>, now: Instant) {
        if self.is_active() {
            self.state = State::Crashed { restart_at: back_after.map(|after| now + after) };
        }
    }

    /// Deletes it: it gets no requests from now on, and is gone after a while.
    pub fn end(&mut self, settings: &Settings, now: Instant) {
        if self.is_active() {
            self.state = State::Ending { gone_at: now + settings.termination_delay };
        }
    }

    /// The environment is made at each start of the container, not only at the first, as the kubelet does.
    fn start_container(&mut self, kubelet: &Kubelet<'_>, now: Instant) {
        let Ok(variables) = self.template.environment.variables(kubelet.namespace, kubelet.configs) else {
            self.state = State::Blocked;
            return;
        };
        let application = Application::of(&variables);
        let ready_at = (!application.is_never_ready).then(|| now + application.start_delay + kubelet.readiness_delay);
        let crash_at = application.crash_after.map(|after| now + after);
        self.behaviour = Some(application.behaviour);
        self.state = State::Starting { ready_at, crash_at };
    }

    /// The kubelet forgets the restarts of a container that then ran for ten minutes; here they count for ever.
    fn restart_delay(&self, settings: &Settings) -> Duration {
        match self.restarts {
            0 => Duration::ZERO,
            restarts => settings.restart_delay.saturating_mul(1 << (restarts - 1).min(10)).min(LONGEST_RESTART_DELAY),
        }
    }
}
