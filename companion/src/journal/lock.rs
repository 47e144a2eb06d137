//! The lock beside a journal: the kernel's lock, and in the file the process that holds it. Who ends
//! by itself empties the file, so a number that is found there belongs to one that was killed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::JournalError;

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Those that this process holds to its very end.
static HELD: Mutex<Vec<Arc<Lock>>> = Mutex::new(Vec::new());

/// Holds a lock until [`let_go`].
pub fn hold(lock: Arc<Lock>) {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
}

/// Gives every held lock back: the last thing that a process does.
pub fn let_go() {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Best effort: a number that stays makes the next controller more careful than it need be.
        let _ = self.file.set_len(0);
    }
}

impl Lock {
    /// Takes the lock of a journal, and leaves this process' number in it. Says also whether the last
    /// process that held it was killed.
    pub(super) fn take(journal: &Path) -> Result<(Self, bool), JournalError> {
        let mut name = journal.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let failed = |what, cause| JournalError::Io { path: journal.to_owned(), what, cause };
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock);
        let mut file = file.map_err(|cause| failed("open the lock beside", cause))?;
        let mut said = String::new();
        let _ = file.read_to_string(&mut said);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = said.trim().parse().ok();
                return Err(JournalError::Locked { path: journal.to_owned(), pid });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock", cause)),
        }
        // On a full disk the lock holds without it.
        let number = std::process::id();
        let begin = |file: &mut File| file.set_len(0).and_then(|()| file.rewind());
        let _ = begin(&mut file).and_then(|()| write!(file, "{number}"));
        Ok((Self { file }, !said.trim().is_empty()))
    }
}
