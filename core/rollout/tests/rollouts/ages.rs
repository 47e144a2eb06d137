//! Outcomes are counted at an age: which weight a line belongs to, from when a step's conditions count,
//! and which filters can be counted together.

use std::time::Duration;

use canary_judge::observation::Observation;
use canary_model::weight::Weight;
use canary_rollout::blockers::Blocker;
use canary_rollout::inputs::OperatorCommand;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use canary_rollout::{HostClocks, StepResult, step};
use serde_json::json;

use crate::shell::Shell;
use crate::world::{Configuration, World};

const AGE: u64 = 7;

fn spec() -> Spec {
    Spec::read(&json!({
        "rollout": "r",
        "steps": [
            {"setWeight": 5}, {"pause": {"minRequests": 100}},
            {"setWeight": 50}, {"pause": {"untilConfident": true}},
        ],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
    }))
    .unwrap()
}

fn aged(age: Option<u64>) -> Configuration {
    Configuration { outcome_age: age, ..Configuration::default() }
}

fn world(age: u64) -> World {
    let mut world = World::new(&["a"]);
    world.proxy("a").configuration = aged(Some(age));
    world
}

fn tick(world: &mut World, shell: &mut Shell) -> StepResult {
    world.pass();
    shell.tick(world, None)
}

fn percent(weight: Weight) -> u32 {
    weight.ppm() / 10_000
}

/// The seconds at which each step began and the rollout ended, with requests judged at this age.
fn milestones(age: u64) -> Vec<u64> {
    let (mut world, mut shell) = (world(age), Shell::new(spec(), "ctl", false));
    let (mut at, mut last) = (Vec::new(), None);
    while last != Some(Phase::Healthy) && world.now < 200 {
        let state = tick(&mut world, &mut shell).state;
        let step = state.step().map(|step| step as u64);
        if step != (at.len() as u64).checked_sub(1) && step.is_some()
            || last != Some(state.phase()) && state.phase() == Phase::Promoting
        {
            at.push(world.now);
        }
        last = Some(state.phase());
    }
    assert_eq!(last, Some(Phase::Healthy), "{at:?}");
    at
}

/// Each step takes as long as the age, and no longer than that added to what it takes if outcomes are
/// known at once.
#[test]
fn a_steps_conditions_start_at_the_age_after_it() {
    let (at_once, later) = (milestones(0), milestones(AGE));
    assert_eq!(at_once.len(), 3, "{at_once:?}");
    for (at_once, later) in at_once.windows(2).zip(later.windows(2)) {
        let (at_once, later) = (at_once[1] - at_once[0], later[1] - later[0]);
        // The age and the time until the weight is confirmed run at the same time.
        assert!(later >= AGE && later <= AGE + at_once, "{at_once} {later}");
    }
}

/// After a change of weight, lines go on under the weight before for as long as the age; what is counted
/// at once is labelled with the new one. Nothing from before the first weight is counted. The state is
/// written and read again at each step, so a replay arrives at the same.
#[test]
fn a_line_has_the_weight_of_its_age() {
    let (mut world, mut shell) = (world(AGE), Shell::new(spec(), "ctl", false));
    let mut lines: Vec<(u64, Observation)> = Vec::new();
    let mut began = Vec::new();
    for _ in 0..60 {
        let stepped = tick(&mut world, &mut shell);
        if stepped.state.phase() == Phase::Promoting {
            break;
        }
        lines.extend(stepped.line.map(|line| (world.now, line)));
        if stepped.state.step() == Some(began.len()) {
            began.push(world.now);
        }
    }
    let [first, second] = began.as_slice() else { panic!("{began:?}") };
    for (at, line) in &lines {
        let aged = if *at < second + AGE { 5 } else { 50 };
        let now = if at <= second { 5 } else { 50 };
        assert_eq!(percent(line.weight), aged, "at {at}, {began:?}");
        assert_eq!(percent(line.assigned_weight.unwrap_or(line.weight)), now, "at {at}, {began:?}");
        let known = *at > first + AGE;
        assert_eq!(line.roles.stable.total.is_some(), known, "at {at}, {began:?}");
    }
    let judged: u64 = lines.iter().filter_map(|(_, line)| line.roles.canary.total).sum();
    assert!(judged > 0);
}

/// In a rollout with affinity only what was assigned in the present window counts, and the window has one
/// weight.
#[test]
fn a_line_of_clients_has_the_weight_of_its_window() {
    let (mut world, spec) = (world(AGE), spec());
    let mut shell = Shell::new(spec.clone(), "ctl", false);
    let state = (0..5).map(|_| tick(&mut world, &mut shell).state).last().unwrap();
    let mut line = Observation { sticky: true, ..Observation::default() };
    line.roles.stable.total = Some(100);
    let mut seen = canary_rollout::inputs::Inputs { observation: Some(line), ..Default::default() };
    seen.envoys = world.look();
    let monotonic = std::time::Duration::from_secs(world.now + 1_001);
    let stepped = step(&spec, state, seen, HostClocks { monotonic, unix: 1_700_001_010 });
    let line = stepped.line.unwrap();
    assert_eq!((percent(line.weight), line.assigned_weight), (5, None));
}

fn waits(world: &mut World, shell: &mut Shell, rounds: u32) -> (Phase, Vec<Blocker>) {
    let last = (0..rounds).map(|_| tick(world, shell)).last().unwrap();
    (last.state.phase(), last.blockers.waiting_for)
}

/// Filters that count at no age or at different ones hold a rollout before its first weight, during a
/// step and at its promotion, and are named.
#[test]
fn filters_that_can_not_be_counted_together_hold_a_rollout() {
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let outdated = Blocker::OutdatedFilter { envoys: vec![b.clone()] };
    let differ = Blocker::OneOutcomeAge { envoys: vec![(a, AGE), (b, 20)] };
    for (age, blocker) in [(None, outdated), (Some(20), differ)] {
        for promoted in [false, true] {
            let (mut world, mut shell) =
                (World::new(&["a", "b"]), Shell::new(spec(), "ctl", false));
            let set = |world: &mut World, age| {
                world.proxy("a").configuration = aged(Some(AGE));
                world.proxy("b").configuration = aged(age);
            };
            set(&mut world, age);
            let (phase, named) = waits(&mut world, &mut shell, 30);
            assert!(phase == Phase::Pending && named.contains(&blocker), "{phase:?} {named:?}");
            assert_eq!(world.in_force(), Weight::ZERO);
            set(&mut world, Some(AGE));
            assert_eq!(waits(&mut world, &mut shell, 3).0, Phase::Progressing);
            set(&mut world, age);
            if promoted {
                shell.commands.push(OperatorCommand::PromoteFull);
            }
            let (phase, named) = waits(&mut world, &mut shell, 60);
            let held = if promoted { Phase::Promoting } else { Phase::Progressing };
            assert!(phase == held && named.contains(&blocker), "{phase:?} {named:?}");
            assert_eq!(shell.state().step(), (!promoted).then_some(0));
            set(&mut world, Some(AGE));
            assert_eq!(waits(&mut world, &mut shell, 90).0, Phase::Healthy);
        }
    }
}

/// If most of the canary's requests have no answer at the age, what the rollout waits for says so.
#[test]
fn a_canary_that_answers_too_late_is_named() {
    let (mut world, spec) = (world(AGE), spec());
    let mut shell = Shell::new(spec.clone(), "ctl", false);
    let mut state = (0..5).map(|_| tick(&mut world, &mut shell).state).last().unwrap();
    for (answered, unanswered, named) in [(3, 37, true), (60, 0, false)] {
        for round in 0..2 {
            world.now += 10;
            let mut line = Observation::default();
            line.roles.stable.total = Some(if round == 0 { 0 } else { 800 });
            line.roles.canary.total = Some(if round == 0 { 0 } else { answered });
            line.roles.canary.unanswered = Some(if round == 0 { 0 } else { unanswered });
            let monotonic = std::time::Duration::from_secs(world.now + 1_000);
            let now = HostClocks { monotonic, unix: 1_700_001_010 };
            let observation = Some(line);
            let seen = canary_rollout::inputs::Inputs { observation, ..Default::default() };
            let stepped = step(&spec, state, seen, now);
            let age = Duration::from_secs(AGE);
            let answers = Blocker::Answers { unanswered: 37, requests: 40, age };
            if round == 1 {
                let waits = &stepped.blockers.waiting_for;
                assert_eq!(waits.contains(&answers), named, "{waits:?}");
            }
            state = stepped.state;
        }
    }
}

#[test]
fn what_a_step_waits_for_says_when_its_requests_are_counted() {
    let (mut world, mut shell) = (world(AGE), Shell::new(spec(), "ctl", false));
    let (_, waits) = waits(&mut world, &mut shell, 4);
    let (age, left) = (Duration::from_secs(AGE), Duration::from_secs(4));
    assert!(waits.contains(&Blocker::Age { age, left }), "{waits:?}");
}
