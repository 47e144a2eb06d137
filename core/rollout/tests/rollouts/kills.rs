//! Controllers and Envoys that are killed at any moment: no decision is lost, none is made twice, no
//! Envoy sends the canary more than what was journaled, and without a controller all is stable.

use std::collections::{BTreeMap, BTreeSet};

use canary_judge::counts::Pair;
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::{Deploy, DeployHook, Spec};
use canary_rollout::state::Phase;
use canary_rollout::termination::TerminationReason;
use canary_rollout::versions::ReleaseVersions;
use serde_json::json;

use crate::shell::{Kill, Shell};
use crate::world::World;

const LEASE: u64 = 30;
/// No rollout of these takes so long, however often it is killed.
const ENOUGH: u64 = 20_000;

fn spec() -> Spec {
    let steps = json!([
        {"setWeight": 5}, {"pause": {"duration": "6s", "minRequests": 200}},
        {"setWeight": 20}, {"pause": {"untilConfident": true}},
        {"setWeight": 50}, {"pause": {"duration": "6s"}},
    ]);
    let metrics = json!([{"name": "failures", "kind": "failureRate", "margin": "0.5%"}]);
    let gates = json!([{"before": 20, "url": "http://gate/"}]);
    let notify = json!([{"on": ["step", "completed", "aborted"], "url": "http://hook/"}]);
    Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics},
        "gates": gates, "notify": notify}))
    .unwrap()
}

/// A small generator of random numbers (splitmix64), the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// One rollout under fire.
struct Trial {
    world: World,
    shell: Shell,
    dice: Dice,
    /// How often a controller was killed where.
    kills: BTreeMap<String, u32>,
    /// The Envoys that have restarted and weren't written since.
    restarted: BTreeSet<String>,
}

impl Trial {
    fn new(seed: u64, envoys: &[&str]) -> Self {
        Self::with(seed, envoys, Shell::new(spec(), "ctl", false))
    }

    fn with(seed: u64, envoys: &[&str], shell: Shell) -> Self {
        Self {
            world: World::new(envoys),
            shell,
            dice: Dice(seed),
            kills: BTreeMap::new(),
            restarted: BTreeSet::new(),
        }
    }

    /// Runs to the end; from `bad_from` on the canary fails.
    fn run(&mut self, bad_from: Option<u64>) {
        while !self.shell.state().is_over() {
            assert!(self.world.now < ENOUGH, "no end: {:?}", self.shell.state().phase());
            if bad_from.is_some_and(|from| self.world.now >= from) {
                self.world.failing.canary = 0.3;
            }
            self.second();
            let kill = self.maybe_kill();
            self.shell.tick(&mut self.world, kill);
            if kill.is_some() {
                self.nobody_is_there();
            }
        }
    }

    fn second(&mut self) {
        if self.dice.roll(40) == 0 {
            let names: Vec<String> = self.world.envoys.keys().cloned().collect();
            let name = &names[self.dice.roll(names.len() as u64) as usize];
            self.world.proxy(name).restart();
            self.restarted.insert(name.clone());
        }
        self.world.pass();
        let envoys = &self.world.envoys;
        self.restarted.retain(|name| envoys[name].in_force(self.world.now) == Weight::ZERO);
        self.check();
        self.check_stables_place();
    }

    fn maybe_kill(&mut self) -> Option<Kill> {
        if self.dice.roll(5) != 0 {
            return None;
        }
        let state = self.shell.state();
        let step = state.step().map_or_else(String::new, |step| format!(" step {step}"));
        *self.kills.entry(format!("{}{step}", state.phase())).or_default() += 1;
        let after = self.dice.roll(4) as usize;
        Some(after.checked_sub(1).map_or(Kill::BeforeJournal, Kill::AfterActions))
    }

    /// The time until the controller is started again; one in eight comes too late for the lease.
    fn nobody_is_there(&mut self) {
        let late = self.dice.roll(8) == 0;
        let seconds = if late { LEASE + 10 } else { self.dice.roll(5) };
        (0..seconds).for_each(|_| self.second());
        let state = self.shell.state();
        let promoting = matches!(state.phase(), Phase::Promoting | Phase::Healthy);
        if late && !promoting && !state.is_finalizing() {
            assert_eq!(self.world.in_force(), Weight::ZERO, "the lease ran out");
        }
    }

    /// What must hold in every second.
    fn check(&self) {
        let state = self.shell.state();
        let in_force = self.world.in_force();
        match state.phase() {
            // Going back is decided before it is done.
            Phase::Aborting => {}
            // Down from 100 % in the handover; `check_stables_place` has its law.
            _ if state.is_finalizing() => {}
            Phase::Degraded => assert_eq!(in_force, Weight::ZERO),
            _ => assert!(in_force <= self.shell.allowed(), "{in_force} above the journal's"),
        }
    }

    /// While stable's place is being replaced, no Envoy sends anybody there, whoever is there to watch; while it
    /// is judged, no more than half. An Envoy that has restarted does until it is written.
    fn check_stables_place(&self) {
        let state = self.shell.state();
        let Some(target) = state.target().filter(|_| state.is_finalizing()) else { return };
        let since = self
            .shell
            .events()
            .iter()
            .rposition(|event| matches!(event, RolloutEvent::Finalizing { .. }));
        let events = since.map(|since| &self.shell.events()[since..]).unwrap_or_default();
        let judged = events.iter().any(|event| matches!(event, RolloutEvent::HandingOver { .. }));
        let floor = if judged { Weight::from_ppm(500_000).unwrap() } else { Weight::FULL };
        assert_eq!(target.lease_seconds, None);
        for (name, envoy) in &self.world.envoys {
            let there = envoy.in_force(self.world.now);
            let leaving = target.weight == Weight::ZERO || self.restarted.contains(name);
            assert!(leaving || there >= floor, "{name} sends {there} % to the canary's place");
        }
    }

    /// The decisions, in order.
    fn decisions(&self) -> Vec<String> {
        let decision = |event: &RolloutEvent| match event {
            RolloutEvent::Started { .. } => Some("start".to_owned()),
            RolloutEvent::Step { step, .. } => Some(format!("step {step}")),
            RolloutEvent::Promoting => Some("promote".to_owned()),
            RolloutEvent::Completed { .. } => Some("complete".to_owned()),
            RolloutEvent::Aborting { reason: TerminationReason::Metric { metric, .. } } => {
                Some(format!("abort by {metric}"))
            }
            RolloutEvent::Aborting { reason } => Some(format!("abort: {reason:?}")),
            RolloutEvent::Degraded { .. } => Some("degrade".to_owned()),
            RolloutEvent::Deploying { role, .. } => Some(format!("deploy {role}")),
            RolloutEvent::Deployed { role, .. } => Some(format!("deployed {role}")),
            RolloutEvent::Finalizing { .. } => Some("finalize".to_owned()),
            RolloutEvent::HandingOver { .. } => Some("hand over".to_owned()),
            RolloutEvent::Finished { .. } => Some("finish".to_owned()),
            RolloutEvent::Paused { .. } => Some("pause".to_owned()),
            _ => None,
        };
        self.shell.events().iter().filter_map(decision).collect()
    }

    /// Every notification came, and one that came twice is the same both times.
    fn check_notices(&self) {
        let mut by_number = BTreeMap::new();
        for notice in &self.shell.delivered {
            let first = by_number.entry(notice.number).or_insert(&notice.event);
            assert_eq!(*first, &notice.event);
        }
        let told = self.shell.events().iter().filter(|event| {
            let topic = event.topic();
            topic.is_some_and(|topic| self.shell.spec.notify[0].on.contains(&topic))
        });
        assert!(by_number.values().copied().eq(told), "{by_number:?}");
    }
}

const WHOLE: [&str; 6] = ["start", "step 0", "step 1", "step 2", "promote", "complete"];

#[test]
fn no_decision_is_lost_or_repeated() {
    let mut kills = BTreeMap::new();
    for seed in 0..60 {
        let mut good = Trial::new(seed, &["a", "b"]);
        good.run(None);
        assert_eq!(good.decisions(), WHOLE, "seed {seed}");
        good.check_notices();

        let mut bad = Trial::new(seed, &["a", "b"]);
        bad.run(Some(seed % 15));
        let decisions = bad.decisions();
        let (end, start) = decisions.split_at(decisions.len() - 2);
        assert_eq!(start, ["abort by failures", "degrade"], "seed {seed}");
        assert!(WHOLE.starts_with(&end.iter().map(String::as_str).collect::<Vec<_>>()));
        bad.check_notices();
        for trial in [good, bad] {
            trial.kills.into_iter().for_each(|(place, n)| *kills.entry(place).or_insert(0) += n);
        }
    }
    let sum: u32 = kills.values().sum();
    assert!(sum >= 600, "{sum} kills");
    for place in ["Pending", "Progressing step 0", "Progressing step 1", "Progressing step 2"] {
        assert!(kills[place] >= 10, "{kills:?}");
    }
    assert!(kills["Promoting"] >= 5 && kills["Aborting"] >= 5, "{kills:?}");
}

const RELEASE: [&str; 12] = [
    "deploy canary",
    "deployed canary",
    "start",
    "step 0",
    "step 1",
    "step 2",
    "promote",
    "finalize",
    "deploy stable",
    "deployed stable",
    "hand over",
    "finish",
];

fn release() -> Shell {
    let mut spec = spec();
    let command = vec!["./deploy.sh".to_owned()];
    let timeout = std::time::Duration::from_secs(60);
    let hook = Some(DeployHook::Command(command));
    spec.deploy = Some(Deploy { hook, timeout, min_requests: 500 });
    let named = Pair { stable: None, canary: Some("3".to_owned()) };
    let versions = Pair { stable: Some("1".to_owned()), ..named.clone() };
    let mut shell = Shell::releasing(spec, ReleaseVersions { named, versions });
    shell.deploy_takes = Some(3);
    shell
}

#[test]
fn a_release_survives_kills_and_restarts_in_every_phase() {
    let mut kills = BTreeMap::new();
    for seed in 0..60 {
        let mut good = Trial::with(seed, &["a", "b"], release());
        good.run(None);
        assert_eq!(good.decisions(), RELEASE, "seed {seed}");
        let calls = good.shell.deploys.iter();
        let (canary, stable): (Vec<_>, Vec<_>) = calls.partition(|(role, _)| *role == Role::Canary);
        assert!(!canary.is_empty() && !stable.is_empty(), "seed {seed}");
        assert_eq!(good.world.in_force(), Weight::ZERO, "seed {seed}");
        good.check_notices();
        good.kills.into_iter().for_each(|(place, n)| *kills.entry(place).or_insert(0) += n);
    }
    for place in ["Deploying", "Finalizing", "Promoting"] {
        assert!(kills[place] >= 20, "{kills:?}");
    }
}

/// A version that is bad in stable's place alone: the handover ends at 100 % in the canary's place, wherever
/// the controller is killed.
#[test]
fn a_bad_handover_is_paused_wherever_the_controller_is_killed() {
    for seed in 0..40 {
        let mut trial = Trial::with(seed, &["a", "b"], release());
        while trial.shell.state().phase() != Phase::Paused {
            assert!(trial.world.now < ENOUGH, "seed {seed}: no end");
            let events = trial.shell.events();
            if events.iter().any(|event| matches!(event, RolloutEvent::HandingOver { .. })) {
                trial.world.failing.stable = 0.3;
            }
            trial.second();
            let kill = trial.maybe_kill();
            trial.shell.tick(&mut trial.world, kill);
            if kill.is_some() {
                trial.nobody_is_there();
            }
        }
        let decisions = trial.decisions();
        assert_eq!(decisions.last().map(String::as_str), Some("pause"), "seed {seed}");
        assert_eq!(decisions[..11], RELEASE[..11], "seed {seed}");
        trial.world.pass();
        trial.shell.tick(&mut trial.world, None);
        trial.world.pass();
        assert_eq!(trial.world.in_force(), Weight::FULL, "seed {seed}");
    }
}

/// The controller dies for good at any second of a rollout: within the lease all is stable.
#[test]
fn without_a_controller_all_is_stable_within_the_lease() {
    for dies_at in 1..21 {
        let mut world = World::new(&["a", "b"]);
        world.failing = Pair { stable: 0.0, canary: 0.0 };
        let mut shell = Shell::new(spec(), "ctl", false);
        for _ in 0..dies_at {
            world.pass();
            shell.tick(&mut world, None);
        }
        let phase = shell.state().phase();
        assert!(matches!(phase, Phase::Progressing), "{dies_at}: {phase}");
        (0..=LEASE).for_each(|_| world.pass());
        assert_eq!(world.in_force(), Weight::ZERO, "dead since {dies_at}");
    }
}
