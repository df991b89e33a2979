//! A cluster in memory: API server, workloads, routes, traffic and Prometheus, without sockets and on virtual time.

pub mod api_server;
#[cfg(test)]
mod late_writes;
pub mod load;
pub mod model;
