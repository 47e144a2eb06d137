//! The controller's shell: looks, steps, journals, acts. It can be killed between any two of these.

use std::collections::BTreeMap;
use std::time::Duration;

use canary_judge::counts::{Pair, Trials};
use canary_judge::observation::Measurement;
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::action::{Action, Notification};
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{DeliveryReport, DeployAnswer, GateAnswer, Inputs, OperatorCommand};
use canary_rollout::spec::Spec;
use canary_rollout::state::State;
use canary_rollout::versions::ReleaseVersions;
use canary_rollout::{HostClocks, StepResult, step};

use crate::world::{World, line};

/// When a controller is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// GatePosition the step is journaled: it never happened.
    BeforeJournal,
    /// After it is journaled, and after so many of its actions.
    AfterActions(usize),
}

/// What a controller needs besides the world.
pub(crate) struct Shell {
    pub(crate) spec: Spec,
    /// What a restart finds.
    journal: Journal,
    /// The host's clock lies so far from the world's, in seconds.
    pub(crate) clock_offset: i64,
    pub(crate) commands: Vec<OperatorCommand>,
    /// What gates answer, by index; `None`: they don't.
    pub(crate) gates: BTreeMap<usize, Option<GateAnswer>>,
    /// What external metrics measure.
    pub(crate) metrics: BTreeMap<String, Measurement>,
    /// The share of requests that is counted as assigned to the canary; `None`: the filter is older.
    pub(crate) assigned: Option<f64>,
    /// Whether web hooks take notifications.
    pub(crate) hooks_work: bool,
    pub(crate) delivered: Vec<Notification>,
    answers: Inputs,
    /// How many rounds a deploy hook takes; `None`: it never ends.
    pub(crate) deploy_takes: Option<u32>,
    /// Why deploy hooks fail, if they do.
    pub(crate) deploy_fails: Option<String>,
    /// Every call of the deploy hook.
    pub(crate) deploys: Vec<(Role, String)>,
    /// The hooks that run, by their number, with the rounds that are left.
    pub(crate) hooks: BTreeMap<u32, Option<u32>>,
}

struct Journal {
    state: String,
    counters: BTreeMap<String, Pair<Trials>>,
    events: Vec<RolloutEvent>,
    /// The largest weight that was ever decided since the last decision to go back.
    weight: Weight,
}

impl Shell {
    pub(crate) fn new(spec: Spec, owner: &str, takeover: bool) -> Self {
        let state = State::new(&spec, owner, takeover);
        let state = serde_json::to_string(&state).unwrap();
        let (counters, events, weight) = Default::default();
        Self {
            spec,
            journal: Journal { state, counters, events, weight },
            clock_offset: 1_000,
            commands: Vec::new(),
            gates: BTreeMap::new(),
            metrics: BTreeMap::new(),
            assigned: None,
            hooks_work: true,
            delivered: Vec::new(),
            answers: Inputs::default(),
            deploy_takes: Some(2),
            deploy_fails: None,
            deploys: Vec::new(),
            hooks: BTreeMap::new(),
        }
    }

    /// A rollout with versions that somebody named.
    pub(crate) fn releasing(spec: Spec, versions: ReleaseVersions) -> Self {
        let state = State::new(&spec, "ctl", false).with_versions(versions);
        let mut shell = Self::new(spec, "ctl", false);
        shell.journal.state = serde_json::to_string(&state).unwrap();
        shell
    }

    /// A second of the running hooks.
    fn run_hooks(&mut self) {
        let hooks = std::mem::take(&mut self.hooks);
        for (attempt, left) in hooks {
            match left {
                Some(0) => {
                    let failed = self.deploy_fails.clone();
                    self.answers.deployed.push(DeployAnswer { attempt, failed });
                }
                left => {
                    self.hooks.insert(attempt, left.map(|left| left - 1));
                }
            }
        }
    }

    pub(crate) fn state(&self) -> State {
        State::resume(&self.journal.state, &self.spec).unwrap()
    }

    /// Every event that was journaled.
    pub(crate) fn events(&self) -> &[RolloutEvent] {
        &self.journal.events
    }

    /// The weight that the journal allows.
    pub(crate) fn allowed(&self) -> Weight {
        self.journal.weight
    }

    /// One round of the controller, killed on the way or not.
    pub(crate) fn tick(&mut self, world: &mut World, kill: Option<Kill>) -> StepResult {
        let counters = world.counters();
        self.run_hooks();
        let mut seen = std::mem::take(&mut self.answers);
        seen.commands = std::mem::take(&mut self.commands);
        seen.observation = line(&counters, &self.journal.counters);
        if let (Some(share), Some(line)) = (self.assigned, &mut seen.observation) {
            let all = line.requests().sum();
            let canary = (all as f64 * share).round() as u64;
            line.roles.canary.assigned = Some(canary);
            line.roles.stable.assigned = Some(all - canary);
        }
        seen.envoys = world.look();
        let seconds = world.now.saturating_add_signed(self.clock_offset);
        let now =
            HostClocks { monotonic: Duration::from_secs(seconds), unix: 1_700_000_000 + seconds };
        // What is seen can be journaled, too.
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Inputs>(&text).unwrap(), seen);
        let stepped = step(&self.spec, self.state(), seen, now);
        if kill == Some(Kill::BeforeJournal) {
            self.restarted(world);
            return stepped;
        }
        self.journal(&stepped, counters);
        let actions = match kill {
            Some(Kill::AfterActions(some)) => some,
            _ => usize::MAX,
        };
        for action in stepped.actions.iter().take(actions) {
            self.act(world, action);
        }
        if kill.is_some() {
            self.restarted(world);
        }
        stepped
    }

    fn journal(&mut self, stepped: &StepResult, counters: BTreeMap<String, Pair<Trials>>) {
        let journal = &mut self.journal;
        journal.state = serde_json::to_string(&stepped.state).unwrap();
        journal.counters.extend(counters);
        journal.events.extend(stepped.events.iter().cloned());
        if let Some(target) = stepped.state.target() {
            journal.weight = target.weight;
        }
    }

    /// A controller that has just been started knows nothing of hooks and answers, and calls again the deploy
    /// hook whose end isn't in the journal.
    fn restarted(&mut self, world: &mut World) {
        self.answers = Inputs::default();
        self.hooks.clear();
        if let Some(deploy) = self.state().deploy_under_way() {
            self.act(world, &deploy);
        }
    }

    fn act(&mut self, world: &mut World, action: &Action) {
        match action {
            Action::Write { envoys, target, nonce } => {
                envoys.iter().for_each(|name| world.write(name, target, nonce));
            }
            Action::AskGate { gate, .. } => {
                let passes = GateAnswer { gate: *gate, passed: true, said: "200 OK".to_owned() };
                let answer = self.gates.get(gate).cloned().unwrap_or(Some(passes));
                self.answers.gates.extend(answer);
            }
            Action::Measure { metric } => {
                let measured = self.metrics.get(metric).cloned();
                self.answers.measurements.extend(measured.map(|one| (metric.clone(), one)));
            }
            Action::Deploy { role, version, attempt } => {
                self.deploys.push((*role, version.clone()));
                self.hooks.insert(*attempt, self.deploy_takes);
            }
            Action::CancelDeploy { attempt } => {
                self.hooks.remove(attempt);
            }
            Action::Notify(notice) => {
                let (number, delivered) = (notice.number, self.hooks_work);
                if delivered {
                    self.delivered.push(notice.clone());
                }
                self.answers.notified.push(DeliveryReport { notice: number, delivered });
            }
        }
    }
}
