//! The loop: triggers, one pass, retries, shutdown.

pub mod failures;
pub mod logs;
pub mod options;
pub mod telemetry;

mod run;
pub use run::{ControllerError, run};
