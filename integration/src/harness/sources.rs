//! Whether an artifact was built from the checkout's sources. `scripts/build` writes down the digest of
//! what it built from, and the same digest is computed here.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::harness::checkout::root;

/// What every artifact is made of, as `scripts/build` has it.
const SHARED: [&str; 5] =
    ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", "scripts/build", "core"];
/// Folders without anything that goes into an artifact.
const SKIPPED: [&str; 4] = ["target", "tests", "fuzz", "proptest-regressions"];

/// Panics if `artifact` (`dist/canaryctl` or a module) was built from other sources than the checkout's.
pub(crate) fn assert_current(artifact: &str) {
    static FILTER: LazyLock<String> = LazyLock::new(|| digest("filter"));
    static CANARYCTL: LazyLock<String> = LazyLock::new(|| digest("companion"));
    let (record, current) = match artifact.strip_prefix("dist/") {
        Some("canaryctl") => ("dist/canaryctl.sources", &CANARYCTL),
        Some(module) if module.starts_with("canary_filter") => {
            ("dist/canary_filter.sources", &FILTER)
        }
        _ => return,
    };
    let recorded = fs::read_to_string(root().join(record)).unwrap_or_default();
    assert_same(artifact, &recorded, current);
}

fn assert_same(artifact: &str, recorded: &str, current: &str) {
    assert!(
        recorded.trim() == current,
        "{artifact} was built from other sources than the checkout's: run ./scripts/build"
    );
}

/// What `sha256sum` prints of the files, hashed again.
fn digest(own: &str) -> String {
    let mut files = Vec::new();
    for path in SHARED.iter().chain([&own]) {
        collect(path, &mut files);
    }
    files.sort_unstable();
    let lines = files.iter().map(|file| {
        let bytes = fs::read(root().join(file)).expect("a source can be read");
        format!("{}  {file}\n", hex(&bytes))
    });
    hex(lines.collect::<String>().as_bytes())
}

/// The files at or below a path of the checkout, by their paths.
fn collect(path: &str, files: &mut Vec<String>) {
    let full = root().join(path);
    if full.is_file() {
        files.push(path.to_owned());
        return;
    }
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if SKIPPED.contains(&name) {
        return;
    }
    for entry in fs::read_dir(full).into_iter().flatten().flatten() {
        let name = entry.file_name();
        collect(&format!("{path}/{}", name.to_string_lossy()), files);
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_from_these_sources_is_accepted() {
        let current = digest("filter");
        assert_same("dist/canary_filter.wasm", &format!("{current}\n"), &current);
        assert_ne!(current, digest("companion"), "each has sources of its own");
    }

    #[test]
    #[should_panic(expected = "run ./scripts/build")]
    fn what_was_built_from_others_is_refused() {
        assert_same("dist/canaryctl", "0123\n", &digest("companion"));
    }

    #[test]
    #[should_panic(expected = "run ./scripts/build")]
    fn what_was_built_without_a_record_is_refused() {
        assert_same("dist/canaryctl", "", &digest("companion"));
    }
}
