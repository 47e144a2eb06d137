//! What an operator can do in each phase, and how an inconclusive metric is decided.

use canary_judge::observation::Measurement;
use canary_model::weight::Weight;
use canary_rollout::blockers::Blocker;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::OperatorCommand;
use canary_rollout::pause::PauseReason;
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State};
use serde_json::{Value, json};

use crate::shell::Shell;
use crate::world::World;

const COMMANDS: [OperatorCommand; 7] = [
    OperatorCommand::Promote,
    OperatorCommand::PromoteFull,
    OperatorCommand::Pause,
    OperatorCommand::Resume,
    OperatorCommand::Abort,
    OperatorCommand::Retry,
    OperatorCommand::Finish,
];

fn spec() -> Spec {
    Spec::read(&json!({
        "rollout": "r", "steps": [{"setWeight": 5}, {"pause": {"duration": "1h"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
    }))
    .unwrap()
}

fn tick(world: &mut World, shell: &mut Shell, rounds: u32) {
    for _ in 0..rounds {
        world.pass();
        shell.tick(world, None);
    }
}

/// A rollout that has come to a phase.
fn at(phase: Phase) -> (World, Shell) {
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec(), "ctl", false));
    if phase == Phase::Pending {
        world.proxy("a").configuration.refused = Some("bad".to_owned());
        tick(&mut world, &mut shell, 2);
        return (world, shell);
    }
    tick(&mut world, &mut shell, 5);
    let commands: &[OperatorCommand] = match phase {
        Phase::Paused => &[OperatorCommand::Pause],
        Phase::Promoting | Phase::Healthy => &[OperatorCommand::PromoteFull],
        Phase::Aborting | Phase::Degraded => &[OperatorCommand::Abort],
        _ => &[],
    };
    shell.commands.extend(commands);
    let rounds = if matches!(phase, Phase::Healthy | Phase::Degraded) { 10 } else { 1 };
    tick(&mut world, &mut shell, rounds);
    (world, shell)
}

#[test]
fn each_command_in_each_phase_is_obeyed_or_refused_with_a_reason() {
    use OperatorCommand::{Abort, Finish, Pause, Promote, PromoteFull, Resume, Retry};
    let obeyed: [(Phase, &[OperatorCommand]); 7] = [
        (Phase::Pending, &[Abort]),
        (Phase::Progressing, &[Promote, PromoteFull, Pause, Abort]),
        (Phase::Paused, &[Promote, PromoteFull, Pause, Resume, Abort]),
        (Phase::Promoting, &[PromoteFull, Abort]),
        (Phase::Healthy, &[PromoteFull, Abort, Finish]),
        (Phase::Aborting, &[Abort]),
        (Phase::Degraded, &[Abort, Retry]),
    ];
    for (phase, obeyed) in obeyed {
        for command in COMMANDS {
            let (mut world, mut shell) = at(phase);
            assert_eq!(shell.state().phase(), phase);
            world.pass();
            shell.commands.push(command);
            let stepped = shell.tick(&mut world, None);
            let [reply] = stepped.replies.as_slice() else { panic!("{:?}", stepped.replies) };
            assert_eq!(reply.command, command);
            let reason = &reply.refused;
            assert_eq!(
                reason.is_none(),
                obeyed.contains(&command),
                "{phase} {command}: {reason:?}"
            );
            if reason.is_some() {
                assert_eq!(stepped.state.target().is_some(), shell.state().target().is_some());
            }
        }
    }
}

/// A rollout that its metric `gpu` has paused, with these fields of the metric and this value.
fn paused_by_gpu(fields: &Value, value: f64) -> (World, Shell) {
    let mut gpu = json!({"name": "gpu", "kind": "prometheus", "address": "http://p:9090",
        "query": "gpu", "failureCondition": "result > 0.9", "interval": "1s"});
    gpu.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let spec = Spec::read(&json!({
        "rollout": "r",
        "steps": [{"setWeight": 5}, {"pause": {"duration": "10s"}}, {"setWeight": 50}, {"pause": {"duration": "1h"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}, gpu]},
    }))
    .unwrap();
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec, "ctl", false));
    shell.metrics.insert("gpu".to_owned(), Measurement::Values(vec![value]));
    tick(&mut world, &mut shell, 30);
    (world, shell)
}

fn inconclusive() -> (World, Shell) {
    paused_by_gpu(&json!({"successCondition": "result < 0.5", "inconclusiveLimit": 3}), 0.7)
}

#[test]
fn after_the_inconclusive_limit_an_operator_decides() {
    for command in [OperatorCommand::Promote, OperatorCommand::Resume] {
        let (mut world, mut shell) = inconclusive();
        assert_eq!((shell.state().phase(), shell.state().step()), (Phase::Paused, Some(0)));
        let why = shell.events().iter().find_map(|event| match event {
            RolloutEvent::Paused { why } => Some(why.clone()),
            _ => None,
        });
        let paused = PauseReason::Inconclusive { metric: "gpu".to_owned() };
        assert_eq!(why, Some(paused.clone()));
        world.pass();
        let waits = shell.tick(&mut world, None).blockers.waiting_for;
        assert!(waits.contains(&Blocker::Operator { why: paused }), "{waits:?}");
        // The metric is good again, and the operator lets the rollout go on.
        shell.metrics.insert("gpu".to_owned(), Measurement::Values(vec![0.1]));
        shell.commands.push(command);
        world.pass();
        let stepped = shell.tick(&mut world, None);
        assert_eq!(stepped.replies[0].refused, None, "{command}");
        tick(&mut world, &mut shell, 20);
        assert_eq!((shell.state().phase(), shell.state().step()), (Phase::Progressing, Some(1)));
        assert_eq!(world.in_force(), Weight::parse_percent("50").unwrap());
    }
}

/// The operator's word counts for what was measured until then, not for good.
#[test]
fn a_metric_that_stays_inconclusive_pauses_again() {
    let (mut world, mut shell) = inconclusive();
    shell.commands.push(OperatorCommand::Resume);
    tick(&mut world, &mut shell, 1);
    assert_eq!(shell.state().phase(), Phase::Progressing);
    tick(&mut world, &mut shell, 20);
    assert_eq!(shell.state().phase(), Phase::Paused);
}

/// A rollout that a metric with `onFailure: pause` has paused.
fn paused_by_a_metric() -> (World, Shell) {
    paused_by_gpu(&json!({"onFailure": "pause"}), 0.95)
}

#[test]
fn promote_overrules_a_metric_that_paused_and_resume_lets_it_ask_again() {
    let gpu = || "gpu".to_owned();
    for command in [OperatorCommand::Promote, OperatorCommand::Resume] {
        let (mut world, mut shell) = paused_by_a_metric();
        assert_eq!((shell.state().phase(), shell.state().step()), (Phase::Paused, Some(0)));
        let paused = RolloutEvent::Paused { why: PauseReason::Metric { metric: gpu() } };
        assert!(shell.events().contains(&paused), "{:?}", shell.events());
        shell.commands.push(command);
        tick(&mut world, &mut shell, 30);
        let answer = match command {
            OperatorCommand::Promote => RolloutEvent::Overruled { metric: gpu() },
            _ => RolloutEvent::AsksAgain { metric: gpu() },
        };
        assert!(shell.events().contains(&answer), "{:?}", shell.events());
        let expected = match command {
            OperatorCommand::Promote => (Phase::Progressing, Some(1)),
            // It fails again at its next measurement.
            _ => (Phase::Paused, Some(0)),
        };
        assert_eq!((shell.state().phase(), shell.state().step()), expected, "{command}");
    }
}

/// An older canaryctl's journal begins a new judge, which keeps what the operator said.
#[test]
fn a_metric_that_was_overruled_stays_so_under_another_version() {
    let (mut world, mut shell) = paused_by_a_metric();
    shell.commands.push(OperatorCommand::Promote);
    tick(&mut world, &mut shell, 1);
    let state = serde_json::to_value(shell.state()).unwrap();
    let resumed = State::resume_older(&state, &shell.spec, None).unwrap();
    let verdicts = resumed.judge().verdicts();
    assert!(verdicts.iter().any(|verdict| verdict.metric == "gpu" && verdict.overruled));
}

/// A mismatch is named also where an operator is asked, who would otherwise promote in vain.
#[test]
fn a_sample_ratio_mismatch_holds_a_step_and_promote_does_not_clear_it() {
    let spec = Spec::read(&json!({
        "rollout": "r", "steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 50}, {"pause": {"duration": "1h"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
    }))
    .unwrap();
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec, "ctl", false));
    shell.assigned = Some(0.2);
    tick(&mut world, &mut shell, 30);
    let is_ratio =
        |waits: &[Blocker]| waits.iter().any(|one| matches!(one, Blocker::SampleRatio { .. }));
    for command in [OperatorCommand::Resume, OperatorCommand::Promote] {
        shell.commands.push(command);
        world.pass();
        let waits = shell.tick(&mut world, None).blockers.waiting_for;
        assert!(is_ratio(&waits), "{command}: {waits:?}");
        tick(&mut world, &mut shell, 20);
        assert_eq!(shell.state().step(), Some(0), "{command}");
    }
    assert!(shell.events().iter().any(|event| matches!(event, RolloutEvent::SplitMismatch { .. })));
    let aborts = |event: &RolloutEvent| matches!(event, RolloutEvent::Aborting { .. });
    assert!(!shell.events().iter().any(aborts), "it is no reason to roll back");
    shell.commands.push(OperatorCommand::PromoteFull);
    tick(&mut world, &mut shell, 10);
    assert_eq!(shell.state().phase(), Phase::Healthy, "the emergency path waits for nothing");
}
