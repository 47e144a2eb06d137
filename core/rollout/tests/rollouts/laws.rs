//! Laws of the step function, for arbitrary things seen at arbitrary times.

use std::collections::BTreeMap;
use std::time::Duration;

use canary_judge::counts::Pair;
use canary_judge::observation::{Measurement, Observation};
use canary_judge::spec::OnFailure;
use canary_judge::verdict::{Conclusion, Verdict};
use canary_model::weight::Weight;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{
    DeliveryReport, EnvoyInput, EnvoyReading, GateAnswer, Inputs, OperatorCommand,
};
use canary_rollout::pause::PauseReason;
use canary_rollout::spec::Spec;
use canary_rollout::state::{Phase, State, WeightTarget};
use canary_rollout::step::LONGEST_TICK;
use canary_rollout::termination::TerminationReason;
use canary_rollout::{HostClocks, StepResult, step};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;

const OWNER: &str = "ctl";

fn spec() -> Spec {
    let steps = json!([
        {"setWeight": 5}, {"pause": {"duration": "3s", "minRequests": 50}},
        {"setWeight": 20}, {"pause": {}},
        {"setWeight": 50}, {"pause": {"untilConfident": true, "timeout": "20s"}},
    ]);
    let metrics = json!([
        {"name": "failures", "kind": "failureRate", "margin": "1%"},
        {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "gpu",
         "failureCondition": "result > 0.9", "interval": "2s"},
    ]);
    Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics},
        "gates": [{"before": 20, "url": "http://gate/"}, {"before": "promotion", "url": "http://gate/"}],
        "notify": [{"on": ["step", "paused", "aborted"], "url": "http://hook/"}]}))
    .unwrap()
}

/// What an Envoy does at a round: follow the target, or show anything.
#[derive(Clone, Debug)]
enum Shows {
    WeightTarget,
    Anything(Box<EnvoyReading>),
    Lost,
}

#[derive(Clone, Debug)]
struct Round {
    seconds: i64,
    commands: Vec<OperatorCommand>,
    counts: Option<[u64; 4]>,
    envoys: BTreeMap<String, Shows>,
    gates: Vec<(usize, bool)>,
    gpu: Option<f64>,
    notified: Vec<(u64, bool)>,
}

fn weight() -> impl Strategy<Value = Weight> {
    prop_oneof![Just(0), Just(50_000), Just(200_000), 0..=1_000_000_u32]
        .prop_map(|ppm| Weight::from_ppm(ppm).unwrap())
}

fn shown() -> impl Strategy<Value = EnvoyReading> {
    let epoch = || option::of(prop_oneof![Just(5_000), any::<u64>()]);
    let owner = option::of(prop_oneof![9 => Just(OWNER), 1 => Just("bob")]);
    let runtime = (option::of(weight()), option::of(any::<bool>()), epoch(), any::<Option<u64>>());
    let filter = (option::of(weight()), epoch(), any::<Option<bool>>(), any::<Option<bool>>());
    (runtime, owner, filter).prop_map(|((weight, enabled, epoch, window), owner, filter)| {
        let (in_force, epoch_in_force, guard_tripped, lease_expired) = filter;
        let (owner, lease) = (owner.map(str::to_owned), Some("30:5000-1".to_owned()));
        EnvoyReading {
            weight,
            enabled,
            lease,
            epoch,
            window,
            owner,
            in_force,
            epoch_in_force,
            guard_tripped,
            lease_expired,
            ..EnvoyReading::default()
        }
    })
}

fn round() -> impl Strategy<Value = Round> {
    let seconds = prop_oneof![30 => Just(1), 2 => 0..40_i64, 1 => any::<i64>()];
    let command = prop_oneof![
        4 => Just(OperatorCommand::Promote),
        1 => Just(OperatorCommand::PromoteFull),
        2 => Just(OperatorCommand::Pause),
        2 => Just(OperatorCommand::Resume),
        1 => Just(OperatorCommand::Abort),
        3 => Just(OperatorCommand::Retry),
    ];
    let commands = prop_oneof![5 => Just(vec![]), 1 => vec(command, 1..3)];
    let usual =
        (0..200_u64, 0..2_u64, 0..2_000_u64, 0..4_u64).prop_map(|(a, b, c, d)| [a, b, c, d]);
    let counts = prop_oneof![20 => usual.boxed(), 1 => any::<[u64; 4]>().boxed()];
    let one = prop_oneof![
        40 => Just(Shows::WeightTarget).boxed(),
        1 => shown().prop_map(|shown| Shows::Anything(Box::new(shown))).boxed(),
        2 => Just(Shows::Lost).boxed(),
    ];
    let gpu = prop_oneof![10 => 0.0..0.95, 1 => Just(f64::NAN), 1 => any::<f64>()];
    (
        seconds,
        commands,
        option::weighted(0.9, counts),
        prop_oneof![15 => btree_map("[ab]", one, 1..3).boxed(), 1 => Just(BTreeMap::new()).boxed()],
        vec((0..3_usize, any::<bool>()), 0..3),
        option::weighted(0.5, gpu),
        vec((0..20_u64, any::<bool>()), 0..3),
    )
        .prop_map(|(seconds, commands, counts, envoys, gates, gpu, notified)| Round {
            seconds,
            commands,
            counts,
            envoys,
            gates,
            gpu,
            notified,
        })
}

/// An Envoy that has done what it was told.
fn obedient(target: Option<&WeightTarget>) -> EnvoyReading {
    let versions = Pair { stable: Some("1".to_owned()), canary: Some("2".to_owned()) };
    let Some(target) = target else {
        return EnvoyReading { versions, ..EnvoyReading::default() };
    };
    EnvoyReading {
        weight: Some(target.weight),
        weight_version: target.version.clone(),
        enabled: Some(target.enabled),
        lease: target.lease_seconds.map(|seconds| format!("{seconds}:{}-1", target.epoch)),
        epoch: Some(target.epoch),
        window: Some(target.window),
        owner: target.owner.clone(),
        in_force: Some(target.weight),
        epoch_in_force: Some(target.epoch),
        guard_tripped: Some(false),
        lease_expired: Some(false),
        outcome_age: Some(0),
        versions,
        ..EnvoyReading::default()
    }
}

fn seen(round: &Round, state: &State) -> Inputs {
    let envoy = |shows: &Shows| match shows {
        Shows::WeightTarget => EnvoyInput::Reached(Box::new(obedient(state.target()))),
        Shows::Anything(shown) => EnvoyInput::Reached(shown.clone()),
        Shows::Lost => EnvoyInput::Unreachable("connection refused".to_owned()),
    };
    let observation = round.counts.map(|[nc, ec, ns, es]| {
        let mut line = Observation::default();
        (line.roles.canary.total, line.roles.canary.failure) = (Some(nc), Some(ec));
        (line.roles.stable.total, line.roles.stable.failure) = (Some(ns), Some(es));
        line
    });
    let answer = |(gate, passed): &(usize, bool)| GateAnswer {
        gate: *gate,
        passed: *passed,
        said: "whatever".to_owned(),
    };
    let delivery = |(notice, delivered): &(u64, bool)| DeliveryReport {
        notice: *notice,
        delivered: *delivered,
    };
    let gpu = round.gpu.map(|value| ("gpu".to_owned(), Measurement::Values(vec![value])));
    Inputs {
        commands: round.commands.clone(),
        observation,
        measurements: gpu.into_iter().collect(),
        envoys: round.envoys.iter().map(|(name, one)| (name.clone(), envoy(one))).collect(),
        gates: round.gates.iter().map(answer).collect(),
        notified: round.notified.iter().map(delivery).collect(),
        deployed: Vec::new(),
        unrecorded: false,
    }
}

/// A rollout and what was known of it before the present round.
struct Run {
    spec: Spec,
    state: State,
    clock: Duration,
    verdicts: Vec<Verdict>,
}

impl Run {
    fn new() -> Self {
        Self::of(spec())
    }

    fn of(spec: Spec) -> Self {
        let state = State::new(&spec, OWNER, false);
        Self { spec, state, clock: Duration::from_secs(1_000_000), verdicts: Vec::new() }
    }

    fn round(&mut self, round: &Round) -> Result<(), TestCaseError> {
        let before = self.state.clone();
        let now = self.pass(round);
        let stepped = step(&self.spec, before.clone(), seen(round, &before), now);
        if !stepped.verdicts.is_empty() {
            self.verdicts.clone_from(&stepped.verdicts);
        }
        self.check_weight(&before, &stepped, round)?;
        check_clock(&before, &stepped)?;
        self.check_abort(&stepped.state, now)?;
        self.check_resumes(&stepped.state)?;
        self.state = stepped.state;
        Ok(())
    }

    /// Takes one round without checking any law.
    fn take(&mut self, round: &Round) -> StepResult {
        let now = self.pass(round);
        let stepped = step(&self.spec, self.state.clone(), seen(round, &self.state), now);
        self.state = stepped.state.clone();
        stepped
    }

    fn pass(&mut self, round: &Round) -> HostClocks {
        self.clock = if round.seconds < 0 {
            self.clock.saturating_sub(Duration::from_secs(round.seconds.unsigned_abs()))
        } else {
            self.clock.saturating_add(Duration::from_secs(round.seconds.unsigned_abs()))
        };
        HostClocks { monotonic: self.clock, unix: 5_000 }
    }

    /// The weight rises by decisions alone, each of which is told; none is made without data, beside
    /// a reason to roll back, or without every Envoy's confirmation.
    fn check_weight(
        &self,
        before: &State,
        after: &StepResult,
        round: &Round,
    ) -> Result<(), TestCaseError> {
        let weight = |state: &State| state.target().map_or(Weight::ZERO, |target| target.weight);
        let advances = after.events.iter().any(|event| match event {
            RolloutEvent::Step { step, .. } => *step > 0,
            RolloutEvent::Promoting => !round.commands.contains(&OperatorCommand::PromoteFull),
            _ => false,
        });
        let starts =
            after.events.iter().any(|event| matches!(event, RolloutEvent::Step { step: 0, .. }));
        let full = round.commands.contains(&OperatorCommand::PromoteFull);
        if weight(&after.state) > weight(before) {
            prop_assert!(advances || starts || full, "{:?}", after.events);
        }
        if advances {
            let lacking = |verdict: &Verdict| verdict.conclusion != Conclusion::Pass;
            prop_assert!(!self.verdicts.is_empty() && !self.verdicts.iter().any(lacking));
            prop_assert!(!round.commands.contains(&OperatorCommand::Abort));
            let confirmed = |shows: &Shows| !matches!(shows, Shows::Anything(_));
            prop_assert!(round.envoys.values().all(confirmed));
        }
        let ladder = [0, 50_000, 200_000, 500_000, 1_000_000];
        prop_assert!(ladder.contains(&weight(&after.state).ppm()));
        Ok(())
    }

    /// Wherever it stands, `abort` brings it back to stable in two rounds.
    fn check_abort(&self, state: &State, now: HostClocks) -> Result<(), TestCaseError> {
        let envoys = |state: &State| {
            let shows = EnvoyInput::Reached(Box::new(obedient(state.target())));
            BTreeMap::from([("a".to_owned(), shows)])
        };
        let abort = Inputs { commands: vec![OperatorCommand::Abort], ..Inputs::default() };
        let first = step(&self.spec, state.clone(), abort, now);
        prop_assert!(first.replies.iter().all(|reply| reply.refused.is_none()));
        let phase = first.state.phase();
        prop_assert!(matches!(phase, Phase::Aborting | Phase::Degraded), "{phase}");
        let look = Inputs { envoys: envoys(&first.state), ..Inputs::default() };
        let second = step(&self.spec, first.state, look, now);
        prop_assert_eq!(second.state.phase(), Phase::Degraded);
        Ok(())
    }

    /// Written down and resumed it is the same, and so is its future.
    fn check_resumes(&self, state: &State) -> Result<(), TestCaseError> {
        let text = serde_json::to_string(state).unwrap();
        let resumed = State::resume(&text, &self.spec).unwrap();
        let again = serde_json::to_string(&resumed).unwrap();
        let differ = again.bytes().zip(text.bytes()).position(|(a, b)| a != b);
        let around = differ.and_then(|at| text.get(at.saturating_sub(80)..at + 40));
        prop_assert!(again == text, "{around:?}");
        Ok(())
    }
}

fn check_clock(before: &State, after: &StepResult) -> Result<(), TestCaseError> {
    let passed = after.state.clock().checked_sub(before.clock());
    prop_assert!(passed.is_some_and(|passed| passed <= LONGEST_TICK), "{passed:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_seen(rounds in vec(round(), 1..80)) {
        let mut run = Run::new();
        for round in &rounds {
            run.round(round)?;
        }
    }
}

/// The law above is no law about rollouts that go nowhere: its rounds reach every phase.
#[test]
fn the_rounds_reach_every_phase() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..150 {
        let rounds = vec(round(), 80).new_tree(&mut runner).unwrap().current();
        let mut run = Run::new();
        for round in &rounds {
            run.round(round).unwrap();
            reached.insert(run.state.phase());
        }
    }
    assert_eq!(reached.len(), 7, "{reached:?}");
}

/// The file of the laws with other metrics. `margin` and `bound` say what fails: `0%` and `0.9` much of what
/// the rounds bring, `99%` and `1e308` nothing.
fn acting(action: &str, margin: &str, bound: &str) -> Spec {
    let steps = json!([
        {"setWeight": 5}, {"pause": {"duration": "3s", "minRequests": 50}},
        {"setWeight": 20}, {"pause": {}},
        {"setWeight": 50}, {"pause": {"untilConfident": true, "timeout": "20s"}},
    ]);
    let metrics = json!([
        {"name": "failures", "kind": "failureRate", "margin": "99%"},
        {"name": "more", "kind": "failureRate", "margin": margin, "onFailure": action},
        {"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "gpu",
         "failureCondition": format!("result > {bound}"), "interval": "2s", "onFailure": action},
    ]);
    Spec::read(&json!({"rollout": "r", "steps": steps, "analysis": {"metrics": metrics}})).unwrap()
}

fn driven(state: &State) -> Weight {
    state.target().map_or(Weight::ZERO, |target| target.weight)
}

/// Takes rounds beside a rollout whose metrics never fail: phase, step and weight are the same in both. Gives
/// how many warnings were told. In both, every metric needs its data.
fn warns_only(rounds: &[Round]) -> Result<usize, TestCaseError> {
    let (mut warning, mut quiet) =
        (Run::of(acting("warn", "0%", "0.9")), Run::of(acting("warn", "99%", "1e308")));
    let mut told = 0;
    for round in rounds {
        let stepped = warning.take(round);
        let is_warning = |event: &&RolloutEvent| matches!(event, RolloutEvent::Warned { .. });
        told += stepped.events.iter().filter(is_warning).count();
        let other = quiet.take(round).state;
        let shown = |state: &State| (state.phase(), state.step(), driven(state));
        prop_assert_eq!(shown(&stepped.state), shown(&other));
    }
    Ok(told)
}

/// Takes rounds of a rollout whose metrics only pause: none rolls back, and while one holds the weight rises
/// for an operator alone. Gives how often it was paused by a metric.
fn pauses_only(rounds: &[Round]) -> Result<usize, TestCaseError> {
    use OperatorCommand::{Promote, PromoteFull, Resume, Retry};
    let mut run = Run::of(acting("pause", "0%", "0.9"));
    let mut paused = 0;
    for round in rounds {
        let before = run.state.clone();
        let stepped = run.take(round);
        for event in &stepped.events {
            if let RolloutEvent::Aborting { reason } = event {
                // Nonsense counts, with more failures than requests, may fail the metric that aborts.
                let by_metric = |metric: &str| metric != "failures";
                let is_pausing =
                    matches!(reason, TerminationReason::Metric { metric, .. } if by_metric(metric));
                prop_assert!(!is_pausing, "{reason:?}");
            }
            let why = PauseReason::Metric { metric: "more".to_owned() };
            paused += usize::from(*event == RolloutEvent::Paused { why });
        }
        let held = !before.judge().failing(OnFailure::Pause).is_empty();
        let asked =
            |command: &OperatorCommand| matches!(command, Promote | PromoteFull | Resume | Retry);
        if held && !round.commands.iter().any(asked) {
            prop_assert!(driven(&stepped.state) <= driven(&before), "{:?}", stepped.events);
        }
    }
    Ok(paused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_metric_that_warns_neither_moves_nor_holds_traffic(rounds in vec(round(), 1..80)) {
        warns_only(&rounds)?;
    }

    #[test]
    fn a_metric_that_pauses_never_rolls_back(rounds in vec(round(), 1..80)) {
        pauses_only(&rounds)?;
    }
}

/// The two laws above speak of something: in these rounds metrics do fail.
#[test]
fn the_rounds_make_metrics_warn_and_pause() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut told, mut paused) = (0, 0);
    for _ in 0..60 {
        let rounds = vec(round(), 80).new_tree(&mut runner).unwrap().current();
        told += warns_only(&rounds).unwrap();
        paused += pauses_only(&rounds).unwrap();
    }
    assert!(told > 10 && paused > 5, "{told} warnings, {paused} pauses");
}
