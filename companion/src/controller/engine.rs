//! Core's steps, each written down before anything is done about it; and how a rollout goes on after
//! its controller was stopped, however that was.
//!
//! The engine neither waits nor talks to anybody. Resuming takes the last snapshot of the journal and
//! repeats the steps behind it with what was seen then: core is a pure function, so it arrives at the
//! very state that the stopped controller had. What it had decided but not done shows by itself,
//! since core goes by what Envoys show; only questions and messages on their way are sent again.

use std::collections::BTreeMap;
use std::time::SystemTime;

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_model::role::Role;
use canary_rollout::action::Action;
use canary_rollout::after_end::{AfterEnd, after_end};
use canary_rollout::blockers::Blockers;
use canary_rollout::event::{CommandReply, RolloutEvent};
use canary_rollout::fingerprint::fingerprint;
use canary_rollout::inputs::{EnvoyInput, Inputs};
use canary_rollout::spec::Spec;
use canary_rollout::state::{ResumeStateError, State};
use canary_rollout::versions::ReleaseVersions;
use canary_rollout::{HostClocks, StepResult, step};

use super::deploy::RegistrySource;
use super::distributions::Distributions;
use super::record::{End, FORMAT, JournalRecord, Start, StateSnapshot, StepRecord};
use crate::error::Error;
use crate::journal::{self, Journal, JournalError, timestamp};
use crate::rollout_file;

/// After how many steps at most there is a snapshot.
const SNAPSHOT_EVERY: u32 = 600;

/// Is given every record that is on the disk.
struct RecordObserver(Box<dyn FnMut(JournalRecord) + Send>);

impl std::fmt::Debug for RecordObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordObserver")
    }
}

/// A rollout with its journal.
#[derive(Debug)]
pub struct Engine {
    spec: Spec,
    state: State,
    journal: Journal,
    versions: Pair<Option<String>>,
    source: Option<RegistrySource>,
    recorded: Pair<Distributions>,
    envoys: BTreeMap<String, EnvoyInput>,
    /// The Envoys as the journal showed them last; `None` since a snapshot.
    written: Option<BTreeMap<String, EnvoyInput>>,
    blockers: Blockers,
    decisions: u64,
    steps_since_snapshot: u32,
    /// Whether the journal says that it is over.
    ended: bool,
    observer: Option<RecordObserver>,
}

/// What has to be done after a step, and what is to be told.
#[derive(Debug, Default)]
pub struct Effects {
    /// Actions to carry out, in this order.
    pub actions: Vec<Action>,
    /// Events to report to operators, in this order.
    pub events: Vec<RolloutEvent>,
    /// What became of the commands, in their order.
    pub replies: Vec<CommandReply>,
}

impl Engine {
    /// Begins a rollout: its start is in the journal when this returns.
    ///
    /// # Errors
    /// Where the journal can't be written.
    pub fn begin(spec: Spec, journal: Journal, start: Start) -> Result<Self, JournalError> {
        let state = started(&spec, &start);
        let versions = start.versions.clone();
        let mut engine = Self::with(spec, journal, state, versions);
        engine.source.clone_from(&start.source);
        let snapshot = engine.snapshot();
        engine.journal.append(&[JournalRecord::Start(start), snapshot])?;
        Ok(engine)
    }

    /// Goes on with the rollout that begins at a position of the journal. Gives also what was on its
    /// way when the controller was stopped.
    ///
    /// # Errors
    /// Where the journal can't be read, or holds a rollout of another file.
    pub fn resume(spec: Spec, journal: Journal, begin: u64) -> Result<(Self, Vec<Action>), Error> {
        let path = journal.path().to_owned();
        let state = State::new(&spec, "", false);
        let mut engine = Self::with(spec, journal, state, Pair::default());
        let snapshot = journal::last_snapshot(&path, begin)?;
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
                    engine.versions = start.versions;
                    engine.source = start.source;
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
                JournalRecord::End(_) => engine.ended = true,
            }
        }
        if older && !engine.ended {
            let snapshot = engine.snapshot();
            engine.journal.append(&[snapshot]).map_err(Error::Journal)?;
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

    fn with(spec: Spec, journal: Journal, state: State, versions: Pair<Option<String>>) -> Self {
        Self {
            spec,
            state,
            journal,
            versions,
            source: None,
            recorded: Pair::default(),
            envoys: BTreeMap::new(),
            written: None,
            blockers: Blockers::default(),
            decisions: 0,
            steps_since_snapshot: 0,
            ended: false,
            observer: None,
        }
    }

    /// Takes a step. When this returns, it is on the disk.
    ///
    /// # Errors
    /// Where the journal can't be written: then nothing may be done, and the engine is of no more use.
    pub fn advance(&mut self, seen: Inputs, now: HostClocks) -> Result<Effects, JournalError> {
        let stepped = step(&self.spec, self.state.clone(), seen.clone(), now);
        self.looked(&seen.envoys);
        let mut records = records(seen, now, &stepped, self.written.as_ref());
        self.written = Some(self.envoys.clone());
        let effects = self.take(stepped);
        self.steps_since_snapshot += 1;
        if self.steps_since_snapshot >= SNAPSHOT_EVERY || !effects.events.is_empty() {
            records.push(self.snapshot());
            self.steps_since_snapshot = 0;
            self.written = None;
        }
        self.write(records)?;
        self.ended = false;
        Ok(effects)
    }

    /// Has every further record given to an observer, once it is on the disk.
    pub fn observe_records(&mut self, observer: impl FnMut(JournalRecord) + Send + 'static) {
        self.observer = Some(RecordObserver(Box::new(observer)));
    }

    fn write(&mut self, records: Vec<JournalRecord>) -> Result<(), JournalError> {
        self.journal.append(&records)?;
        if let Some(RecordObserver(observer)) = &mut self.observer {
            records.into_iter().for_each(observer);
        }
        Ok(())
    }

    /// Whether it is over, and that is written down.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Writes down that the rollout is over, once.
    ///
    /// # Errors
    /// Where the journal can't be written.
    pub fn end(&mut self) -> Result<(), JournalError> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        let at = timestamp(SystemTime::now());
        let (phase, reason) = (self.state.phase(), self.state.ending().cloned());
        self.write(vec![JournalRecord::End(End { at, phase, reason })])
    }

    /// Compares the Envoys with the final state after the end. Nothing of it is written down.
    pub fn after_end(&mut self, envoys: &BTreeMap<String, EnvoyInput>) -> AfterEnd {
        self.looked(envoys);
        after_end(&self.state, envoys)
    }

    /// The rollout file that is being run.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The state machine's state after the last step.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What the rollout waits for.
    pub const fn blockers(&self) -> &Blockers {
        &self.blockers
    }

    /// Every Envoy as it was last.
    pub const fn envoys(&self) -> &BTreeMap<String, EnvoyInput> {
        &self.envoys
    }

    /// Both versions' labels as they are now: stable's changes in the handover.
    pub fn versions(&self) -> Pair<Option<String>> {
        let Pair { stable, canary } = &self.versions;
        let now = |version: Option<&str>, then: &Option<String>| {
            version.map(str::to_owned).or_else(|| then.clone())
        };
        Pair {
            stable: now(self.state.stable_version(), stable),
            canary: now(self.state.canary_version(), canary),
        }
    }

    /// Where the new version comes from, if a registry knows.
    pub const fn source(&self) -> Option<&RegistrySource> {
        self.source.as_ref()
    }

    /// Times and values since the rollout's start.
    pub const fn recorded(&self) -> &Pair<Distributions> {
        &self.recorded
    }

    /// How much was decided since the rollout's start.
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }

    /// The journal that every step is written to.
    pub const fn journal(&self) -> &Journal {
        &self.journal
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
        self.take(stepped).actions
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

    /// Where nobody looked, the Envoys are as they were.
    fn looked(&mut self, envoys: &BTreeMap<String, EnvoyInput>) {
        if !envoys.is_empty() {
            self.envoys.clone_from(envoys);
        }
    }

    fn take(&mut self, stepped: StepResult) -> Effects {
        let StepResult { state, actions, events, replies, line, blockers, .. } = stepped;
        if let Some(line) = &line {
            for role in Role::ALL {
                self.recorded.get_mut(role).merge(&Distributions::from_line(line, role));
            }
        }
        self.state = state;
        self.blockers = blockers;
        self.decisions += events.len() as u64;
        Effects { actions, events, replies }
    }

    fn snapshot(&self) -> JournalRecord {
        JournalRecord::State(StateSnapshot {
            format: FORMAT,
            // Maps with text keys and finite numbers: this cannot fail.
            state: serde_json::to_value(&self.state).unwrap_or_default(),
            decisions: self.decisions,
            ..StateSnapshot::recorded(&self.recorded)
        })
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

/// The state of a rollout that has just begun.
fn started(spec: &Spec, start: &Start) -> State {
    let state = State::new(spec, &start.owner, start.takeover)
        .with_versions(ReleaseVersions {
            named: start.named.clone(),
            versions: start.versions.clone(),
        })
        .with_predecessor(start.predecessor.clone());
    if start.released { state.released() } else { state }
}

/// What is written down of a step. `before` are the Envoys that the last record showed.
fn records(
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
        verdicts: verdicts.collect(),
    })));
    records
}

#[cfg(test)]
mod tests;
