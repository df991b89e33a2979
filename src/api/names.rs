//! Names that the API server would refuse in an object that Serin generates: better said at the Canary.

/// A label of a host name (RFC 1123): lower case letters, digits and `-`, at most 63.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A host name (RFC 1123) of lower case labels, at most 253 characters.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A host name of a route: as above, perhaps with `*.` before it.
pub(super) fn is_route_host(text: &str) -> bool {
    let is_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_dns_name(text.strip_prefix("*.").unwrap_or(text)) && !is_address
}

/// The value of a label: empty, or at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
pub(super) fn is_label_value(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let edge = |character: char| character.is_ascii_alphanumeric();
    text.is_empty() || text.len() <= 63 && text.bytes().all(inner) && text.starts_with(edge) && text.ends_with(edge)
}

/// The key of a label or annotation: a name, perhaps after a host name and `/`.
pub(super) fn is_metadata_key(text: &str) -> bool {
    let (host, name) = text.split_once('/').map_or((None, text), |(host, name)| (Some(host), name));
    host.is_none_or(is_dns_name) && !name.is_empty() && is_label_value(name)
}

/// The name of a container port: at most 15 lower case letters, digits and single `-`, with at least one letter.
pub(super) fn is_port_name(text: &str) -> bool {
    is_dns_label(text) && text.len() <= 15 && !text.contains("--") && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// An address that begins with `http://` or `https://` and names a host.
pub(super) fn is_http_address(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// The name of an HTTP header (RFC 9110 token).
pub(super) fn is_header_name(text: &str) -> bool {
    text.parse::<http::HeaderName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (fn(&str) -> bool, &'static str, bool);

    #[test]
    fn names_are_what_the_api_server_takes() {
        let cases: [Case; 26] = [
            (is_dns_label, "frontend", true),
            (is_dns_label, "1st-app", true),
            (is_dns_label, "Frontend", false),
            (is_dns_label, "-a", false),
            (is_dns_label, "a.b", false),
            (is_dns_label, "", false),
            (is_dns_name, "a.b-c.d", true),
            (is_dns_name, "a..b", false),
            (is_route_host, "*.example.com", true),
            (is_route_host, "app.example.com", true),
            (is_route_host, "*", false),
            (is_route_host, "a.*.com", false),
            (is_route_host, "10.0.0.1", false),
            (is_label_value, "", true),
            (is_label_value, "v1.2_A", true),
            (is_label_value, "-a", false),
            (is_label_value, "a b", false),
            (is_metadata_key, "app.kubernetes.io/name", true),
            (is_metadata_key, "app", true),
            (is_metadata_key, "a/b/c", false),
            (is_port_name, "http-metrics", true),
            (is_port_name, "8080", false),
            (is_port_name, "http--x", false),
            (is_http_address, "http://prometheus.monitoring:9090/x", true),
            (is_http_address, "prometheus:9090", false),
            (is_header_name, "x-canary user", false),
        ];
        for (is, text, expected) in cases {
            assert_eq!(is(text), expected, "{text}");
        }
    }
}
