//! What `history` shows of a rollout.

use std::path::Path;

use canary_judge::counts::Pair;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use canary_rollout::termination::TerminationReason;

use super::ToldRecord;
use crate::controller::record::JournalRecord;
use crate::journal::{self, JournalError};
use crate::rollout_file;

/// One rollout in a journal, ended or not.
#[derive(Debug)]
pub(crate) struct PastRollout {
    pub(crate) rollout: String,
    /// RFC 3339, UTC, as all times here.
    pub(crate) started: String,
    /// `None` if it hasn't ended.
    pub(crate) ended: Option<String>,
    /// The last one recorded.
    pub(crate) phase: Option<Phase>,
    pub(crate) reason: Option<TerminationReason>,
    pub(crate) versions: Pair<Option<String>>,
    pub(crate) owner: String,
    /// The path of the journal.
    pub(crate) journal: String,
    /// What happened and when, in order.
    pub(crate) events: Vec<(String, RolloutEvent)>,
    /// The recorded rollout file; `None` if this canaryctl can't read it.
    pub(crate) spec: Option<Spec>,
}

/// The rollout that begins at a position of a journal.
///
/// # Errors
/// If the journal can't be read.
pub(crate) fn past(path: &Path, begin: u64) -> Result<Option<PastRollout>, JournalError> {
    let mut past: Option<PastRollout> = None;
    for record in journal::records::<ToldRecord>(path, begin)? {
        let ToldRecord(Some(record)) = record? else { continue };
        match (record, &mut past) {
            (JournalRecord::Start(start), none) => {
                *none = Some(PastRollout {
                    rollout: start.rollout,
                    started: start.at,
                    ended: None,
                    phase: None,
                    reason: None,
                    versions: start.versions,
                    owner: start.owner,
                    journal: path.display().to_string(),
                    events: Vec::new(),
                    spec: rollout_file::recorded(&start.file),
                });
            }
            (JournalRecord::Step(step), Some(past)) => {
                past.phase = Some(step.phase);
                past.events.extend(step.events.into_iter().map(|event| (step.at.clone(), event)));
            }
            (JournalRecord::End(end), Some(past)) => {
                past.ended = Some(end.at);
                past.phase = Some(end.phase);
                past.reason = end.reason;
            }
            _ => {}
        }
    }
    Ok(past)
}
