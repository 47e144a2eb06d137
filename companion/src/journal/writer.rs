//! Writing a journal beside the loop: a disk that hangs holds up nobody but its own rollout, and that one
//! only for as long as it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;

use super::{Journal, JournalError, encoded};

type WriteOutcome = (Journal, Result<(), JournalError>);

/// A journal whose writes run on a thread of their own.
#[derive(Debug)]
pub struct JournalWriter {
    path: PathBuf,
    place: WriterState,
}

#[derive(Debug)]
enum WriterState {
    Here(Box<Journal>),
    /// A write is under way that nobody waits for any more; if it ends well after all, it is taken back.
    Away(JoinHandle<WriteOutcome>, u64),
    /// The thread that wrote is gone, and the file with it.
    Lost,
}

impl JournalWriter {
    /// A writer of an open journal.
    pub fn new(journal: Journal) -> Self {
        Self { path: journal.path().to_owned(), place: WriterState::Here(Box::new(journal)) }
    }

    /// The path under which the journal was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the last whole record ends, in bytes; `None` while a write is under way.
    pub fn end(&self) -> Option<u64> {
        match &self.place {
            WriterState::Here(journal) => Some(journal.end),
            WriterState::Away(..) | WriterState::Lost => None,
        }
    }

    /// Writes records at once, on this thread; for the start, before anything waits.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn append_now<R: Serialize>(&mut self, records: &[R]) -> Result<(), JournalError> {
        match &mut self.place {
            WriterState::Here(journal) => journal.append(records),
            WriterState::Away(..) | WriterState::Lost => Err(self.hangs()),
        }
    }

    /// Writes records and waits until they are on the disk, at most for `patience`, if one is given.
    ///
    /// # Errors
    /// As for [`Journal::append`], and where the disk takes longer than that.
    pub async fn append<R: Serialize>(
        &mut self,
        records: &[R],
        patience: Option<Duration>,
    ) -> Result<(), JournalError> {
        let text = encoded(&self.path, records)?;
        self.change(patience, move |journal| journal.write_encoded(&text)).await
    }

    /// Begins a new file with some records, and keeps what was there at `kept`.
    ///
    /// # Errors
    /// As for [`JournalWriter::append`]; then the old file is in place.
    pub async fn begin_anew<R: Serialize>(
        &mut self,
        kept: PathBuf,
        records: &[R],
        patience: Option<Duration>,
    ) -> Result<(), JournalError> {
        let text = encoded(&self.path, records)?;
        self.change(patience, move |journal| journal.begin_anew(&kept, &text)).await
    }

    async fn change(
        &mut self,
        patience: Option<Duration>,
        change: impl FnOnce(&mut Journal) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        let mut journal = match self.back().await {
            Some(journal) => journal,
            None => return Err(self.hangs()),
        };
        let before = journal.end;
        let write = move || {
            let written = change(&mut journal);
            (journal, written)
        };
        let mut task = tokio::task::spawn_blocking(write);
        let ended = match patience {
            Some(patience) => match tokio::time::timeout(patience, &mut task).await {
                Ok(ended) => ended,
                Err(_) => {
                    self.place = WriterState::Away(task, before);
                    return Err(self.hangs());
                }
            },
            None => (&mut task).await,
        };
        // The task neither panics nor is it cancelled while the program runs.
        let (journal, written) = ended.map_err(|_| self.hangs())?;
        self.place = WriterState::Here(Box::new(journal));
        written
    }

    /// The journal, if no write is under way.
    async fn back(&mut self) -> Option<Journal> {
        match std::mem::replace(&mut self.place, WriterState::Lost) {
            WriterState::Here(journal) => Some(*journal),
            WriterState::Away(task, before) if task.is_finished() => {
                let (mut journal, _) = task.await.ok()?;
                journal.cut_back(before);
                Some(journal)
            }
            place => {
                self.place = place;
                None
            }
        }
    }

    fn hangs(&self) -> JournalError {
        let cause = std::io::Error::new(std::io::ErrorKind::TimedOut, "the disk doesn't answer");
        JournalError::Io { path: self.path.clone(), what: "write", cause }
    }
}
