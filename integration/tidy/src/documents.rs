//! The documents: every path that they name exists, and the map has every module.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::source::{self, RustFile};

/// The folders at the top of the repository; what begins with one of them in a document is a path.
const FOLDERS: &str = "core|filter|companion|integration|envoy|packaging|scripts|docs|\\.ci";

/// Paths named in a document that don't exist.
///
/// # Errors
/// A message that names the document that could not be read.
pub fn dead_paths(root: &Path) -> Result<Vec<String>, String> {
    let path = Regex::new(&format!(
        r"(?:^|[\s`(\[])(?:\./)?((?:{FOLDERS})/[A-Za-z0-9_./-]*[A-Za-z0-9_/])"
    ))
    .map_err(|error| error.to_string())?;
    let link = Regex::new(r"\]\(([^)#:\s]+)\)|\]\(([^)#:\s]+)#[^)]*\)")
        .map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (document, text) in source::files(root, is_document)? {
        let folder = Path::new(&document).parent().unwrap_or(Path::new(""));
        for (number, line) in text.lines().enumerate() {
            let below_root = path
                .captures_iter(line)
                .filter_map(|found| found.get(1))
                .map(|path| root.join(path.as_str()));
            let links =
                link.captures_iter(line).filter_map(|found| found.get(1).or_else(|| found.get(2)));
            let linked = links.map(|target| root.join(folder).join(target.as_str()));
            let paths: BTreeSet<_> = below_root.chain(linked).collect();
            for path in paths.into_iter().filter(|path| !path.exists()) {
                let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.push(format!("{document}:{}: {path} does not exist", number + 1));
            }
        }
    }
    Ok(found)
}

fn is_document(path: &str) -> bool {
    path.ends_with(".md") && !path.starts_with("target/")
}

/// Top-level modules of the shipped crates that ARCHITECTURE.md doesn't name.
///
/// # Errors
/// A message if ARCHITECTURE.md can't be read.
pub fn unmapped_modules(root: &Path, sources: &[RustFile]) -> Result<Vec<String>, String> {
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .map_err(|error| format!("reading ARCHITECTURE.md: {error}"))?;
    let words: BTreeSet<&str> = map
        .split(|c: char| !(c.is_alphanumeric() || "_./-".contains(c)))
        .map(|word| word.trim_end_matches('/'))
        .collect();
    let module = |source: &RustFile| {
        let (folder, file) = source.path.split_once("/src/")?;
        let top = file.split('/').next()?.trim_end_matches(".rs");
        let shipped = folder.starts_with("core/") || matches!(folder, "filter" | "companion");
        (shipped && !source.is_test() && !matches!(top, "lib" | "main"))
            .then(|| (folder.to_owned(), top.to_owned()))
    };
    let modules: BTreeSet<(String, String)> = sources.iter().filter_map(module).collect();
    let named = |top: &str| {
        words.iter().any(|word| {
            word.rsplit('/').next().is_some_and(|last| last.trim_end_matches(".rs") == top)
        })
    };
    let unmapped = modules.iter().filter(|(_, top)| !named(top));
    Ok(unmapped
        .map(|(folder, top)| format!("ARCHITECTURE.md does not name {folder}/src/{top}"))
        .collect())
}

/// Snapshots that a test wrote because its output had changed, left in the tree.
///
/// # Errors
/// A message that names the folder that could not be read.
pub fn pending_snapshots(root: &Path) -> Result<Vec<String>, String> {
    let pending = source::files(root, |path| path.ends_with(".snap.new"))?;
    Ok(pending
        .into_iter()
        .map(|(path, _)| format!("{path}: review the snapshot, then rename or delete it"))
        .collect())
}

/// Tests that docs/SECURITY.md names as `module::test` and that don't exist, or don't exist in that module.
///
/// # Errors
/// A message if the document can't be read.
pub fn missing_tests(root: &Path, sources: &[RustFile]) -> Result<Vec<String>, String> {
    const DOCUMENT: &str = "docs/SECURITY.md";
    let text = std::fs::read_to_string(root.join(DOCUMENT))
        .map_err(|error| format!("reading {DOCUMENT}: {error}"))?;
    let named =
        Regex::new(r"`((?:[a-z0-9_]+::)+)([a-z0-9_]+)`").map_err(|error| error.to_string())?;
    let exists = |modules: &str, test: &str| {
        let module = modules.trim_end_matches("::").replace("::", "/");
        // Short tests stand in their module's own file.
        let files = [Some(module.as_str()), module.strip_suffix("/tests")];
        let files = files.into_iter().flatten().map(|file| format!("/{file}")).collect::<Vec<_>>();
        let mut files = sources.iter().filter(|source| {
            let path = source.path.trim_end_matches(".rs");
            files.iter().any(|file| path.ends_with(file))
        });
        files.any(|source| source.text.contains(&format!("fn {test}(")))
    };
    let tests = named.captures_iter(&text).filter_map(|found| Some((found.get(1)?, found.get(2)?)));
    let missing = tests.filter(|(modules, test)| !exists(modules.as_str(), test.as_str()));
    Ok(missing
        .map(|(modules, test)| {
            format!("{DOCUMENT}: the test {}{} does not exist", modules.as_str(), test.as_str())
        })
        .collect())
}
