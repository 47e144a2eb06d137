//! The journal: everything that happened in a rollout, one JSON object a line, written down and on
//! the disk before anything is done about it.
//!
//! A line is a record: `{"record": …, "at": …, …}`. A rollout begins with a `start` record and is over
//! with an `end` record; one file holds one rollout after the other. What a crash has torn off is the
//! last line alone, since each is one write followed by a sync: opening drops it and says so.
//!
//! A lock file beside the journal keeps a second controller on the same host away. It is the
//! kernel's lock and goes with the process that holds it, however that ends.

mod lines;
mod lock;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

pub use lines::{Landmarks, ReadRecord, Scan, leading_name, records, records_until, starts};

pub use lock::{Lock, hold, let_go};
pub use writer::JournalWriter;

/// The longest record that is written or read, in bytes.
pub const MAX_RECORD: usize = 4 << 20;

/// What keeps a journal from being used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It can't be opened, read or written.
    #[error("{path}: can't {what} the journal: {cause}", path = .path.display())]
    Io {
        /// The path of the journal's file.
        path: PathBuf,
        /// The attempt, as a verb: open, read, write.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Another controller on this host has it open.
    #[error("{path}: another controller{} writes this journal", holder(*.pid), path = .path.display())]
    Locked {
        /// The path of the journal's file.
        path: PathBuf,
        /// Its process, where it said so.
        pid: Option<u32>,
    },
    /// A line other than the last is no record.
    #[error("{path}: line {line} is no record: {cause}", path = .path.display())]
    Broken {
        /// The path of the journal's file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// A record is longer than any reader takes.
    #[error("{path}: a record of {length} bytes; at most {MAX_RECORD} are written", path = .path.display())]
    TooLong {
        /// The path of the journal's file.
        path: PathBuf,
        /// The record's length in bytes.
        length: usize,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (process {pid})"))
}

/// A journal that this process alone writes.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Where the last whole record ends, in bytes.
    end: u64,
    /// Whether an earlier write failed: the file may end in a part of a record.
    torn: bool,
    lock: Arc<Lock>,
}

/// What a journal held when it was opened.
#[derive(Debug, Default)]
pub struct JournalContents {
    /// Where the last rollout begins, if there is one that has not ended.
    pub unfinished: Option<u64>,
    /// Where the last rollout begins, if there is one that has ended.
    pub finished: Option<u64>,
    /// Whether the controller that wrote it last was killed, so that nobody may have seen its end.
    pub killed: bool,
    /// What a person should know: what was dropped.
    pub notes: Vec<String>,
}

impl Journal {
    /// Opens a journal for writing and makes it where there is none; a torn last line is cut off.
    ///
    /// # Errors
    /// [`JournalError`] where it can't be written or locked, or holds something else than records.
    pub fn open(path: &Path) -> Result<(Self, JournalContents), JournalError> {
        let failed = |what, cause| JournalError::Io { path: path.to_owned(), what, cause };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|cause| failed("make the folder of", cause))?;
        }
        let (lock, killed) = Lock::take(path)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(|cause| failed("open", cause))?;
        let scan = Scan::read(path)?;
        let mut notes = Vec::new();
        if let Some(torn) = scan.torn {
            file.set_len(scan.end).map_err(|cause| failed("cut the torn line off", cause))?;
            notes.push(format!(
                "{}: dropped a torn last line of {torn} bytes: it was being written when the \
                 controller was stopped, and nothing was done about it",
                path.display()
            ));
        }
        let last = scan.starts.last().copied();
        let finished = last.filter(|_| scan.unfinished.is_none());
        let found = JournalContents { unfinished: scan.unfinished, finished, killed, notes };
        let (path, lock) = (path.to_owned(), Arc::new(lock));
        Ok((Self { file, path, end: scan.end, torn: false, lock }, found))
    }

    /// The lock, to be held beyond the journal's use: until this process has told how it ended.
    pub fn lock(&self) -> Arc<Lock> {
        Arc::clone(&self.lock)
    }

    /// The path under which the journal was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes records and waits until they are on the disk: all of them, or none counts.
    ///
    /// # Errors
    /// [`JournalError`] where they are not; then nothing may be done that they speak of.
    pub fn append<R: Serialize>(&mut self, records: &[R]) -> Result<(), JournalError> {
        let text = encoded(&self.path, records)?;
        self.write_encoded(&text)
    }

    /// Writes the lines of some records and waits until they are on the disk.
    fn write_encoded(&mut self, text: &[u8]) -> Result<(), JournalError> {
        let written = self.write(text).map_err(|cause| self.failed("write", cause));
        if written.is_ok() {
            self.end += text.len() as u64;
        } else {
            self.torn = true;
            // Best effort: the next write, or the next start, cuts off what is left.
            let _ = self.file.set_len(self.end);
        }
        written
    }

    /// Begins a new file with some lines in this journal's place, and keeps what was there at `kept`. Whenever
    /// the process ends in between, one of both is in place, whole.
    fn begin_anew(&mut self, kept: &Path, text: &[u8]) -> Result<(), JournalError> {
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let begin = || {
            let _ = std::fs::remove_file(&new);
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            if self.end > 0 && !kept.exists() && std::fs::hard_link(&self.path, kept).is_err() {
                std::fs::copy(&self.path, kept)?;
            }
            std::fs::rename(&new, &self.path)?;
            if let Some(folder) = self.path.parent() {
                // Without it, a crash of the host may bring the old file back, which is whole, too.
                let _ = File::open(folder).and_then(|folder| folder.sync_all());
            }
            Ok(file)
        };
        self.file = begin().map_err(|cause| self.failed("begin", cause))?;
        self.end = text.len() as u64;
        self.torn = false;
        Ok(())
    }

    /// Takes back everything behind a position that is a record's end: nothing was done about it.
    fn cut_back(&mut self, end: u64) {
        self.end = end;
        // The next write cuts it off if this doesn't.
        self.torn = true;
        let _ = self.file.set_len(end);
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            self.torn = false;
        }
        self.file.write_all(text)?;
        self.file.sync_data()
    }

    fn failed(&self, what: &'static str, cause: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), what, cause }
    }
}

/// The lines of some records.
fn encoded<R: Serialize>(path: &Path, records: &[R]) -> Result<Vec<u8>, JournalError> {
    let mut text = Vec::new();
    for record in records {
        let begin = text.len();
        serde_json::to_writer(&mut text, record).map_err(|error| {
            let (path, cause) = (path.to_owned(), io::Error::other(error));
            JournalError::Io { path, what: "write", cause }
        })?;
        let length = text.len() - begin;
        if length > MAX_RECORD {
            return Err(JournalError::TooLong { path: path.to_owned(), length });
        }
        text.push(b'\n');
    }
    Ok(text)
}

/// The folder of the journals of those rollouts that name none: `$XDG_STATE_HOME/canaryctl`, else
/// `~/.local/state/canaryctl`. `None` where neither is known.
pub fn default_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let absolute = |path: &PathBuf| path.is_absolute();
    let state = set("XDG_STATE_HOME").map(PathBuf::from).filter(absolute);
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).map(|state| state.join("canaryctl"))
}

/// The journal of a rollout that names none.
pub fn default_path(rollout: &str) -> Option<PathBuf> {
    Some(default_folder()?.join(format!("{rollout}.jsonl")))
}

/// A moment as journals write it, for people; no decision reads it.
pub fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
