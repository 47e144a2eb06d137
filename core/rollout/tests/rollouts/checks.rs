//! The checks before the first weight, and what holds a rollout on the way: each is named, and the
//! rollout goes on as soon as it passes.

use canary_judge::counts::Pair;
use canary_model::weight::Weight;
use canary_rollout::event::RolloutEvent;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use serde_json::{Value, json};

use crate::shell::Shell;
use crate::world::{Configuration, World};

fn spec() -> Spec {
    Spec::read(&json!({
        "rollout": "r",
        "steps": [{"setWeight": 5}, {"pause": {"duration": "10s"}}, {"setWeight": 50}, {"pause": {}}],
        "analysis": {"metrics": [
            {"name": "failures", "kind": "failureRate", "margin": "1%"},
            {"name": "labels", "kind": "distribution", "signal": "label", "tolerance": "1%"},
            {"name": "checkout", "kind": "conversion", "signal": "bought", "margin": "1%"},
        ]},
    }))
    .unwrap()
}

fn passing() -> Configuration {
    let signals = ["label", "bought"].map(str::to_owned).into();
    Configuration { signals: Some(signals), ..Configuration::default() }
}

/// Ticks, then gives the phase and what the rollout waits for, as JSON.
fn ticks(world: &mut World, shell: &mut Shell, rounds: u32) -> (Phase, Value) {
    let mut last = None;
    for _ in 0..rounds {
        world.pass();
        last = Some(shell.tick(world, None));
    }
    let last = last.unwrap();
    (last.state.phase(), serde_json::to_value(&last.blockers.waiting_for).unwrap())
}

/// A configuration that fails a check keeps the rollout of two Envoys at no weight for as long as it
/// lasts, and the check is what the rollout waits for; when it passes, the first step begins.
fn holds(configuration: Configuration, waiting_for: Value) {
    let (mut world, mut shell) = (World::new(&["a", "b"]), Shell::new(spec(), "ctl", false));
    world.proxy("a").configuration = passing();
    world.proxy("b").configuration = configuration;
    let (phase, waits) = ticks(&mut world, &mut shell, 30);
    assert_eq!(phase, Phase::Pending, "{waits}");
    assert_eq!(waits, waiting_for);
    assert!(world.envoys.values().all(|proxy| proxy.runtime.weight.is_none()));
    assert!(shell.events().is_empty() || !began(&shell), "{:?}", shell.events());
    world.proxy("b").configuration = passing();
    let (phase, waits) = ticks(&mut world, &mut shell, 3);
    assert_eq!(phase, Phase::Progressing, "{waits}");
    assert_eq!(world.in_force(), Weight::parse_percent("5").unwrap());
}

fn began(shell: &Shell) -> bool {
    shell.events().iter().any(|event| matches!(event, RolloutEvent::Started { .. }))
}

#[test]
fn no_weight_moves_while_a_filter_lacks_a_metrics_signal() {
    let signals = ["label", "purchase"].map(str::to_owned).into();
    holds(
        Configuration { signals: Some(signals), ..passing() },
        json!([{"for": "signal", "metric": "checkout", "signal": "bought", "envoys": ["b"],
            "known": ["label", "purchase"]}]),
    );
    holds(
        Configuration { signals: Some([].into()), ..passing() },
        json!([
            {"for": "signal", "metric": "labels", "signal": "label", "envoys": ["b"], "known": []},
            {"for": "signal", "metric": "checkout", "signal": "bought", "envoys": ["b"], "known": []},
        ]),
    );
}

#[test]
fn no_weight_moves_while_a_cluster_has_no_endpoint() {
    let canary = Pair { stable: Some(1), canary: Some(0) };
    holds(
        Configuration { endpoints: canary, ..passing() },
        json!([{"for": "endpoints", "role": "canary", "envoys": ["b"]}]),
    );
    let stable = Pair { stable: Some(0), canary: Some(1) };
    holds(
        Configuration { endpoints: stable, ..passing() },
        json!([{"for": "endpoints", "role": "stable", "envoys": ["b"]}]),
    );
}

#[test]
fn no_weight_moves_while_a_configuration_is_refused() {
    let refused = Some("unknown field \"hedaers\"".to_owned());
    holds(
        Configuration { refused, ..passing() },
        json!([{"for": "refusedConfiguration", "envoys": [["b", "unknown field \"hedaers\""]]}]),
    );
}

#[test]
fn no_weight_moves_while_envoys_run_different_canaries() {
    holds(
        Configuration { canary: "3".to_owned(), ..passing() },
        json!([{"for": "otherVersion", "expected": "2", "envoys": [["b", "3"]]}]),
    );
}

/// What can't be read holds nothing up: an older Envoy or filter may not say it.
#[test]
fn what_is_not_known_holds_nothing_up() {
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec(), "ctl", false));
    world.proxy("a").configuration =
        Configuration { signals: None, endpoints: Pair::default(), ..Configuration::default() };
    assert_eq!(ticks(&mut world, &mut shell, 3).0, Phase::Progressing);
}

/// During the rollout a refused configuration or another version holds it at its weight, is told once,
/// and is told again when it is over; then the rollout goes on.
#[test]
fn a_refused_configuration_or_another_version_holds_a_rollout_on_its_way() {
    let refused = Configuration { refused: Some("bad".to_owned()), ..passing() };
    let other = Configuration { canary: "3".to_owned(), ..passing() };
    let refuses = json!({"for": "refusedConfiguration", "envoys": [["b", "bad"]]});
    let runs = json!({"for": "otherVersion", "expected": "2", "envoys": [["b", "3"]]});
    for (configuration, waiting_for) in [(refused, refuses), (other, runs)] {
        let file = json!({
            "rollout": "r",
            "steps": [{"setWeight": 5}, {"pause": {"duration": "10s"}}, {"setWeight": 50}, {"pause": {}}],
            "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
        });
        let spec = Spec::read(&file).unwrap();
        let (mut world, mut shell) = (World::new(&["a", "b"]), Shell::new(spec, "ctl", false));
        ticks(&mut world, &mut shell, 5);
        world.proxy("b").configuration = configuration.clone();
        let (phase, waits) = ticks(&mut world, &mut shell, 60);
        assert_eq!(phase, Phase::Progressing, "{waits}");
        assert_eq!(shell.state().step(), Some(0), "{waits}");
        assert!(waits.as_array().unwrap().contains(&waiting_for), "{waits}");
        let told = |shell: &Shell, wanted: fn(&RolloutEvent) -> bool| {
            shell.events().iter().filter(|event| wanted(event)).count()
        };
        let held = |event: &RolloutEvent| {
            matches!(
                event,
                RolloutEvent::ConfigurationRefused { .. } | RolloutEvent::OtherVersion { .. }
            )
        };
        assert_eq!(told(&shell, held), 1, "{:?}", shell.events());
        world.proxy("b").configuration = passing();
        ticks(&mut world, &mut shell, 20);
        assert_eq!(shell.state().step(), Some(1));
        let accepted =
            |event: &RolloutEvent| matches!(event, RolloutEvent::ConfigurationAccepted { .. });
        assert_eq!(told(&shell, accepted), usize::from(configuration.refused.is_some()));
    }
}

/// The promotion is held, too: a version that another configuration would replace never gets 100 %
/// for good.
#[test]
fn a_refused_configuration_holds_the_promotion() {
    let (mut world, mut shell) = (World::new(&["a"]), Shell::new(spec(), "ctl", false));
    world.proxy("a").configuration = passing();
    ticks(&mut world, &mut shell, 3);
    world.proxy("a").configuration = Configuration { refused: Some("bad".to_owned()), ..passing() };
    shell.commands.push(canary_rollout::inputs::OperatorCommand::PromoteFull);
    let (phase, waits) = ticks(&mut world, &mut shell, 30);
    assert_eq!(phase, Phase::Promoting, "{waits}");
    assert_eq!(waits, json!([{"for": "refusedConfiguration", "envoys": [["a", "bad"]]}]));
    world.proxy("a").configuration = passing();
    assert_eq!(ticks(&mut world, &mut shell, 10).0, Phase::Healthy);
}
