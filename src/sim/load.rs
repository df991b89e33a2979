//! What the data plane and the applications do to users, side by side: the terms in which the models of workloads and
//! routes talk to the model of traffic.

/// How an application of one version behaves, from the environment of its pods: the same variables as the testbed's
/// test application reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviour {
    /// `VERSION`.
    pub version: String,
    /// `ERROR_RATE`: share of requests that it answers with 500, 0 to 1.
    pub error_share: f64,
    /// `LATENCY_MS`: how long an answer takes.
    pub latency_milliseconds: f64,
}

/// The requests that one Service gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service that the route names, for example `frontend-canary`.
    pub service: String,
    /// Port of the Service.
    pub port: u16,
    /// Name of the Deployment or DaemonSet behind it.
    pub workload: String,
    /// Names of its ready pods.
    pub ready_pods: Vec<String>,
    /// Requests in a second, of all users together.
    pub requests_per_second: f64,
    /// How the pods answer. Without ready pods every request fails with 503, by the gateway.
    pub behaviour: Behaviour,
}
