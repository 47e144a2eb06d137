//! The journals of served rollouts: one file per rollout, `DIR/NAME.jsonl`, begun anew with each release.
//! What it held before is kept as `DIR/NAME.TIME.jsonl`.

use std::path::{Path, PathBuf};

use canary_rollout::action::Action;
use canary_rollout::spec::Spec;

use super::catalog::ServedFile;
use crate::controller::engine::Engine;
use crate::controller::preflight;
use crate::controller::record::Start;
use crate::error::Error;
use crate::identity;
use crate::journal::{Journal, JournalWriter};
use crate::rollout_file::{self, without_secrets};

/// The most journals that are looked at for rollouts that were under way.
const MOST_JOURNALS: usize = 10_000;

/// What a rollout's journal holds when its rollout is served.
#[derive(Debug)]
pub enum OpenedJournal {
    /// No release has begun in it yet.
    Empty(JournalWriter),
    /// The last release, under way or over, and what it was doing.
    Release(Box<Engine>, Vec<Action>),
}

/// A journal that was opened, with what a person should know.
#[derive(Debug)]
pub struct Opened {
    /// The journal with the release that it holds.
    pub journal: OpenedJournal,
    /// What was dropped from its end, in sentences.
    pub notes: Vec<String>,
}

/// The journal of a rollout.
pub fn path(folder: &Path, rollout: &str) -> PathBuf {
    folder.join(format!("{rollout}.jsonl"))
}

/// Where the journal of a release is kept that began at a time.
pub fn kept(folder: &Path, rollout: &str, began: &str) -> PathBuf {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '.';
    let began: String = began.chars().filter(plain).collect();
    folder.join(format!("{rollout}.{began}.jsonl"))
}

/// Opens a rollout's journal, and resumes what it holds: by its file where that still says the same,
/// otherwise by the recorded one. It takes as long as reading the journal.
///
/// # Errors
/// Where the journal can't be used, or nothing can be resumed from it.
pub fn open(folder: &Path, file: &ServedFile) -> Result<Opened, Error> {
    let path = path(folder, &file.spec.rollout);
    let (journal, found) = Journal::open(&path)?;
    let Some(begin) = found.unfinished.or(found.finished) else {
        let journal = OpenedJournal::Empty(JournalWriter::new(journal));
        return Ok(Opened { journal, notes: found.notes });
    };
    let start = preflight::start(&journal, begin)?;
    let spec = start.as_ref().map_or_else(|| file.spec.clone(), |start| resumable(start, file));
    let (engine, under_way) = Engine::resume(spec, journal, begin)?;
    let journal = OpenedJournal::Release(Box::new(engine), under_way);
    Ok(Opened { journal, notes: found.notes })
}

/// The file to go on with: the one that is served, which has its secrets, if the release began with it.
fn resumable(start: &Start, file: &ServedFile) -> Spec {
    let recorded = rollout_file::recorded(&start.file);
    let same =
        recorded.is_none() || recorded == rollout_file::recorded(&without_secrets(&file.source));
    recorded.filter(|_| !same).unwrap_or_else(|| file.spec.clone())
}

/// The rollouts of a folder that an earlier `serve` left under way and whose files are gone; they go on
/// with the recorded files. `served` says which have a file.
pub fn orphans(folder: &Path, served: impl Fn(&str) -> bool) -> Vec<ServedFile> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let orphan = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.to_owned();
        if name.contains('.') || served(&name) {
            return None;
        }
        // A journal that somebody writes isn't orphaned, and one that can't be read can't be resumed.
        let (journal, found) = Journal::open(&path).ok()?;
        let start = preflight::start(&journal, found.unfinished?).ok()??;
        let ours = identity::is_serve(&start.owner) && start.rollout == name;
        let spec = rollout_file::recorded(&start.file).filter(|_| ours)?;
        Some(ServedFile { path, source: start.file, spec })
    };
    entries.flatten().take(MOST_JOURNALS).filter_map(|entry| orphan(entry.path())).collect()
}
