//! `set weight NAME PERCENT`: look, decide, write, read back, wait until it is in force.

mod plan;
mod progress;

use std::time::{Duration, Instant};

use canary_model::runtime::{Lease, RolloutRuntime, Snapshot, Update};

use self::plan::{Before, WeightRequest};
use self::progress::{FilterSample, Progress};
use super::{Context, conclude, split};
use crate::cli::SetWeight;
use crate::envoy::{Admin, Fleet};
use crate::error::{Error, Failure};
use crate::observe::gauges::gauges_filter;
use crate::observe::scrape::{confirm, scrape_all};
use crate::observe::{FleetView, Scrapes};
use crate::render::{self, EnvoyState};
use crate::{identity, observe};

/// How often the gauge is looked at while it is waited for.
const EVERY: Duration = Duration::from_millis(50);

/// Sets a weight on every Envoy that can be reached. Where any of them has no such rollout or another
/// owner, nothing is changed anywhere.
pub(crate) async fn run(context: &Context, args: &SetWeight) -> Result<(), Failure> {
    let request = request(args)?;
    let fleet = Fleet::resolve(context.targets()?, context.deadline).await;
    let before = fleet.each(async |admin| before(admin, &args.name).await).await;
    let update = plan::decide(&request, &before)?;
    let apply = async |admin: &Admin| apply(admin, &request, &update, args.timeout).await;
    let reports = fleet.then(before, apply).await;
    let envoys = EnvoyState::from_replies(&reports);
    let (done, errors) = split(reports);
    if !done.is_empty() {
        let (json, text) = (render::set, render::set_text);
        context.output.print(
            || json(&args.name, args.percent, request.lease.as_ref(), &envoys),
            |paint| text(&args.name, args.percent, request.lease.as_ref(), &envoys, paint),
        )?;
    }
    conclude(errors, envoys.len())
}

fn request(args: &SetWeight) -> Result<WeightRequest, Error> {
    let lease = args.lease.map(|seconds| {
        let random = getrandom::u64().map_err(|error| Error::System(error.into()))?;
        let bad =
            |error: canary_model::runtime::ValueError| Error::Usage { what: error.to_string() };
        Lease::new(seconds, &format!("{random:016x}")).map_err(bad)
    });
    Ok(WeightRequest {
        rollout: args.name.clone(),
        weight: args.percent,
        lease: lease.transpose()?,
        me: identity::owner(),
        takeover: args.takeover,
        reset_guard: args.reset_guard,
    })
}

async fn before(admin: &Admin, rollout: &str) -> Result<Before, Error> {
    let mut all = scrape_all(admin).await?;
    let rollouts = all.keys().cloned().collect();
    let Some(scrape) = all.remove(rollout) else {
        // `decide` refuses it, for all Envoys together.
        let runtime = RolloutRuntime::new(&Snapshot::default(), rollout);
        return Ok(Before { rollouts, gauges: observe::Gauges::default(), runtime, canary: None });
    };
    let (gauges, runtime) = (scrape.gauges, scrape.runtime.clone());
    let one = Scrapes::from([(admin.url().to_owned(), scrape)]);
    let canary = FleetView::new(rollout, &one, None).canary.version;
    Ok(Before { rollouts, gauges, runtime, canary })
}

/// Writes, reads back and waits.
async fn apply(
    admin: &Admin,
    request: &WeightRequest,
    update: &Update,
    patience: Duration,
) -> Result<(), Error> {
    admin.modify(update).await?;
    confirm(admin, update, &admin.runtime().await?)?;
    let filter = gauges_filter(Some(&request.rollout));
    let first = FilterSample::from_stats(&admin.stats(&filter).await?, &request.rollout);
    // Counted from the first answer: an Envoy that took long for it is looked at once more, since
    // only two looks tell what stands still.
    let begin = Instant::now();
    let mut now = first;
    loop {
        match progress::judge(request.weight, request.reset_guard, &first, &now) {
            Progress::InForce => return Ok(()),
            Progress::GuardTripped => {
                let (url, rollout) = (admin.url().to_owned(), request.rollout.clone());
                return Err(Error::GuardTripped { url, rollout });
            }
            Progress::Waiting(why) if begin.elapsed() >= patience => {
                let seconds = patience.as_secs_f64();
                return Err(Error::NotInForce { url: admin.url().to_owned(), seconds, why });
            }
            Progress::Waiting(_) => tokio::time::sleep(EVERY).await,
        }
        now = FilterSample::from_stats(&admin.stats(&filter).await?, &request.rollout);
    }
}
