//! JSON as model servers write it.
//!
//! Python's `json` module writes floats that aren't finite as bare `NaN`, `Infinity` and `-Infinity`,
//! and so do the servers that are built on it. JSON has no such values, so `serde_json` refuses the
//! whole document.

use serde_json::Value;

/// What a server may write in the place of a value, although JSON doesn't have it.
const BARE_WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Reads a JSON document; `None` if it isn't one. A bare `NaN`, `Infinity` or `-Infinity` reads as the
/// string of that text, which is how signals read numbers that aren't finite.
pub fn parse(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).ok().or_else(|| serde_json::from_slice(&quote(text)?).ok())
}

/// The text with its bare words in quotes; `None` if it has none.
fn quote(text: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::new();
    // What isn't copied yet begins at `copied`.
    let (mut copied, mut at, mut in_string) = (0, 0, false);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => at += 1,
            b'N' | b'I' | b'-' if !in_string => {
                if let Some(word) = bare_word(text.get(at..)?) {
                    quoted.extend_from_slice(text.get(copied..at)?);
                    quoted.push(b'"');
                    quoted.extend_from_slice(word);
                    quoted.push(b'"');
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    quoted.extend_from_slice(text.get(copied..)?);
    (copied > 0).then_some(quoted)
}

/// The bare word that a text begins with, if it is a whole value: a field's name isn't one.
fn bare_word(text: &[u8]) -> Option<&'static [u8]> {
    let word = BARE_WORDS.into_iter().find(|word| text.starts_with(word))?;
    let behind = text.get(word.len()..)?.trim_ascii_start().first();
    behind.is_none_or(|byte| matches!(byte, b',' | b']' | b'}')).then_some(word)
}

#[cfg(test)]
mod tests;
