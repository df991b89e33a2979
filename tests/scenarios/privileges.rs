//! The shipped ServiceAccount may do what the scenarios did, and nothing more: rules that nothing uses are rights that
//! somebody could steal. Looks at what the API server's audit log says, so it comes after everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use serin_testbed::{AuditEntry, Testbed};

use crate::Scenarios;

/// Who the controller is to the API server.
pub const ACCOUNT: &str = "system:serviceaccount:serin-system:serin";

/// Rights that no request shows, and why they are there all the same: API group, resource, verb.
const WITHOUT_REQUEST: [(Row<'static>, &str); 1] = [(
    ("flagger.app", "canaries/finalizers", "update"),
    "what OwnerReferencesPermissionEnforcement, an admission plugin, asks of who sets blockOwnerDeletion",
)];

type Row<'a> = (&'a str, &'a str, &'a str);

/// The last trial. Only after all of the others is it known that a right was not used.
pub fn trial(scenarios: &Scenarios, after_all_others: bool) -> Trial {
    scenarios.trial("the_shipped_rights_suffice_and_all_of_them_are_used", move |testbed| async move {
        check(&testbed, after_all_others)
    })
}

fn check(testbed: &Arc<Testbed>, after_all_others: bool) -> Result<()> {
    let requests = testbed.audit_requests(Some(ACCOUNT), SystemTime::UNIX_EPOCH)?;
    ensure!(!requests.is_empty(), "the audit log has no request of {ACCOUNT}");
    let refused: BTreeMap<&str, usize> =
        requests.iter().filter(|request| request.code == 403).fold(BTreeMap::new(), |mut counts, request| {
            *counts.entry(request.uri.as_str()).or_default() += 1;
            counts
        });
    ensure!(refused.is_empty(), "the shipped rights do not suffice: {refused:#?}");
    if !after_all_others {
        return Ok(());
    }
    let used: BTreeSet<Right> = requests.iter().filter_map(Right::of).collect();
    let roles = rules()?;
    let unused: Vec<String> = roles
        .iter()
        .filter(|right| !used.contains(right))
        .filter(|right| !WITHOUT_REQUEST.iter().any(|(known, _)| right.is(known)))
        .map(|Right { group, resource, verb }| format!("{verb} {resource} of {group:?}"))
        .collect();
    ensure!(unused.is_empty(), "nothing used these rights, take them out of deploy/base: {unused:#?}");
    for (right, reason) in &WITHOUT_REQUEST {
        ensure!(roles.iter().any(|role| role.is(right)), "{right:?} is not granted any more ({reason})");
        ensure!(!used.iter().any(|used| used.is(right)), "{right:?} is used: it needs no reason ({reason})");
    }
    Ok(())
}

/// A right that was used, or is granted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    /// With `/` and the subresource, if there is one.
    resource: String,
    verb: String,
}

impl Right {
    /// `None` for requests that are not about objects, such as discovery, which everybody may make.
    fn of(request: &AuditEntry) -> Option<Self> {
        if request.resource.is_empty() {
            return None;
        }
        let mut segments = request.uri.split('/').skip(1);
        let group = match (segments.next()?, segments.next()?) {
            ("apis", group) => group,
            _ => "",
        };
        let separator = if request.subresource.is_empty() { "" } else { "/" };
        Some(Self {
            group: group.to_owned(),
            resource: format!("{}{separator}{}", request.resource, request.subresource),
            verb: request.verb.clone(),
        })
    }

    fn is(&self, (group, resource, verb): &Row<'_>) -> bool {
        (self.group.as_str(), self.resource.as_str(), self.verb.as_str()) == (*group, *resource, *verb)
    }
}

/// Everything that the roles of `deploy/base` grant.
fn rules() -> Result<Vec<Right>> {
    let mut rights = Vec::new();
    for file in ["cluster_role.yaml", "leader_election.yaml"] {
        let path = format!("{}/deploy/base/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).context(path)?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        for rule in objects.iter().filter_map(|object| object["rules"].as_array()).flatten() {
            let names = |field: &str| -> Result<Vec<String>> { Ok(serde_json::from_value(rule[field].clone())?) };
            for group in names("apiGroups")? {
                for resource in names("resources")? {
                    let granted = names("verbs")?.into_iter();
                    rights.extend(granted.map(|verb| Right { group: group.clone(), resource: resource.clone(), verb }));
                }
            }
        }
    }
    ensure!(!rights.is_empty(), "deploy/base grants nothing");
    Ok(rights)
}
