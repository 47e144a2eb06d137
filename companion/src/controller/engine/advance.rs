//! Each step on the disk before anything of it is done; and what happens where it can't be written.

use std::collections::BTreeMap;
use std::time::SystemTime;

use canary_rollout::inputs::{EnvoyInput, Inputs};
use canary_rollout::{HostClocks, StepResult, step};

use super::{
    Effects, Engine, MOST_MISSING, RecordObserver, SNAPSHOT_EVERY, Unwritable, UnwrittenRecords,
};
use crate::controller::record::{End, JournalRecord, StepRecord, WrittenBack};
use crate::journal::{JournalError, timestamp};

impl Engine {
    /// Takes a step. When this returns, it is on the disk, or the rollout has held.
    ///
    /// # Errors
    /// Where the journal can't be written: then nothing may be done, and the engine is of no more use.
    pub async fn advance(
        &mut self,
        mut seen: Inputs,
        now: HostClocks,
        reason: Option<String>,
    ) -> Result<Effects, JournalError> {
        let mut records = self.owed();
        if !records.is_empty() {
            self.written = None;
        }
        let stepped = step(&self.spec, self.state.clone(), seen.clone(), now);
        self.looked(&seen.envoys);
        let step_record = |seen: &Inputs, stepped: &StepResult, before: Option<&_>| {
            let mut records = step_records(seen.clone(), now, stepped, before);
            if let Some(JournalRecord::Step(step)) = records.last_mut() {
                step.reason.clone_from(&reason);
            }
            records
        };
        let shown = self.written.take();
        records.extend(step_record(&seen, &stepped, shown.as_ref()));
        drop(shown);
        self.written = Some(self.envoys.clone());
        let decisions = self.decisions;
        let (mut effects, before) = self.take(stepped);
        self.steps_since_snapshot += 1;
        if self.steps_since_snapshot >= SNAPSHOT_EVERY || !effects.events.is_empty() {
            records.push(self.snapshot());
            self.steps_since_snapshot = 0;
            self.written = None;
        }
        if let Err(error) = self.write(records).await {
            if self.unwritable == Unwritable::Stop {
                return Err(error);
            }
            self.decisions = decisions;
            seen.unrecorded = true;
            let stepped = step(&self.spec, before, seen.clone(), now);
            let held = step_record(&seen, &stepped, None);
            (effects, _) = self.keep(stepped);
            self.miss(&error, if effects.events.is_empty() { Vec::new() } else { held });
        }
        self.ended = false;
        Ok(effects)
    }

    /// What has to be written before anything else: records that couldn't be, and then the state, from which
    /// the steps behind it lead on. Nothing as long as the journal can be written.
    fn owed(&self) -> Vec<JournalRecord> {
        let Some(missing) = &self.missing else { return Vec::new() };
        let mut records = missing.records.clone();
        records.push(self.snapshot());
        records
    }

    /// Notes what couldn't be written.
    fn miss(&mut self, error: &JournalError, records: Vec<JournalRecord>) {
        let error = error.to_string();
        let missing = self
            .missing
            .get_or_insert_with(|| UnwrittenRecords { error: String::new(), records: Vec::new() });
        missing.error = error;
        missing.records.extend(records);
        let excess = missing.records.len().saturating_sub(MOST_MISSING);
        missing.records.drain(..excess);
        self.written = None;
    }

    async fn write(&mut self, records: Vec<JournalRecord>) -> Result<(), JournalError> {
        let patience = match self.unwritable {
            Unwritable::Stop => None,
            Unwritable::Hold(patience) => Some(patience),
        };
        self.journal.append(&records, patience).await?;
        self.missing = None;
        for record in &records {
            if let JournalRecord::Step(step) = record {
                self.recent.add(step);
            }
        }
        if let Some(RecordObserver(observer)) = &mut self.observer {
            observer(records, self.journal.end().unwrap_or_default());
        }
        Ok(())
    }

    /// Writes down that the rollout is over, once.
    ///
    /// # Errors
    /// Where the journal can't be written.
    pub async fn end(&mut self) -> Result<(), JournalError> {
        if self.ended {
            return Ok(());
        }
        let at = timestamp(SystemTime::now());
        let (phase, reason) = (self.state.phase(), self.state.ending().cloned());
        let mut records = self.owed();
        records.push(JournalRecord::End(End { at: at.clone(), phase, reason }));
        match (self.write(records).await, self.unwritable) {
            (Ok(()), _) => {
                self.ended = true;
                self.to_write_back = Some(at);
            }
            (Err(error), Unwritable::Stop) => return Err(error),
            (Err(error), Unwritable::Hold(_)) => self.miss(&error, Vec::new()),
        }
        Ok(())
    }

    /// Writes down that an end was written back. If the journal can't be written, the next process writes
    /// it back once more, which does no harm.
    pub async fn written_back(&mut self, ended_at: &str) {
        if self.to_write_back.as_deref() != Some(ended_at) {
            return;
        }
        self.to_write_back = None;
        let (at, ended_at) = (timestamp(SystemTime::now()), ended_at.to_owned());
        let mut records = self.owed();
        records.push(JournalRecord::WrittenBack(WrittenBack { at, ended_at }));
        if let Err(error) = self.write(records).await {
            self.miss(&error, Vec::new());
        }
    }
}

/// What is written down of a step. `before` are the Envoys that the last record showed.
fn step_records(
    mut seen: Inputs,
    now: HostClocks,
    stepped: &StepResult,
    before: Option<&BTreeMap<String, EnvoyInput>>,
) -> Vec<JournalRecord> {
    let mut records = Vec::new();
    if let (Some(line), true) = (&stepped.line, seen.observation.is_some()) {
        records.push(JournalRecord::Observation(Box::new(line.clone())));
        seen.observation = None;
    }
    let counted = !records.is_empty();
    let same_envoys = !seen.envoys.is_empty() && before == Some(&seen.envoys);
    if same_envoys {
        seen.envoys = BTreeMap::new();
    }
    let happened = !stepped.events.is_empty();
    let verdicts = stepped.verdicts.iter().filter(|_| happened).map(StepRecord::verdict);
    records.push(JournalRecord::Step(Box::new(StepRecord {
        at: timestamp(SystemTime::now()),
        now,
        seen,
        counted,
        same_envoys,
        phase: stepped.state.phase(),
        events: stepped.events.clone(),
        actions: stepped.actions.clone(),
        replies: stepped.replies.clone(),
        reason: None,
        verdicts: verdicts.collect(),
    })));
    records
}
