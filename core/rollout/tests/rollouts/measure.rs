//! `goal: measure`: the steps run, nothing is ever promoted, and the effects are the result.

use canary_judge::EffectSince;
use canary_model::weight::Weight;
use canary_rollout::after_end;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::OperatorCommand;
use canary_rollout::refusal::CommandRefusal;
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State};
use canary_rollout::termination::TerminationReason;
use serde_json::json;

use crate::shell::{Kill, Shell};
use crate::world::World;

fn spec(afterwards: &str) -> Spec {
    Spec::read(&json!({
        "rollout": "r", "goal": "measure", "afterwards": afterwards,
        "steps": [{"setWeight": 5}, {"pause": {"duration": "5s"}}, {"setWeight": 50}, {"pause": {"duration": "20s"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
        "notify": [{"on": ["measured", "completed", "aborted"], "url": "http://hook/"}],
    }))
    .unwrap()
}

fn percent(text: &str) -> Weight {
    Weight::parse_percent(text).unwrap()
}

fn ticks(world: &mut World, shell: &mut Shell, rounds: u32) {
    for _ in 0..rounds {
        world.pass();
        shell.tick(world, None);
    }
}

fn measured(afterwards: &str) -> (World, Shell) {
    let (mut world, mut shell) =
        (World::new(&["a", "b"]), Shell::new(spec(afterwards), "ctl", false));
    ticks(&mut world, &mut shell, 60);
    (world, shell)
}

fn result(shell: &Shell) -> &RolloutEvent {
    let is_result = |event: &&RolloutEvent| matches!(event, RolloutEvent::Measured { .. });
    shell.events().iter().find(is_result).unwrap_or_else(|| panic!("{:#?}", shell.events()))
}

#[test]
fn the_steps_run_and_the_effects_are_the_result() {
    for (afterwards, weight) in [("stable", "0"), ("keep", "50")] {
        let (mut world, mut shell) = measured(afterwards);
        let state = shell.state();
        assert_eq!((state.phase(), state.step()), (Phase::Measured, None), "{afterwards}");
        assert_eq!(state.ending(), Some(&TerminationReason::Measured));
        let RolloutEvent::Measured { weight: stays, effects, unreachable } = result(&shell) else {
            panic!("{:?}", result(&shell))
        };
        assert_eq!((*stays, unreachable.as_slice()), (percent(weight), &[][..]));
        let whole = effects.iter().find(|one| one.since == EffectSince::Start).unwrap();
        assert!(whole.lower < whole.estimate && whole.estimate < whole.upper, "{whole:?}");
        let told = |event: &RolloutEvent| {
            matches!(event, RolloutEvent::Promoting | RolloutEvent::Completed { .. })
        };
        assert!(!shell.events().iter().any(told), "nothing is promoted");
        let topics: Vec<_> = shell.delivered.iter().map(|notice| notice.topic.as_str()).collect();
        assert_eq!(topics, ["measured"]);
        // No lease and no owner is left behind, and nothing runs out.
        ticks(&mut world, &mut shell, 90);
        assert_eq!(world.in_force(), percent(weight), "{afterwards}");
        for proxy in world.envoys.values() {
            assert!(proxy.runtime.lease.is_none() && proxy.runtime.owner.is_none());
            assert_eq!(proxy.runtime.enabled, Some(true));
        }
    }
}

/// An Envoy that restarts after the end gets the weight back that stays.
#[test]
fn what_stays_after_the_end_is_restored() {
    for (afterwards, weight) in [("stable", "0"), ("keep", "50")] {
        let (mut world, shell) = measured(afterwards);
        world.proxy("a").restart();
        let after = after_end::after_end(&shell.state(), &world.look());
        let [restored] = after.restore.as_slice() else { panic!("{after:?}") };
        assert_eq!((restored.envoy.as_str(), restored.weight), ("a", Some(percent(weight))));
        assert_eq!(restored.version.as_deref(), Some("2"));
        assert!(after.differing.is_empty(), "{after:?}");
    }
}

#[test]
fn the_abort_conditions_stay_active() {
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec("keep"), "ctl", false));
    ticks(&mut world, &mut shell, 20);
    world.failing.canary = 0.3;
    ticks(&mut world, &mut shell, 20);
    assert_eq!(shell.state().phase(), Phase::Degraded);
    assert_eq!(world.in_force(), Weight::ZERO);
}

#[test]
fn no_command_promotes_it_and_abort_takes_back_what_was_kept() {
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec("keep"), "ctl", false));
    ticks(&mut world, &mut shell, 5);
    let answer = |world: &mut World, shell: &mut Shell, command| {
        shell.commands.push(command);
        world.pass();
        shell.tick(world, None).replies.remove(0).refused
    };
    let full = answer(&mut world, &mut shell, OperatorCommand::PromoteFull);
    assert_eq!(full, Some(CommandRefusal::OnlyMeasures));
    assert_eq!(answer(&mut world, &mut shell, OperatorCommand::Promote), None, "ends a pause");
    ticks(&mut world, &mut shell, 60);
    assert_eq!(shell.state().phase(), Phase::Measured);
    for command in [OperatorCommand::PromoteFull, OperatorCommand::Finish, OperatorCommand::Promote]
    {
        let refused = answer(&mut world, &mut shell, command);
        assert_eq!(refused, Some(CommandRefusal::NotInPhase(Phase::Measured)), "{command}");
    }
    assert_eq!(answer(&mut world, &mut shell, OperatorCommand::Abort), None);
    ticks(&mut world, &mut shell, 5);
    assert_eq!((shell.state().phase(), world.in_force()), (Phase::Degraded, Weight::ZERO));
    let (mut world, mut shell) = measured("stable");
    assert_eq!(answer(&mut world, &mut shell, OperatorCommand::Abort), None);
    assert_eq!(shell.state().phase(), Phase::Measured, "all traffic is on stable already");
}

/// Killed at any action near its end, a measurement ends once and alike.
#[test]
fn a_kill_at_the_end_repeats_nothing() {
    for round in 25..45 {
        for kill in [Kill::BeforeJournal, Kill::AfterActions(0), Kill::AfterActions(1)] {
            let (mut world, mut shell) =
                (World::new(&["a"]), Shell::new(spec("stable"), "ctl", false));
            for now in 0..70 {
                world.pass();
                shell.tick(&mut world, (now == round).then_some(kill));
            }
            let ends =
                shell.events().iter().filter(|one| matches!(one, RolloutEvent::Measured { .. }));
            assert_eq!(ends.count(), 1, "{round} {kill:?}");
            assert_eq!(shell.state().phase(), Phase::Measured);
            assert_eq!(world.in_force(), Weight::ZERO);
        }
    }
}

/// The journal of the same version tells what is kept.
#[test]
fn a_measurement_that_ended_is_resumed() {
    let (_, shell) = measured("keep");
    let state = shell.state();
    let older = serde_json::to_value(&state).unwrap();
    let older = State::resume_older(&older, &shell.spec, None).unwrap();
    assert_eq!(older.final_weight(), Some(percent("50")));
    assert_eq!(state.final_weight(), older.final_weight());
}
