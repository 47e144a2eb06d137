//! `report NAME`: one rollout as a self-contained HTML page.

use std::path::PathBuf;

use super::Context;
use crate::cli;
use crate::error::{Error, Failure};
use crate::journal;
use crate::{render, report};

/// Prints the page of the last rollout of this name, or writes it to a file.
pub(crate) fn run(context: &Context, args: &cli::ReportArgs) -> Result<(), Failure> {
    let path = journal_of(args)?;
    let unknown = || Error::Usage {
        what: format!("{}: no journal of a rollout \"{}\"", path.display(), args.name),
    };
    if !path.exists() {
        return Err(unknown().into());
    }
    let report = report::of_journal(&path, Some(&args.name)).map_err(Error::Journal)?;
    let report = report.ok_or_else(unknown)?;
    if let Some(file) = &args.write {
        let written = std::fs::write(file, render::page::report(&report));
        return written
            .map_err(|error| Error::Usage { what: format!("{}: {error}", file.display()) }.into());
    }
    let effects = report.effects();
    let json = || render::report_json(&report, &effects);
    Ok(context.output.print(json, |_| render::page::report(&report))?)
}

fn journal_of(args: &cli::ReportArgs) -> Result<PathBuf, Error> {
    let in_folder = || {
        let folder = args.state.clone().or_else(journal::default_folder)?;
        Some(folder.join(format!("{}.jsonl", args.name)))
    };
    args.journal.clone().or_else(in_folder).ok_or_else(|| Error::Usage {
        what: "neither XDG_STATE_HOME nor HOME is set; name a journal with --journal".to_owned(),
    })
}
