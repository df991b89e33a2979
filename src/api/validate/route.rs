//! The generated HTTPRoute: Flagger's fields, which have Istio's shape, in terms of the Gateway API v1, standard channel.
//! What that cannot express is a problem; Flagger leaves most of it out without a word. Defaults that the API server
//! would fill in are written out, so that a route compares equal to what is stored.

use serde_json::{Value, json};

use super::{Context, is};
use crate::api::duration::{parse_gateway_milliseconds, parse_seconds};
use crate::api::http_match::{HttpMatchRequest, StringMatch};
use crate::api::path;
use crate::api::problem::Problems;
use crate::api::service::{CanaryService, CorsPolicy, GatewayRef, HeaderOperations, HttpRewrite, RequestMirror};

const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

/// What of a Service concerns the route.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) gateway_refs: Vec<Value>,
    pub(super) hosts: Vec<String>,
    pub(super) matches: Vec<Value>,
    pub(super) filters: Vec<Value>,
    pub(super) timeout: Option<String>,
    pub(super) backend_timeout: Option<String>,
}

/// The route of a Service. The order of its filters is Flagger's.
pub(super) fn read(service: &CanaryService, context: &Context<'_>, problems: &mut Problems) -> Route {
    let matches = matches(service, problems);
    let mut filters = Vec::new();
    if let Some(headers) = &service.headers {
        let parts = [
            ("request", "RequestHeaderModifier", &headers.request),
            ("response", "ResponseHeaderModifier", &headers.response),
        ];
        for (part, kind, operations) in parts {
            let field = path::child("spec.service.headers", part);
            filters
                .extend(operations.as_ref().and_then(|operations| header_filter(kind, operations, &field, problems)));
        }
    }
    filters.extend(service.rewrite.as_ref().and_then(|rewrite| rewrite_filter(rewrite, &matches, problems)));
    for (index, mirror) in service.mirror.iter().enumerate() {
        filters.push(mirror_filter(mirror, &path::item("spec.service.mirror", index), problems));
    }
    filters.extend(service.cors_policy.as_ref().map(|policy| cors_filter(policy, problems)));
    let (timeout, backend_timeout) = timeouts(service, problems);
    Route {
        gateway_refs: gateway_refs(service, context, problems),
        hosts: hosts(service, problems),
        matches,
        filters,
        timeout,
        backend_timeout,
    }
}

fn gateway_refs(service: &CanaryService, context: &Context<'_>, problems: &mut Problems) -> Vec<Value> {
    const FIELD: &str = "spec.service.gatewayRefs";
    if service.gateway_refs.is_empty() {
        if context.defaults.gateways.is_empty() {
            problems.add(
                FIELD,
                "is missing, and there is no default: name a Gateway here, or pass --gateway NAMESPACE/NAME",
            );
        }
        let gateway = |key: &crate::api::checked::ObjectKey| json!({ "group": GATEWAY_GROUP, "kind": "Gateway", "namespace": key.namespace, "name": key.name });
        return context.defaults.gateways.iter().map(gateway).collect();
    }
    let parents = service.gateway_refs.iter().enumerate();
    parents.map(|(index, parent)| gateway_ref(parent, &path::item(FIELD, index), problems)).collect()
}

fn gateway_ref(parent: &GatewayRef, field: &str, problems: &mut Problems) -> Value {
    if parent.name.is_empty() {
        problems.add(format!("{field}.name"), "is empty: write the name of the parent");
    }
    let kind = if parent.kind.is_empty() { "Gateway" } else { &parent.kind };
    let group = parent.group.as_deref().unwrap_or(GATEWAY_GROUP);
    // Linkerd's documentation has the core group by that name, and its controller takes it.
    if kind == "Service" && !matches!(group, "" | "core") {
        problems.add(format!("{field}.group"), "is not that of a Service: write group: \"\"");
    }
    let mut value = json!({ "group": group, "kind": kind, "name": parent.name });
    let optional = [("namespace", &parent.namespace), ("sectionName", &parent.section_name)];
    for (key, text) in optional.into_iter().filter(|(_, text)| !text.is_empty()) {
        value[key] = json!(text);
    }
    if let Some(port) = &parent.port {
        value["port"] = json!(port);
    }
    value
}

fn hosts(service: &CanaryService, problems: &mut Problems) -> Vec<String> {
    for (index, host) in service.hosts.iter().enumerate().filter(|(_, host)| !is::is_route_host(host)) {
        let message = if host == "*" {
            "\"*\" is not a host name of an HTTPRoute: remove hosts to serve every host".to_owned()
        } else {
            format!("{host:?} is not a host name: write it as app.example.com or *.example.com")
        };
        problems.add(path::item("spec.service.hosts", index), message);
    }
    service.hosts.clone()
}

/// As in Flagger, an entry without any condition says nothing, and without any entry the route serves everything.
fn matches(service: &CanaryService, problems: &mut Problems) -> Vec<Value> {
    let mut matches = Vec::new();
    for (index, request) in service.matches.iter().enumerate() {
        let field = path::item("spec.service.match", index);
        check_inexpressible(request, &field, problems);
        let conditions = request.uri.is_some()
            || request.method.is_some()
            || !request.headers.is_empty()
            || !request.query_params.is_empty();
        if conditions {
            matches.push(route_match(request, &field, problems));
        }
    }
    if matches.is_empty() { vec![json!({ "path": everything() })] } else { matches }
}

fn everything() -> Value {
    json!({ "type": "PathPrefix", "value": "/" })
}

fn check_inexpressible(request: &HttpMatchRequest, field: &str, problems: &mut Problems) {
    let conditions = [
        ("scheme", request.scheme.is_some()),
        ("authority", request.authority.is_some()),
        ("withoutHeaders", !request.without_headers.is_empty()),
        ("ignoreUriCase", request.ignore_uri_case),
        ("port", request.port.is_some()),
        ("sourceLabels", !request.source_labels.is_empty()),
        ("sourceNamespace", !request.source_namespace.is_empty()),
        ("gateways", !request.gateways.is_empty()),
    ];
    for (name, _) in conditions.into_iter().filter(|(_, used)| *used) {
        let mend = if name == "authority" { "remove it and use spec.service.hosts" } else { "remove it" };
        problems.add(path::child(field, name), format!("an HTTPRoute cannot match by this; {mend}"));
    }
}

fn route_match(request: &HttpMatchRequest, field: &str, problems: &mut Problems) -> Value {
    let path = request.uri.as_ref().map(|uri| path_match(uri, &format!("{field}.uri"), problems));
    let mut value = json!({ "path": path.unwrap_or_else(everything) });
    if let Some(method) = &request.method {
        value["method"] = json!(method_match(method, &format!("{field}.method"), problems));
    }
    for (from, to, map) in
        [("headers", "headers", &request.headers), ("queryParams", "queryParams", &request.query_params)]
    {
        let field = path::child(field, from);
        let entry = |(name, text): (&String, &StringMatch)| {
            let (kind, text) = exact_or_regex(text, &path::child(&field, name), problems);
            json!({ "name": name, "type": kind, "value": text })
        };
        let entries: Vec<Value> = map.iter().map(entry).collect();
        if !entries.is_empty() {
            value[to] = json!(entries);
        }
    }
    value
}

/// The first of regex, exact and prefix that is there, as in Flagger.
fn path_match(uri: &StringMatch, field: &str, problems: &mut Problems) -> Value {
    let kinds = [("RegularExpression", &uri.regex), ("Exact", &uri.exact), ("PathPrefix", &uri.prefix)];
    let Some((kind, text)) = kinds.into_iter().find(|(_, text)| !text.is_empty()) else {
        problems.add(field, "an HTTPRoute matches a path by exact, prefix or regex only: use one of them");
        return everything();
    };
    if kind != "RegularExpression" && !text.starts_with('/') {
        problems.add(field, format!("{text:?} is not a path: begin it with /"));
    }
    json!({ "type": kind, "value": text })
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn method_match(method: &StringMatch, field: &str, problems: &mut Problems) -> String {
    if method.exact.is_empty() {
        problems.add(field, "an HTTPRoute matches a method by exact only: use exact, with one entry for each method");
    } else if !METHODS.contains(&method.exact.as_str()) {
        problems.add(field, format!("{:?} is not one of {}", method.exact, METHODS.join(", ")));
    }
    method.exact.clone()
}

fn exact_or_regex<'a>(text: &'a StringMatch, field: &str, problems: &mut Problems) -> (&'static str, &'a str) {
    if !text.exact.is_empty() {
        return ("Exact", &text.exact);
    }
    if text.regex.is_empty() {
        problems.add(field, "an HTTPRoute matches this by exact or regex only: use one of them");
    }
    ("RegularExpression", &text.regex)
}

fn header_filter(kind: &str, operations: &HeaderOperations, field: &str, problems: &mut Problems) -> Option<Value> {
    let names = operations.add.keys().chain(operations.set.keys()).chain(&operations.remove);
    for name in names.filter(|name| !is::is_header_name(name)) {
        problems.add(field, format!("{name:?} is not the name of a header: use letters, digits and -"));
    }
    let mut changes = serde_json::Map::new();
    for (key, headers) in [("add", &operations.add), ("set", &operations.set)] {
        if !headers.is_empty() {
            let entries = headers.iter().map(|(name, value)| json!({ "name": name, "value": value }));
            changes.insert(key.to_owned(), entries.collect());
        }
    }
    if !operations.remove.is_empty() {
        changes.insert("remove".to_owned(), json!(operations.remove));
    }
    let key = format!("{}{}", kind.get(..1)?.to_lowercase(), kind.get(1..)?);
    (!changes.is_empty()).then(|| json!({ "type": kind, key: changes }))
}

fn rewrite_filter(rewrite: &HttpRewrite, matches: &[Value], problems: &mut Problems) -> Option<Value> {
    const FIELD: &str = "spec.service.rewrite";
    let mut changes = serde_json::Map::new();
    if !rewrite.authority.is_empty() {
        if !is::is_dns_name(&rewrite.authority) {
            let message = format!("{:?} is not a host name: write it without scheme and port", rewrite.authority);
            problems.add(format!("{FIELD}.authority"), message);
        }
        changes.insert("hostname".to_owned(), json!(rewrite.authority));
    }
    let prefix = rewrite.kind == "ReplacePrefixMatch";
    if !prefix && !matches!(rewrite.kind.as_str(), "" | "ReplaceFullPath") {
        let message = format!("{:?} is not one of ReplaceFullPath, ReplacePrefixMatch", rewrite.kind);
        problems.add(format!("{FIELD}.type"), message);
    }
    if !rewrite.uri.is_empty() {
        // The rule of the HTTPRoute schema.
        let by_prefix = matches.len() == 1 && matches.iter().all(|request| request["path"]["type"] == "PathPrefix");
        if prefix && !by_prefix {
            problems
                .add(FIELD, "ReplacePrefixMatch needs exactly one match, with uri.prefix: change spec.service.match");
        }
        let (kind, key) =
            if prefix { ("ReplacePrefixMatch", "replacePrefixMatch") } else { ("ReplaceFullPath", "replaceFullPath") };
        changes.insert("path".to_owned(), json!({ "type": kind, key: rewrite.uri }));
    }
    (!changes.is_empty()).then(|| json!({ "type": "URLRewrite", "urlRewrite": changes }))
}

fn mirror_filter(mirror: &RequestMirror, field: &str, problems: &mut Problems) -> Value {
    let backend = &mirror.backend_ref;
    let field = format!("{field}.backendRef");
    if backend.name.is_empty() {
        problems.add(format!("{field}.name"), "is missing: write the name of the backend");
    }
    let kind = if backend.kind.is_empty() { "Service" } else { &backend.kind };
    if kind == "Service" && backend.group.is_empty() && backend.port.is_none() {
        problems.add(format!("{field}.port"), "is missing: a Service needs one");
    }
    let mut reference = json!({ "group": backend.group, "kind": kind, "name": backend.name });
    if !backend.namespace.is_empty() {
        reference["namespace"] = json!(backend.namespace);
    }
    if let Some(port) = &backend.port {
        reference["port"] = json!(port);
    }
    json!({ "type": "RequestMirror", "requestMirror": { "backendRef": reference } })
}

fn cors_filter(policy: &CorsPolicy, problems: &mut Problems) -> Value {
    const FIELD: &str = "spec.service.corsPolicy";
    let mut origins = policy.allow_origin.clone();
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        if origin.exact.is_empty() {
            let field = path::item(&path::child(FIELD, "allowOrigins"), index);
            problems.add(field, "an HTTPRoute allows origins by exact only: use exact, or * in allowOrigin");
        }
        origins.push(origin.exact.clone());
    }
    let mut cors = serde_json::Map::new();
    let lists = [
        ("allowOrigins", &origins),
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ];
    for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        cors.insert(key.to_owned(), json!(list));
    }
    if policy.allow_credentials {
        cors.insert("allowCredentials".to_owned(), json!(true));
    }
    if !policy.max_age.is_empty() {
        match parse_seconds(&policy.max_age) {
            Ok(seconds) => drop(cors.insert("maxAge".to_owned(), json!(seconds))),
            Err(message) => problems.add(format!("{FIELD}.maxAge"), message),
        }
    }
    json!({ "type": "CORS", "cors": cors })
}

fn timeouts(service: &CanaryService, problems: &mut Problems) -> (Option<String>, Option<String>) {
    let mut read = |text: &String, field: &str| {
        let milliseconds = (!text.is_empty()).then(|| parse_gateway_milliseconds(text))?;
        milliseconds.map_err(|message| problems.add(field, message)).ok()
    };
    let request = read(&service.timeout, "spec.service.timeout");
    let backend = read(&service.backend_timeout, "spec.service.backendTimeout");
    // The rule of the HTTPRoute schema; a request without limit has 0.
    if let (Some(request), Some(backend)) = (request, backend)
        && request > 0
        && backend > request
    {
        let message = format!("{} is more than timeout {}: shorten it", service.backend_timeout, service.timeout);
        problems.add("spec.service.backendTimeout", message);
    }
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    (text(&service.timeout), text(&service.backend_timeout))
}
