//! Which rollout each file is for, which file counts, and what is wrong with the others. Pure.
//!
//! A file that becomes broken, or a second one of the same name, changes nothing: the last good one stays,
//! and the problem is reported, once per change and in what operators are shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use canary_rollout::spec::Spec;

use super::folders::FoundFile;

/// A rollout file that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ServedFile {
    /// Its path, as it was found.
    pub path: PathBuf,
    /// Its text, as it was read.
    pub source: String,
    /// The rollout that the text describes.
    pub spec: Spec,
}

/// What changed between two readings of the files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogChanges {
    /// Rollouts whose file is new or has changed.
    pub changed: Vec<String>,
    /// Rollouts whose file is gone.
    pub removed: Vec<String>,
    /// Problems that weren't there before.
    pub problems: Vec<String>,
}

/// The files of all rollouts, as they were read last.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The last good file of each rollout.
    served: BTreeMap<String, ServedFile>,
    /// What is wrong now, by the file.
    problems: BTreeMap<PathBuf, String>,
    /// The rollout that each file was good for last.
    names: BTreeMap<PathBuf, String>,
}

impl Catalog {
    /// Takes what the files are now. `parse` reads a text; its error is what is wrong with it.
    pub fn update(
        &mut self,
        found: Vec<FoundFile>,
        parse: impl Fn(&str, &Path) -> Result<Spec, String>,
    ) -> CatalogChanges {
        let mut changes = CatalogChanges::default();
        let before = std::mem::take(&mut self.problems);
        let there: Vec<PathBuf> = found.iter().map(|file| file.path.clone()).collect();
        self.names.retain(|path, _| there.contains(path));
        // Files that served a rollout already come first, so that a second one never takes it from them.
        let (old, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|file| self.serves(&file.path));
        let gone: Vec<String> = self
            .served
            .iter()
            .filter(|(_, file)| !there.contains(&file.path))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            self.served.remove(name);
        }
        for file in old.into_iter().chain(new) {
            self.take(file, &parse, &mut changes);
        }
        changes.removed.extend(gone);
        changes.removed.retain(|name| !self.served.contains_key(name));
        changes.changed.sort();
        let new = |(path, problem): &(&PathBuf, &String)| before.get(*path) != Some(*problem);
        changes.problems =
            self.problems.iter().filter(new).map(|(_, problem)| problem.clone()).collect();
        changes
    }

    /// The last good file of a rollout.
    pub fn file(&self, rollout: &str) -> Option<&ServedFile> {
        self.served.get(rollout)
    }

    /// What is wrong with the files that were good for a rollout, or name it.
    pub fn problems_of(&self, rollout: &str) -> Vec<String> {
        let concerns = |path: &PathBuf| self.names.get(path).is_some_and(|name| name == rollout);
        let of = self.problems.iter().filter(|(path, _)| concerns(path));
        of.map(|(_, problem)| problem.clone()).collect()
    }

    fn serves(&self, path: &Path) -> bool {
        self.served.values().any(|file| file.path == path)
    }

    fn take(
        &mut self,
        file: FoundFile,
        parse: &impl Fn(&str, &Path) -> Result<Spec, String>,
        changes: &mut CatalogChanges,
    ) {
        let FoundFile { path, text } = file;
        let serving = self.served.iter().find(|(_, file)| file.path == path);
        let serving = serving.map(|(name, file)| (name.clone(), Ok(file.source.clone())));
        let (named, last) = serving.unzip();
        if last.as_ref() == Some(&text) {
            return;
        }
        let read = text.and_then(|text| parse(&text, &path).map(|spec| (text, spec)));
        let kept = |named: &Option<String>| match named {
            Some(name) => format!("; rollout \"{name}\" keeps the last good file"),
            None => String::new(),
        };
        match read {
            Err(why) => {
                self.problems
                    .insert(path.clone(), format!("{}: {why}{}", path.display(), kept(&named)));
            }
            Ok((source, spec)) => {
                let name = spec.rollout.clone();
                let other = self.served.get(&name).filter(|other| other.path != path);
                if let Some(other) = other {
                    let why = format!(
                        "{}: a second file of rollout \"{name}\"; {} counts",
                        path.display(),
                        other.path.display()
                    );
                    self.names.insert(path.clone(), name);
                    self.problems.insert(path, why);
                    return;
                }
                if let Some(before) = named.filter(|before| *before != name) {
                    // The file is for another rollout now.
                    self.served.remove(&before);
                    changes.removed.push(before);
                }
                self.names.insert(path.clone(), name.clone());
                self.served.insert(name.clone(), ServedFile { path, source, spec });
                changes.changed.push(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> FoundFile {
        FoundFile { path: path.into(), text: Ok(text.to_owned()) }
    }

    fn rollout(name: &str, lease: u32) -> String {
        format!(
            "{{rollout: {name}, lease: {lease}s, steps: [{{setWeight: 5}}], analysis: {{metrics: \
             [{{name: f, kind: failureRate}}]}}}}"
        )
    }

    fn update(catalog: &mut Catalog, files: Vec<FoundFile>) -> CatalogChanges {
        catalog.update(files, |text, path| {
            crate::rollout_file::parse(text, &path.display().to_string())
                .map_err(|_| "broken".to_owned())
        })
    }

    #[test]
    fn the_last_good_file_stays() {
        let mut catalog = Catalog::default();
        let first =
            update(&mut catalog, vec![file("a.yaml", &rollout("a", 30)), file("x.yaml", "{")]);
        assert_eq!(first.changed, ["a"]);
        assert_eq!(first.problems, ["x.yaml: broken"]);
        let same =
            update(&mut catalog, vec![file("a.yaml", &rollout("a", 30)), file("x.yaml", "{")]);
        assert_eq!(same, CatalogChanges::default(), "nothing is told twice");
        let broken = update(&mut catalog, vec![file("a.yaml", "{")]);
        assert_eq!(broken.changed, Vec::<String>::new());
        assert_eq!(broken.problems.len(), 1);
        assert_eq!(catalog.file("a").unwrap().spec.lease_seconds, 30);
        assert_eq!(catalog.problems_of("a"), broken.problems);
        let mended = update(&mut catalog, vec![file("a.yaml", &rollout("a", 60))]);
        assert_eq!((mended.changed.as_slice(), mended.problems.len()), (&["a".to_owned()][..], 0));
        assert_eq!(catalog.file("a").unwrap().spec.lease_seconds, 60);
        assert!(catalog.problems_of("a").is_empty());
    }

    #[test]
    fn a_second_file_of_the_same_name_changes_nothing() {
        let mut catalog = Catalog::default();
        update(&mut catalog, vec![file("b.yaml", &rollout("a", 30))]);
        let files = || vec![file("a.yaml", &rollout("a", 60)), file("b.yaml", &rollout("a", 30))];
        let second = update(&mut catalog, files());
        assert_eq!(second.changed, Vec::<String>::new());
        assert!(second.problems[0].contains("a second file of rollout \"a\"; b.yaml counts"));
        assert_eq!(catalog.problems_of("a"), second.problems);
        let alone = update(&mut catalog, vec![file("a.yaml", &rollout("a", 60))]);
        assert_eq!((alone.changed.as_slice(), alone.removed.len()), (&["a".to_owned()][..], 0));
    }

    #[test]
    fn removed_and_renamed() {
        let mut catalog = Catalog::default();
        update(&mut catalog, vec![file("a.yaml", &rollout("a", 30))]);
        let renamed = update(&mut catalog, vec![file("a.yaml", &rollout("b", 30))]);
        assert_eq!(
            (renamed.changed, renamed.removed),
            (vec!["b".to_owned()], vec!["a".to_owned()])
        );
        assert_eq!(update(&mut catalog, Vec::new()).removed, ["b"]);
        assert!(catalog.file("b").is_none());
    }
}
