//! The rollout itself, as a pure function: what was observed goes in, what follows comes out.
//!
//! [`needs`] says which numbers a pass wants before it can decide; [`decide`] is the only place that chooses a
//! transition. Both are total: no error, no panic, no I/O, no clock.

mod decision;
mod snapshot;
mod write;

pub use decision::{Action, Decision, Intent, Notice, NoticeKind, Scale};
pub use snapshot::{Readiness, Revision, Seen, Snapshot, Target, Traffic};
pub use write::{ResourceId, Write};
