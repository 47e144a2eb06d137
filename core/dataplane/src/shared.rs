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
        for _ in 0..TRIES {
            let (before, mark) = self.read_marked(host).ok()?;
            let mut after = before.clone();
            let answer = change(&mut after);
            if after == before || self.replace(host, &after, Some(mark)) {
                return Some((after, answer));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Process;

    #[test]
    fn a_record_is_decoded_once_a_mark() {
        let process = Process::default();
        let record = SharedRecord::<u32>::new("test", "demo");
        assert_eq!(record.read_unless(None, &process), Err(RecordError::Missing));
        assert!(record.replace(&process, &7, None));
        let (value, mark) = record.read_unless(None, &process).unwrap().unwrap();
        assert_eq!(value, 7);
        assert_eq!(record.read_unless(Some(mark), &process), Ok(None));
        assert!(record.replace(&process, &8, Some(mark)));
        let (value, newer) = record.read_unless(Some(mark), &process).unwrap().unwrap();
        assert_eq!(value, 8);
        // A record that is gone isn't what it was.
        process.forget(record.key());
        assert_eq!(record.read_unless(Some(newer), &process), Err(RecordError::Missing));
    }
}
