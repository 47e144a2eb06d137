//! The reader of Envoy's `GET /runtime`, which runs in the filter several times a second.
//!
//! The answer holds every key of every product that uses this Envoy's runtime, each with its value in
//! each layer: 87 KB at a thousand keys. It is therefore skimmed: one pass, no value tree, and
//! nothing is kept but the final value of the keys that belong to a wanted rollout.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MAX_VALUE, RuntimeKey, Setting};

/// The most keys that are kept of one answer: far more than the rollouts of one Envoy have.
pub const MAX_KEYS: usize = 4_096;

/// The final values of the runtime keys that belong to rollouts. An empty value counts as a missing
/// key: that is how Envoy shows an override that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In order of the rollouts' names and of the settings.
    entries: Vec<RuntimeEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RuntimeEntry {
    rollout: String,
    setting: Setting,
    value: String,
}

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
        Self::skim(answer, &wanted)
    }

    fn skim(answer: &[u8], wanted: &dyn Fn(&str) -> bool) -> Result<Self, ReadError> {
        // Other products' keys and values need not be UTF-8.
        let answer = String::from_utf8_lossy(answer);
        let mut reader = Reader::new(wanted);
        let mut json = serde_json::Deserializer::from_slice(answer.as_bytes());
        let skim = Skim { reader: &mut reader, place: Position::Answer };
        let read = skim.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| ReadError(error.to_string()))?;
        reader.problem.map_or(Ok(reader.snapshot), |problem| Err(ReadError(problem)))
    }

    /// The value of a rollout's setting; `None` where there is none.
    pub fn get(&self, rollout: &str, setting: Setting) -> Option<&str> {
        let place = self.place(rollout, setting).ok()?;
        self.entries.get(place).map(|entry| entry.value.as_str())
    }

    /// The rollouts that have at least one key, in order of their names.
    pub fn rollouts(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        let names = self.entries.iter().map(|entry| entry.rollout.as_str());
        names.filter(move |name| last.replace(*name) != Some(*name))
    }

    fn insert(&mut self, entry: RuntimeEntry) {
        match self.place(&entry.rollout, entry.setting) {
            Ok(place) => self.entries.splice(place..=place, [entry]),
            Err(place) => self.entries.splice(place..place, [entry]),
        };
    }

    /// Where a setting stands, or else belongs.
    fn place(&self, rollout: &str, setting: Setting) -> Result<usize, usize> {
        let sought = (rollout, setting);
        self.entries.binary_search_by(|entry| (&*entry.rollout, entry.setting).cmp(&sought))
    }
}

/// Where in the answer the reader stands.
#[derive(Clone, Copy)]
enum Position {
    /// The whole response of `GET /runtime`.
    Answer,
    /// `entries`: the keys of the whole runtime.
    Entries,
    /// A key below `canary.`, as opposed to one that is skipped.
    Entry,
    /// A wanted key's `final_value`.
    Value,
}

/// What was read so far.
struct Reader<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    snapshot: Snapshot,
    entries_seen: bool,
    kept: usize,
    /// The wanted key whose entry is read, and its final value as soon as it is found.
    key: Option<(String, Setting)>,
    value: Option<String>,
    /// What is wrong first with an answer that is sound JSON.
    problem: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(wanted: &'a dyn Fn(&str) -> bool) -> Self {
        let (snapshot, entries_seen, kept) = (Snapshot::default(), false, 0);
        Self { wanted, snapshot, entries_seen, kept, key: None, value: None, problem: None }
    }

    /// What stands in a field of an object; `None`: nothing that is read.
    fn enter(&mut self, object: Position, field: &str) -> Option<Position> {
        match object {
            Position::Answer if field == "entries" => {
                if std::mem::replace(&mut self.entries_seen, true) {
                    self.wrong("entries twice");
                }
                Some(Position::Entries)
            }
            Position::Entries => {
                let key = RuntimeKey::parse(field).filter(|key| (self.wanted)(key.rollout))?;
                self.key = Some((key.rollout.to_owned(), key.setting));
                self.value = None;
                Some(Position::Entry)
            }
            Position::Entry if field == "final_value" => Some(Position::Value),
            Position::Answer | Position::Entry | Position::Value => None,
        }
    }

    /// The end of an object.
    fn leave(&mut self, object: Position) {
        match object {
            Position::Answer if !self.entries_seen => self.wrong("no entries"),
            Position::Entry => self.keep(),
            Position::Answer | Position::Entries | Position::Value => {}
        }
    }

    fn keep(&mut self) {
        let Some(value) = self.value.take() else {
            return self.wrong("no final_value");
        };
        let Some((rollout, setting)) = self.key.take().filter(|_| !value.is_empty()) else {
            return;
        };
        self.kept += 1;
        if self.kept > MAX_KEYS {
            return self.wrong(&format!("more than {MAX_KEYS} keys of rollouts"));
        }
        self.snapshot.insert(RuntimeEntry { rollout, setting, value });
    }

    /// Takes the text of a wanted key.
    fn text(&mut self, text: &str) {
        let end = text.ceil_char_boundary(MAX_VALUE + 1);
        self.value = text.get(..end).map(str::to_owned);
    }

    /// Something else stands at a place than belongs there.
    fn found(&mut self, place: Position, what: &str) {
        let expected = match place {
            Position::Answer => "an object with entries",
            Position::Entries => "an object of runtime keys",
            Position::Entry => "an object with final_value",
            Position::Value => "a string",
        };
        self.wrong(&format!("expected {expected}, found {what}"));
    }

    fn wrong(&mut self, problem: &str) {
        let at = match &self.key {
            Some((rollout, setting)) => format!("{}: ", RuntimeKey::new(rollout, *setting)),
            None => String::new(),
        };
        self.problem.get_or_insert(at + problem);
    }
}

/// Takes what stands at one place of the answer.
struct Skim<'r, 'a> {
    reader: &'r mut Reader<'a>,
    place: Position,
}

impl<'de> DeserializeSeed<'de> for Skim<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Every kind of value is answered for here: serde's own refusal would show the value, and bring the
/// printing of floats with it, which is a tenth of the whole filter.
impl<'de> Visitor<'de> for Skim<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of /runtime")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { reader, place: object } = self;
        if matches!(object, Position::Value) {
            reader.found(object, "an object");
        }
        while let Some(inside) = map.next_key_seed(Field { reader, object })? {
            match inside {
                Some(place) => map.next_value_seed(Skim { reader, place })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        reader.leave(object);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.place {
            Position::Value => self.reader.text(text),
            place => self.reader.found(place, "a string"),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.reader.found(self.place, "a list");
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.reader.found(self.place, "null");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.reader.found(self.place, "a boolean");
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.reader.found(self.place, "a number");
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.reader.found(self.place, "a number");
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.reader.found(self.place, "a number");
        Ok(())
    }
}

/// Takes the name of a field, and says what stands in it. Most names belong to others: none is kept.
struct Field<'r, 'a> {
    reader: &'r mut Reader<'a>,
    object: Position,
}

impl<'de> DeserializeSeed<'de> for Field<'_, '_> {
    type Value = Option<Position>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Field<'_, '_> {
    type Value = Option<Position>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.reader.enter(self.object, name))
    }
}

#[cfg(test)]
mod tests;
