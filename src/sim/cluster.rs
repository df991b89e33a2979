//! The cluster beside its API server: it drives the models, and lets others look at them and disturb them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

use super::api_server::{ApiServer, Change, ChangeKind};
use super::autoscaler::Autoscalers;
use super::gateway::Gateway;
use super::load::Load;
use super::model::Model;
use super::settings::{GatewayDelays, Settings, Users};
use super::users::follow;
use super::view::{PodView, View, WorkloadView};
use super::workloads::{Pod, Pods, Workload, Workloads};
use crate::api::checked::ObjectKey;

/// What the models act on, in an order in which each finds what it needs.
const KINDS: [(&str, &str); 7] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
];
/// How often the models may cause one another something to do at the same moment. It is far more than ever happens, so
/// that delays of zero can't keep the cluster busy for ever.
const ROUNDS: usize = 100;

/// Hears of each change of who gets how many requests.
pub type OnLoad = Box<dyn FnMut(Instant, &[Load]) + Send>;

/// The models of a cluster. [`Self::run`] drives them in a task; [`Self::step`] does it by hand.
pub struct Cluster {
    server: ApiServer,
    changes: Receiver<Change>,
    workloads: Workloads,
    autoscalers: Autoscalers,
    gateway: Gateway,
    users: Vec<Users>,
    on_load: OnLoad,
    /// The versions of workloads and gateway, and whether there are users, that the view shows.
    shown: Option<(u64, u64)>,
    handle: Handle,
}

/// Looks at a cluster and disturbs it, from anywhere: nothing that a model does holds the lock that it takes. Clones share
/// the same cluster.
#[derive(Clone, Default)]
pub struct Handle {
    inside: Arc<Inside>,
}

#[derive(Default)]
struct Inside {
    view: Mutex<View>,
    faults: Mutex<Vec<Fault>>,
    signal: Notify,
}

/// What somebody does to a cluster from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Containers of a workload end with an error.
    Crash {
        /// The Deployment or DaemonSet.
        workload: ObjectKey,
        /// Which of its pods.
        pods: Pods,
        /// When they start anew; `None`: never.
        back_after: Option<Duration>,
    },
    /// Containers of a workload that start from now on take this long until their pods are ready.
    ReadinessDelay {
        /// The Deployment or DaemonSet, which need not be there yet.
        workload: ObjectKey,
        /// How long; `None`: as all others.
        delay: Option<Duration>,
    },
    /// The controllers of workloads and autoscalers do nothing for so long.
    PauseControllers(Duration),
    /// An autoscaler wants so many replicas, within its bounds; `None`: as many as there are.
    WantReplicas {
        /// The `HorizontalPodAutoscaler`.
        autoscaler: ObjectKey,
        /// How many.
        replicas: Option<i64>,
    },
    /// The gateway takes so long from now on.
    GatewayDelays(GatewayDelays),
    /// Other users send requests from now on.
    Users(Vec<Users>),
}

impl Cluster {
    /// Models of what lives beside this server. They find what is there already.
    pub fn new(server: &ApiServer, settings: Settings) -> Self {
        let mut cluster = Self {
            server: server.clone(),
            changes: server.changes(),
            autoscalers: Autoscalers::new(settings.autoscaler_period),
            gateway: Gateway::new(settings.gateway),
            users: settings.users.clone(),
            workloads: Workloads::new(settings),
            on_load: Box::new(|_, _| {}),
            shown: None,
            handle: Handle::default(),
        };
        cluster.list();
        cluster
    }

    /// The same, with somebody who hears of each change of who gets how many requests.
    #[must_use]
    pub fn with_on_load(mut self, on_load: OnLoad) -> Self {
        self.on_load = on_load;
        self
    }

    /// What looks at it and disturbs it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Drives the models for ever: drop the future to end them.
    pub async fn run(mut self) {
        loop {
            let due = self.step();
            let handle = self.handle.clone();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                change = self.changes.recv() => match change {
                    Ok(change) => self.feed(&change, Instant::now()),
                    Err(RecvError::Lagged(_)) => self.list(),
                    // The cluster keeps a server, which keeps the other end.
                    Err(RecvError::Closed) => return,
                },
                () = handle.inside.signal.notified() => {}
                () = timer => {}
            }
        }
    }

    /// Does everything that is to be done now, and says when there is something next; `None` while only a change can
    /// matter.
    pub fn step(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        for _ in 0..ROUNDS {
            let faults = std::mem::take(&mut *lock(&self.handle.inside.faults));
            for fault in faults {
                self.disturb(fault, now);
            }
            let had_changes = self.drain(now);
            let due = [
                self.workloads.tick(&self.server, now),
                self.autoscalers.tick(&self.server, now),
                self.gateway.tick(&self.server, now),
            ];
            next = due.into_iter().flatten().min();
            if !had_changes && next.is_none_or(|next| next > now) {
                break;
            }
        }
        self.show(now);
        next
    }

    fn drain(&mut self, now: Instant) -> bool {
        let mut had_changes = false;
        loop {
            match self.changes.try_recv() {
                Ok(change) => self.feed(&change, now),
                Err(TryRecvError::Lagged(_)) => self.list(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return had_changes,
            }
            had_changes = true;
        }
    }

    fn feed(&mut self, change: &Change, now: Instant) {
        self.workloads.changed(&self.server, change, now);
        self.autoscalers.changed(&self.server, change, now);
        self.gateway.changed(&self.server, change, now);
    }

    /// Shows the models everything that is there.
    fn list(&mut self) {
        let now = Instant::now();
        for (api_version, kind) in KINDS {
            for object in self.server.shared(api_version, kind) {
                self.feed(&Change { kind: ChangeKind::Added, object }, now);
            }
        }
    }

    fn disturb(&mut self, fault: Fault, now: Instant) {
        match fault {
            Fault::Crash { workload, pods, back_after } => self.workloads.crash(&workload, pods, back_after, now),
            Fault::ReadinessDelay { workload, delay } => self.workloads.set_readiness_delay(&workload, delay),
            Fault::PauseControllers(time) => {
                self.workloads.pause(now + time);
                self.autoscalers.pause(now + time);
            }
            Fault::WantReplicas { autoscaler, replicas } => self.autoscalers.want(&autoscaler, replicas, now),
            Fault::GatewayDelays(delays) => self.gateway.set_delays(delays, now),
            Fault::Users(users) => {
                self.users = users;
                self.shown = None;
            }
        }
    }

    /// Brings the view up to date, and tells who asked of changed loads.
    fn show(&mut self, now: Instant) {
        let versions = Some((self.workloads.version(), self.gateway.version()));
        if versions == self.shown {
            return;
        }
        self.shown = versions;
        let (mut loads, mut failing_shares) = (Vec::new(), BTreeMap::new());
        for users in &self.users {
            let fate = follow(users, &self.gateway, &self.workloads);
            loads.extend(fate.loads);
            failing_shares.insert(users.service.clone(), fate.failing_share);
        }
        let has_changed = {
            let mut view = lock(&self.handle.inside.view);
            let has_changed = view.loads != loads;
            let before = std::mem::take(&mut view.workloads);
            let shown = |workload: &Workload| {
                let key = &workload.id.key;
                (key.clone(), workload_view(workload, before.get(key), now))
            };
            view.workloads = self.workloads.iter().map(shown).collect();
            for (key, gone) in before.iter().filter(|(key, _)| !view.workloads.contains_key(*key)).collect::<Vec<_>>() {
                view.workloads.insert(key.clone(), gone.without_pods(now));
            }
            view.backends =
                self.gateway.served().map(|(route, served)| (route.clone(), served.backends.clone())).collect();
            view.failing_shares = failing_shares;
            view.loads.clone_from(&loads);
            has_changed
        };
        if has_changed {
            (self.on_load)(now, &loads);
        }
    }
}

impl Handle {
    /// The cluster as it is now. Don't hold it over an `await`.
    pub fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.inside.view)
    }

    /// Disturbs the cluster, in its next step: at this very moment if it runs in a task.
    pub fn inject(&self, fault: Fault) {
        lock(&self.inside.faults).push(fault);
        self.inside.signal.notify_one();
    }
}

fn workload_view(workload: &Workload, before: Option<&WorkloadView>, now: Instant) -> WorkloadView {
    let pod = |pod: &Pod| PodView {
        name: pod.name.clone(),
        template_hash: pod.template.hash.clone(),
        image: pod.template.image.clone(),
        behaviour: pod.behaviour.clone(),
        is_ready: pod.is_ready(),
        is_ending: !pod.is_active(),
    };
    let pods: Vec<PodView> = workload.pods().map(pod).collect();
    let lost_last_ready_at = match before {
        _ if pods.iter().any(|pod| pod.is_ready) => None,
        Some(before) if before.ready_pods() > 0 => Some(now),
        before => before.and_then(|before| before.lost_last_ready_at),
    };
    let ready_since = match before {
        Some(before) if before.ready_pods() > 0 => before.ready_since,
        _ if pods.iter().any(|pod| pod.is_ready) => Some(now),
        before => before.and_then(|before| before.ready_since),
    };
    WorkloadView { pods, lost_last_ready_at, ready_since }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
