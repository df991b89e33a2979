//! A cluster in memory: API server, workloads, routes, traffic and Prometheus, without sockets and on virtual time.

pub mod api_server;
#[cfg(test)]
mod late_writes;
pub mod autoscaler;
pub mod cluster;
pub mod gateway;
pub mod load;
mod metadata;
pub mod loopback;
pub mod model;
pub mod settings;
#[cfg(test)]
mod testing;
pub mod users;
pub mod view;
pub mod workloads;
pub mod prometheus;
pub mod traffic;
