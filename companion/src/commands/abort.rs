//! `abort NAME`: weight 0 and the kill switch, in one update, on every Envoy at once.

use std::collections::BTreeSet;
use std::time::Duration;

use canary_model::runtime::{RolloutRuntime, Snapshot, Update, WeightValue};
use canary_model::weight::Weight;
use futures_util::future::try_join;

use super::{Context, conclude, split};
use crate::api::command_body::CommandBody;
use crate::controller::status::{EnvoyStatus, Status};
use crate::envoy::{Admin, EnvoyReply, Fleet};
use crate::error::{Error, Failure};
use crate::observe::scrape::{confirm, known_rollouts, scrape};
use crate::observe::{FleetView, Scrapes};
use crate::render::{self, EnvoyState};

/// The longest that an abort waits to learn whether there is such a rollout.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// What one Envoy knows of the rollout before it is aborted.
struct KnownState {
    rollouts: BTreeSet<String>,
    runtime: Snapshot,
}

/// The longest that an abort waits for a controller, where it can do without.
const CONTROLLER_WITHIN: Duration = Duration::from_secs(2);
/// The longest that it waits where it can't.
const PATIENCE: Duration = Duration::from_secs(20);

/// Aborts through the controller, which knows the whole fleet, where one runs the rollout; and on the
/// Envoys that are named, whatever the controller says. With neither there is nothing to abort.
pub(crate) async fn run(
    context: &Context,
    rollout: &str,
    body: &CommandBody,
) -> Result<(), Failure> {
    let steer = context.controller.steer(rollout, "abort", body);
    let late = |_| Error::Late { what: "the controller does not answer".to_owned() };
    let within = if context.targets().is_err() { PATIENCE } else { CONTROLLER_WITHIN };
    let answer = tokio::time::timeout(within, steer).await;
    let controlled = answer.map_err(late).and_then(|answer| answer);
    match controlled {
        Ok(status) if context.targets().is_err() => aborted(context, &status),
        Ok(_) => directly(context, rollout, true).await,
        Err(Error::NoController { .. } | Error::NotHere { .. }) if !context.controller_given => {
            directly(context, rollout, false).await
        }
        Err(error) if context.targets().is_err() => Err(error.into()),
        Err(error) => {
            render::remark(&format!("{error}; aborting without the controller"));
            directly(context, rollout, false).await
        }
    }
}

/// Shows what the controller did.
fn aborted(context: &Context, status: &Status) -> Result<(), Failure> {
    let state = |one: &EnvoyStatus| EnvoyState { url: one.url.clone(), error: one.error.clone() };
    let envoys: Vec<EnvoyState> = status.envoys.iter().map(state).collect();
    // Stable's place is being replaced: the controller holds all traffic in the canary's.
    let held = status.weight.set == Some(100.0);
    let version = if held { &status.canary } else { &status.stable }.version.as_deref();
    let (weight, enabled) = if held { (Weight::FULL, true) } else { (Weight::ZERO, false) };
    context.output.print(
        || render::aborted(&status.rollout, (weight, enabled), version, &envoys),
        |paint| {
            let text = if held { render::held_text } else { render::aborted_text };
            text(&status.rollout, version, &envoys, paint)
        },
    )?;
    let error = |one: &EnvoyState| {
        let cause = one.error.clone()?;
        Some(Error::Unreachable { url: one.url.clone(), cause })
    };
    conclude(envoys.iter().filter_map(error).collect(), envoys.len())
}

/// Aborts on the Envoys themselves. Only a name that every Envoy answers for and none knows is refused:
/// in doubt, abort. With `controlled`, the controller has aborted already.
async fn directly(context: &Context, rollout: &str, controlled: bool) -> Result<(), Failure> {
    let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
    let seen = fleet.each(async |admin| look_briefly(admin).await).await;
    if let Some(unknown) = unknown_everywhere(&seen, rollout) {
        return Err(Failure::refused(unknown));
    }
    let version = canary_version(&seen, rollout);
    let update = Update::new()
        .weight(rollout, &WeightValue::new(Weight::ZERO, version.as_deref()))
        .enabled(rollout, false);
    let reports = fleet.each(async |admin| stop(admin, &update).await).await;
    let envoys = EnvoyState::from_replies(&reports);
    let (stopped, errors) = split(reports);
    if !stopped.is_empty() {
        let version = stable_version(&fleet, rollout).await;
        let version = version.as_deref();
        context.output.print(
            || render::aborted(rollout, (Weight::ZERO, false), version, &envoys),
            |paint| render::aborted_text(rollout, version, &envoys, paint),
        )?;
        let owners = if controlled { BTreeSet::new() } else { owners(&seen, rollout) };
        owners.iter().for_each(|owner| {
            render::remark(&format!("{owner} drives this rollout and may set its weight again"));
        });
    }
    conclude(errors, envoys.len())
}

/// The version that serves all traffic after an abort; `None` if the Envoys don't say within a second. Asked
/// last, because it must not delay the abort.
async fn stable_version(fleet: &Fleet, rollout: &str) -> Option<String> {
    let scrapes = fleet.each(async |admin| scrape(admin, rollout).await);
    let replies = tokio::time::timeout(LOOK_FOR, scrapes).await.ok()?;
    let scrapes: Scrapes = split(replies).0.into_iter().collect();
    FleetView::new(rollout, &scrapes, None).stable.version
}

async fn look_briefly(admin: &Admin) -> Result<KnownState, Error> {
    let look = try_join(known_rollouts(admin), admin.runtime());
    let late = |_| Error::NoAnswer {
        url: admin.url().to_owned(),
        request: "/stats".to_owned(),
        seconds: LOOK_FOR.as_secs_f64(),
    };
    let (rollouts, runtime) = tokio::time::timeout(LOOK_FOR, look).await.map_err(late)??;
    Ok(KnownState { rollouts, runtime })
}

/// Writes and reads back.
async fn stop(admin: &Admin, update: &Update) -> Result<(), Error> {
    admin.modify(update).await?;
    confirm(admin, update, &admin.runtime().await?)
}

/// The errors of a name that nobody knows. An Envoy whose filter is dead has no such gauge, but its
/// runtime may still hold the rollout's keys.
fn unknown_everywhere(seen: &[EnvoyReply<KnownState>], rollout: &str) -> Option<Vec<Error>> {
    let unknown = |report: &EnvoyReply<KnownState>| {
        let one = report.result.as_ref().ok()?;
        let known =
            one.rollouts.contains(rollout) || one.runtime.rollouts().any(|name| name == rollout);
        (!known).then(|| Error::UnknownRollout {
            url: report.url.clone(),
            rollout: rollout.to_owned(),
            known: one.rollouts.clone(),
        })
    };
    seen.iter().map(unknown).collect()
}

/// The canary's version as the weights that are set name it. Nothing else is asked: an abort is quick, and
/// weight 0 without a version holds for any.
fn canary_version(seen: &[EnvoyReply<KnownState>], rollout: &str) -> Option<String> {
    let named = seen.iter().filter_map(|reply| {
        let runtime = RolloutRuntime::new(&reply.result.as_ref().ok()?.runtime, rollout);
        runtime.weight.value()?.version.clone()
    });
    let versions: BTreeSet<String> = named.collect();
    versions.first().filter(|_| versions.len() == 1).cloned()
}

fn owners(seen: &[EnvoyReply<KnownState>], rollout: &str) -> BTreeSet<String> {
    let owner =
        |one: &KnownState| RolloutRuntime::new(&one.runtime, rollout).owner.value().cloned();
    seen.iter().filter_map(|report| report.result.as_ref().ok().and_then(owner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rollouts: &[&str], runtime: &[u8]) -> EnvoyReply<KnownState> {
        let rollouts = rollouts.iter().map(|name| (*name).to_owned()).collect();
        let runtime = Snapshot::read(runtime, |_| true).unwrap();
        EnvoyReply { url: "http://a:1".to_owned(), result: Ok(KnownState { rollouts, runtime }) }
    }

    #[test]
    fn only_a_name_that_nobody_can_know_is_refused() {
        let empty: &[u8] = br#"{"entries":{}}"#;
        let keys: &[u8] = br#"{"entries":{"canary.scorer.weight":{"final_value":"5"}}}"#;
        let silent = || EnvoyReply { url: "http://b:1".to_owned(), result: Err(Error::NoEnvoy) };
        let refused =
            |seen: &[EnvoyReply<KnownState>]| unknown_everywhere(seen, "scorer").is_some();
        assert!(refused(&[report(&["other"], empty)]));
        assert!(refused(&[report(&[], empty), report(&["other"], empty)]));
        assert!(!refused(&[report(&["scorer"], empty)]));
        assert!(!refused(&[report(&[], keys)]), "a dead filter's rollout");
        assert!(!refused(&[report(&["other"], empty), report(&["scorer"], empty)]));
        assert!(!refused(&[report(&["other"], empty), silent()]), "in doubt, abort");
    }
}
