//! One step of the controller: what was seen goes in, what to do comes out. Pure and total.
//!
//! In this order: the clock moves on, the Envoys are looked at, the counts are judged, answers and
//! commands are taken, then it is decided, and what was decided becomes actions. A reason to roll
//! back wins over everything else that the same step brings.

mod commands;
mod counts;
mod decide;
mod deploy;
mod finalize;
mod fleet;
mod hooks;
mod measure;
mod writes;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::blockers::{Blocker, Blockers, blockers};
use super::event::{CommandReply, RolloutEvent};
use super::inputs::Inputs;
use super::spec::Spec;
use super::state::{Phase, State};
use super::termination::TerminationReason;
use canary_judge::observation::Observation;
use canary_judge::verdict::Verdict;

pub(crate) use finalize::handover_analysis;

/// The most that one step adds to the rollout's clock: a host that slept or whose clock jumped has
/// not watched the canary in that time.
pub const LONGEST_TICK: Duration = Duration::from_secs(10);

/// The host's clocks at a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostClocks {
    /// A clock that nobody sets, in time since any moment; best the same for all processes since the
    /// host's start (`CLOCK_BOOTTIME`). Backwards, it counts as no time.
    pub monotonic: Duration,
    /// Seconds since 1970. Nothing but an epoch's number is made of it.
    pub unix: u64,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The state after the step.
    pub state: State,
    /// What to do, in order, after all of this is journaled.
    pub actions: Vec<Action>,
    /// What happened, in order.
    pub events: Vec<RolloutEvent>,
    /// What became of the commands, in their order.
    pub replies: Vec<CommandReply>,
    /// The line as it was judged, with its time, weight and window; `None` where nothing was.
    pub line: Option<Observation>,
    /// Every metric's verdict on that line, in the file's order; empty where there was none.
    pub verdicts: Vec<Verdict>,
    /// What the rollout waits for now.
    pub blockers: Blockers,
}

/// Takes a rollout one step further. To be called every second or so, at least every third of the
/// lease, for as long as [`State::is_over`] says no.
pub fn step(spec: &Spec, state: State, seen: Inputs, now: HostClocks) -> StepResult {
    let mut context = StepContext::new(spec, state, now);
    let looked = !seen.envoys.is_empty();
    context.unrecorded = seen.unrecorded;
    context.looked = looked;
    context.observe_fleet(&seen.envoys);
    context.count(seen.observation, seen.measurements);
    context.handle_responses(&seen.gates, &seen.notified);
    context.handle_deploys(seen.deployed);
    for command in seen.commands {
        context.handle_command(command);
    }
    context.decide();
    context.act();
    context.done()
}

/// A step while it is being taken.
struct StepContext<'s> {
    spec: &'s Spec,
    state: State,
    now: HostClocks,
    /// What this step adds to the rollout's clock.
    passed: Duration,
    /// Nobody looked for so long that the leases may have run out in between.
    gap: bool,
    /// Whether the step can't be written down; see [`Inputs::unrecorded`].
    unrecorded: bool,
    /// Where the rollout stood when the step began.
    before: Phase,
    /// Whether every Envoy that could be reached had confirmed the target when the step began.
    confirmed_before: bool,
    /// The call of the deploy hook that was under way when the step began, and hasn't ended since.
    hook_before: Option<u32>,
    /// Whether an Envoy was looked at in this step.
    looked: bool,
    /// What the handover's judge found against the new stable.
    worse_stable: Option<Verdict>,
    /// A reason to roll back: the first that was found.
    rollback: Option<TerminationReason>,
    actions: Vec<Action>,
    events: Vec<RolloutEvent>,
    replies: Vec<CommandReply>,
    line: Option<Observation>,
    verdicts: Vec<Verdict>,
}

impl<'s> StepContext<'s> {
    fn new(spec: &'s Spec, mut state: State, now: HostClocks) -> Self {
        let lease = Duration::from_secs(u64::from(spec.lease_seconds));
        let since = state.clock.last.map(|last| now.monotonic.checked_sub(last));
        let (passed, gap) = match since {
            None => (Duration::ZERO, false),
            Some(None) => (Duration::ZERO, true),
            Some(Some(since)) => (since.min(LONGEST_TICK), since > lease),
        };
        state.clock.passed = state.clock.passed.saturating_add(passed);
        state.clock.last = Some(now.monotonic);
        let (before, confirmed_before) = (state.phase, state.confirmed());
        let hook_before = state.deploy.under_way.map(|call| call.attempt);
        let (actions, events, replies, verdicts) = Default::default();
        let (rollback, line) = Default::default();
        let mut events: Vec<RolloutEvent> = events;
        if std::mem::take(&mut state.epoch_renewed) {
            events.push(RolloutEvent::EpochRenewed { epoch: state.epoch });
        }
        Self {
            spec,
            state,
            now,
            passed,
            gap,
            unrecorded: false,
            before,
            confirmed_before,
            hook_before,
            looked: false,
            worse_stable: None,
            rollback,
            actions,
            events,
            replies,
            line,
            verdicts,
        }
    }

    /// Whether the guard protects anybody now.
    const fn is_guarded(&self) -> bool {
        self.under_way() || self.state.is_finalizing()
    }

    /// Whether the canary may have traffic that is worth judging.
    const fn under_way(&self) -> bool {
        matches!(self.state.phase, Phase::Progressing | Phase::Paused | Phase::Promoting)
    }

    fn done(self) -> StepResult {
        let Self { spec, state, unrecorded, actions, events, replies, line, verdicts, .. } = self;
        let mut blockers = blockers(spec, &state);
        if unrecorded && !state.phase().is_end() {
            blockers.waiting_for.insert(0, Blocker::Journal);
        }
        StepResult { state, actions, events, replies, line, verdicts, blockers }
    }
}
