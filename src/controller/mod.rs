//! The loop: triggers, one pass, retries, shutdown.

mod context;
pub mod failures;
mod index;
pub mod logs;
mod measure;
pub mod options;
mod pass;
mod run;
mod tell;
mod validated;

pub use run::{ControllerError, Parts, run};
