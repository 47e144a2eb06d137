//! Core's steps, each written down before anything is done about it; and how a rollout goes on after
//! its controller was stopped, however that was.
//!
//! The engine neither waits nor talks to anybody. Resuming takes the last snapshot of the journal and
//! repeats the steps behind it with what was seen then: core is a pure function, so it arrives at the
//! very state that the stopped controller had. What it had decided but not done shows by itself,
//! since core goes by what Envoys show; only questions and messages on their way are sent again.

mod advance;
mod resume;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use canary_judge::counts::Pair;
use canary_model::role::Role;
use canary_rollout::StepResult;
use canary_rollout::action::Action;
use canary_rollout::after_end::{AfterEnd, after_end};
use canary_rollout::blockers::Blockers;
use canary_rollout::event::{CommandReply, RolloutEvent};
use canary_rollout::inputs::EnvoyInput;
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State};
use canary_rollout::versions::ReleaseVersions;

use super::deploy::RegistrySource;
use super::distributions::Distributions;
use super::recent::RecentEvents;
use super::record::{FORMAT, JournalRecord, Start, StateSnapshot};
use crate::journal::{Journal, JournalError, JournalWriter};

/// After how many steps at most there is a snapshot.
const SNAPSHOT_EVERY: u32 = 600;

/// Is given the records that are on the disk, and where the journal ends with them.
struct RecordObserver(Box<dyn FnMut(Vec<JournalRecord>, u64) + Send>);

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
    journal: JournalWriter,
    /// What happens where the journal can't be written.
    unwritable: Unwritable,
    /// What isn't written down, since the journal can't be written.
    missing: Option<UnwrittenRecords>,
    owner: String,
    /// The rollout file, as the journal recorded it.
    file: String,
    /// What was released before this release.
    released_last: Option<String>,
    versions: Pair<Option<String>>,
    source: Option<RegistrySource>,
    recorded: Pair<Distributions>,
    envoys: BTreeMap<String, EnvoyInput>,
    /// The Envoys as the journal showed them last; `None` since a snapshot.
    written: Option<BTreeMap<String, EnvoyInput>>,
    blockers: Blockers,
    decisions: u64,
    recent: RecentEvents,
    steps_since_snapshot: u32,
    /// Whether the journal says that it is over.
    ended: bool,
    /// When the journal says that it was over; `None` as soon as that is written back to a registry.
    to_write_back: Option<String>,
    observer: Option<RecordObserver>,
}

/// What happens where a journal can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritable {
    /// Nothing is done any more.
    Stop,
    /// The rollout holds where it is, and goes on as soon as the journal can be written. A write that
    /// takes longer than this counts as failed.
    Hold(Duration),
}

/// What a journal lacks that couldn't be written.
#[derive(Debug)]
struct UnwrittenRecords {
    /// Why, as the last attempt said.
    error: String,
    /// Steps in which something happened, at most [`MOST_MISSING`].
    records: Vec<JournalRecord>,
}

/// How many records wait at most for a journal that can't be written.
const MOST_MISSING: usize = 200;

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
        let mut engine = Self::with(spec, JournalWriter::new(journal), state, &start);
        let snapshot = engine.snapshot();
        engine.journal.append_now(&[JournalRecord::Start(start), snapshot])?;
        Ok(engine)
    }

    /// Begins the next release of a served rollout, in a journal of its own; what the journal held before is
    /// kept at `kept`. The rollout holds where the journal can't be written.
    ///
    /// # Errors
    /// Where the journal can't be written: then it is as it was.
    pub async fn begin_anew(
        spec: Spec,
        mut journal: JournalWriter,
        start: Start,
        kept: PathBuf,
        patience: Duration,
    ) -> Result<Self, JournalError> {
        let state = started(&spec, &start);
        let snapshot = snapshot(&state, 0, &Pair::default());
        let records = [JournalRecord::Start(start.clone()), snapshot];
        journal.begin_anew(kept, &records, Some(patience)).await?;
        Ok(Self::with(spec, journal, state, &start).holding(patience))
    }

    fn with(spec: Spec, journal: JournalWriter, state: State, start: &Start) -> Self {
        Self {
            spec,
            state,
            journal,
            unwritable: Unwritable::Stop,
            missing: None,
            owner: start.owner.clone(),
            file: start.file.clone(),
            released_last: start.released_last.clone(),
            source: start.source.clone(),
            versions: start.versions.clone(),
            recorded: Pair::default(),
            envoys: BTreeMap::new(),
            written: None,
            blockers: Blockers::default(),
            decisions: 0,
            recent: RecentEvents::default(),
            steps_since_snapshot: 0,
            ended: false,
            to_write_back: None,
            observer: None,
        }
    }

    /// Has it hold where the journal can't be written, instead of stopping.
    pub const fn holding(mut self, patience: Duration) -> Self {
        self.unwritable = Unwritable::Hold(patience);
        self
    }

    /// Why the journal can't be written now; `None` if it can.
    pub fn unwritten(&self) -> Option<&str> {
        self.missing.as_ref().map(|missing| missing.error.as_str())
    }

    /// Has all further records given to an observer, once they are on the disk, with the position at which
    /// the journal then ends.
    pub fn observe_records(
        &mut self,
        observer: impl FnMut(Vec<JournalRecord>, u64) + Send + 'static,
    ) {
        self.observer = Some(RecordObserver(Box::new(observer)));
    }

    /// Whether it is over, and that is written down.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// When the end was that has yet to be written back to a registry; `None` if none has.
    pub fn to_write_back(&self) -> Option<&str> {
        self.to_write_back.as_deref()
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

    /// What happened last in this release, before a restart of the controller or after it.
    pub(crate) const fn recent(&self) -> &RecentEvents {
        &self.recent
    }

    /// As whom it writes.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The rollout file as the journal recorded it, without secrets.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The version that was released last: this one's if it has taken over.
    pub fn released(&self) -> Option<String> {
        match self.state.phase() {
            Phase::Healthy => self.versions().canary,
            _ => self.released_last.clone(),
        }
    }

    /// The journal, for the next release.
    pub fn into_journal(self) -> JournalWriter {
        self.journal
    }

    /// The journal that every step is written to.
    pub const fn journal(&self) -> &JournalWriter {
        &self.journal
    }

    /// Where nobody looked, the Envoys are as they were.
    fn looked(&mut self, envoys: &BTreeMap<String, EnvoyInput>) {
        if !envoys.is_empty() {
            self.envoys.clone_from(envoys);
        }
    }

    fn take(&mut self, stepped: StepResult) -> (Effects, State) {
        if let Some(line) = &stepped.line {
            for role in Role::ALL {
                self.recorded.get_mut(role).merge(&Distributions::from_line(line, role));
            }
        }
        self.keep(stepped)
    }

    /// The same where the counts of the step are taken already.
    fn keep(&mut self, stepped: StepResult) -> (Effects, State) {
        let StepResult { state, actions, events, replies, blockers, .. } = stepped;
        let before = std::mem::replace(&mut self.state, state);
        self.blockers = blockers;
        self.decisions += events.len() as u64;
        (Effects { actions, events, replies }, before)
    }

    fn snapshot(&self) -> JournalRecord {
        snapshot(&self.state, self.decisions, &self.recorded)
    }
}

fn snapshot(state: &State, decisions: u64, recorded: &Pair<Distributions>) -> JournalRecord {
    JournalRecord::State(StateSnapshot {
        format: FORMAT,
        // Maps with text keys and finite numbers: this cannot fail.
        state: serde_json::to_value(state).unwrap_or_default(),
        decisions,
        ..StateSnapshot::recorded(recorded)
    })
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

#[cfg(test)]
mod tests;
