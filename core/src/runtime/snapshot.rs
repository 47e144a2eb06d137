//! The reader of Envoy's `GET /runtime`, which runs in the filter several times a second.
//!
//! The answer holds every key of every product that uses this Envoy's runtime, each with its value in
//! each layer: 87 KB at a thousand keys. It is therefore skimmed: one pass, no value tree, and
//! nothing is kept but the final value of the keys that belong to a wanted rollout.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{MAX_VALUE, RuntimeKey, Setting};

/// The most keys that are kept of one answer: far more than the rollouts of one Envoy have.
pub const MAX_KEYS: usize = 4_096;

/// The final values of the runtime keys that belong to rollouts. An empty value counts as a missing
/// key: that is how Envoy shows an override that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<String, BTreeMap<Setting, String>>);

/// An answer that is not what Envoy's `/runtime` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(String);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an answer of Envoy's /runtime: {}", self.0)
    }
}

impl std::error::Error for ReadError {}

impl Snapshot {
    /// Skims an answer of `/runtime` for the keys of the rollouts that `wanted` names.
    ///
    /// Fields that are not known are skipped. Values longer than [`MAX_VALUE`] bytes are cut just
    /// behind that length, so that they stay recognisable as too long.
    ///
    /// # Errors
    /// [`ReadError`] where the bytes are no JSON object with an object `entries`, where a wanted key
    /// has no text as its final value, or where more than [`MAX_KEYS`] keys are wanted.
    pub fn read(answer: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Self, ReadError> {
        let mut snapshot = Self::default();
        let mut json = serde_json::Deserializer::from_slice(answer);
        let found = AnswerVisitor { entries: EntriesSeed { wanted, snapshot: &mut snapshot } };
        json.deserialize_map(found)
            .and_then(|()| json.end())
            .map_err(|error| ReadError(error.to_string()))?;
        Ok(snapshot)
    }

    /// The value of a rollout's setting; `None` where there is none.
    pub fn get(&self, rollout: &str, setting: Setting) -> Option<&str> {
        self.0.get(rollout)?.get(&setting).map(String::as_str)
    }

    /// The rollouts that have at least one key, in order of their names.
    pub fn rollouts(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn insert(&mut self, key: RuntimeKey<'_>, value: String) {
        self.0.entry(key.rollout.to_owned()).or_default().insert(key.setting, value);
    }
}

/// The answer: an object whose field `entries` is read and whose others are skipped.
struct AnswerVisitor<'s, W> {
    entries: EntriesSeed<'s, W>,
}

impl<'de, W: Fn(&str) -> bool> Visitor<'de> for AnswerVisitor<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut entries = Some(self.entries);
        while let Some(is_entries) = map.next_key_seed(KeySeed(|key: &[u8]| key == b"entries"))? {
            if !is_entries {
                map.next_value::<IgnoredAny>()?;
            } else if let Some(seed) = entries.take() {
                map.next_value_seed(seed)?;
            } else {
                return Err(A::Error::duplicate_field("entries"));
            }
        }
        if entries.is_some() { Err(A::Error::missing_field("entries")) } else { Ok(()) }
    }
}

/// `entries`: the keys of the whole runtime.
struct EntriesSeed<'s, W> {
    wanted: W,
    snapshot: &'s mut Snapshot,
}

impl<'de, W: Fn(&str) -> bool> DeserializeSeed<'de> for EntriesSeed<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W: Fn(&str) -> bool> Visitor<'de> for EntriesSeed<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of runtime keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let wanted = &self.wanted;
        let keep = |key: &[u8]| -> Option<String> {
            let text = std::str::from_utf8(key).ok()?;
            RuntimeKey::parse(text).filter(|key| wanted(key.rollout)).map(|_| text.to_owned())
        };
        let mut count = 0;
        while let Some(kept) = map.next_key_seed(KeySeed(keep))? {
            let Some(text) = kept else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(EntrySeed)?;
            let Some(key) = RuntimeKey::parse(&text) else {
                continue;
            };
            if value.is_empty() {
                continue;
            }
            count += 1;
            if count > MAX_KEYS {
                return Err(A::Error::custom(format_args!(
                    "more than {MAX_KEYS} keys of rollouts"
                )));
            }
            self.snapshot.insert(key, value);
        }
        Ok(())
    }
}

/// One wanted entry: the text of its `final_value`.
struct EntrySeed;

impl<'de> DeserializeSeed<'de> for EntrySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with final_value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let mut value = None;
        while let Some(is_final) = map.next_key_seed(KeySeed(|key: &[u8]| key == b"final_value"))? {
            if is_final {
                value = Some(map.next_value_seed(ValueSeed)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        value.ok_or_else(|| A::Error::missing_field("final_value"))
    }
}

/// A key, handed to a function as the bytes it has: other products' keys need not be UTF-8, and none
/// of them is worth an allocation.
struct KeySeed<F>(F);

impl<'de, T, F: FnOnce(&[u8]) -> T> DeserializeSeed<'de> for KeySeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<T, F: FnOnce(&[u8]) -> T> Visitor<'_> for KeySeed<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<T, E> {
        Ok((self.0)(bytes))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text.as_bytes()))
    }
}

/// A value: text, made valid UTF-8 and cut behind [`MAX_VALUE`].
struct ValueSeed;

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for ValueSeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        let kept = bytes.get(..=MAX_VALUE).unwrap_or(bytes);
        Ok(String::from_utf8_lossy(kept).into_owned())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        self.visit_bytes(text.as_bytes())
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
