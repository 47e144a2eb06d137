//! Records that the workers of one Envoy share, changed by compare-and-set.
//!
//! A record's key carries the layout's version. An old and a new module that run side by side during
//! an upgrade therefore never read each other's bytes. Whoever changes the layout of a record raises
//! [`LAYOUT`]; `tests/records.rs` pins the bytes of every layout.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::host::Host;

/// The version of all records' layouts, as it appears in their keys.
pub const LAYOUT: &str = "v3";

/// How often a compare-and-set is tried before it is left to the next occasion.
const TRIES: usize = 16;

/// A record of one type under one key of the shared data.
#[derive(Debug)]
pub struct SharedRecord<T> {
    key: String,
    record: PhantomData<T>,
}

/// What one worker remembers of a record that it writes often, so that it needn't read what it wrote
/// itself.
///
/// A write doesn't return its mark, but the host numbers its writes one after the other. So a write over
/// the mark `m` gets `m + 1` if the process wrote no shared data since `m`, and a higher mark otherwise.
/// Therefore a record that carries `m + 1` is what this worker wrote: a compare-and-set with that mark
/// proves it, and fails if anything else was written. (Marks come again after four thousand million
/// writes, as for any compare-and-set.)
#[derive(Debug)]
pub(crate) struct LastWrite<T> {
    /// What this worker wrote, and the mark that the record then carries if nothing else was written.
    written: Option<(T, u32)>,
    /// Whether the record was found as this worker had left it the last time. If other workers write it
    /// as often, a guess mostly fails and costs a call, so the next one waits until one would have held.
    alone: bool,
}

impl<T> Default for LastWrite<T> {
    fn default() -> Self {
        Self { written: None, alone: false }
    }
}

/// The mark that a record has after a write over the mark `over`, if nothing else was written.
fn next_mark(over: u32) -> Option<u32> {
    // No write has the mark 0, which means any value.
    over.checked_add(1)
}

/// A record after a change.
struct Changed<T, R> {
    value: T,
    /// What the change returned.
    answer: R,
    /// The mark that was read.
    found: u32,
    /// The mark that goes with the value, if nothing else was written.
    mark: Option<u32>,
}

/// Why a shared record can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// There is no record under the key.
    Missing,
    /// There are bytes, but they are not a record of this layout.
    Unreadable,
}

impl<T: Serialize + DeserializeOwned> SharedRecord<T> {
    /// The record of a kind for a rollout, or for a list of them.
    pub(crate) fn new(kind: &str, name: &str) -> Self {
        Self { key: format!("canary.{LAYOUT}.{kind}.{name}"), record: PhantomData }
    }

    /// The key in the shared data.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`RecordError`] if there is none or its bytes can't be read.
    pub fn read(&self, host: &impl Host) -> Result<T, RecordError> {
        self.read_marked(host).map(|(value, _)| value)
    }

    /// The record, or a fresh one if there is none yet. Only the first configuration in a process
    /// creates records, and Envoy tries it in one VM before any other VM gets it. So this overwrites
    /// nothing, except bytes that no worker can read.
    pub fn create(&self, host: &impl Host, fresh: impl FnOnce() -> T) -> T {
        self.read(host).unwrap_or_else(|_| {
            let fresh = fresh();
            self.replace(host, &fresh, None);
            fresh
        })
    }

    /// Reads the record with the mark that a later [`SharedRecord::replace`] needs.
    ///
    /// # Errors
    /// As [`SharedRecord::read`].
    pub fn read_marked(&self, host: &impl Host) -> Result<(T, u32), RecordError> {
        self.read_unless(None, host)?.ok_or(RecordError::Missing)
    }

    /// The record with its mark, unless it still carries the mark `seen`: then it is as it was, and isn't
    /// decoded again. The host gives each write a mark of its own.
    ///
    /// # Errors
    /// As [`SharedRecord::read`].
    pub fn read_unless(
        &self,
        seen: Option<u32>,
        host: &impl Host,
    ) -> Result<Option<(T, u32)>, RecordError> {
        let (bytes, mark) = host.shared(&self.key).ok_or(RecordError::Missing)?;
        if seen == Some(mark) {
            return Ok(None);
        }
        let value = postcard::from_bytes(&bytes).map_err(|_| RecordError::Unreadable)?;
        Ok(Some((value, mark)))
    }

    /// Writes over the value that carried `mark`, or over any value if `mark` is `None`. `false`
    /// means that another worker has written since.
    pub fn replace(&self, host: &impl Host, value: &T, mark: Option<u32>) -> bool {
        let Ok(bytes) = postcard::to_allocvec(value) else {
            return false;
        };
        host.set_shared(&self.key, &bytes, mark)
    }

    /// Changes the record and returns its new value together with what `change` returned; `None` if
    /// there is no readable record, or if other workers were faster each time.
    pub fn update<R>(&self, host: &impl Host, mut change: impl FnMut(&mut T) -> R) -> Option<(T, R)>
    where
        T: Clone + PartialEq,
    {
        self.read_and_change(host, &mut change).map(|changed| (changed.value, changed.answer))
    }

    /// Changes the record like [`update`](Self::update), with the same guarantee, but doesn't read it if
    /// this worker was the last one that wrote.
    pub(crate) fn update_own<R>(
        &self,
        host: &impl Host,
        last: &mut LastWrite<T>,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Option<(T, R)>
    where
        T: Clone + PartialEq,
    {
        let written = last.written.take();
        if let Some((before, mark)) = written.as_ref().filter(|_| last.alone) {
            let mut after = before.clone();
            let answer = change(&mut after);
            if after != *before && self.replace(host, &after, Some(*mark)) {
                last.written = next_mark(*mark).map(|mark| (after.clone(), mark));
                return Some((after, answer));
            }
        }
        let Changed { value, answer, found, mark } = self.read_and_change(host, &mut change)?;
        last.alone = written.is_some_and(|(_, mark)| mark == found);
        last.written = mark.map(|mark| (value.clone(), mark));
        Some((value, answer))
    }

    /// Reads the record, changes it, and writes it if that made a difference.
    fn read_and_change<R>(
        &self,
        host: &impl Host,
        change: &mut impl FnMut(&mut T) -> R,
    ) -> Option<Changed<T, R>>
    where
        T: Clone + PartialEq,
    {
        for _ in 0..TRIES {
            let (before, found) = self.read_marked(host).ok()?;
            let mut value = before.clone();
            let answer = change(&mut value);
            if value == before {
                return Some(Changed { value, answer, found, mark: Some(found) });
            }
            if self.replace(host, &value, Some(found)) {
                return Some(Changed { value, answer, found, mark: next_mark(found) });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
