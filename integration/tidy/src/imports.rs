//! Import cycles between the modules of a crate.
//!
//! At each level of a crate's module tree, siblings may import each other in one direction only. What a module and
//! its own submodules import from each other does not count: they are one subject in several files.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::source::{RustFile, attributes, is_test_only};

type ModulePath = Vec<String>;

/// The sibling modules of one parent, and which imports which with an example of where.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

/// The import cycles of all crates, each named by its modules and one place for each import.
pub fn cycles(sources: &[RustFile]) -> Vec<String> {
    let mut levels: BTreeMap<ModulePath, Siblings> = BTreeMap::new();
    let modules = modules(sources);
    for (path, source) in &modules {
        for (target, line) in imports(path, source) {
            add(&mut levels, &modules, path, &target, &format!("{}:{line}", source.path));
        }
    }
    levels.iter().flat_map(|(parent, siblings)| cycles_of(parent, siblings)).collect()
}

/// Every module that has a file of its own, by its path; the first segment is the crate's folder.
fn modules(sources: &[RustFile]) -> BTreeMap<ModulePath, &RustFile> {
    let module = |source| Some((module_path(source)?, source));
    sources.iter().filter(|source| !source.is_test()).filter_map(module).collect()
}

fn module_path(source: &RustFile) -> Option<ModulePath> {
    let (crate_folder, file) = source.path.split_once("/src/")?;
    if file.starts_with("bin/") || file == "main.rs" {
        return None;
    }
    let mut path = vec![crate_folder.to_owned()];
    path.extend(file.trim_end_matches(".rs").split('/').map(str::to_owned));
    if matches!(path.last().map(String::as_str), Some("lib" | "mod")) {
        path.pop();
    }
    Some(path)
}

fn imports(module: &[String], source: &RustFile) -> Vec<(ModulePath, usize)> {
    let mut visitor = Imports { module: module.to_vec(), found: Vec::new() };
    visitor.visit_file(&source.syntax);
    visitor.found
}

struct Imports {
    module: ModulePath,
    found: Vec<(ModulePath, usize)>,
}

impl Imports {
    fn add(&mut self, segments: &[String], line: usize) {
        let mut path: ModulePath = match segments.first().map(String::as_str) {
            Some("crate") => self.module.iter().take(1).cloned().collect(),
            Some("super" | "self") => self.module.clone(),
            _ => return,
        };
        for segment in segments {
            match segment.as_str() {
                "super" => drop(path.pop()),
                "crate" | "self" => {}
                name => path.push(name.to_owned()),
            }
        }
        self.found.push((path, line));
    }

    fn tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(prefix, tree))
            }
            syn::UseTree::Name(name) => {
                self.add(&with(&name.ident), name.ident.span().start().line)
            }
            syn::UseTree::Rename(name) => {
                self.add(&with(&name.ident), name.ident.span().start().line)
            }
            syn::UseTree::Glob(glob) => self.add(prefix, glob.star_token.spans[0].start().line),
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        match item {
            // What a module re-exports is the path to its children; what it imports counts.
            syn::Item::Use(item) => self.tree(&[], &item.tree),
            syn::Item::Mod(item) if item.content.is_some() => {
                self.module.push(item.ident.to_string());
                visit::visit_item_mod(self, item);
                self.module.pop();
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.add(&segments, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }
}

/// Adds an import to the level at which the two modules' paths part.
fn add(
    levels: &mut BTreeMap<ModulePath, Siblings>,
    modules: &BTreeMap<ModulePath, &RustFile>,
    from: &[String],
    target: &[String],
    place: &str,
) {
    let shared = from.iter().zip(target).take_while(|(one, other)| one == other).count();
    let (Some(from_child), Some(to_child)) = (from.get(shared), target.get(shared)) else {
        return;
    };
    let Some(parent) = target.get(..shared) else { return };
    // An item of the parent module is no sibling.
    if shared > 0 && modules.contains_key(&[parent, std::slice::from_ref(to_child)].concat()) {
        let siblings = levels.entry(parent.to_vec()).or_default();
        let imports = siblings.entry(from_child.clone()).or_default();
        imports.entry(to_child.clone()).or_insert_with(|| place.to_owned());
    }
}

fn cycles_of(parent: &[String], siblings: &Siblings) -> Vec<String> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        siblings.keys().map(|from| (from, reachable(siblings, from))).collect();
    let mut found = Vec::new();
    for (from, imports) in siblings {
        for (to, place) in imports {
            if reach.get(to).is_some_and(|reached| reached.contains(from)) {
                found.push(format!(
                    "{}: {from} imports {to} ({place}), which leads back to it",
                    parent.join("::")
                ));
            }
        }
    }
    found
}

fn reachable<'a>(siblings: &'a Siblings, from: &'a String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in siblings.get(module).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next) {
                open.push(next);
            }
        }
    }
    reached
}
