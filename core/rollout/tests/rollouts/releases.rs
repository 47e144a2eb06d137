//! Releases: versions that somebody named, deploy hooks, and the handover to the new stable.

use canary_judge::counts::Pair;
use canary_judge::observation::Measurement;
use canary_model::role::Role;
use canary_model::weight::Weight;
use canary_rollout::blockers::Blocker;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::OperatorCommand;
use canary_rollout::pause::PauseReason;
use canary_rollout::refusal::CommandRefusal;
use canary_rollout::spec::Spec;
use canary_rollout::state::Phase;
use canary_rollout::termination::TerminationReason;
use canary_rollout::versions::ReleaseVersions;
use canary_rollout::{StepResult, after_end};
use serde_json::{Value, json};

use crate::shell::Shell;
use crate::world::World;

fn spec(deploy: Option<Value>) -> Spec {
    let mut file = json!({
        "rollout": "r", "steps": [{"setWeight": 20}, {"pause": {"duration": "3s"}}],
        "analysis": {"metrics": [{"name": "failures", "kind": "failureRate", "margin": "1%"}]},
        "notify": [{"on": ["completed", "aborted", "paused"], "url": "http://hook/"}],
    });
    if let Some(deploy) = deploy {
        file["deploy"] = deploy;
    }
    Spec::read(&file).unwrap()
}

fn hook() -> Option<Value> {
    Some(json!({"command": ["./deploy.sh"]}))
}

fn named(stable: Option<&str>, canary: Option<&str>) -> ReleaseVersions {
    let named = Pair { stable: stable.map(str::to_owned), canary: canary.map(str::to_owned) };
    let stable = named.stable.clone().or(Some("1".to_owned()));
    let canary = named.canary.clone().or(Some("2".to_owned()));
    ReleaseVersions { named, versions: Pair { stable, canary } }
}

/// A release of version 3, where Envoy's configuration names 1 and 2.
struct Release {
    world: World,
    shell: Shell,
}

impl Release {
    fn new(deploy: Option<Value>) -> Self {
        let mut world = World::new(&["a", "b"]);
        world.failing = Pair { stable: 0.001, canary: 0.001 };
        Self { world, shell: Shell::releasing(spec(deploy), named(None, Some("3"))) }
    }

    fn tick(&mut self) -> StepResult {
        self.world.pass();
        self.shell.tick(&mut self.world, None)
    }

    fn ticks(&mut self, rounds: u32) {
        (0..rounds).for_each(|_| drop(self.tick()));
    }

    #[track_caller]
    fn until(&mut self, what: impl Fn(&Self) -> bool) {
        for _ in 0..300 {
            if what(self) {
                return;
            }
            self.tick();
        }
        panic!("{} {:?}", self.shell.state().phase(), self.shell.events());
    }

    #[track_caller]
    fn comes_to(&mut self, phase: Phase) {
        self.until(|release| release.shell.state().phase() == phase);
    }

    #[track_caller]
    fn happens(&mut self, what: impl Fn(&RolloutEvent) -> bool) {
        self.until(|release| release.shell.events().iter().any(&what));
    }

    #[track_caller]
    fn hands_over(&mut self) {
        self.happens(|event| matches!(event, RolloutEvent::HandingOver { .. }));
    }

    /// Gives a command, and what became of it.
    fn command(&mut self, command: OperatorCommand) -> (StepResult, Option<CommandRefusal>) {
        self.shell.commands.push(command);
        let stepped = self.tick();
        let refused = stepped.replies[0].refused.clone();
        (stepped, refused)
    }

    fn in_force(&self) -> Vec<Weight> {
        self.world.envoys.values().map(|envoy| envoy.in_force(self.world.now)).collect()
    }

    fn versions(&mut self) -> Pair<String> {
        let envoy = self.world.proxy("a");
        let runtime = envoy.runtime.clone();
        envoy.versions(&runtime)
    }

    fn why_paused(&self) -> PauseReason {
        let paused = self.shell.events().iter().rev().find_map(|event| match event {
            RolloutEvent::Paused { why } => Some(why.clone()),
            _ => None,
        });
        paused.unwrap()
    }
}

fn percent(percent: u32) -> Weight {
    Weight::from_ppm(percent * 10_000).unwrap()
}

fn versions(stable: &str, canary: &str) -> Pair<String> {
    Pair { stable: stable.to_owned(), canary: canary.to_owned() }
}

#[test]
fn a_good_release_ends_in_stables_place() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Deploying);
    assert_eq!(release.shell.deploys, [(Role::Canary, "3".to_owned())]);
    assert_eq!(release.world.envoys["a"].runtime.weight, None, "nothing is written before");
    release.comes_to(Phase::Progressing);
    assert_eq!(release.versions(), versions("1", "3"), "with the first weight");
    assert_eq!(release.world.envoys["a"].runtime.labels.stable, None, "nobody named stable's");
    release.comes_to(Phase::Finalizing);
    assert!(release.shell.state().target().unwrap().lease_seconds.is_none());
    release.until(|release| release.shell.deploys.len() == 2);
    assert_eq!(release.shell.deploys[1], (Role::Stable, "3".to_owned()));
    for envoy in release.world.envoys.values() {
        assert_eq!((envoy.runtime.weight, &envoy.runtime.lease), (Some(Weight::FULL), &None));
    }
    release.hands_over();
    assert_eq!(release.versions(), versions("3", "3"));
    assert_eq!(release.shell.state().stable_version(), Some("3"));
    release.comes_to(Phase::Healthy);
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
    let runtime = &release.world.envoys["a"].runtime;
    assert_eq!((&runtime.owner, runtime.enabled), (&None, Some(true)));
    assert!(release.shell.state().is_finished());
    // Each decision once, and one notice that it is complete.
    let finished = |event: &&RolloutEvent| matches!(event, RolloutEvent::Finished { .. });
    assert_eq!(release.shell.events().iter().filter(finished).count(), 1);
    release.ticks(2);
    assert_eq!(release.shell.delivered.len(), 1);
}

#[test]
fn after_the_handover_there_is_nothing_to_go_back_to() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Healthy);
    let (_, refused) = release.command(OperatorCommand::Abort);
    let old = Some("1".to_owned());
    assert_eq!(refused, Some(CommandRefusal::HandedOver { rollout: "r".to_owned(), old }));
    let (_, refused) = release.command(OperatorCommand::Finish);
    assert_eq!(refused, Some(CommandRefusal::AlreadyFinished));
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
}

#[test]
fn a_failing_deploy_ends_it_before_any_weight_moved() {
    let mut release = Release::new(hook());
    release.shell.deploy_fails = Some("no such version".to_owned());
    release.comes_to(Phase::Degraded);
    let (version, why) = ("3".to_owned(), "no such version".to_owned());
    let reason = TerminationReason::DeployFailed { version, why };
    assert_eq!(release.shell.state().ending(), Some(&reason));
    release.ticks(3);
    let runtime = &release.world.envoys["a"].runtime;
    assert_eq!((runtime.weight, runtime.enabled), (None, None));
    let after = after_end(&release.shell.state(), &release.world.look());
    assert!(after.restore.is_empty(), "and nothing is written later");
    assert_eq!(release.shell.delivered.len(), 1, "it is told");
    release.shell.deploy_fails = None;
    assert_eq!(release.command(OperatorCommand::Retry).1, None);
    release.comes_to(Phase::Progressing);
    assert_eq!(release.shell.deploys.len(), 2);
}

#[test]
fn an_abort_while_deploying_stops_the_hook_and_moves_no_weight() {
    let mut release = Release::new(hook());
    release.shell.deploy_takes = None;
    release.comes_to(Phase::Deploying);
    let waits = release.tick().blockers.waiting_for;
    assert!(matches!(waits.as_slice(), [Blocker::Deploy { role: Role::Canary, .. }]), "{waits:?}");
    assert_eq!(release.shell.hooks.len(), 1);
    let (stepped, refused) = release.command(OperatorCommand::Abort);
    assert_eq!((refused, stepped.state.phase()), (None, Phase::Degraded));
    assert!(release.shell.hooks.is_empty(), "the hook is stopped");
    release.ticks(3);
    assert_eq!(release.world.envoys["a"].runtime.weight, None);
}

#[test]
fn another_controller_ends_a_deploy() {
    let mut release = Release::new(hook());
    release.shell.deploy_takes = None;
    release.comes_to(Phase::Deploying);
    release.world.proxy("a").runtime.owner = Some("bob".to_owned());
    release.comes_to(Phase::Degraded);
    assert!(release.shell.hooks.is_empty(), "the hook is stopped");
}

#[test]
fn a_worse_version_in_stables_place_gets_no_more_than_the_handover() {
    let mut release = Release::new(hook());
    release.hands_over();
    release.world.failing.stable = 0.2;
    release.comes_to(Phase::Paused);
    let PauseReason::WorseInStablesPlace { verdict } = release.why_paused() else {
        panic!("{:?}", release.why_paused())
    };
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(text.contains("failures"), "{text}");
    release.ticks(2);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    // The first judgement repeated finds it again; mended, it passes.
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.happens(|event| matches!(event, RolloutEvent::Resumed));
    release.comes_to(Phase::Paused);
    release.ticks(2);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    for command in [OperatorCommand::Resume, OperatorCommand::Promote, OperatorCommand::Pause] {
        assert_eq!(release.command(command).1, Some(CommandRefusal::FinishInstead));
    }
    release.world.failing.stable = 0.001;
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.comes_to(Phase::Healthy);
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
    assert_eq!(release.shell.deploys.len(), 2, "stable was deployed once");
}

#[test]
fn an_operator_overrules_the_handovers_verdict() {
    let mut release = Release::new(hook());
    release.hands_over();
    release.world.failing.stable = 0.2;
    release.comes_to(Phase::Paused);
    assert_eq!(release.command(OperatorCommand::PromoteFull).1, None);
    release.comes_to(Phase::Healthy);
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
}

#[test]
fn the_handover_judges_what_was_assigned_since_half_was_confirmed() {
    for age in [0, 10] {
        let mut release = Release::new(hook());
        for envoy in release.world.envoys.values_mut() {
            envoy.configuration.outcome_age = Some(age);
        }
        release.world.rate = 100.0;
        release.hands_over();
        let began = release.world.now;
        release.comes_to(Phase::Healthy);
        // 500 of each place at 50 a second, that old, and some seconds for the writes.
        let took = release.world.now - began;
        assert!((10 + age..=16 + age).contains(&took), "{took} s at age {age}");
    }
}

#[test]
fn the_file_says_how_much_the_handover_judges() {
    let mut release = Release::new(Some(json!({"url": "http://hook/", "minRequests": 3_000})));
    release.hands_over();
    release.until(|release| release.shell.state().is_finalizing());
    release.ticks(4);
    let waits = release.tick().blockers.waiting_for;
    let handover =
        |blocker: &Blocker| matches!(blocker, Blocker::Handover { need: 3_000, left: Some(_), .. });
    assert!(waits.iter().any(handover), "{waits:?}");
}

#[test]
fn a_deploy_that_fails_for_stable_holds_at_full() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Finalizing);
    release.shell.deploy_fails = Some("disk full".to_owned());
    release.comes_to(Phase::Paused);
    assert_eq!(release.why_paused(), PauseReason::DeployFailed { why: "disk full".to_owned() });
    release.ticks(3);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    let (_, refused) = release.command(OperatorCommand::PromoteFull);
    assert_eq!(refused, Some(CommandRefusal::StableNotDeployed));
    release.shell.deploy_fails = None;
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.comes_to(Phase::Healthy);
    assert_eq!(release.shell.deploys.len(), 3, "`finish` calls it again");
}

#[test]
fn an_abort_in_finalizing_holds_at_full() {
    let stages: [fn(&mut Release); 3] = [
        |release| release.comes_to(Phase::Finalizing),
        |release| {
            release.comes_to(Phase::Finalizing);
            release.shell.deploy_takes = None;
            release.until(|release| release.shell.deploys.len() == 2);
        },
        Release::hands_over,
    ];
    for stage in stages {
        let mut release = Release::new(hook());
        stage(&mut release);
        assert_eq!(release.command(OperatorCommand::Abort).1, None);
        assert_eq!(release.shell.state().phase(), Phase::Paused);
        assert!(release.shell.hooks.is_empty(), "the hook is stopped");
        let reason = Box::new(TerminationReason::Operator);
        assert_eq!(release.why_paused(), PauseReason::AbortedAtFull { reason });
        release.ticks(3);
        assert_eq!(release.in_force(), [Weight::FULL; 2]);
        assert_eq!(release.world.envoys["a"].runtime.enabled, Some(true), "no kill switch");
        release.shell.deploy_takes = Some(1);
        assert_eq!(release.command(OperatorCommand::Finish).1, None);
        release.comes_to(Phase::Healthy);
    }
}

#[test]
fn weight_0_can_be_taken_back_until_it_is_confirmed() {
    let mut release = Release::new(hook());
    release.until(|release| {
        let state = release.shell.state();
        state.is_finalizing() && state.target().is_some_and(|target| target.weight == Weight::ZERO)
    });
    assert_eq!(release.command(OperatorCommand::Abort).1, None);
    release.ticks(3);
    assert_eq!(release.shell.state().phase(), Phase::Paused);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
}

#[test]
fn a_guard_trip_in_the_handover_sends_everyone_to_stables_place() {
    let mut release = Release::new(hook());
    release.hands_over();
    release.ticks(1);
    release.world.proxy("a").trip();
    release.comes_to(Phase::Healthy);
    let envoys = vec!["a".to_owned()];
    assert_eq!(
        release.shell.state().ending(),
        Some(&TerminationReason::GuardInHandover { envoys })
    );
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
}

#[test]
fn a_guard_trip_before_the_handover_holds_at_full_in_a_new_epoch() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Finalizing);
    release.shell.deploy_takes = None;
    release.until(|release| release.shell.deploys.len() == 2);
    let epoch = release.shell.state().epoch();
    release.world.proxy("b").trip();
    release.comes_to(Phase::Paused);
    release.ticks(3);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    assert!(release.shell.state().epoch() > epoch);
}

#[test]
fn the_kill_switch_is_set_back_in_finalizing() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Finalizing);
    release.shell.deploy_takes = None;
    release.until(|release| release.shell.deploys.len() == 2);
    release.world.proxy("a").runtime.enabled = Some(false);
    release.ticks(3);
    assert_eq!(release.shell.state().phase(), Phase::Finalizing);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
}

#[test]
fn an_envoy_that_restarts_in_finalizing_is_written_again() {
    let mut release = Release::new(hook());
    release.shell.deploy_takes = Some(5);
    release.until(|release| release.shell.deploys.len() == 2);
    release.world.proxy("b").restart();
    release.ticks(2);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    release.hands_over();
    release.ticks(1);
    release.world.proxy("a").restart();
    release.ticks(2);
    assert_eq!(release.in_force(), [percent(50); 2]);
    assert_eq!(release.versions(), versions("3", "3"));
    release.comes_to(Phase::Healthy);
}

/// The final state of a release with all its keys, which restarted Envoys get back.
#[test]
fn after_the_end_labels_are_restored_too() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Healthy);
    release.world.proxy("a").restart();
    let after = after_end(&release.shell.state(), &release.world.look());
    let updates: Vec<String> =
        after.restore.iter().map(|one| one.update("r").form_body().unwrap()).collect();
    let all = "canary.r.canary_version=2%3D3&canary.r.enabled=100&canary.r.stable_version=1%3D3\
               &canary.r.weight=0%403";
    assert_eq!(updates, [all]);
    // A configuration that is newer than the labels has versions of its own.
    release.world.proxy("a").configuration.canary = "4".to_owned();
    let after = after_end(&release.shell.state(), &release.world.look());
    let update = after.restore[0].update("r").form_body().unwrap();
    assert!(!update.contains("canary_version") && update.contains("stable_version"), "{update}");
    release.world.proxy("b").runtime.labels.stable = Some("1=9".to_owned());
    let after = after_end(&release.shell.state(), &release.world.look());
    assert!(after.restore.iter().all(|one| one.envoy == "a"), "{after:?}");
    assert!(after.differing.iter().any(|(envoy, _)| envoy == "b"), "{after:?}");
}

#[test]
fn without_a_hook_it_ends_at_full_until_finish() {
    let mut release = Release::new(None);
    release.comes_to(Phase::Healthy);
    release.ticks(2);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    assert_eq!(release.world.envoys["a"].runtime.owner, None);
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.until(|release| release.shell.state().is_finished());
    assert_eq!(release.shell.state().phase(), Phase::Healthy);
    assert!(release.shell.deploys.is_empty());
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
    assert_eq!(release.versions(), versions("3", "3"));
}

#[test]
fn finish_never_competes_with_another_controller() {
    let mut release = Release::new(None);
    release.comes_to(Phase::Healthy);
    release.ticks(2);
    release.world.proxy("b").runtime.owner = Some("bob".to_owned());
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.ticks(3);
    assert!(matches!(release.shell.state().ending(), Some(TerminationReason::OtherOwner { .. })));
    assert_eq!(release.in_force(), [Weight::FULL; 2], "nothing was written");
}

#[test]
fn until_finish_an_abort_goes_back() {
    let mut release = Release::new(None);
    release.comes_to(Phase::Healthy);
    assert_eq!(release.command(OperatorCommand::Abort).1, None);
    release.comes_to(Phase::Degraded);
    assert_eq!(release.in_force(), [Weight::ZERO; 2]);
}

#[test]
fn labels_that_somebody_changes_are_set_again() {
    let mut release = Release::new(hook());
    release.comes_to(Phase::Progressing);
    release.ticks(1);
    release.world.proxy("a").runtime.labels.canary = Some("2=9".to_owned());
    let waits = release.tick().blockers.waiting_for;
    let text = serde_json::to_string(&waits).unwrap();
    assert!(text.contains("canary_version") && text.contains("2=3"), "{text}");
    release.ticks(1);
    assert_eq!(release.versions(), versions("1", "3"));
}

#[test]
fn both_roles_get_the_versions_that_were_named() {
    let mut release = Release::new(None);
    release.shell = Shell::releasing(spec(None), named(Some("7"), Some("8")));
    release.comes_to(Phase::Progressing);
    assert_eq!(release.versions(), versions("7", "8"));
    let runtime = &release.world.envoys["a"].runtime;
    assert_eq!((runtime.version.as_deref(), runtime.window), (Some("8"), Some(1)));
}

#[test]
fn a_newer_configuration_holds_the_release() {
    let mut release = Release::new(None);
    release.comes_to(Phase::Progressing);
    release.world.proxy("a").configuration.canary = "4".to_owned();
    let waits = release.tick().blockers.waiting_for;
    let other = |blocker: &Blocker| matches!(blocker, Blocker::OtherVersion { expected, .. } if expected == "3");
    assert!(waits.iter().any(other), "{waits:?}");
    release.ticks(20);
    assert_eq!(release.shell.state().phase(), Phase::Progressing);
}

/// A release that is handing over, in which an external metric begins to fail; what it does then is this.
fn failing_in_finalizing(action: &str) -> Release {
    let mut release = Release::new(None);
    let file = json!({
        "rollout": "r", "steps": [{"setWeight": 20}, {"pause": {"duration": "3s"}}],
        "deploy": {"command": ["./deploy.sh"]},
        "analysis": {"metrics": [
            {"name": "failures", "kind": "failureRate", "margin": "1%"},
            {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "gpu",
             "failureCondition": "result > 0.9", "interval": "1s", "onFailure": action},
        ]},
    });
    release.shell = Shell::releasing(Spec::read(&file).unwrap(), named(None, Some("3")));
    release.shell.metrics.insert("gpu".to_owned(), Measurement::Values(vec![0.1]));
    release.hands_over();
    release.shell.metrics.insert("gpu".to_owned(), Measurement::Values(vec![0.95]));
    release
}

#[test]
fn an_external_metric_that_fails_in_finalizing_holds_at_full() {
    let mut release = failing_in_finalizing("abort");
    release.comes_to(Phase::Paused);
    let PauseReason::AbortedAtFull { reason } = release.why_paused() else {
        panic!("{:?}", release.why_paused())
    };
    assert!(matches!(*reason, TerminationReason::Metric { ref metric, .. } if metric == "gpu"));
    release.ticks(3);
    assert_eq!(release.in_force(), [Weight::FULL; 2]);
    assert_eq!(release.command(OperatorCommand::Finish).1, None);
    release.comes_to(Phase::Healthy);
}

/// In Finalizing, a metric that warns doesn't hold either, and one that pauses does.
#[test]
fn in_finalizing_each_action_does_what_it_says() {
    for (action, holds) in [("pause", true), ("warn", false)] {
        let mut release = failing_in_finalizing(action);
        release.comes_to(if holds { Phase::Paused } else { Phase::Healthy });
        let warned = RolloutEvent::Warned { metric: "gpu".to_owned() };
        assert_eq!(release.shell.events().contains(&warned), !holds, "{action}");
    }
}
