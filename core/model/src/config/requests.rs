//! Reads which requests a rollout takes (`match`).

use super::Rollout;
use super::header_names::request_header;
use super::rules::{HEADER_PREFIX, HEADER_VALUE, JSON_VALUE, PATH_PREFIX, body_size};
use crate::document::{ConfigErrors, Node, Object};
use crate::matching::{
    Authority, DEFAULT_MAX_BODY, HeaderCondition, HeaderMatch, JsonMatch, MAX_ENTRIES, Match,
};
use crate::pointer::Pointer;

/// What may be held and read of a request's body: half of Envoy's default buffer limit.
const LARGEST_MAX_BODY: usize = 512 * 1024;

pub(super) fn read_match(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Match {
    let fields = ["authorities", "path_prefixes", "headers", "request_json"];
    let Some(object) = rollout.get("match").and_then(|node| node.object(&fields, problems)) else {
        return Match::default();
    };
    let expected = "a host such as scorer.example.com or *.example.com";
    let hosts = read_list(&object, "authorities", problems).into_iter();
    let authorities =
        hosts.filter_map(|host| host.parsed(expected, Authority::parse, problems)).collect();
    let paths = read_list(&object, "path_prefixes", problems).into_iter();
    let path_prefixes = paths.map(|path| path.ruled(&PATH_PREFIX, problems)).collect();
    let headers = read_list(&object, "headers", problems).into_iter();
    let headers = headers.filter_map(|header| read_header(&header, problems)).collect();
    let request_json = object.get("request_json");
    let request_json = request_json.and_then(|json| read_json(&json, problems));
    Match { authorities, path_prefixes, headers, request_json }
}

/// A list with at least one entry; no entries if the field is left out.
fn read_list<'a>(object: &Object<'a>, field: &str, problems: &mut ConfigErrors) -> Vec<Node<'a>> {
    let list = object.get(field);
    let message = "an empty list matches no request; leave the field out to match every request";
    list.map(|list| read_entries(&list, message, problems)).unwrap_or_default()
}

fn read_entries<'a>(list: &Node<'a>, if_empty: &str, problems: &mut ConfigErrors) -> Vec<Node<'a>> {
    let items = list.list(MAX_ENTRIES, problems);
    if items.as_ref().is_some_and(Vec::is_empty) {
        list.problem(problems, if_empty);
    }
    items.unwrap_or_default()
}

fn read_header(item: &Node<'_>, problems: &mut ConfigErrors) -> Option<HeaderMatch> {
    let object = item.object(&["name", "values", "prefix", "present"], problems)?;
    let name = object.require("name", problems);
    let name = name.map(|name| read_name(&name, problems)).unwrap_or_default();
    let conditions = ["values", "prefix", "present"].map(|field| object.get(field));
    let value = match conditions {
        [Some(values), None, None] => {
            let values = read_entries(&values, "expected at least one value", problems);
            let texts = values.iter().map(|value| value.ruled(&HEADER_VALUE, problems));
            HeaderCondition::OneOf(texts.collect())
        }
        [None, Some(prefix), None] => {
            HeaderCondition::Prefix(prefix.ruled(&HEADER_PREFIX, problems))
        }
        [None, None, Some(present)] => {
            if present.flag(problems) == Some(false) {
                let message = "expected true; a header's absence can't be a condition";
                present.problem(problems, message);
            }
            HeaderCondition::Present
        }
        _ => {
            let message = "expected exactly one of `values`, `prefix` and `present`: true";
            item.problem(problems, message);
            return None;
        }
    };
    Some(HeaderMatch { name, value })
}

/// A header's name. Envoy's own names for parts of the request line aren't headers.
fn read_name(node: &Node<'_>, problems: &mut ConfigErrors) -> String {
    let found = node.value().as_str().unwrap_or_default();
    if !found.starts_with(':') {
        return request_header(node, problems);
    }
    let instead = match found {
        ":authority" => "; use `match.authorities`",
        ":path" => "; use `match.path_prefixes`",
        _ => ", and a rollout can't be limited by it",
    };
    node.problem(problems, format!("`{found}` is a pseudo-header{instead}"));
    String::new()
}

fn read_json(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<JsonMatch> {
    let object = node.object(&["pointer", "values", "max_body"], problems)?;
    let pointer = object.require("pointer", problems);
    let pointer = pointer.and_then(|pointer| read_pointer(&pointer, problems));
    let values = object.require("values", problems);
    let values = values.map(|values| {
        let values = read_entries(&values, "expected at least one value", problems);
        values.iter().map(|value| value.ruled(&JSON_VALUE, problems)).collect()
    });
    let max_body = match object.get("max_body") {
        None => Some(DEFAULT_MAX_BODY),
        Some(size) => {
            let read = |text: &str| body_size(text, LARGEST_MAX_BODY);
            size.parsed("a size of 1B to 512KiB, such as 64KiB", read, problems)
        }
    };
    Some(JsonMatch { pointer: pointer?, values: values?, max_body: max_body? })
}

/// A pointer to one value of a request's body.
pub(super) fn read_pointer(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Pointer> {
    let expected = "a JSON pointer (RFC 6901) without * such as /model";
    let one = |text: &str| Pointer::parse(text).filter(|pointer| !pointer.draws());
    node.parsed(expected, one, problems)
}

/// Refuses rollouts whose stable requests Envoy can't tell apart. A stable request carries no header
/// of the filter's, so Envoy routes it by what a route can see, and that isn't the body.
pub(super) fn check_routes(rollouts: &[Rollout], problems: &mut ConfigErrors) {
    for (place, later) in rollouts.iter().enumerate() {
        let shares = |earlier: &&Rollout| {
            let same_route = Match { request_json: None, ..earlier.matches.clone() }
                == Match { request_json: None, ..later.matches.clone() };
            let by_body = [&earlier.matches, &later.matches];
            same_route && by_body.iter().any(|one| one.request_json.is_some())
        };
        let earlier = rollouts.iter().take(place).find(shares);
        let other = earlier.filter(|earlier| earlier.stable.cluster != later.stable.cluster);
        if let Some(earlier) = other {
            let message = format!(
                "must be `{}`, the stable cluster of rollout `{}`: the two differ only in \
                 match.request_json, which Envoy's routes can't see, so their stable requests take \
                 the same route",
                earlier.stable.cluster, earlier.name
            );
            problems.add(&format!("rollouts[{place}].stable.cluster"), message);
        }
    }
}
