//! Bringing the routing object to an intent, whoever writes it at the same time.

use super::kinds::Kind;
use super::observation::Observed;
use super::{Cluster, ClusterError};
use crate::api::checked::ValidatedCanary;
use crate::rollout::{Intent, Write};
use crate::routing;

/// Further tries of a write that takes the canary's traffic away.
const TRIES: u32 = 4;

impl Cluster {
    /// Brings the routing object to an intent.
    ///
    /// The write is refused where the object changed since it was observed, and then the pass is thrown away: what lands
    /// late never brings traffic to a canary. But users don't wait for that where traffic is to leave the canary
    /// altogether, which is safe whenever it lands: the object is read and the write planned again at once, and the last
    /// try names no version.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`], or a request failed.
    pub(super) async fn move_traffic(
        &self,
        canary: &ValidatedCanary,
        observed: &Observed,
        intent: &Intent,
    ) -> Result<(), ClusterError> {
        if observed.route_is_at.get() == Some(intent) {
            return Ok(());
        }
        let router = routing::router(canary.provider);
        let writes = router.plan(canary, observed.route.as_deref(), intent);
        if writes.is_empty() {
            observed.route_is_at.get_or_init(|| intent.clone());
            return Ok(());
        }
        let mut sent = self.send_all(&writes).await;
        let kind = router.resource(canary).and_then(|resource| Some((Kind::named(&resource.kind)?, resource.key)));
        let Some((kind, key)) = kind.filter(|_| intent.canary_weight == 0) else { return sent };
        for tries_left in (0..TRIES).rev() {
            let Err(ClusterError::Conflict { .. }) = sent else { break };
            let live = self.fetch_by_list(kind, &key).await?;
            let mut writes = router.plan(canary, live.as_ref().map(|live| &**live.json()), intent);
            if tries_left == 0 {
                writes = writes.into_iter().map(Write::whatever_happened).collect();
            }
            sent = self.send_all(&writes).await;
        }
        sent
    }
}
