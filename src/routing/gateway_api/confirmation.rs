//! Whether the data plane confirmed a route: `status.parents`, which each implementation fills in a little differently.

use serde_json::Value;

use super::defaults;
use crate::api::checked::ObjectKey;
use crate::rollout::object::{integer, items, text};

/// What a parent objects to, or what is waited for; `None` when it confirmed the route as it is now. One parent may be
/// reported on by several controllers; it is enough that one of them serves it.
pub fn objection(route: &Value, parent: &Value, name: &ObjectKey) -> Option<String> {
    let parent = Parent::of(parent, &name.namespace);
    let reports: Vec<_> = items(route, "/status/parents")
        .iter()
        .filter(|report| report.get("parentRef").is_some_and(|of| parent.is_meant_by(&Parent::of(of, &name.namespace))))
        .map(|report| objection_in(route, report))
        .collect();
    if reports.iter().any(Option::is_none) {
        return None;
    }
    let unheard = reports.is_empty();
    let refusal = reports.into_iter().flatten().find_map(|objection| match objection {
        Objection::Refused(why) => Some(why),
        Objection::Waiting => None,
    });
    Some(match refusal {
        Some(why) => format!("{parent} refuses HTTPRoute {name}: {why}"),
        None if unheard => format!(
            "waiting for {parent} to accept HTTPRoute {name}: nobody answers for it, so see that it exists and takes routes \
             of namespace {}",
            name.namespace
        ),
        None => format!("waiting for {parent} to accept HTTPRoute {name}"),
    })
}

/// Why one report of a controller does not confirm the route.
enum Objection {
    /// It speaks of an older generation, or does not say yet.
    Waiting,
    /// It says no, with reason and message.
    Refused(String),
}

fn objection_in(route: &Value, report: &Value) -> Option<Objection> {
    let condition = |kind| items(report, "/conditions").iter().find(move |one| text(one, "/type") == Some(kind));
    let accepted = condition("Accepted").filter(|one| is_current(route, one));
    let unresolved = condition("ResolvedRefs").filter(|one| text(one, "/status") == Some("False"));
    match (accepted, unresolved) {
        (Some(accepted), _) if text(accepted, "/status") == Some("False") => Some(refused(accepted)),
        (Some(accepted), _) if text(accepted, "/status") != Some("True") => Some(Objection::Waiting),
        (Some(_), Some(unresolved)) if is_current(route, unresolved) => Some(refused(unresolved)),
        (None, _) | (Some(_), Some(_)) => Some(Objection::Waiting),
        (Some(_), None) => None,
    }
}

fn refused(condition: &Value) -> Objection {
    let reason = text(condition, "/reason").unwrap_or("no reason given");
    let message = text(condition, "/message").filter(|message| !message.is_empty());
    Objection::Refused(message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}")))
}

/// Whether a condition speaks of the route as it is now. Linkerd leaves `observedGeneration` out: its word is taken.
fn is_current(route: &Value, condition: &Value) -> bool {
    let generation = integer(route, "/metadata/generation").unwrap_or(0);
    integer(condition, "/observedGeneration").is_none_or(|observed| observed >= generation)
}

/// A parent reference with its defaults filled in.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    section: Option<String>,
    port: Option<i64>,
}

impl Parent {
    fn of(reference: &Value, route_namespace: &str) -> Self {
        let reference = defaults::parent(reference);
        let field = |pointer| text(&reference, pointer).unwrap_or_default().to_owned();
        // Linkerd writes the core group as `core`.
        let group = Some(field("/group")).filter(|group| !group.eq_ignore_ascii_case("core")).unwrap_or_default();
        Self {
            group,
            kind: field("/kind"),
            namespace: text(&reference, "/namespace").unwrap_or(route_namespace).to_owned(),
            name: field("/name"),
            section: text(&reference, "/sectionName").map(str::to_owned),
            port: integer(&reference, "/port"),
        }
    }

    /// Whether a report speaks of this parent. Section and port count only where the report names them.
    fn is_meant_by(&self, reported: &Self) -> bool {
        (&self.group, &self.kind, &self.namespace, &self.name)
            == (&reported.group, &reported.kind, &reported.namespace, &reported.name)
            && (reported.section.is_none() || reported.section == self.section)
            && (reported.port.is_none() || reported.port == self.port)
    }
}

impl std::fmt::Display for Parent {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}.{}", self.kind, self.name, self.namespace)?;
        self.section.iter().try_for_each(|section| write!(out, " (section {section})"))?;
        self.port.iter().try_for_each(|port| write!(out, " (port {port})"))
    }
}
