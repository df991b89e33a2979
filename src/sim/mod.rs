//! A cluster in memory: API server, workloads, routes, traffic and Prometheus, without sockets and on virtual time.

pub mod api_server;
pub mod load;
pub mod loopback;
pub mod model;
