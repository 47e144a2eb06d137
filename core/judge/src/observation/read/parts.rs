//! What lines are made of: counts, bins, bounded tables, samples.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use canary_model::histogram::{BinsVisitor, Histogram};
use canary_model::weight::Weight;

/// The largest count: up to here a float holds every integer.
const MAX_COUNT: u64 = 1 << 53;
/// The most bytes of a signal's, a class's or a metric's name.
const MAX_NAME: usize = 128;

/// A count; also one that was written as a float (`950.0`).
#[derive(Clone, Copy)]
pub(super) struct CountDocument(pub(super) u64);

impl<'de> Deserialize<'de> for CountDocument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(CountVisitor)
    }
}

impl From<CountDocument> for u64 {
    fn from(count: CountDocument) -> Self {
        count.0
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = CountDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {MAX_COUNT}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<CountDocument, E> {
        if number > MAX_COUNT {
            return Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self));
        }
        Ok(CountDocument(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<CountDocument, E> {
        if number.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(&number) {
            return Ok(CountDocument(number as u64));
        }
        Err(E::invalid_value(serde::de::Unexpected::Float(number), &self))
    }
}

/// A weight in percent.
pub(super) struct Percent(pub(super) Weight);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(from)?;
        Weight::from_json(&number).map(Self).map_err(D::Error::custom)
    }
}

/// A histogram as `[[lower bound, width, count], …]`.
pub(super) struct BinsDocument(pub(super) Histogram);

impl<'de> Deserialize<'de> for BinsDocument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(BinsVisitor::<CountDocument>::default()).map(Self)
    }
}

/// A table of at most `MAX` names.
pub(super) struct Limited<T, const MAX: usize>(pub(super) BTreeMap<String, T>);

impl<T, const MAX: usize> Default for Limited<T, MAX> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Limited<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(NamesVisitor::<T, MAX>(PhantomData)).map(Self)
    }
}

struct NamesVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for NamesVisitor<T, MAX> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX} names of at most {MAX_NAME} bytes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut table = BTreeMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            if table.len() >= MAX || name.len() > MAX_NAME {
                entries.next_value::<IgnoredAny>()?;
                return Err(A::Error::invalid_length(table.len() + 1, &self));
            }
            table.insert(name, entries.next_value()?);
        }
        Ok(table)
    }
}

/// How often each class was seen.
pub(super) struct ClassesDocument(pub(super) BTreeMap<String, u64>);

impl<'de> Deserialize<'de> for ClassesDocument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let table = Limited::<CountDocument, { super::MAX_CLASSES }>::deserialize(from)?;
        Ok(Self(table.0.into_iter().map(|(name, count)| (name, count.0)).collect()))
    }
}

/// A sample as Prometheus writes it: what JSON has no number for is text.
pub(super) struct SampleDocument(pub(super) f64);

impl<'de> Deserialize<'de> for SampleDocument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SampleVisitor).map(Self)
    }
}

struct SampleVisitor;

impl Visitor<'_> for SampleVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"+Inf\" or \"-Inf\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .into_iter()
            .find(|value| special(*value) == text)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// How Prometheus writes values that are not finite numbers.
pub(in crate::observation) const fn special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}
