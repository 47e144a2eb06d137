//! Cookies: finding one in a request (RFC 6265, section 4.2) and setting the cohort cookie.

use std::time::Duration;

/// The value of the first cookie called `name` in a `cookie` header; `None` if there is none or it
/// is empty. Bytes, since a client may send anything.
pub fn find<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?;
        Some(value.trim_ascii()).filter(|value| !value.is_empty())
    })
}

/// The `set-cookie` value that keeps a client in its cohort. `Max-Age` is in whole seconds.
pub fn set(name: &str, id: &str, max_age: Duration, secure: bool) -> String {
    let max_age = max_age.as_secs();
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}")
}

/// A cookie id: 128 random bits as 32 lower-case hex digits.
pub fn id(high: u64, low: u64) -> String {
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_among_others() {
        let found = |header: &'static str| find(header.as_bytes(), "canary-cohort");
        assert_eq!(found("a=b; canary-cohort=xyz; c=d"), Some(&b"xyz"[..]));
        assert_eq!(found("canary-cohort=x=y"), Some(&b"x=y"[..]));
        assert_eq!(found("canary-cohort=1;canary-cohort=2"), Some(&b"1"[..]));
        assert_eq!(found("canary-cohort=;canary-cohort=2"), Some(&b"2"[..]));
        for header in [
            "",
            "canary-cohort",
            "canary-cohort=",
            "xcanary-cohort=1",
            "Canary-Cohort=1",
            "canary-cohort2=1",
            ";;;=",
        ] {
            assert_eq!(found(header), None, "{header}");
        }
        assert_eq!(find(b"\xff\xfe; n=\xff", "n"), Some(&b"\xff"[..]));
    }

    #[test]
    fn sets() {
        let day = Duration::from_secs(86_400);
        let plain =
            "n=0000000000000001000000000000000f; Path=/; HttpOnly; SameSite=Lax; Max-Age=86400";
        assert_eq!(set("n", &id(1, 15), day, false), plain);
        assert_eq!(set("n", &id(1, 15), day, true), format!("{plain}; Secure"));
    }
}
