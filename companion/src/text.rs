//! Texts from elsewhere, made fit for a message.

/// The text on one line, with control characters as spaces, cut to so many characters; `…` marks a cut.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut characters = text.trim().chars().map(plain);
    let short: String = characters.by_ref().take(longest).collect();
    if characters.next().is_none() {
        return short;
    }
    short.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_marked() {
        assert_eq!(shortened(" two\nlines ", 300), "two lines");
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüx", 3), "äö…");
        assert_eq!(shortened(&"x".repeat(400), 300).chars().count(), 300);
    }
}
