//! Finding out what a rollout waits for, and how long that will take at the traffic it has.

use std::time::Duration;

use super::finalizing::{deploying, finalizing};
use super::{Blocker, Blockers, MissingInput, StepPosition, checks};
use crate::advance;
use crate::mismatch::EnvoyMismatch;
use crate::pause::PauseReason;
use crate::spec::{Conditions, GatePosition, PauseSpec, Spec};
use crate::state::{FleetMember, Phase, State, StepProgress};
use canary_judge::Tolerated;
use canary_judge::counts::{Pair, Trials};
use canary_judge::forecast::{self, Rates};
use canary_judge::spec::MetricKind;
use canary_judge::verdict::{Findings, NonInferiorityFigures, Verdict};

/// What a rollout waits for.
pub fn blockers(spec: &Spec, state: &State) -> Blockers {
    let waits = match state.phase {
        Phase::Pending => pending(spec, state),
        Phase::Deploying => match deploying(state) {
            Some(hook) => vec![hook],
            None => before_first_step(spec, state),
        },
        Phase::Progressing | Phase::Paused => running(spec, state),
        Phase::Promoting => {
            let mut waits = checks::while_under_way(state);
            waits.extend(checks::confirmation(state));
            waits
        }
        Phase::Aborting => rollback(spec, state),
        Phase::Finalizing => finalizing(spec, state),
        Phase::Healthy | Phase::Measured | Phase::Degraded => Vec::new(),
    };
    let lost = |(name, member): (&String, &FleetMember)| {
        member.lost.as_ref().map(|why| (name.clone(), why.clone()))
    };
    let lost = state.members.iter().filter_map(lost).collect();
    Blockers { step: place(spec, state), waiting_for: waits, unreachable: lost }
}

fn place(spec: &Spec, state: &State) -> Option<StepPosition> {
    let step = state.step()?;
    let weight = spec.steps.get(step)?.weight;
    Some(StepPosition { number: step.saturating_add(1), total: spec.steps.len(), weight })
}

fn pending(spec: &Spec, state: &State) -> Vec<Blocker> {
    if state.reachable().next().is_none() {
        return vec![Blocker::AnyEnvoy];
    }
    if spec.deploy_hook().is_some() {
        return checks::before_deploy(state);
    }
    before_first_step(spec, state)
}

fn before_first_step(spec: &Spec, state: &State) -> Vec<Blocker> {
    let failing = checks::before_first_weight(spec, state);
    if failing.is_empty() { gates(spec, state, GatePosition::Step(0)) } else { failing }
}

fn rollback(spec: &Spec, state: &State) -> Vec<Blocker> {
    let open = state.unconfirmed_rollback();
    let (mut lost, mut envoys) = (Vec::new(), Vec::new());
    for (name, member) in open {
        match (&member.lost, &member.mismatch) {
            (Some(why), _) => lost.push((name.clone(), why.clone())),
            (None, Some(mismatch)) => envoys.push((name.clone(), mismatch.clone())),
            (None, None) => envoys.push((name.clone(), EnvoyMismatch::NotConfirmed)),
        }
    }
    let mut waits = Vec::new();
    if !envoys.is_empty() {
        waits.push(Blocker::Confirmation { envoys });
    }
    if !lost.is_empty() {
        waits.push(Blocker::Reachable { envoys: lost });
    }
    let left = state.leases_left(spec);
    if !left.is_zero() {
        let lost = state.members.iter().filter(|(_, member)| member.lost.is_some());
        waits.push(Blocker::Leases { envoys: lost.map(|(name, _)| name.clone()).collect(), left });
    }
    waits
}

/// What the step itself waits for, were its Envoys and gates at hand: what a replay can tell.
pub(crate) fn of_step(spec: &Spec, state: &State) -> Blockers {
    let person = advance::pausing(spec, state).map(|why| Blocker::Operator { why });
    let waits = person.into_iter().chain(sample_ratio(state)).chain(unmet(spec, state)).collect();
    Blockers { step: place(spec, state), waiting_for: waits, unreachable: Vec::new() }
}

fn running(spec: &Spec, state: &State) -> Vec<Blocker> {
    let pausing = advance::pausing(spec, state);
    let mut waits: Vec<Blocker> =
        pausing.clone().map(|why| Blocker::Operator { why }).into_iter().collect();
    waits.extend(checks::while_under_way(state));
    waits.extend(checks::confirmation(state));
    waits.extend(checks::outage(state));
    waits.extend(sample_ratio(state));
    if !matches!(pausing, Some(PauseReason::File | PauseReason::Command)) {
        waits.extend(unmet(spec, state));
    }
    if waits.is_empty() {
        let next = state.progress.step.saturating_add(1);
        let last = next >= spec.steps.len();
        waits = gates(
            spec,
            state,
            if last { GatePosition::Promotion } else { GatePosition::Step(next) },
        );
    }
    waits
}

/// What the pause's conditions and the metrics lack.
fn unmet(spec: &Spec, state: &State) -> Vec<Blocker> {
    let until = advance::pause(spec, state).and_then(PauseSpec::until);
    let mut waits = until.map(|until| conditions(until, state)).unwrap_or_default();
    waits.extend(age(state));
    waits.extend(data(state));
    if !waits.is_empty() {
        waits.extend(answers(state));
    }
    waits
}

/// A sample ratio that holds the rollout.
fn sample_ratio(state: &State) -> Option<Blocker> {
    state.judge.is_split_held().then(|| {
        let split = state.judge.split();
        Blocker::SampleRatio { weight: split.weight, measured: split.measured }
    })
}

/// The age that a step's first requests must reach before they are counted.
fn age(state: &State) -> Option<Blocker> {
    let age = state.outcome_age();
    let left = state.progress.began.saturating_add(age).saturating_sub(state.clock.passed);
    (!state.progress.counting && !left.is_zero()).then_some(Blocker::Age { age, left })
}

/// Most of the canary's requests had no answer when they were counted, so they say nothing.
fn answers(state: &State) -> Option<Blocker> {
    let unanswered = state.progress.unanswered.canary;
    let answered = state.progress.counts.canary.trials;
    (unanswered > answered).then_some(Blocker::Answers {
        unanswered,
        requests: unanswered.saturating_add(answered),
        age: state.outcome_age(),
    })
}

fn conditions(until: &Conditions, state: &State) -> Vec<Blocker> {
    let progress = &state.progress;
    let mut waits = Vec::new();
    if let Some(need) = until.duration.filter(|need| progress.in_pause() < *need) {
        waits.push(Blocker::Time { have: progress.in_pause(), need });
    }
    let have = progress.counts.canary.trials;
    if let Some(need) = until.min_requests.filter(|need| have < *need) {
        let left = time_for((need - have) as f64, have as f64, progress);
        waits.push(Blocker::Requests { have, need, left });
    }
    if until.until_confident && !state.judge.uncertified().is_empty() {
        let verdicts = state.judge.verdicts();
        waits.extend(verdicts.iter().filter_map(|verdict| non_inferiority(verdict, progress)));
    }
    waits
}

/// How long `left` more take where the step brought `have` so far.
fn time_for(left: f64, have: f64, progress: &StepProgress) -> Option<Duration> {
    let rate = have / progress.held.as_secs_f64();
    let seconds = left / rate;
    seconds
        .is_finite()
        .then(|| Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX))
}

fn non_inferiority(verdict: &Verdict, progress: &StepProgress) -> Option<Blocker> {
    let figures = verdict.non_inferiority.filter(|one| one.certified_at.is_none())?;
    let requests = requests_left(verdict, &figures, progress.counts);
    let had = progress.counts.stable.trials.saturating_add(progress.counts.canary.trials) as f64;
    let left = requests.and_then(|left| time_for(left, had, progress));
    let NonInferiorityFigures { log_e, log_limit, margin, .. } = figures;
    Some(Blocker::Certificate { metric: verdict.metric.clone(), log_e, log_limit, margin, left })
}

/// How many more requests the certificate takes on average, if both versions fail as often as they
/// did together so far.
fn requests_left(
    verdict: &Verdict,
    one: &NonInferiorityFigures,
    counts: Pair<Trials>,
) -> Option<f64> {
    let Findings::Shares { ratio, .. } = verdict.findings else { return None };
    if verdict.kind != MetricKind::FailureRate {
        return None;
    }
    let all = counts.stable.trials.saturating_add(counts.canary.trials) as f64;
    let failed = counts.stable.events.saturating_add(counts.canary.events) as f64;
    let (weight, share) = (counts.canary.trials as f64 / all, failed / all);
    if !weight.is_finite() || weight <= 0.0 {
        return None;
    }
    let tolerated = Tolerated { ratio, margin: one.margin };
    let rates = Rates { weight, canary: share, stable: share };
    let growth = forecast::non_inferiority_growth(tolerated, rates);
    forecast::requests_needed((one.log_limit - one.log_e).max(0.0), growth)
}

fn data(state: &State) -> Vec<Blocker> {
    let waiting = state.judge.waiting_for_data();
    if waiting.is_empty() {
        return Vec::new();
    }
    let lacking = |verdict: &Verdict| waiting.contains(&verdict.metric.as_str());
    let wait = |verdict: Verdict| {
        let outage = match &verdict.findings {
            Findings::Query { outage, .. } => outage.clone().map(MissingInput::Answer),
            _ => None,
        };
        let missing = verdict.missing.map(MissingInput::Data);
        let lacks = outage.or(missing).unwrap_or(MissingInput::Anything);
        Blocker::Data { metric: verdict.metric, lacks }
    };
    state.judge.verdicts().into_iter().filter(lacking).map(wait).collect()
}

fn gates(spec: &Spec, state: &State, before: GatePosition) -> Vec<Blocker> {
    let gates = spec.gates.iter().enumerate().filter(|(_, gate)| gate.before == before);
    let open = gates.filter_map(|(index, gate)| {
        let book = state.gates.get(&index)?;
        (!book.passed).then(|| Blocker::Gate {
            url: canary_model::redact::redacted(&gate.url),
            attempts: book.attempts,
            said: book.said.clone(),
        })
    });
    open.collect()
}
