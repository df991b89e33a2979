//! What a world begins with. Worlds of one shape share an initialized Canary: it is made once, in fine weather.

use std::time::Duration;

use super::life;
use super::plan::{Plan, Shape};
use crate::sim::api_server::ApiServer;
use crate::sim::promises::Broken;

/// How long ago a Canary was initialized when a world begins with it.
pub const SINCE_INITIALIZED: Duration = Duration::from_secs(3600);

/// A cluster with a Canary that was initialized.
pub struct Initialized {
    shape: Shape,
    server: Result<ApiServer, Vec<Broken>>,
}

impl Initialized {
    /// Has the controller initialize a Canary of this shape.
    pub fn new(shape: &Shape) -> Self {
        let plan = Plan { ends_with_release: false, ..Plan::story(shape.clone(), Vec::new()) };
        Self { shape: shape.clone(), server: life::initialize(&plan) }
    }

    /// Whether it is of this shape.
    pub fn is_of(&self, shape: &Shape) -> bool {
        self.shape == *shape
    }

    /// A copy of the cluster that nobody else has.
    ///
    /// # Errors
    /// What was broken while it was made.
    pub fn server(&self) -> Result<ApiServer, Vec<Broken>> {
        self.server.as_ref().map(ApiServer::fork).map_err(Clone::clone)
    }
}
