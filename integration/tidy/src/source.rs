//! The Rust sources of the workspace, parsed.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Folders that hold no sources of the workspace: build outputs, caches, and the fuzz workspace, whose targets
/// are test code.
const SKIPPED: [&str; 6] = ["target", ".cache", ".git", "dist", "node_modules", "fuzz"];

/// One parsed Rust file.
pub struct RustFile {
    /// The path below the workspace's root, with `/` as separator.
    pub path: String,
    /// The file's text, for counting lines.
    pub text: String,
    /// The file's syntax tree, with line numbers.
    pub syntax: syn::File,
}

/// The workspace's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// Every file below `root` for which `wanted` holds, as (path below the root, text), sorted.
///
/// # Errors
/// A message that names the file that could not be read.
pub fn files(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let walk = WalkDir::new(root).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| !SKIPPED.iter().any(|name| entry.file_name() == *name)) {
        let entry = entry.map_err(|error| format!("walking {}: {error}", root.display()))?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let path = path.to_string_lossy().replace('\\', "/");
        if entry.file_type().is_file() && wanted(&path) {
            let text = std::fs::read_to_string(entry.path())
                .map_err(|error| format!("reading {path}: {error}"))?;
            found.push((path, text));
        }
    }
    Ok(found)
}

/// Every Rust file of the workspace.
///
/// # Errors
/// A message that names the file that could not be read or parsed.
pub fn rust(root: &Path) -> Result<Vec<RustFile>, String> {
    let parse = |(path, text): (String, String)| {
        let syntax = syn::parse_file(&text).map_err(|error| format!("parsing {path}: {error}"))?;
        Ok(RustFile { path, text, syntax })
    };
    files(root, |path| path.ends_with(".rs"))?.into_iter().map(parse).collect()
}

impl RustFile {
    /// Whether the whole file is test code: below a `tests/` folder or the `tests.rs` of a module.
    pub fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "laws.rs")
    }
}

/// Whether an item is compiled for tests only.
pub fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
        }
        meta => meta.path().is_ident("test"),
    })
}

/// The attributes of an item; none for the kinds that tidy does not look at.
pub fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
