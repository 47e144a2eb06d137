//! Values out of JSON as model servers write it.
//!
//! Python's `json` module writes floats that aren't finite as bare `NaN`, `Infinity` and `-Infinity`,
//! and so do the servers that are built on it. JSON has no such values, so `serde_json` refuses the
//! whole document.

use std::fmt;

use canary_model::pointer::Pointer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What a server may write in the place of a value, although JSON doesn't have it.
const BARE_WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Reads as much of a JSON document as these pointers need, at most 32 of them; `None` if it isn't JSON.
/// Each pointer finds in the result what it would find in the document. The rest isn't kept, because
/// building all of a document takes several times as long and many times its size in memory.
///
/// A bare `NaN`, `Infinity` or `-Infinity` reads as the string of that text, which is how signals read
/// numbers that aren't finite.
pub fn select(text: &[u8], pointers: &[&Pointer]) -> Option<Value> {
    read(text, pointers).or_else(|| read(&quote(text)?, pointers))
}

fn read(text: &[u8], pointers: &[&Pointer]) -> Option<Value> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Selection { pointers, active: u32::MAX, depth: 0 }.deserialize(&mut json).ok()?;
    json.end().ok().map(|()| value)
}

/// The part of a value that is needed.
#[derive(Clone, Copy)]
struct Selection<'a> {
    pointers: &'a [&'a Pointer],
    /// One bit for each pointer that leads through or to this value.
    active: u32,
    /// How many steps lead here.
    depth: usize,
}

impl<'a> Selection<'a> {
    fn active(self) -> impl Iterator<Item = (usize, &'a Pointer)> {
        let all = self.pointers.iter().take(32).copied().enumerate();
        all.filter(move |(place, _)| self.active & (1 << place) != 0)
    }

    /// What is needed of a part of this value; `leads` says which pointers lead to it.
    fn part(self, leads: impl Fn(&Pointer) -> bool) -> Self {
        let leading = self.active().filter(|(_, pointer)| leads(pointer));
        let active = leading.fold(0, |active, (place, _)| active | 1 << place);
        Self { active, depth: self.depth + 1, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Selection<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        if self.active().next().is_none() {
            return json.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null);
        }
        if self.active().any(|(_, pointer)| pointer.depth() == self.depth) {
            return serde::Deserialize::deserialize(json);
        }
        json.deserialize_any(self)
    }
}

/// A value that pointers lead through. They lead nowhere in a value without parts, so it reads as null.
impl<'de> Visitor<'de> for Selection<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let place = items.len();
            let part = self.part(|pointer| pointer.may_enter_element(self.depth, place));
            match parts.next_element_seed(part)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, part)) = parts.next_key_seed(FieldName(self))? {
            let value = parts.next_value_seed(part)?;
            if let Some(name) = name {
                fields.insert(name, value);
            }
        }
        Ok(Value::Object(fields))
    }
}

/// Reads the name of a field of a selection: the name, if the field is needed, and what is needed of it.
struct FieldName<'a>(Selection<'a>);

impl<'de, 'a> DeserializeSeed<'de> for FieldName<'a> {
    type Value = (Option<String>, Selection<'a>);

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for FieldName<'a> {
    type Value = (Option<String>, Selection<'a>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let part = self.0.part(|pointer| pointer.enters_field(self.0.depth, name));
        Ok(((part.active != 0).then(|| name.to_owned()), part))
    }
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

// Proptest is for the host alone.
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
