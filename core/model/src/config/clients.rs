//! Reads how a client is recognized (`affinity`) and how a tester selects a version (`override`).

use std::time::Duration;

use super::header_names::{own_header, request_header};
use super::rules::{COOKIE, TOKEN_VALUE, read_duration};
use super::{Affinity, CohortCookie, Override, OverrideToken, SameSite};
use crate::document::{ConfigErrors, Node, Object};

/// The most affinity sources of a rollout.
const MAX_AFFINITY: usize = 8;
/// How long a client keeps a cohort cookie if the configuration doesn't say.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// What the age of a cohort cookie looks like: `Max-Age` counts whole seconds (RFC 6265, 5.2.2).
const COOKIE_AGE_EXPECTED: &str =
    "a duration in whole seconds, at least 1s, such as 30s, 10m, 24h, 7d or 1h30m";

pub(super) fn read_affinity(rollout: &Object<'_>, problems: &mut ConfigErrors) -> Vec<Affinity> {
    let list = rollout.get("affinity").and_then(|list| list.list(MAX_AFFINITY, problems));
    let items = list.unwrap_or_default();
    items.iter().filter_map(|item| read_affinity_source(item, problems)).collect()
}

fn read_affinity_source(item: &Node<'_>, problems: &mut ConfigErrors) -> Option<Affinity> {
    let object = item.object(&["header", "cookie", "max_age"], problems)?;
    match (object.get("header"), object.get("cookie")) {
        (Some(header), None) => {
            if let Some(misplaced) = object.get("max_age") {
                misplaced.problem(problems, "only a cookie has a max_age");
            }
            Some(Affinity::Header(request_header(&header, problems)))
        }
        (None, Some(cookie)) => {
            let name = cookie.ruled(&COOKIE, problems);
            let max_age = match object.get("max_age") {
                None => DEFAULT_MAX_AGE,
                Some(age) => read_duration(&age, COOKIE_AGE_EXPECTED, is_cookie_age, problems),
            };
            Some(Affinity::Cookie(CohortCookie {
                name,
                max_age,
                same_site: SameSite::default(),
                domain: None,
                path: "/".to_owned(),
            }))
        }
        _ => {
            item.problem(problems, "expected exactly one of `header` and `cookie`");
            None
        }
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
