//! The ground of the simulation: a Kubernetes API server in memory, without sockets, clock or randomness of its own.

pub mod api_server;
