//! Reading one field of a rollout file: optional ones, and URLs.

use canary_model::document::{ConfigErrors, Node, Object};

/// The longest URL, in bytes.
pub(crate) const MAX_URL: usize = 2_048;

/// What one field says, or its default.
pub(super) fn given<'a, T>(
    fields: &Object<'a>,
    name: &str,
    default: T,
    read: impl FnOnce(&Node<'a>, &mut ConfigErrors) -> Option<T>,
    problems: &mut ConfigErrors,
) -> Option<T> {
    fields.get(name).map_or(Some(default), |node| read(&node, problems))
}

/// What one field says, or that it is not there; `None` where it can't be read.
pub(super) fn optional<'a, T>(
    fields: &Object<'a>,
    name: &str,
    read: impl FnOnce(&Node<'a>, &mut ConfigErrors) -> Option<T>,
    problems: &mut ConfigErrors,
) -> Option<Option<T>> {
    fields.get(name).map_or(Some(None), |node| read(&node, problems).map(Some))
}

/// Whether a text is a plain http or https URL.
pub(super) fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric() || c == '['));
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    host && text.len() <= MAX_URL && text.chars().all(plain)
}

/// The required field `url`.
pub(super) fn url(fields: &Object<'_>, problems: &mut ConfigErrors) -> Option<String> {
    let read = |text: &str| is_url(text).then(|| text.to_owned());
    fields.require("url", problems)?.parsed(
        "a URL that begins with http:// or https://",
        read,
        problems,
    )
}
