//! One rollout as a page: self-contained, made of its journal alone.
//!
//! [`data`] folds the records into what is shown, [`chart`] draws it, [`page`] writes the HTML. Pure but
//! for [`of_journal`], which reads. `canaryctl report` prints the page; a running controller serves it.

mod chart;
mod data;
mod page;

use std::path::Path;

pub use data::{Decision, Point, Report};
pub use page::html;

use crate::controller::record::Record;
use crate::journal::{self, JournalError, Scan};

/// The last rollout of a journal, of this name if one is given; `None` where there is none.
///
/// # Errors
/// Where the journal can't be read.
pub fn of_journal(path: &Path, name: Option<&str>) -> Result<Option<Report>, JournalError> {
    for begin in Scan::of(path)?.starts.into_iter().rev() {
        let mut records = journal::records::<Record>(path, begin)?;
        let Some(Record::Start(start)) = records.next().transpose()? else { continue };
        if name.is_some_and(|name| name != start.rollout) {
            continue;
        }
        let Some(mut report) = Report::begin(start) else { continue };
        for record in records {
            report.take(record?);
        }
        return Ok(Some(report));
    }
    Ok(None)
}
