//! Moving traffic. One file for each technology, and a line in [`router`].
//!
//! A router reads and plans; it never writes, waits or remembers. What it knows of the past is what its routing object
//! says, so that a restarted controller sees the same.

mod gateway_api;
mod kubernetes;

use serde_json::Value;

use crate::api::checked::{Provider, ValidatedCanary};
use crate::rollout::{Intent, ResourceId, Traffic, Write};

/// A technology that moves traffic.
pub trait Router: Send + Sync {
    /// The routing object; `None` where there is none.
    fn resource(&self, canary: &ValidatedCanary) -> Option<ResourceId>;

    /// Where traffic goes, given the routing object as it is now.
    fn read(&self, canary: &ValidatedCanary, observed: Option<&Value>) -> Traffic;

    /// What brings the routing object to the intent; nothing where it is there already.
    fn plan(&self, canary: &ValidatedCanary, observed: Option<&Value>, intent: &Intent) -> Vec<Write>;
}

/// The router of a provider.
pub fn router(provider: Provider) -> &'static dyn Router {
    match provider {
        Provider::GatewayApi => &gateway_api::GatewayApi,
        Provider::Kubernetes => &kubernetes::Kubernetes,
    }
}
