//! The kinds of objects that Serin watches.

/// A kind of object that Serin watches. In the order of [`Kind::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `Canary`.
    Canary,
    /// `MetricTemplate`.
    MetricTemplate,
    /// `AlertProvider`.
    AlertProvider,
    /// `Deployment`.
    Deployment,
    /// `Service`.
    Service,
    /// `HorizontalPodAutoscaler`.
    HorizontalPodAutoscaler,
    /// `ConfigMap`, metadata only.
    ConfigMap,
    /// `Secret`, metadata only.
    Secret,
    /// Gateway API `HTTPRoute`; may not be installed.
    HttpRoute,
}

impl Kind {
    /// All of them, the Canary first.
    pub const ALL: [Self; 9] = [
        Self::Canary,
        Self::MetricTemplate,
        Self::AlertProvider,
        Self::Deployment,
        Self::Service,
        Self::HorizontalPodAutoscaler,
        Self::ConfigMap,
        Self::Secret,
        Self::HttpRoute,
    ];

    /// The kind with this `kind` name, if it is one that Serin watches.
    pub fn named(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.name() == kind)
    }

    /// Its `kind`.
    pub fn name(self) -> &'static str {
        self.names().2
    }

    /// Its API group; empty for the core.
    pub fn group(self) -> &'static str {
        self.names().0
    }

    /// The version of its group in which it is read.
    pub fn version(self) -> &'static str {
        self.names().1
    }

    /// What its objects are called in a path.
    pub fn plural(self) -> &'static str {
        self.names().3
    }

    /// Group, version, kind and plural.
    fn names(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Canary => ("flagger.app", "v1beta1", "Canary", "canaries"),
            Self::MetricTemplate => ("flagger.app", "v1beta1", "MetricTemplate", "metrictemplates"),
            Self::AlertProvider => ("flagger.app", "v1beta1", "AlertProvider", "alertproviders"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::HorizontalPodAutoscaler => {
                ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            }
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        }
    }

    /// Whether only the metadata of these objects is watched: their content may be large or secret.
    pub fn metadata_only(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Secret)
    }
}
