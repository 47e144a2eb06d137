//! What the workers of one Envoy share: records in Envoy's shared data, changed by compare-and-set.
//!
//! A key carries the format's version, so that an old and a new module that run side by side during
//! an upgrade never read each other's bytes.

use canary_dataplane::clients::{ClientSet, RecentFailures};
use canary_dataplane::control::Control;
use canary_dataplane::guard::Guard;
use canary_dataplane::poll::Term;
use serde::{Serialize, de::DeserializeOwned};

use crate::host;

/// How often a compare-and-set is tried before it is left to the next occasion.
const TRIES: usize = 16;

/// A record of one type under one key.
pub(crate) struct Record<T> {
    key: String,
    of: std::marker::PhantomData<T>,
}

impl Record<Control> {
    /// What is in force for a rollout.
    pub(crate) fn control(rollout: &str) -> Self {
        Self::at(format!("canary.v1.control.{rollout}"))
    }
}

impl Record<Guard> {
    /// The guard's score of a rollout.
    pub(crate) fn guard(rollout: &str) -> Self {
        Self::at(format!("canary.v1.guard.{rollout}"))
    }
}

impl Record<RecentFailures> {
    /// The clients of a rollout that failed in the last ten seconds.
    pub(crate) fn recent(rollout: &str) -> Self {
        Self::at(format!("canary.v1.recent.{rollout}"))
    }
}

impl Record<ClientSet> {
    /// The clients of a rollout that failed in the window.
    pub(crate) fn failed(rollout: &str) -> Self {
        Self::at(format!("canary.v1.failed.{rollout}"))
    }
}

impl Record<Term> {
    /// The term of the workers that poll for the same rollouts.
    pub(crate) fn term<'a>(rollouts: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<_> = rollouts.collect();
        Self::at(format!("canary.v1.term.{}", names.join(".")))
    }
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    fn at(key: String) -> Self {
        Self { key, of: std::marker::PhantomData }
    }

    /// The record, if there is a readable one.
    pub(crate) fn read(&self) -> Option<T> {
        self.read_marked().map(|(value, _)| value)
    }

    /// The record; a new one where there is none yet. Only the first configuration in a process
    /// creates any, and it is tried in one VM before any other has it, so nothing is overwritten.
    pub(crate) fn create(&self, fresh: impl FnOnce() -> T) -> T {
        self.read().unwrap_or_else(|| {
            let fresh = fresh();
            self.replace(&fresh, None);
            fresh
        })
    }

    /// The record with the mark that a later [`Record::replace`] needs.
    pub(crate) fn read_marked(&self) -> Option<(T, u32)> {
        let (bytes, mark) = host::shared(&self.key)?;
        postcard::from_bytes(&bytes).ok().map(|value| (value, mark))
    }

    /// Writes over the value that carried `mark`, or where there was none; false if another worker
    /// has written since.
    pub(crate) fn replace(&self, value: &T, mark: Option<u32>) -> bool {
        let Ok(bytes) = postcard::to_allocvec(value) else {
            return false;
        };
        host::set_shared(&self.key, &bytes, mark)
    }

    /// Changes the record and answers with its new value and what `change` answered; `None` where
    /// there is no record, or where other workers were faster each time.
    pub(crate) fn update<R>(&self, mut change: impl FnMut(&mut T) -> R) -> Option<(T, R)>
    where
        T: Clone + PartialEq,
    {
        for _ in 0..TRIES {
            let (before, mark) = self.read_marked()?;
            let mut after = before.clone();
            let answer = change(&mut after);
            if after == before || self.replace(&after, Some(mark)) {
                return Some((after, answer));
            }
        }
        None
    }
}
