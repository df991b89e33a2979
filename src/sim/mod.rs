//! A cluster in memory: API server, workloads, routes, traffic and Prometheus, without sockets and on virtual time; and
//! worlds in which the real controller meets every fault there is.

pub mod api_server;
pub mod autoscaler;
pub mod campaign;
pub mod cluster;
pub mod crash_points;
pub mod gateway;
pub mod installation;
#[cfg(test)]
mod late_writes;
pub mod load;
pub mod loopback;
mod metadata;
pub mod model;
pub mod prometheus;
pub mod promises;
pub mod regressions;
pub mod roles;
pub mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod traffic;
pub mod users;
pub mod view;
pub mod workloads;
pub mod world;
