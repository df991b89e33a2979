//! What one process of the controller is connected by: its wire to the API server and to everybody else. When the
//! process dies, nothing comes through any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::process::Network;
use super::trace::Trace;
use super::weather::{Fate, Weather};
use crate::sim::api_server::{Delivery, Interposer, Plan, RequestInfo};
use crate::sim::promises::Promises;

/// The wire of one process.
pub struct Wire {
    weather: Weather,
    promises: Arc<Mutex<Promises>>,
    trace: Arc<Mutex<Trace>>,
    is_dead: AtomicBool,
    /// Set when a fault kills the process.
    pub killed: Notify,
    frozen_until: Mutex<Option<Instant>>,
}

impl Wire {
    /// A wire that works.
    pub fn new(network: &Network) -> Self {
        Self {
            weather: network.weather.clone(),
            promises: network.promises.clone(),
            trace: network.trace.clone(),
            is_dead: AtomicBool::new(false),
            killed: Notify::new(),
            frozen_until: Mutex::default(),
        }
    }

    /// Nothing comes through any more.
    pub fn cut(&self) {
        if !self.is_dead.swap(true, Ordering::Relaxed) {
            self.weather.note_death();
            self.killed.notify_one();
        }
    }

    /// Whether it is cut.
    pub fn is_cut(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// What is sent from now on arrives after this time.
    pub fn freeze(&self, time: Duration) {
        *self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    /// How long what is sent now is still held up.
    pub fn frozen_for(&self) -> Option<Duration> {
        let until = (*self.frozen_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        until.checked_duration_since(Instant::now()).filter(|time| !time.is_zero())
    }

    fn count(&self, request: &RequestInfo) {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).note(|| {
            let name = request.name.as_deref().unwrap_or_default();
            format!("           {} {} {name}", request.verb, request.kind)
        });
        if request.verb != "watch" && request.kind != "Lease" {
            let mut promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
            promises.requested();
        }
    }
}

impl Interposer for Wire {
    fn request(&self, request: &RequestInfo) -> Plan {
        if self.is_cut() {
            return Plan::Hang;
        }
        self.count(request);
        let plan = match self.weather.request(request) {
            Fate::Request(plan) => plan,
            Fate::Dies(plan) => {
                self.cut();
                plan
            }
        };
        let plan = match (plan, self.frozen_for()) {
            (Plan::Pass, Some(time)) => Plan::Delay(time),
            (plan, _) => plan,
        };
        if let Plan::Delay(time) = plan {
            self.weather.holds_up(time);
        }
        plan
    }

    fn watch_event(&self, _: &str, _: &Value) -> Delivery {
        if self.is_cut() {
            return Delivery::Drop;
        }
        if let Some(time) = self.frozen_for() {
            return Delivery::After(time);
        }
        self.weather.watch_event()
    }
}
