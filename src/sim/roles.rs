//! What the account may do that ships: the rules of the roles in `deploy/base`.

use std::sync::LazyLock;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use serde::de::DeserializeOwned;

/// The rules of the controller's `ClusterRole`, and of its `Role` for the election.
pub fn shipped() -> &'static [PolicyRule] {
    static RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| {
        let cluster: Option<ClusterRole> = parse(include_str!("../../deploy/base/cluster_role.yaml"));
        let election: Option<Role> =
            include_str!("../../deploy/base/leader_election.yaml").split("\n---").find_map(parse);
        let mut rules = cluster.and_then(|role| role.rules).unwrap_or_default();
        rules.extend(election.and_then(|role| role.rules).unwrap_or_default());
        rules
    });
    &RULES
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_saphyr::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::shipped;

    #[test]
    fn the_rules_of_both_roles_are_read() {
        let verbs = |resource: &str| {
            let names = |rule: &&k8s_openapi::api::rbac::v1::PolicyRule| {
                rule.resources.iter().flatten().any(|name| name == resource)
            };
            shipped().iter().filter(names).flat_map(|rule| rule.verbs.clone()).collect::<Vec<_>>()
        };
        assert!(verbs("canaries").contains(&"watch".to_owned()));
        assert!(verbs("leases").contains(&"update".to_owned()));
    }
}
