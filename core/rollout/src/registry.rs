//! What a model registry's aliases start, and what is written back to it. Pure.
//!
//! Setting the alias *candidate* to a version starts that version's rollout against the version that has
//! the alias *champion*. [`step`] is called with each look at the aliases and with where the release is;
//! it says what to start and which results are still to be written back. The shell asks the registry,
//! journals [`RegistryState`] whenever it changed, starts releases and delivers write-backs.

use std::collections::BTreeSet;

use canary_model::names::is_version;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// The versions that have the two aliases at one look; `None` for an alias that isn't set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aliases {
    /// The version that should be rolled out.
    pub candidate: Option<String>,
    /// The version that serves.
    pub champion: Option<String>,
}

/// How a release ended, as its version's tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseOutcome {
    /// The version serves all traffic.
    Healthy,
    /// Everything is back on stable.
    Degraded,
    /// The rollout only measured.
    Measured,
}

impl ReleaseOutcome {
    /// The outcome's word in the tag `canary.outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Measured => "measured",
        }
    }
}

/// A release that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseResult {
    /// The version that was released.
    pub version: String,
    /// The version that it was compared with, if that is known.
    pub stable: Option<String>,
    /// What became of the version.
    pub outcome: ReleaseOutcome,
    /// Why it ended so, in a sentence for people.
    pub reason: String,
    /// When it ended: RFC 3339, UTC. With version and outcome it identifies the end.
    pub ended_at: String,
}

impl ReleaseResult {
    /// Whether both are the same end of the same release. Reasons may differ, because another canaryctl
    /// may say them in other words.
    fn is_same_end(&self, other: &Self) -> bool {
        (&self.ended_at, self.outcome) == (&other.ended_at, other.outcome)
            && self.version == other.version
    }
}

/// Where the release is that this controller drives or has driven last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseStage {
    /// There was none yet.
    NotStarted,
    /// A release runs, whatever its phase.
    Running {
        /// The version that is being released.
        version: String,
        /// The version that it is compared with, if that is known.
        stable: Option<String>,
    },
    /// The last release is over.
    Ended(ReleaseResult),
}

/// What happened to a write-back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteBackAnswer {
    /// The registry has it.
    Delivered(u64),
    /// The registry refuses it for good, for example because it has no such version.
    Refused(u64, String),
}

/// A result that the registry doesn't have yet. Delivering it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBack {
    /// Identifies the write-back among those of a rollout; later ones have larger numbers.
    pub number: u64,
    /// What the version's tags say.
    pub release: ReleaseResult,
    /// The version that gets the alias champion; `None` if the alias stays where it is.
    pub champion: Option<String>,
}

/// What is remembered between two looks. It survives a restart: the shell writes it to the rollout's
/// journal whenever it changed, and carries it over into the journal of the next release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryState {
    /// Since when this registry is told of ends: RFC 3339, UTC.
    since: String,
    /// Versions that were released, none of which is started again before the candidate has been set to
    /// another one.
    done: BTreeSet<String>,
    /// The end whose results were written back, or are about to be.
    reported: Option<ReleaseResult>,
    /// The version that became champion by its release, as long as that release can be taken back.
    promoted: Option<String>,
    /// What is still to be written back, oldest first.
    pending: Vec<WriteBack>,
    /// The number of the last write-back.
    numbered: u64,
}

/// What happened since the last step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryInputs {
    /// The aliases; `None` if the registry could not be asked.
    pub aliases: Option<Aliases>,
    /// Where the release is.
    pub release: ReleaseStage,
    /// The version that serves in stable's place, as far as it is known without the registry.
    pub stable: Option<String>,
    /// What happened to write-backs.
    pub answers: Vec<WriteBackAnswer>,
}

/// What the aliases ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryDecision {
    /// Start the release of a version.
    Start {
        /// The version to release.
        candidate: String,
        /// The version to compare it with; `None`: the one that is known otherwise.
        champion: Option<String>,
    },
    /// Aliases that moved during the release: they count after its end. Empty if none did.
    Wait(Vec<AliasMove>),
    /// Nothing is to be started.
    Nothing(NoStart),
}

/// An alias that waits for the end of the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AliasMove {
    /// The candidate is another version than the one that is being released.
    Candidate(String),
    /// The champion is another version than the one that the release is compared with.
    Champion(String),
}

/// Why the aliases start nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoStart {
    /// The registry could not be asked.
    Unreachable,
    /// No version has the alias candidate.
    NoCandidate,
    /// The candidate serves already.
    CandidateServes(String),
    /// The candidate's release has ended, and the alias hasn't been set to another version since.
    AlreadyReleased(String),
    /// The candidate's version can't be a label.
    NotAVersion(String),
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryStep {
    /// The state to go on with; to be journaled before the decision is carried out if it differs.
    pub state: RegistryState,
    /// What the aliases ask for.
    pub decision: RegistryDecision,
    /// Write-backs that the registry refused, with its words; they are not tried again.
    pub refused: Vec<(WriteBack, String)>,
}

impl RegistryState {
    /// The state of a rollout that has a registry since `since` (RFC 3339, UTC): what ended before counts
    /// as done and isn't reported.
    pub fn new(since: String) -> Self {
        Self { since, ..Self::default() }
    }

    /// What is still to be written back, oldest first.
    pub fn pending(&self) -> &[WriteBack] {
        &self.pending
    }

    /// Whether both know of the same last end.
    pub fn same_end(&self, other: &Self) -> bool {
        match (&self.reported, &other.reported) {
            (Some(one), Some(other)) => one.is_same_end(other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// The version that has the alias champion, or gets it by what is pending.
    fn champion<'a>(&'a self, aliases: &'a Aliases) -> Option<&'a str> {
        let pending = self.pending.iter().rev().find_map(|one| one.champion.as_deref());
        pending.or(aliases.champion.as_deref())
    }

    /// Takes note of an end, once.
    fn report(&mut self, release: &ReleaseResult) {
        if self.reported.as_ref().is_some_and(|reported| reported.is_same_end(release)) {
            return;
        }
        self.reported = Some(release.clone());
        self.done.insert(release.version.clone());
        if release.ended_at < self.since {
            return;
        }
        let promoted = self.promoted.take();
        let champion = match release.outcome {
            ReleaseOutcome::Healthy => Some(release.version.clone()),
            ReleaseOutcome::Degraded if promoted.as_ref() == Some(&release.version) => {
                release.stable.clone()
            }
            ReleaseOutcome::Degraded | ReleaseOutcome::Measured => None,
        };
        if release.outcome == ReleaseOutcome::Healthy {
            self.promoted = champion.clone();
        }
        // Of each version the newest result counts, and of all champions the newest.
        self.pending.retain(|one| one.release.version != release.version);
        if champion.is_some() {
            self.pending.iter_mut().for_each(|one| one.champion = None);
        }
        self.numbered += 1;
        self.pending.push(WriteBack { number: self.numbered, release: release.clone(), champion });
    }

    /// Removes what the registry has or refuses; the latter is returned.
    fn remove_answered(&mut self, answers: &[WriteBackAnswer]) -> Vec<(WriteBack, String)> {
        let mut refused = Vec::new();
        for answer in answers {
            let (number, why) = match answer {
                WriteBackAnswer::Delivered(number) => (*number, None),
                WriteBackAnswer::Refused(number, why) => (*number, Some(why)),
            };
            let found = self.pending.iter().position(|one| one.number == number);
            let Some(found) = found.map(|at| self.pending.remove(at)) else { continue };
            refused.extend(why.map(|why| (found, why.clone())));
        }
        refused
    }
}

/// One step: takes note of what happened, and says what the aliases ask for.
pub fn step(state: &RegistryState, inputs: &RegistryInputs) -> RegistryStep {
    let mut state = state.clone();
    let refused = state.remove_answered(&inputs.answers);
    let runs = match &inputs.release {
        ReleaseStage::NotStarted => false,
        ReleaseStage::Running { version, .. } => {
            state.done.insert(version.clone());
            true
        }
        ReleaseStage::Ended(release) => {
            state.report(release);
            false
        }
    };
    let decision = match &inputs.aliases {
        None => RegistryDecision::Nothing(NoStart::Unreachable),
        Some(aliases) if runs => RegistryDecision::Wait(moves(&state, aliases, &inputs.release)),
        Some(aliases) => {
            if let Some(candidate) = &aliases.candidate {
                state.done.retain(|version| version == candidate);
            }
            start(&state, aliases, inputs.stable.as_deref())
        }
    };
    RegistryStep { state, decision, refused }
}

/// What the aliases start while no release is in the way.
fn start(state: &RegistryState, aliases: &Aliases, stable: Option<&str>) -> RegistryDecision {
    let Some(candidate) = aliases.candidate.clone() else {
        return RegistryDecision::Nothing(NoStart::NoCandidate);
    };
    let champion = state.champion(aliases);
    let nothing = if champion.or(stable) == Some(candidate.as_str()) {
        NoStart::CandidateServes(candidate)
    } else if state.done.contains(&candidate) {
        NoStart::AlreadyReleased(candidate)
    } else if let Some(other) =
        [Some(candidate.as_str()), champion].into_iter().flatten().find(|one| !is_version(one))
    {
        NoStart::NotAVersion(other.to_owned())
    } else {
        return RegistryDecision::Start { candidate, champion: champion.map(str::to_owned) };
    };
    RegistryDecision::Nothing(nothing)
}

/// The aliases that ask for something that has to wait.
fn moves(state: &RegistryState, aliases: &Aliases, release: &ReleaseStage) -> Vec<AliasMove> {
    let ReleaseStage::Running { version, stable } = release else { return Vec::new() };
    let serves = |candidate: &String| state.champion(aliases) == Some(candidate.as_str());
    let candidate = aliases.candidate.as_ref();
    let candidate = candidate.filter(|candidate| *candidate != version && !serves(candidate));
    let champion = aliases.champion.as_ref();
    let champion =
        champion.filter(|champion| stable.as_ref().is_some_and(|stable| stable != *champion));
    let candidate = candidate.cloned().map(AliasMove::Candidate);
    candidate.into_iter().chain(champion.cloned().map(AliasMove::Champion)).collect()
}
