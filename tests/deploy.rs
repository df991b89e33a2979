//! What `kubectl apply -k deploy/base` installs: the rights that the code uses and no others, a container that may do
//! nothing else, and the version that this tree is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Everything that the controller may do in the cluster: API group, resource, verbs.
const CLUSTER_RIGHTS: [(&str, &str, &str); 12] = [
    ("", "configmaps", "create get list patch watch"),
    ("", "secrets", "create get list patch watch"),
    ("", "services", "create list patch watch"),
    ("apps", "deployments", "create get list patch update watch"),
    ("autoscaling", "horizontalpodautoscalers", "create list patch watch"),
    ("events.k8s.io", "events", "create"),
    ("flagger.app", "alertproviders", "list watch"),
    ("flagger.app", "canaries", "get list patch watch"),
    ("flagger.app", "canaries/finalizers", "update"),
    ("flagger.app", "canaries/status", "patch"),
    ("flagger.app", "metrictemplates", "list watch"),
    ("gateway.networking.k8s.io", "httproutes", "create list patch watch"),
];

/// What it may do in its own namespace besides.
const OWN_NAMESPACE_RIGHTS: [(&str, &str, &str); 1] = [("coordination.k8s.io", "leases", "create get update")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a kustomization's files, without what other folders add.
fn objects(folder: &str) -> Vec<Value> {
    let folder = root().join(folder);
    let kustomization = &documents(&folder.join("kustomization.yaml"))[0];
    let files = kustomization["resources"].as_array().unwrap().iter().map(|name| folder.join(name.as_str().unwrap()));
    files.filter(|path| path.is_file()).flat_map(|path| documents(&path)).collect()
}

fn object(kind: &str) -> Value {
    let mut found: Vec<Value> = objects("deploy/base").into_iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "exactly one {kind}");
    found.remove(0)
}

/// Rules of a role by API group and resource.
fn rights(role: &Value) -> BTreeMap<(String, String), BTreeSet<String>> {
    let strings = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let mut rights: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                rights.entry((group.clone(), resource)).or_default().extend(strings(&rule["verbs"]));
            }
        }
    }
    rights
}

fn table(rows: &[(&str, &str, &str)]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let owned = |(group, resource, verbs): &(&str, &str, &str)| {
        (((*group).to_owned(), (*resource).to_owned()), verbs.split(' ').map(str::to_owned).collect())
    };
    rows.iter().map(owned).collect()
}

#[test]
fn the_roles_are_exactly_the_rights_that_the_code_uses() {
    assert_eq!(rights(&object("ClusterRole")), table(&CLUSTER_RIGHTS));
    assert_eq!(rights(&object("Role")), table(&OWN_NAMESPACE_RIGHTS));
}

#[test]
fn both_roles_are_bound_to_the_account_that_the_pods_run_as() {
    let account = json!({"kind": "ServiceAccount", "name": "serin", "namespace": "serin-system"});
    for (kind, role_kind) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
        let binding = object(kind);
        assert_eq!(binding["subjects"], json!([account]), "{kind}");
        assert_eq!(binding["roleRef"]["kind"], role_kind);
        assert_eq!(binding["roleRef"]["name"], object(role_kind)["metadata"]["name"]);
    }
    assert_eq!(object("ServiceAccount")["metadata"]["name"], account["name"]);
    assert_eq!(object("Deployment")["spec"]["template"]["spec"]["serviceAccountName"], account["name"]);
    assert_eq!(object("Namespace")["metadata"]["name"], account["namespace"]);
}

#[test]
fn the_container_may_do_nothing_but_run() {
    let deployment = object("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let container = &pod["containers"][0];
    for (value, expected) in [
        (&pod["securityContext"]["runAsNonRoot"], json!(true)),
        (&pod["securityContext"]["runAsUser"], json!(65532)),
        (&pod["securityContext"]["seccompProfile"]["type"], json!("RuntimeDefault")),
        (&container["securityContext"]["allowPrivilegeEscalation"], json!(false)),
        (&container["securityContext"]["readOnlyRootFilesystem"], json!(true)),
        (&container["securityContext"]["capabilities"], json!({"drop": ["ALL"]})),
        (&pod["hostNetwork"], Value::Null),
        (&pod["volumes"], Value::Null),
    ] {
        assert_eq!(value, &expected, "{pod:#}");
    }
    assert!(container["resources"]["limits"]["memory"].is_string());
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}));
    }
    assert_eq!(container["ports"], json!([{"name": "http", "containerPort": 8080}]));
}

#[test]
fn replicas_beyond_one_elect_a_leader() {
    for file in
        ["base/deployment.yaml", "overlays/staging/controller.yaml", "overlays/prod/controller.yaml"].map(PathBuf::from)
    {
        let deployment = &documents(&root().join("deploy").join(&file))[0];
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        assert!(arguments.contains(&json!("--enable-leader-election")), "{}", file.display());
        assert!(arguments.contains(&json!("--leader-election-namespace=serin-system")), "{}", file.display());
    }
}

#[test]
fn the_image_is_the_version_of_this_tree() {
    let deployment = object("Deployment");
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, &json!(format!("ghcr.io/serin-dev/serin:{}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_image_is_built_with_the_toolchain_of_this_tree() {
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let version = toolchain.split('"').nth(1).unwrap();
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let base = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    assert!(
        base.starts_with(&format!("{version}-")),
        "Dockerfile builds with {base}, rust-toolchain.toml says {version}"
    );
}

#[test]
fn the_service_and_the_deployment_select_the_pods() {
    let deployment = object("Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&object("Service")["spec"]["selector"], labels);
}

#[test]
fn every_kustomization_names_files_that_exist() {
    for folder in ["crds", "deploy/base", "deploy/overlays/dev", "deploy/overlays/staging", "deploy/overlays/prod"] {
        let folder = root().join(folder);
        let kustomization = &documents(&folder.join("kustomization.yaml"))[0];
        let resources = kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let patches = kustomization["patches"].as_array().into_iter().flatten();
        let named: BTreeSet<&str> = resources.chain(patches.map(|patch| patch["path"].as_str().unwrap())).collect();
        for name in &named {
            assert!(folder.join(name).exists(), "{}: {name} is missing", folder.display());
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_used = named.contains(name.as_str()) || name == "kustomization.yaml";
            assert!(is_used, "{}: nothing uses {name}", folder.display());
        }
    }
}

#[test]
fn the_crds_fit_into_the_annotation_that_kubectl_apply_writes() {
    // `kubectl apply` keeps the whole object in an annotation, and annotations may have 256 KiB together.
    let crds = objects("crds");
    assert_eq!(crds.len(), 3);
    for crd in crds {
        let bytes = crd.to_string().len();
        assert!(bytes < 250 * 1024, "{} has {bytes} bytes", crd["metadata"]["name"]);
    }
}
