//! The names of Kubernetes objects and of Envoy's routes.

use xxhash_rust::xxh64::xxh64;

/// The longest name of a Kubernetes object, in characters (a DNS subdomain, RFC 1123).
const LONGEST: usize = 253;
/// The longest value of a label, and the longest DNS label.
const LABEL: usize = 63;
/// The length of what [`with_hash`] appends.
const HASH: usize = 9;

/// The name that a rollout's objects have. A rollout's name that is a DNS label stays as it is. Any
/// other gets a hash of the original, because `a_b` and `a-b` would be the same object otherwise, and
/// the object that is applied last would win.
pub(super) fn object_name(rollout: &str) -> String {
    if is_dns_label(rollout) {
        return rollout.to_owned();
    }
    let plain: String = rollout.replace('_', "-").chars().take(LABEL - HASH).collect();
    with_hash(plain.trim_end_matches('-'), rollout)
}

/// One name for something that belongs to several rollouts: their names, joined by dots, which no
/// rollout's name has.
pub(super) fn joined(objects: &[&str]) -> String {
    let name = objects.join(".");
    if name.len() <= LONGEST {
        return name;
    }
    let first = objects.first().copied().unwrap_or_default();
    with_hash(first, &name)
}

/// `name` and eight hexadecimal digits that depend on all of `of`.
fn with_hash(name: &str, of: &str) -> String {
    format!("{name}-{:08x}", xxh64(of.as_bytes(), 0) & 0xffff_ffff)
}

/// Whether this is a DNS label (RFC 1123): what Kubernetes allows as the name of a service or namespace.
pub(super) fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= LABEL
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

/// Whether this is a value that Kubernetes allows for a label, and not empty.
pub(super) fn is_label_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.len() <= LABEL
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert!(
            is_dns_label("a") && is_dns_label("a-1") && !is_dns_label("a-") && !is_dns_label("")
        );
        assert!(is_label_value("3.1_A") && !is_label_value("3.1.") && !is_label_value(""));
    }

    /// The hash is part of what users have in their clusters, so its value is fixed.
    #[test]
    fn names_that_kubernetes_refuses_get_a_hash_and_stay_different() {
        let names = ["a-b", "a_b", "a-b-", "a_b-", "a_b_", "a-b_"].map(object_name);
        assert_eq!(names[0], "a-b");
        for (at, name) in names.iter().enumerate() {
            assert!(is_dns_label(name), "{name}");
            assert!(!names[..at].contains(name), "{names:?}");
        }
        assert_eq!(object_name("a_b"), names[1]);
    }

    #[test]
    fn a_long_name_stays_a_label() {
        let name = object_name(&format!("{}_", "x".repeat(62)));
        assert!(is_dns_label(&name), "{name}");
    }

    #[test]
    fn long_joined_names_are_shortened() {
        assert_eq!(joined(&["a", "b-c"]), "a.b-c");
        let long = "x".repeat(63);
        let many = joined(&[long.as_str(); 5]);
        assert!(many.len() <= LONGEST && many != joined(&[long.as_str(); 6]), "{many}");
    }
}
