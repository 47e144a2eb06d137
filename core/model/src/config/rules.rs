//! What the texts of a configuration look like.

use std::time::Duration;

use crate::document::{ConfigErrors, Node, TextRule};
use crate::duration;
use crate::names;

/// The longest text of a salt, cluster name or token, in bytes.
const LONGEST_TEXT: usize = 256;

pub(super) const ROLLOUT_NAME: TextRule =
    TextRule { expected: names::ROLLOUT_EXPECTED, fits: names::is_rollout_name };
pub(super) const VERSION: TextRule =
    TextRule { expected: names::VERSION_EXPECTED, fits: names::is_version };
pub(super) const CLUSTER: TextRule =
    TextRule { expected: "the name of an Envoy cluster, 1 to 256 bytes", fits: is_header_text };
pub(super) const SALT: TextRule = TextRule { expected: "a text of 1 to 256 bytes", fits: is_text };
pub(super) const TOKEN_VALUE: TextRule =
    TextRule { expected: "a text of 1 to 256 printable ASCII characters", fits: is_header_text };
pub(super) const COOKIE: TextRule =
    TextRule { expected: "a cookie's name such as canary-cohort", fits: names::is_token };
pub(super) const COOKIE_DOMAIN: TextRule = TextRule {
    expected: "a host name without a leading dot, such as example.com",
    fits: is_cookie_domain,
};
pub(super) const COOKIE_PATH: TextRule = TextRule {
    expected: "a path of at most 256 printable ASCII characters that begins with / and has no ;, \
               such as /shop",
    fits: is_cookie_path,
};
pub(super) const PARAMETER: TextRule = TextRule {
    expected: "a query parameter's decoded name, 1 to 256 bytes, such as user",
    fits: is_text,
};
pub(super) const HEADER_VALUE: TextRule = TextRule {
    expected: "a header's value, 1 to 256 printable ASCII characters without a space at either end, \
               such as scorer",
    fits: is_header_text,
};
pub(super) const HEADER_PREFIX: TextRule = TextRule {
    expected: "the beginning of a header's value, 1 to 256 printable ASCII characters, such as Bearer",
    fits: is_header_prefix,
};
pub(super) const JSON_VALUE: TextRule = TextRule {
    expected: "a text of at most 256 bytes (numbers and booleans as texts, too), such as scorer or 1",
    fits: is_short,
};
pub(super) const HEADER_NAME: TextRule =
    TextRule { expected: "a header's name such as x-user-id", fits: names::is_token };
pub(super) const METHOD: TextRule =
    TextRule { expected: "a method such as POST", fits: names::is_token };
pub(super) const PATH_PREFIX: TextRule = TextRule {
    expected: "a path of at most 1024 ASCII characters that begins with /, such as /v2/models",
    fits: is_path_prefix,
};
pub(super) const SIGNAL_NAME: TextRule =
    TextRule { expected: names::SIGNAL_EXPECTED, fits: names::is_signal };
pub(super) const DONE: TextRule =
    TextRule { expected: "an event's data, 1 to 256 bytes such as [DONE]", fits: is_text };
pub(super) const BIN: TextRule = TextRule {
    expected: "1 to 63 letters, digits, _ and -, other than `other`, `unreadable` and the names of \
               statistics like `rq_total`",
    fits: is_listed_bin,
};
/// A category that stands for itself has to be its bin's name.
pub(super) const PLAIN_CATEGORY: TextRule = TextRule {
    expected: "1 to 63 letters, digits, _ and -, other than `other`, `unreadable` and the names of \
               statistics like `rq_total`; for other texts write {\"value\": …, \"bin\": …}",
    fits: is_listed_bin,
};
pub(super) const CATEGORY_VALUE: TextRule =
    TextRule { expected: "a text of at most 256 bytes", fits: is_short };

/// A header's name, in lower case, as Envoy has it.
pub(super) fn lower_case(node: &Node<'_>, problems: &mut ConfigErrors) -> String {
    node.ruled(&HEADER_NAME, problems).to_ascii_lowercase()
}

fn is_short(text: &str) -> bool {
    text.len() <= LONGEST_TEXT
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && is_short(text)
}

/// What can be a header's value unchanged: printable ASCII without a space at either end.
fn is_header_text(text: &str) -> bool {
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    is_text(text) && printable && text.trim_ascii() == text
}

fn is_header_prefix(text: &str) -> bool {
    !text.starts_with(' ') && is_header_text(text.trim_end_matches(' ')) && is_short(text)
}

/// What browsers accept as a `Domain` attribute (RFC 6265, section 4.1.2.3).
fn is_cookie_domain(text: &str) -> bool {
    let label = |label: &str| {
        let ends = !label.starts_with('-') && !label.ends_with('-');
        let letters = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=63).contains(&label.len()) && ends && letters
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// A `Path` attribute (RFC 6265, section 4.1.1): no control character and no semicolon.
fn is_cookie_path(text: &str) -> bool {
    text.starts_with('/') && is_header_text(text) && !text.contains(';')
}

fn is_path_prefix(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1024 && text.is_ascii()
}

fn is_listed_bin(text: &str) -> bool {
    names::is_bin(text) && !["other", "unreadable"].contains(&text)
}

/// Bytes, from a text such as `64KiB`; `None` if it isn't 1 to `largest`.
pub(super) fn body_size(text: &str, largest: usize) -> Option<usize> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    let size = number.parse::<usize>().ok()?.checked_mul(unit)?;
    (1..=largest).contains(&size).then_some(size)
}

pub(super) fn read_duration(
    node: &Node<'_>,
    expected: &str,
    fits: fn(Duration) -> bool,
    problems: &mut ConfigErrors,
) -> Duration {
    let parse = |text: &str| duration::parse(text).filter(|duration| fits(*duration));
    node.parsed(expected, parse, problems).unwrap_or_default()
}
