//! Checks on who writes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Promise, Promises};
use crate::rollout::object::text;
use crate::sim::api_server::WriteRecord;

/// How long a process may take to notice that it does not lead any more: as long as a Lease lasts.
const NOTICE: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(super) struct Books {
    /// Who holds the Lease, and since when; `None` where nobody elects.
    holder: Option<(String, Instant)>,
}

impl Promises {
    pub(super) fn lease_written(&mut self, record: &WriteRecord) {
        let holder = record.after.as_deref().and_then(|lease| text(lease, "/spec/holderIdentity")).unwrap_or_default();
        if self.leader.holder.as_ref().is_none_or(|(known, _)| known != holder) {
            self.leader.holder = Some((holder.to_owned(), Instant::now()));
        }
    }

    /// A process writes. What it sent while it led may be on its way for as long as its view may be old.
    pub(super) fn leads(&mut self, process: &str) {
        let Some((holder, since)) = &self.leader.holder else { return };
        let kept = holder == process || since.elapsed() <= NOTICE + self.sight.view_lag();
        let what = format!("{process} writes, and {holder} leads");
        self.keep(Promise::OnlyTheLeaderWrites, kept, || what);
    }
}
