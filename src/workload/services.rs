//! The three Services: the apex that users know, and one each in front of the primary's and the canary's pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::selector::Selector;
use super::{Settings, WorkloadError};
use crate::api::checked::{Metadata, ObjectKey, ValidatedCanary};
use crate::rollout::object::{integer, items, set, text};
use crate::rollout::ownership::{Controller, GITOPS_MARKS, Keys, controller_of, owner_reference, reconciled};
use crate::rollout::{ResourceId, Write};

/// Containers of meshes, whose ports are not the application's.
const SIDECARS: [&str; 2] = ["istio-proxy", "envoy"];

/// The Services that are there now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExistingServices {
    /// The Service that users know.
    pub apex: Option<Arc<Value>>,
    /// The Service in front of the primary.
    pub primary: Option<Arc<Value>>,
    /// The Service in front of the canary.
    pub canary: Option<Arc<Value>>,
}

/// Identity of a Service of this Canary.
pub(super) fn service_id(canary: &ValidatedCanary, name: &str) -> ResourceId {
    ResourceId::new("v1", "Service", ObjectKey::new(&canary.key.namespace, name))
}

/// What creates or repairs the Services for the canary and the primary, and the apex where `apex` says so; nothing where
/// nothing differs.
///
/// A Service of this Canary gets exactly the ports of the Canary; node ports, and keys that others put on it, stay. A
/// Service that was there before is adopted: it keeps its owner, labels and further ports, and gets the selector, the
/// Canary's port, and the annotations that keep Flux and Helm from undoing that. It is headless or not as it was created.
///
/// # Errors
/// [`WorkloadError::Taken`] where a Service is controlled by somebody else, and the errors of the target's selector.
pub fn plan_services(
    canary: &ValidatedCanary,
    settings: &Settings,
    target: &Value,
    existing: &ExistingServices,
    apex: bool,
) -> Result<Vec<Write>, WorkloadError> {
    let selector = Selector::of(target, canary, settings)?;
    let service = &canary.service;
    let ports = ports(canary, target);
    let wanted = |name: String, pods, metadata| Wanted { name, label: &selector.label, pods, metadata, ports: &ports };
    let mut plans = vec![
        (wanted(service.canary_name(), selector.canary_labels(), &service.canary), &existing.canary),
        (wanted(service.primary_name(), selector.primary_labels(), &service.primary), &existing.primary),
    ];
    if apex {
        plans.push((wanted(service.name.clone(), selector.primary_labels(), &service.apex), &existing.apex));
    }
    let mut writes = Vec::new();
    for (wanted, existing) in plans {
        match existing {
            None => writes.push(Write::Create(wanted.created(canary))),
            Some(live) => writes.extend(wanted.repaired(live, canary)?),
        }
    }
    Ok(writes)
}

/// One Service as it shall be.
struct Wanted<'a> {
    name: String,
    label: &'a str,
    pods: BTreeMap<String, String>,
    metadata: &'a Metadata,
    ports: &'a [Value],
}

impl Wanted<'_> {
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.metadata.labels.clone();
        labels.insert(self.label.to_owned(), self.name.clone());
        labels
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let mut annotations = self.metadata.annotations.clone();
        annotations.extend(marks());
        annotations
    }

    fn created(&self, canary: &ValidatedCanary) -> Value {
        let mut service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": canary.key.namespace,
                "labels": self.labels(),
                "annotations": self.annotations(),
                "ownerReferences": [owner_reference(canary)],
            },
            "spec": {"type": "ClusterIP", "selector": self.pods, "ports": self.ports},
        });
        if canary.service.headless {
            set(&mut service, "spec", "clusterIP", json!("None"));
        }
        set(&mut service, "spec", "trafficDistribution", json!(canary.service.traffic_distribution));
        service
    }

    fn repaired(&self, live: &Value, canary: &ValidatedCanary) -> Result<Option<Write>, WorkloadError> {
        let id = service_id(canary, &self.name);
        let owned = match controller_of(live, canary) {
            Controller::Canary => true,
            Controller::Nobody => false,
            Controller::Other(owner) => {
                return Err(WorkloadError::Taken {
                    kind: "Service",
                    key: id.key,
                    owner,
                    mend: "give this Canary another spec.service.name",
                });
            }
        };
        let mut service = live.clone();
        set(&mut service, "spec", "selector", json!(self.pods));
        let live_ports = items(live, "/spec/ports");
        let ports = if owned { own_ports(live_ports, self.ports) } else { adopted_ports(live_ports, self.ports) };
        set(&mut service, "spec", "ports", json!(ports));
        if owned || canary.service.traffic_distribution.is_some() {
            set(&mut service, "spec", "trafficDistribution", json!(canary.service.traffic_distribution));
        }
        if owned {
            let labels = reconciled(live, Keys::Labels, &self.labels(), &canary.service.unmanaged_labels);
            set(&mut service, "metadata", "labels", json!(labels));
        }
        let annotations = if owned { self.annotations() } else { marks() };
        let annotations = reconciled(live, Keys::Annotations, &annotations, &canary.service.unmanaged_annotations);
        set(&mut service, "metadata", "annotations", json!(annotations));
        Ok(Write::update(id, live, &service))
    }
}

fn marks() -> BTreeMap<String, String> {
    GITOPS_MARKS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The Canary's port and, with port discovery, those of the containers.
fn ports(canary: &ValidatedCanary, target: &Value) -> Vec<Value> {
    let service = &canary.service;
    let mut first = json!({
        "name": service.port_name,
        "protocol": "TCP",
        "port": service.port,
        "targetPort": service.target_port,
    });
    if let (Some(protocol), Some(fields)) = (&service.app_protocol, first.as_object_mut()) {
        fields.insert("appProtocol".to_owned(), json!(protocol));
    }
    let mut ports = vec![first];
    if service.port_discovery {
        for container in items(target, "/spec/template/spec/containers") {
            discover(container, &service.target_port, &mut ports);
        }
    }
    ports
}

/// Adds the ports of a container, but for the one that the Canary names, and for what would clash with one that is there.
fn discover(container: &Value, target_port: &Value, ports: &mut Vec<Value>) {
    let container_name = text(container, "/name").unwrap_or_default();
    if SIDECARS.contains(&container_name) {
        return;
    }
    for (index, port) in items(container, "/ports").iter().enumerate() {
        let Some(number) = integer(port, "/containerPort") else { continue };
        let protocol = text(port, "/protocol").unwrap_or("TCP");
        let name = text(port, "/name").filter(|name| !name.is_empty());
        let is_target = match target_port {
            Value::String(target) => name == Some(target),
            target => target.as_i64() == Some(number),
        };
        if is_target || ports.iter().any(|taken| has_number(taken, number, protocol)) {
            continue;
        }
        let free = name.filter(|name| !ports.iter().any(|taken| text(taken, "/name") == Some(name)));
        let name = free.map_or_else(|| format!("tcp-{container_name}-{index}"), str::to_owned);
        ports.push(json!({"name": name, "protocol": protocol, "port": number, "targetPort": number}));
    }
}

fn has_number(port: &Value, number: i64, protocol: &str) -> bool {
    integer(port, "/port") == Some(number) && text(port, "/protocol").unwrap_or("TCP") == protocol
}

/// The wanted ports of a Service that is ours, with the node ports that they have; as they are where only the order
/// differs.
fn own_ports(live: &[Value], wanted: &[Value]) -> Vec<Value> {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|port| {
            let mut port = port.clone();
            let twin = live.iter().find(|live| live.get("name") == port.get("name"));
            if let (Some(node_port), Some(fields)) = (twin.and_then(|twin| twin.get("nodePort")), port.as_object_mut())
            {
                fields.insert("nodePort".to_owned(), node_port.clone());
            }
            port
        })
        .collect();
    let same = live.len() == wanted.len() && wanted.iter().all(|port| live.contains(port));
    if same { live.to_vec() } else { wanted }
}

/// The ports of an adopted Service: each that it has, and the wanted ones. A wanted port takes the place of the one with
/// its number, or else of the one with its name. (Flagger drops all others.)
fn adopted_ports(live: &[Value], wanted: &[Value]) -> Vec<Value> {
    let mut ports = live.to_vec();
    for port in wanted {
        let number = integer(port, "/port").unwrap_or_default();
        let protocol = text(port, "/protocol").unwrap_or("TCP");
        let place = ports
            .iter()
            .position(|live| has_number(live, number, protocol))
            .or_else(|| ports.iter().position(|live| live.get("name") == port.get("name")));
        match place.and_then(|place| ports.get_mut(place)).and_then(Value::as_object_mut) {
            Some(fields) => adopt(fields, port),
            None => ports.push(port.clone()),
        }
    }
    if ports.len() > 1 {
        ports.iter_mut().for_each(name_port);
    }
    ports
}

/// Points a port of an adopted Service to the pods as wanted. Its name stays, since others refer to it.
fn adopt(fields: &mut Map<String, Value>, wanted: &Value) {
    for field in ["port", "targetPort", "appProtocol"] {
        if let Some(value) = wanted.get(field) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
}

/// A Service with several ports must name each.
fn name_port(port: &mut Value) {
    let number = integer(port, "/port").unwrap_or_default();
    if let (None | Some(""), Some(fields)) = (text(port, "/name").map(str::to_owned).as_deref(), port.as_object_mut()) {
        fields.insert("name".to_owned(), json!(format!("port-{number}")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{canary, merged, owner, target};
    use super::*;

    fn planned(canary: &ValidatedCanary, existing: &ExistingServices) -> Vec<Write> {
        plan_services(canary, &Settings::default(), &target(), existing, true).unwrap()
    }

    /// The Services as created, with what an API server adds.
    fn created(canary: &ValidatedCanary) -> ExistingServices {
        let mut objects = planned(canary, &ExistingServices::default()).into_iter().map(|write| match write {
            Write::Create(mut object) => {
                let metadata = object["metadata"].clone();
                object["metadata"]["managedFields"] = json!([{
                    "manager": "serin", "operation": "Update",
                    "fieldsV1": {"f:metadata": {"f:labels": owned(&metadata["labels"]), "f:annotations": owned(&metadata["annotations"])}},
                }]);
                object["metadata"]["resourceVersion"] = json!("9");
                object["spec"]["clusterIP"] = json!("10.0.0.1");
                object["spec"]["sessionAffinity"] = json!("None");
                Arc::new(object)
            }
            other => panic!("not a creation: {other:?}"),
        });
        ExistingServices { canary: objects.next(), primary: objects.next(), apex: objects.next() }
    }

    fn owned(map: &Value) -> Value {
        map.as_object().unwrap().keys().map(|key| (format!("f:{key}"), json!({}))).collect::<Map<_, _>>().into()
    }

    /// The patch of the apex Service, which must be the only write, and must settle it.
    fn patch_of_apex(canary: &ValidatedCanary, live: &Value) -> Value {
        let mut existing = created(canary);
        existing.apex = Some(Arc::new(live.clone()));
        let writes = planned(canary, &existing);
        let [Write::Merge { id, body }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
        assert_eq!(id.key, ObjectKey::new("default", "frontend"));
        existing.apex = Some(Arc::new(merged(live, body)));
        assert_eq!(planned(canary, &existing), [], "one write settles it");
        body.clone()
    }

    #[test]
    fn golden_services() {
        let mut canary = canary();
        canary.service.app_protocol = Some("http".to_owned());
        canary.service.traffic_distribution = Some("PreferClose".to_owned());
        canary.service.apex.labels = BTreeMap::from([("tier".to_owned(), "edge".to_owned())]);
        canary.service.primary.annotations = BTreeMap::from([("note".to_owned(), "primary".to_owned())]);
        let objects: Vec<_> = planned(&canary, &ExistingServices::default())
            .into_iter()
            .map(|write| match write {
                Write::Create(object) => object,
                other => panic!("not a creation: {other:?}"),
            })
            .collect();
        insta::assert_json_snapshot!(objects);
    }

    #[test]
    fn the_apex_waits_until_it_is_asked_for() {
        let writes =
            plan_services(&canary(), &Settings::default(), &target(), &ExistingServices::default(), false).unwrap();
        let names: Vec<_> = writes
            .iter()
            .map(|write| match write {
                Write::Create(object) => text(object, "/metadata/name").unwrap(),
                other => panic!("not a creation: {other:?}"),
            })
            .collect();
        assert_eq!(names, ["frontend-canary", "frontend-primary"]);
    }

    #[test]
    fn services_that_are_right_cost_nothing() {
        let mut discovering = canary();
        discovering.service.port_discovery = true;
        let mut headless = canary();
        headless.service.headless = true;
        for canary in [canary(), discovering, headless] {
            assert_eq!(planned(&canary, &created(&canary)), []);
        }
    }

    #[test]
    fn drift_of_an_own_service_is_repaired() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change, Value); 6] = [
            (
                "a selector by hand",
                |live| live["spec"]["selector"] = json!({"app": "frontend", "extra": "1"}),
                json!({"spec": {"selector": {"app": "frontend-primary", "extra": null}}}),
            ),
            (
                "a port more",
                |live| {
                    live["spec"]["ports"]
                        .as_array_mut()
                        .unwrap()
                        .push(json!({"name": "x", "port": 81, "protocol": "TCP", "targetPort": 81}));
                },
                json!({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
            ),
            (
                "another target port, behind a node port",
                |live| {
                    live["spec"]["ports"] =
                        json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 1, "nodePort": 30080}]);
                },
                json!({"spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}]}}),
            ),
            (
                "a label that was wanted once",
                |live| {
                    live["metadata"]["labels"]["old"] = json!("1");
                    live["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:labels"]["f:old"] = json!({});
                },
                json!({"metadata": {"labels": {"old": null}}}),
            ),
            (
                "a mark taken off",
                |live| {
                    live["metadata"]["annotations"]
                        .as_object_mut()
                        .unwrap()
                        .remove("kustomize.toolkit.fluxcd.io/reconcile");
                },
                json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}}),
            ),
            (
                "a traffic distribution that nobody wants any more",
                |live| live["spec"]["trafficDistribution"] = json!("PreferClose"),
                json!({"spec": {"trafficDistribution": null}}),
            ),
        ];
        for (name, change, mut expected) in cases {
            let mut live = Arc::unwrap_or_clone(created(&canary()).apex.unwrap());
            change(&mut live);
            set(&mut expected, "metadata", "resourceVersion", json!("9"));
            assert_eq!(patch_of_apex(&canary(), &live), expected, "{name}");
        }
    }

    #[test]
    fn what_others_put_on_an_own_service_stays() {
        let mut canary = canary();
        let mut existing = created(&canary);
        canary.service.apex.labels = BTreeMap::from([("mine".to_owned(), "wanted".to_owned())]);
        canary.service.unmanaged_labels = vec!["mine".to_owned()];
        let live = Arc::make_mut(existing.apex.as_mut().unwrap());
        live["metadata"]["annotations"]["cloud.example/load-balancer"] = json!("x");
        live["metadata"]["labels"]["mine"] = json!("theirs");
        live["spec"]["type"] = json!("LoadBalancer");
        live["spec"]["externalTrafficPolicy"] = json!("Local");
        assert_eq!(planned(&canary, &existing), []);
    }

    fn users_service() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "frontend", "namespace": "default", "resourceVersion": "3", "labels": {"theirs": "1"}},
            "spec": {
                "type": "LoadBalancer",
                "selector": {"app": "frontend", "release": "stable"},
                "ports": [
                    {"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080},
                    {"name": "metrics", "port": 9090, "protocol": "TCP", "targetPort": 9090},
                ],
            },
        })
    }

    #[test]
    fn a_service_of_the_user_is_adopted_and_keeps_its_owner_labels_names_and_ports() {
        let mut canary = canary();
        canary.service.apex.labels = BTreeMap::from([("tier".to_owned(), "edge".to_owned())]);
        assert_eq!(
            patch_of_apex(&canary, &users_service()),
            json!({
                "metadata": {
                    "resourceVersion": "3",
                    "annotations": {
                        "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                        "helm.toolkit.fluxcd.io/driftDetection": "disabled",
                    },
                },
                "spec": {
                    "selector": {"app": "frontend-primary", "release": null},
                    "ports": [
                        {"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080},
                        {"name": "metrics", "port": 9090, "protocol": "TCP", "targetPort": 9090},
                    ],
                },
            })
        );
    }

    #[test]
    fn ports_of_an_adopted_service_are_never_lost_and_never_clash() {
        let wanted = [json!({"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080})];
        let cases = [
            ("none", json!([]), json!([{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}])),
            ("one without a name", json!([{"port": 80, "targetPort": 80}]), json!([{"port": 80, "targetPort": 8080}])),
            (
                "another one without a name",
                json!([{"port": 81, "targetPort": 81}]),
                json!([
                    {"name": "port-81", "port": 81, "targetPort": 81},
                    {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080},
                ]),
            ),
            (
                "the name with another number",
                json!([{"name": "http", "port": 8000, "targetPort": 1}]),
                json!([{"name": "http", "port": 80, "targetPort": 8080}]),
            ),
            (
                "the number for another protocol",
                json!([{"name": "quic", "port": 80, "protocol": "UDP", "targetPort": 1}]),
                json!([
                    {"name": "quic", "port": 80, "protocol": "UDP", "targetPort": 1},
                    {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080},
                ]),
            ),
        ];
        for (name, live, expected) in cases {
            assert_eq!(json!(adopted_ports(live.as_array().unwrap(), &wanted)), expected, "{name}");
        }
    }

    #[test]
    fn a_service_of_another_owner_is_not_taken() {
        let mut live = users_service();
        let mut other = owner();
        other["name"] = json!("other");
        live["metadata"]["ownerReferences"] = json!([other]);
        let existing = ExistingServices { apex: Some(Arc::new(live)), ..ExistingServices::default() };
        let error = plan_services(&canary(), &Settings::default(), &target(), &existing, true).unwrap_err().to_string();
        assert!(error.contains("Service frontend.default") && error.contains("belongs to Canary other"), "{error}");
    }

    #[test]
    fn ports_are_discovered_without_clashes() {
        let mut canary = canary();
        canary.service.port_discovery = true;
        let containers = json!([
            {"name": "app", "ports": [
                {"containerPort": 8080, "name": "web"},
                {"containerPort": 9090, "name": "metrics", "protocol": "TCP"},
                {"containerPort": 5353, "protocol": "UDP"},
                {"containerPort": 7070, "name": "http"},
                {"containerPort": 80, "name": "clash"},
            ]},
            {"name": "istio-proxy", "ports": [{"containerPort": 15090, "name": "envoy-stats"}]},
        ]);
        let names = |target_port: Value| {
            let mut canary = canary.clone();
            canary.service.target_port = target_port;
            let target = json!({"spec": {"template": {"spec": {"containers": containers}}}});
            let found: Vec<_> = ports(&canary, &target)
                .iter()
                .map(|port| {
                    format!(
                        "{} {} {}",
                        port["name"].as_str().unwrap(),
                        port["port"],
                        port["protocol"].as_str().unwrap()
                    )
                })
                .collect();
            found
        };
        let rest = ["metrics 9090 TCP", "tcp-app-2 5353 UDP", "tcp-app-3 7070 TCP"];
        assert_eq!(names(json!(8080)), [&["http 80 TCP"], &rest[..]].concat());
        assert_eq!(names(json!("web")), [&["http 80 TCP"], &rest[..]].concat());
    }
}
