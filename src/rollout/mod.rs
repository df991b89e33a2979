//! The rollout itself, as a pure function: what was observed goes in, what follows comes out.
//!
//! [`needs`] says which numbers a pass wants before it can decide; [`decide`] is the only place that chooses a
//! transition. Both are total: no error, no panic, no I/O, no clock.

mod adopt;
mod check;
mod conditions;
mod decide;
mod decision;
mod draft;
mod idle;
mod impeded;
mod initialize;
mod invalid;
mod ledger;
pub mod object;
pub mod ownership;
mod promote;
mod refusal;
mod run;
mod situation;
mod snapshot;
mod terminate;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod write;

pub use decide::{Needs, decide, needs};
pub use decision::{Action, Decision, Intent, Notice, NoticeKind, Repair, Scale};
pub use impeded::{impeded, refused, retried};
pub use invalid::{let_go, refuse};
pub use snapshot::{Readiness, Revision, Seen, Snapshot, Target, Traffic};
pub use write::{ResourceId, Write, status_patch};

#[cfg(test)]
mod tests;
