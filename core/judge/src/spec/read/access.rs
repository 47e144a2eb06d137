//! Reading what a query to Prometheus is sent with. No message repeats a header's value: it may be a secret.

use crate::spec::{CredentialFiles, PrometheusAccess, SecretText};
use canary_model::document::{ConfigErrors, Node, Object};

/// The fields of a Prometheus metric that are read here.
pub(super) const FIELDS: [&str; 4] = ["headers", "tokenFile", "usernameFile", "passwordFile"];
/// The most headers of a metric.
const MAX_HEADERS: usize = 32;
/// The longest name and value of a header, in bytes.
const MAX_HEADER: usize = 4_096;
/// The longest path of a file, in bytes.
const MAX_PATH: usize = 4_096;
/// Headers that are about the connection, which the HTTP client sets.
const OWN: [&str; 7] = [
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn read(
    fields: &Object<'_>,
    address: Option<&str>,
    problems: &mut ConfigErrors,
) -> Option<PrometheusAccess> {
    let headers = match fields.get("headers") {
        None => Some(Vec::new()),
        Some(node) => headers(&node, problems),
    };
    let credentials = credentials(fields, problems);
    let (headers, credentials) = (headers?, credentials?);
    let has_header = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let in_address = address.is_some_and(|address| {
        let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
        authority.split('/').next().is_some_and(|authority| authority.contains('@'))
    });
    let ways =
        usize::from(has_header) + usize::from(in_address) + usize::from(credentials.is_some());
    if ways > 1 {
        let message = "credentials are given twice: name them once, as tokenFile, as usernameFile and \
                       passwordFile, as the header authorization, or in the address";
        problems.add(fields.path(), message);
        return None;
    }
    Some(PrometheusAccess { headers, credentials })
}

fn credentials(
    fields: &Object<'_>,
    problems: &mut ConfigErrors,
) -> Option<Option<CredentialFiles>> {
    let mut path = |field: &str| match fields.get(field) {
        None => Some(None),
        Some(node) => {
            let sound = |text: &str| {
                let sound = !text.is_empty() && text.len() <= MAX_PATH && !text.contains('\0');
                sound.then(|| text.to_owned())
            };
            node.parsed("the path of a file", sound, problems).map(Some)
        }
    };
    let (token, username, password) =
        (path("tokenFile"), path("usernameFile"), path("passwordFile"));
    let message = match (token?, username?, password?) {
        (None, None, None) => return Some(None),
        (Some(token), None, None) => return Some(Some(CredentialFiles::Token(token))),
        (None, Some(username), Some(password)) => {
            return Some(Some(CredentialFiles::Basic { username, password }));
        }
        (Some(_), ..) => {
            "tokenFile is one way to say who asks, usernameFile with passwordFile another: \
                          name one of them"
        }
        (None, Some(_), None) => "usernameFile needs a passwordFile",
        (None, None, Some(_)) => "passwordFile needs a usernameFile",
    };
    problems.add(fields.path(), message);
    None
}

fn headers(node: &Node<'_>, problems: &mut ConfigErrors) -> Option<Vec<(String, SecretText)>> {
    let Some(map) = node.value().as_object() else {
        node.problem(problems, "expected headers by name, such as {X-Scope-OrgID: ml}");
        return None;
    };
    if map.len() > MAX_HEADERS {
        node.problem(problems, format!("{} headers; at most {MAX_HEADERS} are sent", map.len()));
        return None;
    }
    let mut read: Vec<(String, SecretText)> = Vec::new();
    let mut sound = true;
    for (name, value) in map {
        let twice = read.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        match header(name, value.as_str(), twice) {
            Ok(value) => read.push((name.clone(), value)),
            Err(message) => {
                problems.add(&format!("{}.{name}", node.path()), message);
                sound = false;
            }
        }
    }
    sound.then_some(read)
}

fn header(name: &str, value: Option<&str>, twice: bool) -> Result<SecretText, String> {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if name.is_empty() || name.len() > MAX_HEADER || !name.bytes().all(token) {
        return Err("not the name of a header; expected letters, digits and '-'".to_owned());
    }
    if OWN.contains(&name.to_ascii_lowercase().as_str()) {
        return Err("a header of the connection, which the HTTP client sets: remove it".to_owned());
    }
    if twice {
        return Err("the name of an earlier header: case doesn't matter".to_owned());
    }
    let visible = |c: u8| c == b' ' || c.is_ascii_graphic();
    let sound = |value: &&str| {
        let plain = value.bytes().all(visible) && value.trim() == *value;
        plain && !value.is_empty() && value.len() <= MAX_HEADER
    };
    // What was found isn't shown: it may be a secret.
    let expected =
        "expected a text of visible ASCII characters, at most 4096; put a number in quotes";
    let value = value.filter(sound).ok_or_else(|| expected.to_owned())?;
    Ok(SecretText::new(value.to_owned()))
}
