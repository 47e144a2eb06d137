//! What may be called what: rollouts, versions, signals, their bins, headers and cookies.
//!
//! Most of these names become parts of statistics' names, where dots separate the parts and versions
//! contain dots themselves. A part that names a metric therefore ends the version, and no version or
//! bin may contain one: that is what makes every name readable, for [`StatName`](crate::stat_name) as
//! well as for a regular expression.

/// What a rollout's name looks like, for error messages.
pub const ROLLOUT_EXPECTED: &str = "a name of at most 63 characters a-z, 0-9, _ and -, beginning with a letter or digit, and not `filter`";

/// What a version's label looks like, for error messages.
pub const VERSION_EXPECTED: &str = "a version of at most 63 letters, digits, `.`, `_` and `-`, beginning with a letter or digit; it can't be `other`, and no part between its dots can be `signal`, `value` or the name of a statistic like `rq_total`";

/// What a signal's name looks like, for error messages.
pub const SIGNAL_EXPECTED: &str = "a name of 1 to 63 characters a-z, 0-9 and _";

/// Where the filter's own statistics are, so no rollout can have this name.
pub const FILTER: &str = "filter";

/// The version under which the filter counts once a role has had too many versions. No configured
/// version can have this name.
pub const OTHER_VERSION: &str = "other";

/// The longest name of a rollout and the longest version, in characters.
pub const MAX_NAME: usize = 63;

/// The words with which a metric can begin in a statistic's name, including those that no filter
/// emits yet: the rule for versions must not change when one is added.
pub const METRIC_WORDS: [&str; 38] = [
    "rq_total",
    "rq_failure",
    "rq_2xx",
    "rq_3xx",
    "rq_4xx",
    "rq_5xx",
    "judged_total",
    "judged_failure",
    "assigned_total",
    "judged_unanswered",
    "rq_broken",
    "rq_overdue",
    "rq_abandoned",
    "client_total",
    "client_failure",
    "client_first_failure",
    "rq_rescued",
    "rq_forced",
    "rq_time_us",
    "rq_ttfb_us",
    "rq_gap_us",
    "rq_time_first_us",
    "rq_ttfb_first_us",
    "rq_gap_first_us",
    "signal",
    "signal_first",
    "value",
    "value_first",
    "weight_ppm",
    "guard_tripped",
    "lease_expired",
    "epoch",
    "outcome_age_seconds",
    "poll_success",
    "poll_failure",
    "invalid_runtime",
    "config_rejected",
    "heartbeat",
];

/// Whether `part` is one of [`METRIC_WORDS`].
pub fn is_metric_word(part: &str) -> bool {
    METRIC_WORDS.contains(&part)
}

/// Whether a rollout may have this name: `[a-z0-9]([a-z0-9_-]{0,62})`, and not [`FILTER`].
pub fn is_rollout_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let later = |byte: u8| first(byte) || matches!(byte, b'_' | b'-');
    name != FILTER && is_word(name, first, later)
}

/// Whether a role may have this version label, wherever it comes from (configuration, runtime,
/// command line, registry): `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, not [`OTHER_VERSION`], and without a
/// dot-separated part that is one of [`METRIC_WORDS`].
pub fn is_version(label: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric();
    let later = |byte: u8| first(byte) || matches!(byte, b'.' | b'_' | b'-');
    is_word(label, first, later) && label != OTHER_VERSION && !label.split('.').any(is_metric_word)
}

fn is_word(text: &str, first: impl Fn(u8) -> bool, later: impl Fn(u8) -> bool) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_NAME && bytes.next().is_some_and(first) && bytes.all(later)
}

/// Whether `text` names a signal: `[a-z0-9_]{1,63}`.
pub fn is_signal(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    is_word(text, word, word)
}

/// Whether `text` names a signal's bin: `[A-Za-z0-9_-]{1,63}`, and not one of [`METRIC_WORDS`].
pub fn is_bin(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    is_word(text, word, word) && !is_metric_word(text)
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
    fn rollouts() {
        for name in ["a", "0", "scorer", "a_b-c", "rq_total", &"a".repeat(63)] {
            assert!(is_rollout_name(name), "{name}");
        }
        for name in ["", "A", "_a", "-a", "a.b", "filter", "é", &"a".repeat(64)] {
            assert!(!is_rollout_name(name), "{name}");
        }
    }

    #[test]
    fn versions() {
        for label in [
            "3.1",
            "A",
            "v1.2.3-rc_1",
            "1.",
            "1..2",
            "others",
            "1.other",
            "signals.1",
            "1-rq_total",
            "RQ_TOTAL",
            &"a".repeat(63),
        ] {
            assert!(is_version(label), "{label}");
        }
        for label in ["", ".1", "-1", "a b", "a/b", "a@b", "other", &"a".repeat(64)] {
            assert!(!is_version(label), "{label}");
        }
    }

    #[test]
    fn no_version_contains_a_metrics_name() {
        for word in METRIC_WORDS {
            for label in
                [word.to_owned(), format!("1.{word}"), format!("{word}.1"), format!("1.{word}.2")]
            {
                assert!(!is_version(&label), "{label}");
            }
            assert!(!is_bin(word), "{word}");
        }
    }

    #[test]
    fn signals_bins_and_tokens() {
        assert!(is_signal("label_2") && is_signal("rq_total"));
        assert!(!is_signal("Label") && !is_signal("") && !is_signal(&"a".repeat(64)));
        assert!(is_bin("Cat-1") && is_bin("-") && !is_bin("a.b") && !is_bin(""));
        assert!(is_token("x-user-id") && !is_token("a b") && !is_token(":path") && !is_token(""));
    }
}
