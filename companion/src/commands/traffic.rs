//! The traffic that a plan is made for, read from running Envoys where nobody says it.

use std::time::{Duration, Instant};

use canary_model::role::Role;
use canary_rollout::plan::TrafficEstimate;
use canary_rollout::spec::Spec;

use super::run::targets;
use super::{Context, conclude, split};
use crate::cli::PlanArgs;
use crate::envoy::{Admin, Fleet};
use crate::error::{Error, Failure};
use crate::observe::counters::Counter;
use crate::observe::scrape::scrape;
use crate::render;

/// What the filters of a fleet have counted of a rollout since their start.
#[derive(Clone, Copy, Default)]
struct Counted {
    /// Requests of both versions.
    requests: u64,
    /// Stable's share of them.
    stable: u64,
    stable_failures: u64,
    /// The age at which outcomes are counted, in seconds; of several, the largest.
    outcome_age: Option<u64>,
}

/// The requests a second between two readings of every Envoy, and the share of stable's requests that
/// failed since the start of the processes; also the age at which the filters count outcomes, as far as
/// they say it.
///
/// # Errors
/// Where an Envoy does not answer or has no such rollout, or where no request came.
pub(super) async fn measure(
    context: &Context,
    spec: &Spec,
    args: &PlanArgs,
) -> Result<(TrafficEstimate, Option<Duration>), Failure> {
    let fleet = Fleet::resolve(&targets(context, spec)?, context.deadline).await;
    let before = read(&fleet, &spec.rollout).await?;
    let begin = Instant::now();
    tokio::time::sleep(args.measure).await;
    let after = read(&fleet, &spec.rollout).await?;
    let traffic = between(&before, &after, begin.elapsed(), args.baseline)
        .ok_or_else(|| silent(&spec.rollout, args.measure))?;
    render::message(&format!(
        "measured: {:.1} requests per second, of which {:.3} % fail on stable",
        traffic.rps,
        100.0 * traffic.baseline
    ));
    let age = after.outcome_age.map(Duration::from_secs);
    Ok((traffic, age))
}

fn silent(rollout: &str, window: Duration) -> Error {
    let seconds = window.as_secs_f64();
    let what =
        format!("no request of \"{rollout}\" came in {seconds} s: say --rps, or --measure longer");
    Error::Usage { what }
}

async fn read(fleet: &Fleet, rollout: &str) -> Result<Counted, Failure> {
    let reports = fleet.each(async |admin: &Admin| scrape(admin, rollout).await).await;
    let total = reports.len();
    let (answers, errors) = split(reports);
    conclude(errors, total)?;
    let outcome_age = answers.iter().filter_map(|(_, scrape)| scrape.gauges.outcome_age).max();
    let versions = answers.iter().flat_map(|(_, scrape)| &scrape.counters.versions);
    Ok(versions.fold(
        Counted { outcome_age, ..Counted::default() },
        |mut sum, ((role, _), counters)| {
            let requests = counters.count(&Counter::Total);
            sum.requests += requests;
            if *role == Role::Stable {
                sum.stable += requests;
                sum.stable_failures += counters.count(&Counter::Failure);
            }
            sum
        },
    ))
}

/// `None` where nothing came. The share of failures is (failures + ½) / (requests + 1), Jeffreys'
/// estimate: none seen doesn't mean none ever.
fn between(
    before: &Counted,
    after: &Counted,
    elapsed: Duration,
    baseline: Option<f64>,
) -> Option<TrafficEstimate> {
    let came = after.requests.saturating_sub(before.requests);
    if came == 0 {
        return None;
    }
    let failing = (after.stable_failures as f64 + 0.5) / (after.stable as f64 + 1.0);
    let rps = came as f64 / elapsed.as_secs_f64();
    Some(TrafficEstimate { rps, baseline: baseline.unwrap_or(failing) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_baseline() {
        let before =
            Counted { requests: 1_000, stable: 900, stable_failures: 9, ..Counted::default() };
        let after =
            Counted { requests: 1_500, stable: 1_400, stable_failures: 14, ..Counted::default() };
        let elapsed = Duration::from_secs(5);
        let traffic = between(&before, &after, elapsed, None).unwrap();
        assert!(
            (traffic.rps - 100.0).abs() < 1e-9 && (traffic.baseline - 14.5 / 1_401.0).abs() < 1e-9
        );
        let given = between(&before, &after, elapsed, Some(0.2)).unwrap();
        assert!((given.baseline - 0.2).abs() < 1e-9);
        assert_eq!(between(&after, &after, elapsed, None), None, "nothing came");
        assert_eq!(between(&after, &before, elapsed, None), None, "a restart is no traffic");
    }
}
