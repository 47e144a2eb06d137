//! Which headers the filter may have to itself, and which uses of a header exclude one another.
//!
//! The filter sets and removes the headers that carry its decision, and it removes testers' tokens. If
//! it did that to a header that HTTP, Envoy or the application needs, it would break every request.

use super::rules::lower_case;
use super::{Affinity, Config, HeaderNames, Rollout, Source};
use crate::document::{ConfigErrors, Node, Object};

/// Headers with a meaning of their own, besides [`RESERVED_PREFIXES`]: HTTP's, tracing's and gRPC's.
const RESERVED: [&str; 46] = [
    "accept",
    "age",
    "allow",
    "alt-svc",
    "authentication-info",
    "authorization",
    "b3",
    "baggage",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "early-data",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "host",
    "http2-settings",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-request-id",
];

const RESERVED_PREFIXES: [&str; 10] = [
    "accept-",
    "access-control-",
    "content-",
    "grpc-",
    "if-",
    "proxy-",
    "sec-",
    "x-b3-",
    "x-envoy-",
    "x-forwarded-",
];

/// The name of a header that the filter sets or removes.
pub(super) fn own_header(node: &Node<'_>, problems: &mut ConfigErrors) -> String {
    let name = lower_case(node, problems);
    let begins = |prefix: &&str| name.starts_with(*prefix);
    if RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(begins) {
        let message = format!(
            "`{name}` has a meaning of its own for HTTP, Envoy or the application, and the filter \
             would overwrite or remove it in every request; expected a name that nothing else uses, \
             such as x-canary-route"
        );
        node.problem(problems, message);
    }
    name
}

/// The name of a request header that the filter reads.
pub(super) fn request_header(node: &Node<'_>, problems: &mut ConfigErrors) -> String {
    let name = lower_case(node, problems);
    if name == "host" {
        node.problem(problems, "Envoy shows its filters no `host` header; use `match.authorities`");
    }
    name
}

/// The name of a response header that the filter reads.
pub(super) fn response_header(node: &Node<'_>, problems: &mut ConfigErrors) -> String {
    lower_case(node, problems)
}

/// Reads the object `headers`; a name that other parts of HTTP need is an error.
pub(super) fn read(root: &Object<'_>, problems: &mut ConfigErrors) -> HeaderNames {
    let mut names =
        HeaderNames { route: "x-canary-route".to_owned(), version: "x-canary-version".to_owned() };
    let Some(node) = root.get("headers") else {
        return names;
    };
    let Some(object) = node.object(&["route", "version"], problems) else {
        return names;
    };
    if let Some(route) = object.get("route") {
        names.route = own_header(&route, problems);
    }
    if let Some(version) = object.get("version") {
        names.version = own_header(&version, problems);
    }
    if names.route == names.version && !names.route.is_empty() {
        node.problem(problems, "route and version need different headers");
    }
    names
}

/// Refuses a header that is used twice in ways that exclude each other. To be called with a
/// configuration that has no other problem, so that every entry of a list has its place in it.
pub(super) fn check_uses(config: &Config, problems: &mut ConfigErrors) {
    for (place, rollout) in config.rollouts.iter().enumerate() {
        let path = format!("rollouts[{place}]");
        for (field, header) in request_uses(rollout) {
            check_own(config, &format!("{path}.{field}"), header, problems);
        }
        for (field, header) in upstream_uses(rollout) {
            check_token(config, &format!("{path}.{field}"), header, problems);
        }
        let rule = rollout.overriding.as_ref();
        let token = rule.and_then(|rule| rule.token.as_ref()).map(|token| token.header.as_str());
        if token.is_some() && token == rule.and_then(|rule| rule.header.as_deref()) {
            let message = "override.header has this name, and one header can't carry both";
            problems.add(&format!("{path}.override.token.header"), message);
        }
        for (index, signal) in rollout.signals.iter().enumerate() {
            if signal.source == Source::ResponseHeader(config.headers.version.clone()) {
                let message = "the filter itself names the version in this header (headers.version), \
                               so both versions would always differ";
                let path = format!("{path}.signals[{index}].from.response_header");
                problems.add(&path, message);
            }
        }
    }
}

/// The request headers that a rollout reads, each with its field.
fn request_uses(rollout: &Rollout) -> Vec<(String, &str)> {
    let mut uses = upstream_uses(rollout);
    if let Some(rule) = &rollout.overriding {
        let header = rule.header.as_deref();
        uses.extend(header.map(|header| ("override.header".to_owned(), header)));
        let token = rule.token.as_ref().map(|token| token.header.as_str());
        uses.extend(token.map(|header| ("override.token.header".to_owned(), header)));
    }
    uses
}

/// The headers that are read by what comes after the filter, too: the upstream reads a client's key,
/// and Envoy's routes repeat the rollout's conditions.
fn upstream_uses(rollout: &Rollout) -> Vec<(String, &str)> {
    let mut headers = Vec::new();
    for (index, condition) in rollout.matches.headers.iter().enumerate() {
        headers.push((format!("match.headers[{index}].name"), condition.name.as_str()));
    }
    for (index, source) in rollout.affinity.iter().enumerate() {
        if let Affinity::Header(name) = source {
            headers.push((format!("affinity[{index}].header"), name.as_str()));
        }
    }
    headers
}

/// A client's copies of the filter's own headers are removed, so nothing can be read from them.
fn check_own(config: &Config, path: &str, header: &str, problems: &mut ConfigErrors) {
    let HeaderNames { route, version } = &config.headers;
    let own = [("headers.route", route), ("headers.version", version)];
    if let Some((field, _)) = own.into_iter().find(|(_, name)| *name == header) {
        let message =
            format!("{field} has this name, and clients' copies of that header are removed");
        problems.add(path, message);
    }
}

/// Testers' tokens are removed before the upstream, whichever rollout they belong to.
fn check_token(config: &Config, path: &str, header: &str, problems: &mut ConfigErrors) {
    let token = |rollout: &Rollout| {
        let token = rollout.overriding.as_ref().and_then(|rule| rule.token.as_ref());
        token.is_some_and(|token| token.header == header)
    };
    if let Some(place) = config.rollouts.iter().position(token) {
        let message = format!(
            "rollouts[{place}].override.token.header has this name, and that header is removed \
             before the upstream sees it"
        );
        problems.add(path, message);
    }
}
