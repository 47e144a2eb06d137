//! `history [NAME]`: past rollouts, read from their journals.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Context;
use crate::cli::HistoryArgs;
use crate::error::{Error, Failure};
use crate::journal::{self, Scan};
use crate::{render, report};

/// The most journals that are read.
const MAX_JOURNALS: usize = 1_000;

/// Shows them, the oldest of each journal first; with a name, also everything that happened.
pub(crate) fn run(context: &Context, args: &HistoryArgs) -> Result<(), Failure> {
    let mut all = Vec::new();
    for path in journals(args)? {
        let scan = Scan::read(&path).map_err(Error::Journal)?;
        for begin in scan.starts {
            all.extend(report::past(&path, begin).map_err(Error::Journal)?);
        }
    }
    // A release whose journal was being put aside when its process was killed may be there twice.
    let mut seen = BTreeSet::new();
    all.retain(|past| {
        seen.insert((past.rollout.clone(), past.started.clone(), past.owner.clone()))
    });
    if let Some(name) = &args.name {
        all.retain(|past| past.rollout == *name);
        if all.is_empty() {
            let what = format!("no journal has a rollout \"{name}\"");
            return Err(Error::Usage { what }.into());
        }
    }
    let details = args.name.is_some();
    let json = || render::history_json(&all);
    context.output.print(json, |paint| render::history_text(&all, details, paint))?;
    Ok(())
}

fn journals(args: &HistoryArgs) -> Result<Vec<PathBuf>, Error> {
    if let Some(path) = &args.journal {
        return Ok(vec![path.clone()]);
    }
    let folder =
        args.state.clone().or_else(journal::default_folder).ok_or_else(|| Error::Usage {
            what: "neither XDG_STATE_HOME nor HOME is set; name a journal with --journal"
                .to_owned(),
        })?;
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    // `NAME.jsonl`, and earlier releases of `serve` as `NAME.TIME.jsonl`; names have no dots.
    let is_journal = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(".jsonl") else { return false };
        let rollout = name.split('.').next().unwrap_or(name);
        args.name.as_ref().is_none_or(|wanted| wanted == rollout)
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_journal).take(MAX_JOURNALS).collect();
    paths.sort();
    Ok(paths)
}
