//! What a registry's watcher remembers across restarts, in a file beside the rollout's journal: written
//! before anything is done, and replaced as a whole, so that a crash leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use canary_rollout::registry::RegistryState;
use serde::{Deserialize, Serialize};

/// The version of the file's layout.
const FORMAT: u32 = 1;

/// The file's content.
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

    /// What was written last; `None` if nothing was, or nothing that this canaryctl can read.
    ///
    /// # Errors
    /// If the file is there and can't be read.
    pub(super) fn read(&self) -> io::Result<Option<RegistryState>> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let found = serde_json::from_slice(&text).ok();
        Ok(found.filter(|found: &Remembered| found.format == FORMAT).map(|found| found.registry))
    }

    /// Replaces the file, and waits until the disk has it.
    ///
    /// # Errors
    /// If it can't be written; then the old one is still there.
    pub(super) fn write(&self, state: &RegistryState) -> io::Result<()> {
        let draft = self.path.with_extension("json.new");
        let text = serde_json::to_vec(&Remembered { format: FORMAT, registry: state.clone() })?;
        let mut file = File::create(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        // The new name is on the disk when the folder is.
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = RegistryFile::new(folder.path(), "scorer");
        assert_eq!(file.read().unwrap(), None);
        let state = RegistryState::new("2026-11-27T00:00:00Z".to_owned());
        file.write(&state).unwrap();
        file.write(&state).unwrap();
        assert_eq!(file.read().unwrap(), Some(state));
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(names, ["scorer.registry.json"]);
        fs::write(folder.path().join("scorer.registry.json"), "{").unwrap();
        assert_eq!(file.read().unwrap(), None, "a file of another layout is begun again");
    }
}
