//! What follows from a snapshot.

use chrono::{DateTime, Utc};

use super::{Revision, conditions};
use crate::api::status::CanaryStatus;

/// What follows: the next status, the writes in their crash-safe order, what to tell, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The next status. Committed where [`Action::CommitStatus`] stands; equal to the old one if that is absent.
    pub status: CanaryStatus,
    /// What to do, in this order; each is idempotent and does nothing where nothing differs.
    pub actions: Vec<Action>,
    /// Events for people, recorded after all actions.
    pub notices: Vec<Notice>,
    /// When to look again without being woken; `None` means only when something changes.
    pub next: Option<DateTime<Utc>>,
}

impl Decision {
    /// Whether this repair is part of it.
    pub fn tries(&self, repair: Repair) -> bool {
        self.actions.iter().any(|action| action.repair() == Some(repair))
    }

    /// Whether nothing goes on until a person mends something.
    pub fn is_stalled(&self) -> bool {
        conditions::stalled(&self.status).is_some()
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the decision's status with the `resourceVersion` it was made from; a conflict throws the pass away.
    CommitStatus,
    /// Add or remove the finalizer.
    Finalizer(bool),
    /// Create the primary Deployment and the copies of its configuration from the target, if it does not exist. Refused
    /// where the target is not at this revision any more.
    CreatePrimary(Revision),
    /// Copy configuration and pod template of the target to the primary. Refused where the target is not at this
    /// revision any more.
    PromotePrimary(Revision),
    /// Create or repair the primary and canary Services, and the apex Service too where `apex` says so.
    Services {
        /// Whether the apex Service is to point at the primary already.
        apex: bool,
    },
    /// Create the primary's autoscaler, and where `update` says so bring an existing one up to date.
    Autoscaler {
        /// Whether an existing one is brought up to date.
        update: bool,
    },
    /// Bring the routing object to this intent. A later pass sees it applied.
    Route(Intent),
    /// Scale the target.
    ScaleTarget(Scale),
    /// Point the apex Service at the target again (deletion with `revertOnDeletion`).
    Revert,
    /// Write the status without its pending alerts, then send them: each at most once, whatever restarts.
    SendAlerts,
}

impl Action {
    /// What it repairs, if that is all it does: users of a route that is there don't wait for it.
    pub fn repair(&self) -> Option<Repair> {
        match self {
            Self::Services { .. } => Some(Repair::Services),
            Self::Autoscaler { .. } => Some(Repair::Autoscaler),
            _ => None,
        }
    }
}

/// What stands beside the route, and can be repaired while all else goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The Services.
    Services,
    /// The primary's autoscaler.
    Autoscaler,
}

/// Where traffic shall go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Share of the canary in per cent, 0 to 100; the rest goes to the primary.
    pub canary_weight: i32,
    /// The run from which a rollback takes the traffic: the routing object remembers it. Opaque to everybody but the core.
    pub withdrawn: Option<String>,
}

/// How the target is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// To zero.
    Zero,
    /// From zero: to its autoscaler's minimum, or else to the primary's replicas. Left alone where it is not at zero.
    Up,
}

/// An Event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub kind: NoticeKind,
    /// One word, `UpperCamelCase`.
    pub reason: &'static str,
    /// One sentence, with Flagger's words where Flagger has them.
    pub message: String,
}

/// Type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// All is well.
    Normal,
    /// Somebody may want to look.
    Warning,
}
