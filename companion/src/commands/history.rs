//! `history [NAME]`: past rollouts, read from their journals.

use std::path::{Path, PathBuf};

use canary_judge::counts::Pair;
use canary_rollout::spec::Spec;
use serde::Serialize;

use super::Context;
use crate::cli::History;
use crate::controller::record::Record;
use crate::controller::words;
use crate::error::{Error, Failure};
use crate::journal::{self, JournalError, Scan};
use crate::output;

/// The most journals that are read.
const MAX_JOURNALS: usize = 1_000;

/// One rollout of the past, or one that is not over.
#[derive(Debug, Serialize)]
pub(crate) struct Past {
    pub(crate) rollout: String,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) phase: Option<&'static str>,
    pub(crate) reason: Option<String>,
    pub(crate) versions: Pair<Option<String>>,
    pub(crate) owner: String,
    pub(crate) journal: String,
    /// What happened, in order.
    pub(crate) events: Vec<PastEvent>,
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(crate) struct PastEvent {
    pub(crate) at: String,
    pub(crate) event: String,
}

/// Shows them, the oldest of each journal first; those of one name with everything that happened.
pub(crate) fn run(context: &Context, args: &History) -> Result<(), Failure> {
    let mut all = Vec::new();
    for path in journals(args)? {
        let scan = Scan::of(&path).map_err(Error::Journal)?;
        for begin in scan.starts {
            all.extend(past(&path, begin).map_err(Error::Journal)?);
        }
    }
    if let Some(name) = &args.name {
        all.retain(|past| past.rollout == *name);
        if all.is_empty() {
            let what = format!("no journal tells of a rollout \"{name}\"");
            return Err(Error::Usage { what }.into());
        }
    }
    let details = args.name.is_some();
    context.output.print(|| &all, |paint| output::history_text(&all, details, paint))?;
    Ok(())
}

fn journals(args: &History) -> Result<Vec<PathBuf>, Error> {
    if let Some(path) = &args.journal {
        return Ok(vec![path.clone()]);
    }
    let folder = journal::default_folder().ok_or_else(|| Error::Usage {
        what: "neither XDG_STATE_HOME nor HOME is set; name a journal with --journal".to_owned(),
    })?;
    if let Some(name) = &args.name {
        let path = folder.join(format!("{name}.jsonl"));
        return Ok(if path.exists() { vec![path] } else { Vec::new() });
    }
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let is_journal =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_journal).take(MAX_JOURNALS).collect();
    paths.sort();
    Ok(paths)
}

/// The rollout that begins at a position of a journal.
fn past(path: &Path, begin: u64) -> Result<Option<Past>, JournalError> {
    let mut past: Option<Past> = None;
    let mut spec = None;
    for record in journal::records::<Record>(path, begin)? {
        match (record?, &mut past) {
            (Record::Start(start), none) => {
                spec = super::files::spec(&start.file, "the file").ok();
                *none = Some(Past {
                    rollout: start.rollout,
                    started: start.at,
                    ended: None,
                    phase: None,
                    reason: None,
                    versions: start.versions,
                    owner: start.owner,
                    journal: path.display().to_string(),
                    events: Vec::new(),
                });
            }
            (Record::Step(step), Some(past)) => {
                past.phase = Some(step.phase.as_str());
                let say = |event| say(event, spec.as_ref());
                let event = |event| PastEvent { at: step.at.clone(), event: say(event) };
                past.events.extend(step.events.iter().map(event));
            }
            (Record::End(end), Some(past)) => {
                past.ended = Some(end.at);
                past.phase = Some(end.phase.as_str());
                past.reason = end.reason.map(|reason| reason.to_string());
            }
            _ => {}
        }
    }
    Ok(past)
}

fn say(event: &canary_rollout::event::RolloutEvent, spec: Option<&Spec>) -> String {
    spec.map_or_else(|| format!("{event:?}"), |spec| words::event(event, spec))
}
