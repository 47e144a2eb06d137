//! What may be called what, beyond the names in `stat_name`: signals, their bins, headers and cookies.

/// What a rollout's name looks like, for error messages.
pub const ROLLOUT_EXPECTED: &str = "a name of at most 63 characters a-z, 0-9, _ and -, beginning with a letter or digit, and not `filter`";

/// What a version's label looks like, for error messages.
pub const VERSION_EXPECTED: &str =
    "a version of at most 63 letters, digits, `.`, `_` and `-`, beginning with a letter or digit";

/// Whether `text` names a signal: `[a-z0-9_]{1,63}`.
pub fn is_signal(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&text.len()) && text.bytes().all(word)
}

/// Whether `text` names a signal's bin: `[A-Za-z0-9_-]{1,63}`.
pub fn is_bin(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=63).contains(&text.len()) && text.bytes().all(word)
}

/// Whether `text` is a token of RFC 9110, section 5.6.2: a header's, cookie's or method's name.
pub fn is_token(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars() {
        assert!(is_signal("label_2") && !is_signal("Label") && !is_signal(""));
        assert!(is_bin("Cat-1") && !is_bin("a.b"));
        assert!(is_token("x-user-id") && !is_token("a b") && !is_token(":path") && !is_token(""));
    }
}
