//! What a registry's watcher remembers across restarts, in a file beside the rollout's journal: written
//! before anything is done, and replaced as a whole, so that a crash leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use canary_rollout::registry::RegistryState;
use serde::{Deserialize, Serialize};

/// The version of the file's layout.
const FORMAT: u32 = 1;

/// What the file contains, as JSON.
#[derive(Deserialize, Serialize)]
struct Remembered {
    format: u32,
    registry: RegistryState,
}

/// The file of one rollout.
#[derive(Clone, Debug)]
pub(super) struct RegistryFile {
    path: PathBuf,
}

impl RegistryFile {
    /// The file of a rollout in the folder of the journals.
    pub(super) fn new(folder: &Path, rollout: &str) -> Self {
        Self { path: folder.join(format!("{rollout}.registry.json")) }
    }

    /// What was written last; `None` if nothing was, or nothing that this canaryctl can read. Like
    /// writing, it runs on a thread of its own, because a disk may hang.
    ///
    /// # Errors
    /// A sentence, if the file is there and can't be read.
    pub(super) async fn read(&self) -> Result<Option<RegistryState>, String> {
        let path = self.path.clone();
        self.apart(move || read(&path), "read").await
    }

    /// Replaces the file, and waits until the disk has it.
    ///
    /// # Errors
    /// A sentence, if it can't be written; then the old one is still there.
    pub(super) async fn write(&self, state: &RegistryState) -> Result<(), String> {
        let (path, state) = (self.path.clone(), state.clone());
        self.apart(move || write(&path, state), "write").await
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
        what: &str,
    ) -> Result<T, String> {
        let done = tokio::task::spawn_blocking(work).await;
        let failed = |error: &dyn std::fmt::Display| {
            format!("can't {what} {}: {error}", self.path.display())
        };
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

fn read(path: &Path) -> io::Result<Option<RegistryState>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let found = serde_json::from_slice(&text).ok();
    Ok(found.filter(|found: &Remembered| found.format == FORMAT).map(|found| found.registry))
}

fn write(path: &Path, registry: RegistryState) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        // The first to write here may be this file or the journal.
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension("json.new");
    let text = serde_json::to_vec(&Remembered { format: FORMAT, registry })?;
    let mut file = File::create(&draft)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The new name is on the disk when the folder is.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        let file = RegistryFile::new(&folder, "scorer");
        assert_eq!(file.read().await.unwrap(), None);
        let state = RegistryState::new("2026-11-27T00:00:00Z".to_owned());
        file.write(&state).await.unwrap();
        file.write(&state).await.unwrap();
        assert_eq!(file.read().await.unwrap(), Some(state));
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["scorer.registry.json"]);
        fs::write(folder.join("scorer.registry.json"), "{").unwrap();
        assert_eq!(file.read().await.unwrap(), None, "a file of another layout is begun again");
    }
}
