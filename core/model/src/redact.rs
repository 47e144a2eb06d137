//! URLs without their secrets. Pure.
//!
//! The user info of a URL (`user:password@`) and its query (`?token=…`) may be secrets. Texts that are
//! shown or recorded have `redacted` in their place.

/// What stands in a secret's place, here and in whatever else hides secrets.
pub const HIDDEN: &str = "redacted";

/// A URL, or a text with URLs in it, such as a rollout file, without the URLs' user info, query and
/// fragment. Everything else stays as it is, so that a redacted file can still be read.
///
/// ```
/// use canary_model::redact::redacted;
/// assert_eq!(redacted("https://me:pw@host:1/a?token=x"), "https://redacted@host:1/a?redacted");
/// assert_eq!(redacted("url: 'http://a/b?c', x: 1"), "url: 'http://a/b?redacted', x: 1");
/// ```
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let scheme =
            before.len() - before.trim_end_matches(|c: char| c.is_ascii_alphanumeric()).len();
        let quote = before.chars().rev().nth(scheme).filter(|c| matches!(c, '"' | '\''));
        let (url, tail) = after.split_at(end(after, quote));
        shown.push_str(&without_secrets(url));
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

/// Where a URL ends: at its quote, or where a plain scalar of YAML and a word of a sentence end.
fn end(text: &str, quote: Option<char>) -> usize {
    for (at, character) in text.char_indices() {
        let next_is_space =
            || text.get(at + 1..).is_none_or(|rest| rest.starts_with(char::is_whitespace));
        let ends = match quote {
            Some(quote) => character == quote || character == '\n',
            None => {
                character.is_whitespace()
                    || matches!(character, '"' | '<' | '>' | '}' | ']')
                    || (matches!(character, ',' | ';' | ':') && next_is_space())
            }
        };
        if ends {
            return at;
        }
    }
    text.len()
}

/// What follows `://`, without user info, query and fragment.
fn without_secrets(url: &str) -> String {
    let secret = url.find(['?', '#']).unwrap_or(url.len());
    let (plain, hidden) = url.split_at(secret);
    let authority = plain.find('/').unwrap_or(plain.len());
    let (authority, path) = plain.split_at(authority);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let mark = hidden.chars().next().map_or(String::new(), |mark| format!("{mark}{HIDDEN}"));
    format!("{host}{path}{mark}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (text, shown) in [
            ("http://a:9090/x", "http://a:9090/x"),
            ("http://me:p@ss@a:9090", "http://redacted@a:9090"),
            ("https://a/b?token=x&y=z#f", "https://a/b?redacted"),
            ("{url: https://a/b?t=1, on: [x]}", "{url: https://a/b?redacted, on: [x]}"),
            (
                "{\"url\": \"https://u:p@a/?t='1', 2\", \"n\": 1}",
                "{\"url\": \"https://redacted@a/?redacted\", \"n\": 1}",
            ),
            ("a: http://u:p@b\nc: unix:///d\n", "a: http://redacted@b\nc: unix:///d\n"),
            ("gate https://a/ok?t=1: 403", "gate https://a/ok?redacted: 403"),
            ("no URL?", "no URL?"),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(redacted(shown), shown, "redacting again changes nothing");
        }
    }
}
