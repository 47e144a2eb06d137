//! How a rollout goes on after its controller was stopped, however that was.

use std::collections::BTreeMap;
use std::path::Path;

use canary_judge::observation::Observation;
use canary_rollout::action::Action;
use canary_rollout::fingerprint::fingerprint;
use canary_rollout::inputs::Inputs;
use canary_rollout::spec::Spec;
use canary_rollout::state::{ResumeStateError, State};
use canary_rollout::step;

use super::{Engine, started};
use crate::controller::recent::RECENT;
use crate::controller::record::{FORMAT, JournalRecord, Start, StateSnapshot, StepRecord};
use crate::error::Error;
use crate::journal::{self, Journal, JournalWriter, Landmarks};
use crate::rollout_file;

impl Engine {
    /// Goes on with the rollout that begins at a position of the journal. Gives also what was on its
    /// way when the controller was stopped.
    ///
    /// # Errors
    /// Where the journal can't be read, or holds a rollout of another file.
    pub fn resume(spec: Spec, journal: Journal, begin: u64) -> Result<(Self, Vec<Action>), Error> {
        let path = journal.path().to_owned();
        let state = State::new(&spec, "", false);
        let mut engine = Self::with(spec, JournalWriter::new(journal), state, &Start::default());
        let Landmarks { snapshot, eventful } = Landmarks::read(&path, begin, RECENT)?;
        for step in eventful {
            if let Some(step) = step_at(&path, step) {
                engine.recent.add(&step);
            }
        }
        let start = journal::records::<JournalRecord>(&path, begin)?.take(1);
        let (mut line, mut last) = (None, Vec::new());
        let mut older = false;
        let mut began_with = None;
        for record in
            start.chain(journal::records::<JournalRecord>(&path, snapshot.unwrap_or(begin))?)
        {
            match record? {
                JournalRecord::Start(start) => {
                    engine.state = started(&engine.spec, &start);
                    began_with = rollout_file::recorded(&start.file);
                    engine.owner = start.owner;
                    engine.file = start.file;
                    engine.released_last = start.released_last;
                    engine.source = start.source;
                    engine.versions = start.versions;
                }
                JournalRecord::State(snapshot) => {
                    older = engine.restore(snapshot, began_with.as_ref())?
                }
                JournalRecord::Observation(counts) => line = Some(*counts),
                JournalRecord::Step(record) if older => {
                    engine.ended = false;
                    engine.repeat_commands(*record);
                }
                JournalRecord::Step(record) => {
                    engine.ended = false;
                    last = engine.repeat(*record, line.take());
                }
                JournalRecord::End(end) => {
                    engine.ended = true;
                    engine.to_write_back = Some(end.at);
                }
                JournalRecord::WrittenBack(_) => engine.to_write_back = None,
            }
        }
        if older && !engine.ended {
            let snapshot = engine.snapshot();
            engine.journal.append_now(&[snapshot]).map_err(Error::Journal)?;
        }
        let again = |action: &Action| {
            !matches!(
                action,
                Action::Write { .. } | Action::Deploy { .. } | Action::CancelDeploy { .. }
            )
        };
        last.retain(again);
        // A hook whose end isn't in the journal is called again, however long ago it was called.
        last.extend(engine.state.deploy_under_way());
        Ok((engine, last))
    }

    /// One step of the past once more. Gives what had to be done.
    fn repeat(&mut self, record: StepRecord, line: Option<Observation>) -> Vec<Action> {
        let StepRecord { now, mut seen, counted, same_envoys, .. } = record;
        if counted {
            // Measurements are in `seen` already.
            seen.observation =
                line.map(|line| Observation { measurements: BTreeMap::new(), ..line });
        }
        if same_envoys {
            seen.envoys.clone_from(&self.envoys);
        }
        self.looked(&seen.envoys);
        self.written = Some(self.envoys.clone());
        let stepped = step(&self.spec, self.state.clone(), seen, now);
        self.steps_since_snapshot += 1;
        self.take(stepped).0.actions
    }

    /// What operators asked for in a step of an older version, behind its last snapshot: everything else
    /// that was decided has a snapshot behind it.
    fn repeat_commands(&mut self, record: StepRecord) {
        let StepRecord { now, replies, .. } = record;
        let obeyed = replies.into_iter().filter(|reply| reply.refused.is_none());
        let commands: Vec<_> = obeyed.map(|reply| reply.command).collect();
        if !commands.is_empty() {
            let inputs = Inputs { commands, ..Inputs::default() };
            let stepped = step(&self.spec, self.state.clone(), inputs, now);
            self.take(stepped);
        }
    }

    /// Takes a snapshot over. Gives whether an older version wrote it, whose steps can't be repeated.
    fn restore(
        &mut self,
        snapshot: StateSnapshot,
        began_with: Option<&Spec>,
    ) -> Result<bool, Error> {
        let other = |error: &ResumeStateError| Error::OtherFile {
            journal: self.journal.path().display().to_string(),
            why: error.to_string(),
            rollout: self.spec.rollout.clone(),
            envoys: self.spec.envoys.clone(),
        };
        let current = if snapshot.format == FORMAT {
            Some(State::resume(&snapshot.state.to_string(), &self.spec))
        } else {
            None
        };
        let (state, older) = match current {
            Some(Ok(state)) => (state, false),
            Some(Err(error @ ResumeStateError::OtherFile)) => return Err(other(&error)),
            // A judge's state that this version can't read is one of an older version, too.
            Some(Err(ResumeStateError::Unreadable(_))) | None => {
                let same =
                    began_with.is_some_and(|then| fingerprint(then) == fingerprint(&self.spec));
                if !same {
                    return Err(other(&ResumeStateError::OtherFile));
                }
                let version = self.versions.canary.clone();
                let resumed = State::resume_older(&snapshot.state, &self.spec, version);
                let state = resumed.map_err(|error| other(&error))?;
                (state, true)
            }
        };
        self.state = state;
        self.decisions = snapshot.decisions;
        self.recorded = snapshot.distributions();
        self.steps_since_snapshot = 0;
        Ok(older)
    }
}

/// The step whose record begins at a position. `None` if this version can't read it: it lies behind a snapshot
/// and is only shown.
fn step_at(path: &Path, begin: u64) -> Option<StepRecord> {
    match journal::records::<JournalRecord>(path, begin).ok()?.next()?.ok()? {
        JournalRecord::Step(step) => Some(*step),
        _ => None,
    }
}
