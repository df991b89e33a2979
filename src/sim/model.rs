//! What lives in a cluster beside its API server: whoever reacts to changes, at once or after a while.

use tokio::time::Instant;

use super::api_server::{ApiServer, Change};

/// A part of the cluster that reacts to changes. Synchronous: the world calls it, one call at a time, in the order of
/// the changes, and it writes to the server by the direct forms of the verbs.
pub trait Model: Send {
    /// Takes in a committed change. What follows from it at once may be written here; what takes time is done by
    /// [`Self::tick`].
    fn changed(&mut self, server: &ApiServer, change: &Change, now: Instant);

    /// Does what is due at `now`, and says when something is due next; `None` while only a change can matter.
    fn tick(&mut self, server: &ApiServer, now: Instant) -> Option<Instant>;
}
