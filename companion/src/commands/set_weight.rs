//! `set weight NAME PERCENT`: look, decide, write, read back, wait until it is in force.

mod plan;
mod progress;

use std::time::{Duration, Instant};

use canary_model::runtime::{Lease, RolloutRuntime, Update};
use futures_util::future::try_join;

use self::plan::{Before, Wish};
use self::progress::{Progress, Sample};
use super::{Context, conclude, look, split};
use crate::cli::SetWeight;
use crate::envoy::{Admin, Fleet};
use crate::error::{Error, Failure};
use crate::render::{self, EnvoyState};
use crate::{identity, observe};

/// How often the gauge is looked at while it is waited for.
const EVERY: Duration = Duration::from_millis(50);

/// Sets a weight on every Envoy that can be reached. Where any of them has no such rollout or another
/// owner, nothing is changed anywhere.
pub(crate) async fn run(context: &Context, args: &SetWeight) -> Result<(), Failure> {
    let wish = wish(args)?;
    let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
    let before = fleet.each(async |admin| before(admin, &args.name).await).await;
    let update = plan::decide(&wish, &before)?;
    let apply = async |admin: &Admin| apply(admin, &wish, &update, args.timeout).await;
    let reports = fleet.then(before, apply).await;
    let envoys = EnvoyState::of(&reports);
    let (done, errors) = split(reports);
    if !done.is_empty() {
        let (json, text) = (render::set, render::set_text);
        context.output.print(
            || json(&args.name, args.percent, wish.lease.as_ref(), &envoys),
            |paint| text(&args.name, args.percent, wish.lease.as_ref(), &envoys, paint),
        )?;
    }
    conclude(errors, envoys.len())
}

fn wish(args: &SetWeight) -> Result<Wish, Error> {
    let lease = args.lease.map(|seconds| {
        let random = getrandom::u64().map_err(|error| Error::System(error.into()))?;
        let bad =
            |error: canary_model::runtime::ValueError| Error::Usage { what: error.to_string() };
        Lease::new(seconds, &format!("{random:016x}")).map_err(bad)
    });
    Ok(Wish {
        rollout: args.name.clone(),
        weight: args.percent,
        lease: lease.transpose()?,
        me: identity::owner(),
        takeover: args.takeover,
        reset_guard: args.reset_guard,
    })
}

async fn before(admin: &Admin, rollout: &str) -> Result<Before, Error> {
    let filter = observe::stats_filter(None, false);
    let (runtime, stats) = try_join(admin.runtime(), admin.stats(&filter)).await?;
    Ok(Before {
        rollouts: observe::rollouts(&stats),
        gauges: observe::gauges(&stats, rollout),
        runtime: RolloutRuntime::of(&runtime, rollout),
    })
}

/// Writes, reads back and waits.
async fn apply(
    admin: &Admin,
    wish: &Wish,
    update: &Update,
    patience: Duration,
) -> Result<(), Error> {
    admin.modify(update).await?;
    look::confirm(admin, update, &admin.runtime().await?)?;
    let filter = observe::stats_filter(Some(&wish.rollout), false);
    let first = Sample::of(&admin.stats(&filter).await?, &wish.rollout);
    // Counted from the first answer: an Envoy that took long for it is looked at once more, since
    // only two looks tell what stands still.
    let begin = Instant::now();
    let mut now = first;
    loop {
        match progress::judge(wish.weight, wish.reset_guard, &first, &now) {
            Progress::InForce => return Ok(()),
            Progress::GuardTripped => {
                let (url, rollout) = (admin.url().to_owned(), wish.rollout.clone());
                return Err(Error::GuardTripped { url, rollout });
            }
            Progress::Waiting(why) if begin.elapsed() >= patience => {
                let seconds = patience.as_secs_f64();
                return Err(Error::NotInForce { url: admin.url().to_owned(), seconds, why });
            }
            Progress::Waiting(_) => tokio::time::sleep(EVERY).await,
        }
        now = Sample::of(&admin.stats(&filter).await?, &wish.rollout);
    }
}
