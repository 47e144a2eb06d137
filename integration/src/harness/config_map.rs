//! A Kubernetes ConfigMap as a pod sees it: a directory that the kubelet fills, and changes as it does
//! there. Its keys are links into `..data`, which itself is a link to a directory of this revision, and
//! a change is one rename of that link.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A folder that behaves like a mounted ConfigMap.
#[derive(Clone, Debug)]
pub struct ConfigMap {
    root: PathBuf,
}

impl ConfigMap {
    /// Mounts one at this directory, which is made.
    ///
    /// # Panics
    /// When that can't be.
    #[must_use]
    pub fn mount(root: &Path, data: &[(&str, &str)]) -> Self {
        fs::create_dir_all(root).expect("a directory to mount at");
        let mounted = Self { root: root.to_path_buf() };
        mounted.apply(data);
        mounted
    }

    /// Replaces all of its keys in one step (Kubernetes' `AtomicWriter.Write`).
    ///
    /// # Panics
    /// When the directory can't be written.
    pub fn apply(&self, data: &[(&str, &str)]) {
        self.write(data).unwrap_or_else(|error| panic!("{}: {error}", self.root.display()));
    }

    fn write(&self, data: &[(&str, &str)]) -> io::Result<()> {
        let now = tempfile::Builder::new().prefix("..2026_11_23_").tempdir_in(&self.root)?.keep();
        for (key, value) in data {
            fs::write(now.join(key), value)?;
        }
        let (link, draft) = (self.root.join("..data"), self.root.join("..data_tmp"));
        let before = fs::read_link(&link).ok();
        symlink(now.file_name().unwrap_or_default(), &draft)?;
        fs::rename(&draft, &link)?;
        for (key, _) in data {
            let visible = self.root.join(key);
            if fs::symlink_metadata(&visible).is_err() {
                symlink(Path::new("..data").join(key), &visible)?;
            }
        }
        before.map_or(Ok(()), |before| fs::remove_dir_all(self.root.join(before)))
    }

    /// The link that a change moves.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("..data")
    }
}
