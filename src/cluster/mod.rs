//! Every Kubernetes call there is.

pub mod client;
pub mod events;
pub mod lease;
