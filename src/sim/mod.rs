//! The simulation: the real controller on a cluster that is in memory, under a clock and faults of our choosing.

pub mod api_server;
