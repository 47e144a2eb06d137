//! Reading the files and folders that are served.

use std::path::{Path, PathBuf};

/// The most files that are read in all.
const MOST_FILES: usize = 10_000;
/// The longest file that is read, in bytes: far more than any rollout file has.
const LONGEST: u64 = 1 << 20;

/// A rollout file as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Its path, as the command line or its folder names it.
    pub path: PathBuf,
    /// Its text, or why it can't be read.
    pub text: Result<String, String>,
}

/// Every rollout file: those that are named, and `*.yaml` and `*.yml` directly in the folders that are.
/// Links are followed, hidden names are left out. The order is that of the paths and, in a folder, of the
/// names.
pub fn read(paths: &[PathBuf]) -> Vec<FoundFile> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            found.extend(in_folder(path));
        } else {
            found.push(FoundFile { path: path.clone(), text: text(path) });
        }
        found.truncate(MOST_FILES);
    }
    found
}

fn in_folder(folder: &Path) -> Vec<FoundFile> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![FoundFile { path: folder.to_owned(), text: Err(error.to_string()) }];
        }
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| is_rollout_file(path));
    let mut paths: Vec<PathBuf> = paths.take(MOST_FILES).collect();
    paths.sort();
    paths.into_iter().map(|path| FoundFile { text: text(&path), path }).collect()
}

fn is_rollout_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
    let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    yaml && !name.starts_with('.') && !path.is_dir()
}

fn text(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LONGEST {
        return Err(format!("{length} bytes; a rollout file has at most {LONGEST}"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.yaml", "a.yml", ".hidden.yaml", "notes.txt", "yaml"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::fs::create_dir(at("sub.yaml")).unwrap();
        std::fs::write(at("sub.yaml/c.yaml"), "deeper").unwrap();
        std::os::unix::fs::symlink(at("notes.txt"), at("link.yaml")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("torn.yaml")).unwrap();
        let found = read(&[folder.path().to_owned(), at("notes.txt"), at("gone.yaml")]);
        let name = |file: &FoundFile| file.path.file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<String> = found.iter().map(name).collect();
        assert_eq!(names, ["a.yml", "b.yaml", "link.yaml", "torn.yaml", "notes.txt", "gone.yaml"]);
        let read: Vec<bool> = found.iter().map(|file| file.text.is_ok()).collect();
        assert_eq!(read, [true, true, true, false, true, false]);
        assert_eq!(found[2].text.as_deref(), Ok("notes.txt"), "links are followed");
    }
}
