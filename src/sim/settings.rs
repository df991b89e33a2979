//! How fast the parts of a cluster are, and who its users are.

use std::time::Duration;

use crate::api::checked::ObjectKey;

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From a change until the controllers have dealt with it; what changes in the meantime is dealt with at once.
    pub controller_delay: Duration,
    /// From the start of a container until its pod is ready, besides its `START_DELAY_MS`.
    pub readiness_delay: Duration,
    /// From the end of a pod's readiness until it is gone, when it is deleted.
    pub termination_delay: Duration,
    /// Before the second restart of a container. The first one is at once, and each later one waits twice as long, up to
    /// five minutes: the kubelet's `CrashLoopBackOff`.
    pub restart_delay: Duration,
    /// How often an autoscaler looks at its target.
    pub autoscaler_period: Duration,
    /// What the gateway takes.
    pub gateway: GatewayDelays,
    /// How many nodes there are, each with the labels `kubernetes.io/os=linux` and `kubernetes.io/hostname`.
    pub nodes: usize,
    /// Whether ReplicaSets and Pods are objects in the API server. Without, only the models know them.
    pub with_objects: bool,
    /// Who sends requests.
    pub users: Vec<Users>,
}

/// How long the gateway takes from the change of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayDelays {
    /// Until it says in the status of the route that it accepts it; `None`: never.
    pub acceptance: Option<Duration>,
    /// Until requests go the new way; `None`: never.
    pub programming: Option<Duration>,
}

/// People who send requests to one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Users {
    /// The Service that they mean. Without a route it gets all of their requests.
    pub service: ObjectKey,
    /// The host that they name. They take the route that has it among its hostnames, or else the one without hostnames
    /// that is called as the Service.
    pub host: Option<String>,
    /// How many requests all of them send in a second.
    pub requests_per_second: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controller_delay: Duration::from_millis(20),
            readiness_delay: Duration::from_secs(1),
            termination_delay: Duration::from_secs(2),
            restart_delay: Duration::from_secs(10),
            autoscaler_period: Duration::from_secs(15),
            gateway: GatewayDelays::default(),
            nodes: 2,
            with_objects: false,
            users: Vec::new(),
        }
    }
}

impl Default for GatewayDelays {
    fn default() -> Self {
        Self { acceptance: Some(Duration::from_millis(100)), programming: Some(Duration::from_millis(120)) }
    }
}
