use proptest::prelude::*;

use super::*;
use crate::api::checked::Provider;
use crate::rollout::object::items_mut;
use crate::rollout::testing::{self, merged};
use crate::routing::router;

fn canary() -> ValidatedCanary {
    let mut canary = testing::canary();
    canary.service.gateway_refs = vec![json!({"name": "contour", "namespace": "projectcontour"})];
    canary
}

/// A Canary that uses every part of the generated route.
fn rich_canary() -> ValidatedCanary {
    let mut canary = canary();
    canary.service.apex.labels = BTreeMap::from([("tier".to_owned(), "edge".to_owned())]);
    canary.service.apex.annotations = BTreeMap::from([("note".to_owned(), "x".to_owned())]);
    canary.service.gateway_refs.push(json!({"group": "", "kind": "Service", "name": "frontend", "port": 80}));
    canary.service.hosts = vec!["shop.example.com".to_owned(), "www.example.com".to_owned()];
    canary.service.matches = vec![
        json!({"path": {"type": "PathPrefix", "value": "/api"}, "headers": [{"name": "x-user", "value": "a"}]}),
        json!({"method": "GET", "queryParams": [{"name": "q", "value": "1"}]}),
    ];
    canary.service.filters = vec![
        json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "x", "value": "1"}]}}),
        json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}}),
        json!({"type": "CORS", "cors": {"allowOrigins": ["https://example.com"]}}),
    ];
    canary.service.timeout = Some("15s".to_owned());
    canary.service.backend_timeout = Some("5s".to_owned());
    canary
}

fn intent(canary_weight: i32, withdrawn: Option<&str>) -> Intent {
    Intent { canary_weight, withdrawn: withdrawn.map(str::to_owned) }
}

fn planned(canary: &ValidatedCanary, observed: Option<&Value>, intent: &Intent) -> Vec<Write> {
    router(Provider::GatewayApi).plan(canary, observed, intent)
}

fn read(observed: &Value) -> Traffic {
    router(Provider::GatewayApi).read(&canary(), Some(observed))
}

/// What the API server holds after the writes.
fn stored(before: Option<&Value>, writes: &[Write]) -> Value {
    match (before, writes) {
        (None, [Write::Create(object)]) => {
            let mut object = object.clone();
            object["metadata"]["generation"] = json!(1);
            object
        }
        (Some(before), [Write::Merge { body, .. }]) => merged(before, body),
        (Some(before), []) => before.clone(),
        other => panic!("unexpected writes: {other:?}"),
    }
}

/// The route at a weight, with what the API server fills in.
fn live(canary: &ValidatedCanary, weight: i32) -> Value {
    let mut route = stored(None, &planned(canary, None, &intent(weight, None)));
    for parent in items_mut(&mut route, "/spec/parentRefs") {
        *parent = defaults::parent(parent);
    }
    for rule in items_mut(&mut route, "/spec/rules") {
        *rule = defaults::rule(rule);
    }
    route
}

#[test]
fn golden_smallest_route() {
    insta::assert_json_snapshot!(stored(None, &planned(&canary(), None, &intent(0, None))));
}

#[test]
fn golden_route_with_everything() {
    insta::assert_json_snapshot!(stored(None, &planned(&rich_canary(), None, &intent(30, Some("0123456789ab")))));
}

#[test]
fn a_route_that_says_so_already_costs_nothing() {
    for canary in [canary(), rich_canary()] {
        let mut route = live(&canary, 30);
        route["metadata"]["annotations"]["someone"] = json!("else");
        route["metadata"]["labels"]["someone"] = json!("else");
        route["status"] = json!({"parents": []});
        assert_eq!(planned(&canary, Some(&route), &intent(30, None)), []);
    }
}

#[test]
fn a_step_writes_the_rule_and_nothing_else() {
    let writes = planned(&canary(), Some(&live(&canary(), 10)), &intent(20, None));
    let [Write::Merge { id, body }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
    assert_eq!((id.kind.as_str(), &id.key), ("HTTPRoute", &ObjectKey::new("default", "frontend")));
    assert_eq!(*body, json!({"spec": {"rules": [rule(&canary(), &intent(20, None))]}}));
}

/// One that lands late is refused, however the route came to be what it is.
#[test]
fn every_change_carries_the_version_that_it_was_made_from() {
    let mut route = live(&canary(), 10);
    route["metadata"]["resourceVersion"] = json!("7");
    for intent in [intent(20, None), intent(0, None), intent(0, Some("run"))] {
        let writes = planned(&canary(), Some(&route), &intent);
        let [Write::Merge { body, .. }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
        assert_eq!(body["metadata"]["resourceVersion"], "7", "{intent:?}");
    }
}

#[test]
fn edits_by_hand_and_by_gitops_tools_are_undone() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 12] = [
        ("weights", |route| route["spec"]["rules"][0]["backendRefs"][1]["weight"] = json!(100)),
        ("no weight", |route| {
            route["spec"]["rules"][0]["backendRefs"][1].as_object_mut().unwrap().remove("weight");
        }),
        ("another port", |route| route["spec"]["rules"][0]["backendRefs"][0]["port"] = json!(81)),
        ("a backend more", |route| {
            route["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().push(json!({"name": "x", "port": 80}));
        }),
        ("the canary dropped", |route| {
            route["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap().pop();
        }),
        ("a filter", |route| {
            route["spec"]["rules"][0]["filters"] = json!([{"type": "RequestRedirect", "requestRedirect": {}}]);
        }),
        ("a rule before", |route| {
            route["spec"]["rules"].as_array_mut().unwrap().insert(0, json!({"backendRefs": [{"name": "x"}]}));
        }),
        ("no rules", |route| route["spec"]["rules"] = json!([])),
        ("another path", |route| route["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "/x"}}])),
        ("another parent", |route| route["spec"]["parentRefs"][0]["name"] = json!("other")),
        ("a host name", |route| route["spec"]["hostnames"] = json!(["example.com"])),
        ("Git's version applied by force", |route| {
            route["spec"] = json!({
                "parentRefs": [{"name": "contour", "namespace": "projectcontour"}],
                "rules": [{"backendRefs": [{"name": "frontend", "port": 80}]}],
            });
        }),
    ];
    for (name, change) in cases {
        let mut route = live(&canary(), 30);
        change(&mut route);
        let repaired = stored(Some(&route), &planned(&canary(), Some(&route), &intent(30, None)));
        assert_ne!(repaired, route, "{name}");
        assert_eq!(read(&repaired).canary_weight, Some(30), "{name}");
        assert_eq!(repaired.pointer("/spec/hostnames"), None, "{name}");
        assert_eq!(planned(&canary(), Some(&repaired), &intent(30, None)), [], "{name}: settled in one write");
    }
}

#[test]
fn a_withdrawn_revision_is_noted_and_forgotten_whoever_noted_it() {
    let noted =
        stored(Some(&live(&canary(), 30)), &planned(&canary(), Some(&live(&canary(), 30)), &intent(0, Some("bad"))));
    assert_eq!((read(&noted).canary_weight, read(&noted).withdrawn.as_deref()), (Some(0), Some("bad")));
    let writes = planned(&canary(), Some(&noted), &intent(0, None));
    let [Write::Merge { body, .. }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
    assert_eq!(*body, json!({"metadata": {"annotations": {"serin.dev/withdrawn": null}}}));
}

#[test]
fn marks_taken_off_come_back_and_labels_once_wanted_go() {
    let mut route = live(&canary(), 0);
    route["metadata"]["annotations"] = json!({"someone": "else"});
    route["metadata"]["labels"] = json!({"old": "1", "theirs": "1"});
    route["metadata"]["managedFields"] =
        json!([{"manager": "serin", "fieldsV1": {"f:metadata": {"f:labels": {"f:old": {}}}}}]);
    let writes = planned(&canary(), Some(&route), &intent(0, None));
    let [Write::Merge { body, .. }] = writes.as_slice() else { panic!("not one patch: {writes:?}") };
    assert_eq!(
        *body,
        json!({"metadata": {
            "annotations": {
                "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
                "helm.toolkit.fluxcd.io/driftDetection": "disabled",
            },
            "labels": {"old": null},
        }})
    );
}

#[test]
fn a_route_of_another_canary_is_left_alone_and_said_so() {
    let mut route = live(&canary(), 0);
    route["metadata"]["ownerReferences"][0]["name"] = json!("other");
    assert_eq!(planned(&canary(), Some(&route), &intent(30, None)), []);
    let traffic = read(&route);
    assert!(!traffic.applied && traffic.message.contains("belongs to Canary other"), "{}", traffic.message);
}

#[test]
fn a_route_of_a_person_is_routed_but_not_owned() {
    let mut route = live(&canary(), 0);
    route["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    let repaired = stored(Some(&route), &planned(&canary(), Some(&route), &intent(30, None)));
    assert_eq!(read(&repaired).canary_weight, Some(30));
    assert_eq!(repaired.pointer("/metadata/ownerReferences"), None);
}

#[test]
fn the_weight_read_is_the_share_of_the_canary() {
    let backend = |name: &str, weight: Value| json!({"name": name, "port": 80, "weight": weight});
    let (primary, canary) = ("frontend-primary", "frontend-canary");
    let cases = [
        ("as written", vec![vec![backend(primary, json!(70)), backend(canary, json!(30))]], 30),
        ("other sums", vec![vec![backend(primary, json!(3)), backend(canary, json!(1))]], 25),
        ("rounded up", vec![vec![backend(primary, json!(2)), backend(canary, json!(1))]], 34),
        ("weights left out", vec![vec![backend(primary, json!(null)), backend(canary, json!(null))]], 50),
        ("all zero", vec![vec![backend(primary, json!(0)), backend(canary, json!(0))]], 0),
        ("no canary", vec![vec![backend("frontend", json!(1))]], 0),
        (
            "a third one",
            vec![vec![backend(primary, json!(50)), backend(canary, json!(25)), backend("x", json!(25))]],
            25,
        ),
        ("the largest of several rules", vec![vec![backend(primary, json!(1))], vec![backend(canary, json!(1))]], 100),
        ("no rules", vec![], 0),
    ];
    for (name, rules, expected) in cases {
        let rules: Vec<_> = rules.into_iter().map(|backends| json!({"backendRefs": backends})).collect();
        assert_eq!(read(&json!({"spec": {"rules": rules}})).canary_weight, Some(expected), "{name}");
    }
}

#[test]
fn a_route_that_is_not_there_yet_has_no_weight_and_is_not_applied() {
    let traffic = router(Provider::GatewayApi).read(&canary(), None);
    assert_eq!((traffic.canary_weight, traffic.applied), (None, false));
    assert_eq!(traffic.message, "HTTPRoute frontend.default does not exist yet");
}

/// A report of a controller on a route of generation 4.
fn report(parent: &Value, conditions: &[(&str, &str, Option<i64>)]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(kind, status, observed)| {
            json!({"type": kind, "status": status, "reason": "TheReason", "message": "", "observedGeneration": observed})
        })
        .collect();
    json!({"parentRef": parent, "controllerName": "example.com/controller", "conditions": conditions})
}

#[test]
fn a_route_is_applied_when_each_parent_accepted_it_as_it_is_now() {
    let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "contour", "namespace": "projectcontour"});
    let waiting = "waiting for Gateway contour.projectcontour to accept HTTPRoute frontend.default";
    let unheard = "waiting for Gateway contour.projectcontour to accept HTTPRoute frontend.default: nobody answers for it, so see \
                   that it exists and takes routes of namespace default";
    let refuses = "Gateway contour.projectcontour refuses HTTPRoute frontend.default: TheReason";
    let yes = |observed| vec![("Accepted", "True", observed), ("ResolvedRefs", "True", observed)];
    let cases = [
        ("no report", vec![], unheard),
        ("Contour, Istio: accepted", vec![report(&gateway, &yes(Some(4)))], ""),
        ("newer than we know", vec![report(&gateway, &yes(Some(5)))], ""),
        ("accepted before the last change", vec![report(&gateway, &yes(Some(3)))], waiting),
        ("Linkerd: no generation", vec![report(&gateway, &yes(None))], ""),
        ("no conditions", vec![report(&gateway, &[])], waiting),
        ("accepted alone", vec![report(&gateway, &[("Accepted", "True", Some(4))])], ""),
        ("not known", vec![report(&gateway, &[("Accepted", "Unknown", Some(4))])], waiting),
        ("refused", vec![report(&gateway, &[("Accepted", "False", Some(4))])], refuses),
        ("refused before the last change", vec![report(&gateway, &[("Accepted", "False", Some(3))])], waiting),
        (
            "a backend not found",
            vec![report(&gateway, &[("Accepted", "True", Some(4)), ("ResolvedRefs", "False", Some(4))])],
            refuses,
        ),
        (
            "a backend not found yet",
            vec![report(&gateway, &[("Accepted", "True", Some(4)), ("ResolvedRefs", "False", Some(3))])],
            waiting,
        ),
        (
            "defaults left out",
            vec![report(&json!({"name": "contour", "namespace": "projectcontour"}), &yes(Some(4)))],
            "",
        ),
        ("another namespace", vec![report(&json!({"name": "contour"}), &yes(Some(4)))], unheard),
        (
            "another name",
            vec![report(&json!({"name": "other", "namespace": "projectcontour"}), &yes(Some(4)))],
            unheard,
        ),
        (
            "two controllers, one serves it",
            vec![report(&gateway, &[("Accepted", "False", Some(4))]), report(&gateway, &yes(Some(4)))],
            "",
        ),
    ];
    for (name, reports, expected) in cases {
        let traffic = read(&json!({"metadata": {"generation": 4}, "status": {"parents": reports}}));
        assert_eq!((traffic.message.as_str(), traffic.applied), (expected, expected.is_empty()), "{name}");
    }
}

#[test]
fn parents_are_told_apart_and_all_must_accept() {
    let service = json!({"group": "", "kind": "Service", "name": "frontend", "port": 80});
    let section = json!({"name": "edge", "sectionName": "https"});
    let yes = [("Accepted", "True", Some(4))];
    let linkerd = json!({"group": "core", "kind": "Service", "namespace": "default", "name": "frontend"});
    let istio = json!({"group": "", "kind": "Service", "name": "frontend", "port": 80});
    let cases = [
        ("Linkerd's core group", vec![service.clone()], vec![report(&linkerd, &yes)], ""),
        ("Istio's Service parent", vec![service.clone()], vec![report(&istio, &yes)], ""),
        (
            "another port",
            vec![service.clone()],
            vec![report(&json!({"group": "", "kind": "Service", "name": "frontend", "port": 81}), &yes)],
            "waiting for Service frontend.default (port 80) to accept HTTPRoute frontend.default: nobody answers for it, so see that it exists and takes routes of namespace default",
        ),
        (
            "another section",
            vec![section.clone()],
            vec![report(&json!({"name": "edge", "sectionName": "http"}), &yes)],
            "waiting for Gateway edge.default (section https) to accept HTTPRoute frontend.default: nobody answers for it, so see that it exists and takes routes of namespace default",
        ),
        ("the section left out", vec![section.clone()], vec![report(&json!({"name": "edge"}), &yes)], ""),
        (
            "one of two",
            vec![service, section],
            vec![report(&linkerd, &yes)],
            "waiting for Gateway edge.default (section https) to accept HTTPRoute frontend.default: nobody answers for it, so see that it exists and takes routes of namespace default",
        ),
    ];
    for (name, parents, reports, expected) in cases {
        let mut canary = canary();
        canary.service.gateway_refs = parents;
        let route = json!({"metadata": {"generation": 4}, "status": {"parents": reports}});
        let traffic = GatewayApi.read(&canary, Some(&route));
        assert_eq!((traffic.message.as_str(), traffic.applied), (expected, expected.is_empty()), "{name}");
    }
}

#[test]
fn without_a_mesh_there_is_nothing_to_write_or_wait_for() {
    let none = router(Provider::Kubernetes);
    assert_eq!(none.resource(&canary()), None);
    assert_eq!(none.plan(&canary(), None, &intent(50, None)), []);
    assert_eq!(none.read(&canary(), None), Traffic { applied: true, ..Traffic::default() });
}

fn any_intent() -> impl Strategy<Value = Intent> {
    (0..=100, proptest::option::of("[0-9a-f]{12}"))
        .prop_map(|(canary_weight, withdrawn)| Intent { canary_weight, withdrawn })
}

proptest! {
    #[test]
    fn weights_sum_to_100_and_one_write_settles(first in any_intent(), second in any_intent(), rich in any::<bool>()) {
        let canary = if rich { rich_canary() } else { canary() };
        let mut route = stored(None, &planned(&canary, None, &first));
        for intent in [&first, &second] {
            route = stored(Some(&route), &planned(&canary, Some(&route), intent));
            let backends = items(&route, "/spec/rules/0/backendRefs");
            let weights: Vec<_> = backends.iter().map(|backend| integer(backend, "/weight").unwrap()).collect();
            prop_assert_eq!(weights.iter().sum::<i64>(), 100);
            let traffic = GatewayApi.read(&canary, Some(&route));
            prop_assert_eq!((traffic.canary_weight, &traffic.withdrawn), (Some(intent.canary_weight), &intent.withdrawn));
            prop_assert_eq!(planned(&canary, Some(&route), intent), []);
        }
    }

    #[test]
    fn a_weight_out_of_range_never_reaches_a_route(weight in any::<i32>()) {
        let route = stored(None, &planned(&canary(), None, &intent(weight, None)));
        prop_assert_eq!(GatewayApi.read(&canary(), Some(&route)).canary_weight, Some(weight.clamp(0, 100)));
    }
}
