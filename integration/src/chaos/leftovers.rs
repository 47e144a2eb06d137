//! What a run must not leave behind: processes that have to do with its folders, and files.

use std::fs;
use std::path::{Path, PathBuf};

/// Processes other than this one that were started with one of these folders, or work in it.
#[must_use]
pub(super) fn processes(folders: &[PathBuf]) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own);
    ids.filter_map(|id| {
        let of = |file: &str| Path::new("/proc").join(&id).join(file);
        let command = fs::read(of("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let works_in = fs::read_link(of("cwd")).unwrap_or_default();
        let ours = |folder: &PathBuf| {
            works_in.starts_with(folder) || command.contains(&*folder.to_string_lossy())
        };
        folders.iter().any(ours).then(|| format!("process {id}: {command}"))
    })
    .collect()
}

/// Files of a folder with journals that shouldn't be there once its controller has ended: anything but
/// journals and locks that no process has its number in.
#[must_use]
pub(super) fn journal_files(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let strange = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let empty = entry.metadata().is_ok_and(|metadata| metadata.len() == 0);
        !(name.ends_with(".jsonl") || (name.ends_with(".lock") && empty))
    });
    strange.map(|entry| entry.path().display().to_string()).collect()
}

/// Those of these folders that are still there.
#[must_use]
pub(super) fn folders(folders: &[PathBuf]) -> Vec<String> {
    let left = folders.iter().filter(|folder| folder.exists());
    left.map(|folder| folder.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_and_a_file_that_stay_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_owned()];
        assert!(processes(&paths).is_empty());
        let mut child = Command::new("sleep").arg("60").current_dir(folder.path()).spawn().unwrap();
        // Its command line comes a moment after the process.
        let found = async || processes(&paths);
        crate::eventually(
            "the process",
            found,
            |found| matches!(&found[..], [only] if only.contains("sleep 60")),
        )
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(processes(&paths).is_empty());
        for (name, text) in
            [("demo.jsonl", "{}"), ("demo.jsonl.lock", ""), ("demo.jsonl.new", "{}")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let found = journal_files(folder.path());
        assert_eq!(found, [folder.path().join("demo.jsonl.new").display().to_string()]);
        fs::write(folder.path().join("demo.jsonl.lock"), "17").unwrap();
        assert_eq!(journal_files(folder.path()).len(), 2);
        assert_eq!(folders(&paths).len(), 1);
        drop(folder);
        assert!(folders(&paths).is_empty());
    }
}
