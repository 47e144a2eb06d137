//! The lock beside a journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::JournalError;

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a journal, and leaves this process' number in it for people.
    pub(super) fn take(journal: &Path) -> Result<Self, JournalError> {
        let mut name = journal.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let failed = |what, cause| JournalError::Io { path: journal.to_owned(), what, cause };
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock);
        let mut file = file.map_err(|cause| failed("open the lock beside", cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut said = String::new();
                let _ = file.read_to_string(&mut said);
                let pid = said.trim().parse().ok();
                return Err(JournalError::Locked { path: journal.to_owned(), pid });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock", cause)),
        }
        // Only a courtesy: on a full disk the lock holds without it.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
