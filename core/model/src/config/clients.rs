//! Reads how a client is recognized (`affinity`) and how a tester selects a version (`override`).

use std::time::Duration;

use super::header_names::{own_header, request_header};
use super::requests::read_pointer;
use super::rules::{COOKIE, COOKIE_DOMAIN, COOKIE_PATH, PARAMETER, TOKEN_VALUE, read_duration};
use super::{Affinity, CohortCookie, Override, OverrideToken, SameSite};
use crate::document::{ConfigErrors, Node, Object};

/// The most affinity sources of a rollout.
const MAX_AFFINITY: usize = 8;
/// How long a client keeps a cohort cookie if the configuration doesn't say.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// What the age of a cohort cookie looks like: `Max-Age` counts whole seconds (RFC 6265, 5.2.2).
const COOKIE_AGE_EXPECTED: &str =
    "a duration in whole seconds, at least 1s, such as 30s, 10m, 24h, 7d or 1h30m";

/// Where a key can come from: the field of an affinity entry that says so.
const SOURCES: [&str; 5] = ["header", "query", "request_json", "source_address", "cookie"];
/// What only a cookie has.
const ATTRIBUTES: [&str; 4] = ["max_age", "same_site", "domain", "path"];

pub(super) fn read_affinity(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Vec<Affinity> {
    let mut sources: Vec<Affinity> = Vec::new();
    let list = rollout.get("affinity").and_then(|list| list.list(MAX_AFFINITY, problems));
    for item in list.unwrap_or_default() {
        let Some(source) = read_affinity_source(&item, problems) else {
            continue;
        };
        if sources.iter().any(|known| same_source(known, &source)) {
            let message = "duplicate entry: an earlier one reads the same value, so this one is \
                           never used; remove it";
            item.problem(problems, message);
        }
        sources.push(source);
    }
    sources
}

/// Whether two sources read the same value of a request. A name that could not be read is empty.
fn same_source(one: &Affinity, other: &Affinity) -> bool {
    match (one, other) {
        (Affinity::Cookie(one), Affinity::Cookie(other)) => {
            one.name == other.name && !one.name.is_empty()
        }
        (Affinity::Header(name) | Affinity::Query(name), _) if name.is_empty() => false,
        _ => one == other,
    }
}

fn read_affinity_source(item: &Node<'_>, problems: &mut ConfigErrors) -> Option<Affinity> {
    let object = item.object(&[&SOURCES[..], &ATTRIBUTES].concat(), problems)?;
    let given: Vec<&str> =
        SOURCES.into_iter().filter(|field| object.get(field).is_some()).collect();
    let [source] = given[..] else {
        let expected = "expected exactly one of `header`, `query`, `request_json`, `source_address` \
                        and `cookie`";
        item.problem(problems, expected);
        return None;
    };
    let node = object.get(source)?;
    if source == "cookie" {
        return Some(Affinity::Cookie(read_cookie(&node, &object, problems)));
    }
    for field in ATTRIBUTES {
        if let Some(misplaced) = object.get(field) {
            misplaced.problem(problems, format!("only a cookie has a {field}"));
        }
    }
    match source {
        "header" => Some(Affinity::Header(request_header(&node, problems))),
        "query" => Some(Affinity::Query(node.ruled(&PARAMETER, problems))),
        "request_json" => read_pointer(&node, problems).map(Affinity::RequestJson),
        _ => {
            if node.flag(problems) == Some(false) {
                node.problem(problems, "expected true; leave the entry out to use no address");
            }
            Some(Affinity::SourceAddress)
        }
    }
}

fn read_cookie(name: &Node<'_>, object: &Object<'_>, problems: &mut ConfigErrors) -> CohortCookie {
    let name = name.ruled(&COOKIE, problems);
    let max_age = match object.get("max_age") {
        None => DEFAULT_MAX_AGE,
        Some(age) => read_duration(&age, COOKIE_AGE_EXPECTED, is_cookie_age, problems),
    };
    let same_site = object.get("same_site");
    let same_site =
        same_site.and_then(|one| one.parsed("Strict, Lax or None", same_site_value, problems));
    CohortCookie {
        name,
        max_age,
        same_site: same_site.unwrap_or_default(),
        domain: object.get("domain").map(|domain| domain.ruled(&COOKIE_DOMAIN, problems)),
        path: match object.get("path") {
            None => "/".to_owned(),
            Some(path) => path.ruled(&COOKIE_PATH, problems),
        },
    }
}

fn same_site_value(text: &str) -> Option<SameSite> {
    [SameSite::Strict, SameSite::Lax, SameSite::None].into_iter().find(|one| one.as_str() == text)
}

/// Refuses a cookie that selects a version and also carries a cohort: one value can't say both.
pub(super) fn check_cookies(
    path: &str,
    affinity: &[Affinity],
    overriding: Option<&Override>,
    problems: &mut ConfigErrors,
) {
    let Some(name) = overriding.and_then(|rule| rule.cookie.as_deref()) else {
        return;
    };
    let carries =
        |source: &Affinity| matches!(source, Affinity::Cookie(cookie) if cookie.name == name);
    if let Some(place) = affinity.iter().position(carries).filter(|_| !name.is_empty()) {
        let message = format!(
            "affinity[{place}].cookie has this name, and one cookie can't carry both; give one of \
             them another name"
        );
        problems.add(&format!("{path}.override.cookie"), message);
    }
}

pub(super) fn read_override(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Option<Override> {
    let node = rollout.get("override")?;
    let object = node.object(&["header", "cookie", "token"], problems)?;
    let header = object.get("header").map(|header| request_header(&header, problems));
    let cookie = object.get("cookie").map(|cookie| cookie.ruled(&COOKIE, problems));
    if header.is_none() && cookie.is_none() {
        node.problem(problems, "expected `header`, `cookie` or both");
    }
    Some(Override { header, cookie, token: read_token(&object, problems) })
}

fn read_token(object: &Object<'_>, problems: &mut ConfigErrors) -> Option<OverrideToken> {
    let object = object.get("token")?.object(&["header", "value"], problems)?;
    let header = object.require("header", problems);
    Some(OverrideToken {
        header: header.map(|header| own_header(&header, problems)).unwrap_or_default(),
        value: object.ruled("value", &TOKEN_VALUE, problems),
    })
}

fn is_cookie_age(age: Duration) -> bool {
    age.as_secs() > 0 && age.subsec_nanos() == 0
}
