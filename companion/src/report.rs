//! Rollouts as data, folded out of their journals: [`data`] and [`history`] for the page of one, [`live`]
//! while it is under way, [`past`] for `history`. Rendering is `render`'s. Pure except for the functions that
//! take a path.

mod data;
mod history;
mod live;
mod past;
mod sample;

use std::path::Path;

pub(crate) use data::{DecisionRow, RolloutReport};
pub(crate) use history::Point;
pub(crate) use live::{LiveReport, RecentEvent};
pub(crate) use past::{PastRollout, past};
pub(crate) use sample::VersionSample;

use crate::controller::record::JournalRecord;
use crate::journal::{self, JournalError, ReadRecord, leading_name};

/// A record that tells something; `None` for a snapshot, which repeats what those before it say and takes long
/// to read.
struct ToldRecord(Option<JournalRecord>);

impl ReadRecord for ToldRecord {
    fn read(line: &str) -> serde_json::Result<Self> {
        match leading_name(line) {
            Some("state") => Ok(Self(None)),
            _ => JournalRecord::read(line).map(Some).map(Self),
        }
    }
}

/// The last rollout of a journal, of this name if one is given; `None` where there is none.
///
/// # Errors
/// Where the journal can't be read.
pub(crate) fn of_journal(
    path: &Path,
    name: Option<&str>,
) -> Result<Option<RolloutReport>, JournalError> {
    of_journal_until(path, name, u64::MAX)
}

/// The same, of the records that end at a position or before it.
///
/// # Errors
/// Where the journal can't be read.
pub(crate) fn of_journal_until(
    path: &Path,
    name: Option<&str>,
    end: u64,
) -> Result<Option<RolloutReport>, JournalError> {
    let starts = journal::starts(path)?.into_iter().filter(|begin| *begin < end);
    for begin in starts.rev() {
        let mut records = journal::records_until::<ToldRecord>(path, begin, end)?;
        let first = records.next().transpose()?;
        let Some(ToldRecord(Some(JournalRecord::Start(start)))) = first else { continue };
        if name.is_some_and(|name| name != start.rollout) {
            continue;
        }
        let Some(mut report) = RolloutReport::begin(start) else { continue };
        for record in records {
            if let ToldRecord(Some(record)) = record? {
                report.take(record);
            }
        }
        report.summarize();
        return Ok(Some(report));
    }
    Ok(None)
}
