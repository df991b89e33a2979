//! What the garbage collector leaves, on both servers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use serin::sim::api_server::{ApiServer, Caller};
use serin_testbed::{Testbed, wait_until};

const NAMESPACE: &str = "garbage";

/// Name, owners, finalizers.
const FAMILY: [(&str, &[&str], &[&str]); 8] = [
    ("first", &[], &[]),
    ("second", &[], &[]),
    ("child", &["first"], &[]),
    ("grandchild", &["child"], &[]),
    ("shared", &["first", "second"], &[]),
    ("held", &["first"], &["example.com/hold"]),
    ("below-held", &["held"], &[]),
    ("stranger", &["second"], &[]),
];

/// Has the real server collect: its controller-manager is paused for the sequences.
pub async fn prepare(testbed: &Testbed) -> Result<()> {
    testbed.kubectl(&["create", "namespace", NAMESPACE]).await?;
    plant(testbed.client()).await?;
    let what = "the garbage collector";
    wait_until(what, Duration::from_secs(60), async || {
        let left = left(testbed.client()).await?;
        ensure!(left.len() == 5 && left["shared"]["owners"] == json!(["second"]), "{left:?} are left");
        Ok(())
    })
    .await
}

/// What is left is the same.
pub async fn collection(testbed: &Testbed) -> Result<()> {
    let server = ApiServer::new();
    let client = server.client(Caller { user: "admin".to_owned(), ..Caller::default() });
    plant(client.clone()).await?;
    let (real, simulated) = (left(testbed.client()).await?, left(client).await?);
    ensure!(real == simulated, "real {real:#?}, simulated {simulated:#?}");
    Ok(())
}

async fn plant(client: Client) -> Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let mut uids = BTreeMap::new();
    for (name, owners, finalizers) in FAMILY {
        let owners: Vec<Value> = owners
            .iter()
            .map(|owner| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uids[owner]}))
            .collect();
        let object = json!({"metadata": {"name": name, "ownerReferences": owners, "finalizers": finalizers}});
        let created = api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        uids.insert(name, created.metadata.uid.unwrap_or_default());
    }
    api.delete("first", &DeleteParams::default()).await?;
    Ok(())
}

/// The objects that are left, with the names of their owners and whether they are being deleted.
async fn left(client: Client) -> Result<BTreeMap<String, Value>> {
    let api: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
    let objects = api.list(&kube::api::ListParams::default()).await?;
    let relevant = objects.into_iter().filter(|object| object.metadata.name.as_deref() != Some("kube-root-ca.crt"));
    Ok(relevant
        .map(|object| {
            let metadata = object.metadata;
            let owners: Vec<String> =
                metadata.owner_references.unwrap_or_default().into_iter().map(|owner| owner.name).collect();
            let fate = json!({"owners": owners, "dying": metadata.deletion_timestamp.is_some()});
            (metadata.name.unwrap_or_default(), fate)
        })
        .collect())
}
