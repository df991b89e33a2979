//! Where the requests of users go, and what comes of them.

use super::gateway::{Backend, Gateway, Served};
use super::load::{Behaviour, Load};
use super::settings::Users;
use super::workloads::{Pod, Workloads};
use crate::api::checked::ObjectKey;

/// What the requests of some users meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Fate {
    /// Each Service that gets some of them, and who answers there.
    pub loads: Vec<Load>,
    /// The share of the requests that fails, 0 to 1: by the error rate of the application, or because nobody is there.
    pub failing_share: f64,
}

/// Follows the requests of users through the gateway to the pods.
pub fn follow(users: &Users, gateway: &Gateway, workloads: &Workloads) -> Fate {
    let backends = match route(users, gateway) {
        Some(served) => served.backends.clone(),
        None => vec![Backend {
            service: users.service.clone(),
            port: gateway.service(&users.service).map_or(0, |service| service.port),
            weight: 1,
        }],
    };
    let all: u64 = backends.iter().map(|backend| backend.weight).sum();
    let mut fate = Fate { loads: Vec::new(), failing_share: 0.0 };
    if all == 0 {
        // The gateway itself answers, with 500.
        fate.loads.extend(unanswered(&users.service, 0, users.requests_per_second));
        fate.failing_share = 1.0;
    }
    for backend in backends.iter().filter(|backend| backend.weight > 0) {
        let share = backend.weight as f64 / all as f64;
        let loads = answered(backend, users.requests_per_second * share, gateway, workloads);
        let pods: usize = loads.iter().map(|load| load.ready_pods.len()).sum();
        fate.failing_share += share
            * match pods {
                0 => 1.0,
                pods => {
                    let errors = |load: &Load| load.behaviour.error_share * load.ready_pods.len() as f64;
                    loads.iter().map(errors).sum::<f64>() / pods as f64
                }
            };
        fate.loads.extend(loads);
    }
    fate
}

/// The route that takes the requests of users.
fn route<'a>(users: &Users, gateway: &'a Gateway) -> Option<&'a Served> {
    let named = users.host.as_deref().and_then(|host| gateway.served().find(|(_, served)| served.names(host)));
    let open = || gateway.served().find(|(name, served)| served.hosts.is_empty() && **name == users.service);
    named.or_else(open).map(|(_, served)| served)
}

/// Who answers for a backend: one load for each workload and behaviour, by the number of its pods.
fn answered(backend: &Backend, requests_per_second: f64, gateway: &Gateway, workloads: &Workloads) -> Vec<Load> {
    let Some(service) = gateway.service(&backend.service) else {
        return unanswered(&backend.service, backend.port, requests_per_second);
    };
    let mut loads: Vec<Load> = Vec::new();
    let mut first = None;
    for workload in workloads.selected(&backend.service.namespace, &service.selector) {
        let name = &workload.id.key.name;
        first = first.or(Some(name));
        for pod in workload.pods().filter(|pod| pod.is_ready()) {
            let Some(behaviour) = &pod.behaviour else { continue };
            match loads.iter_mut().find(|load| load.workload == *name && load.behaviour == *behaviour) {
                Some(load) => load.ready_pods.push(pod.name.clone()),
                None => loads.push(load(backend, name, pod, behaviour)),
            }
        }
    }
    if loads.is_empty() {
        let mut loads = unanswered(&backend.service, backend.port, requests_per_second);
        for load in &mut loads {
            load.workload = first.cloned().unwrap_or_default();
        }
        return loads;
    }
    let pods: usize = loads.iter().map(|load| load.ready_pods.len()).sum();
    for load in &mut loads {
        load.requests_per_second = requests_per_second * load.ready_pods.len() as f64 / pods as f64;
    }
    loads
}

fn load(backend: &Backend, workload: &str, pod: &Pod, behaviour: &Behaviour) -> Load {
    Load {
        namespace: backend.service.namespace.clone(),
        service: backend.service.name.clone(),
        port: backend.port,
        workload: workload.to_owned(),
        ready_pods: vec![pod.name.clone()],
        requests_per_second: 0.0,
        behaviour: behaviour.clone(),
    }
}

/// Requests that no pod answers.
fn unanswered(service: &ObjectKey, port: u16, requests_per_second: f64) -> Vec<Load> {
    vec![Load {
        namespace: service.namespace.clone(),
        service: service.name.clone(),
        port,
        workload: String::new(),
        ready_pods: Vec::new(),
        requests_per_second,
        behaviour: Behaviour { version: String::new(), error_share: 1.0, latency_milliseconds: 0.0 },
    }]
}
