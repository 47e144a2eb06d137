//! `plan`: forecasts a rollout before it starts.

use canary_rollout::plan::{TrafficEstimate, plan};
use canary_rollout::spec::Spec;

use super::{Context, traffic};
use crate::cli::PlanArgs;
use crate::error::Failure;
use crate::filter_file;
use crate::render::{self, Output, PlannedAge};
use crate::rollout_file;

/// The share of requests that fail today, unless the command line or the Envoys say otherwise.
const BASELINE: f64 = 0.001;

/// `plan -f FILE --rps N`: with given traffic.
pub(crate) fn forecast(output: &Output, args: &PlanArgs, rps: f64) -> Result<(), Failure> {
    let baseline = args.baseline.unwrap_or(BASELINE);
    let spec = rollout_file::read(&args.file)?;
    let age = configured_age(args, &spec)?.unwrap_or(PlannedAge::Default);
    tell(output, &spec, TrafficEstimate { rps, baseline }, age)
}

/// `plan -f FILE`: with the traffic that the Envoys have now.
pub(crate) async fn forecast_measured(context: &Context, args: &PlanArgs) -> Result<(), Failure> {
    let spec = rollout_file::read(&args.file)?;
    let configured = configured_age(args, &spec)?;
    let (traffic, running) = traffic::measure(context, &spec, args).await?;
    let running = running.map(PlannedAge::Running);
    tell(&context.output, &spec, traffic, configured.or(running).unwrap_or(PlannedAge::Default))
}

/// What `--filter` says about the rollout.
fn configured_age(args: &PlanArgs, spec: &Spec) -> Result<Option<PlannedAge>, Failure> {
    let Some(path) = &args.filter else { return Ok(None) };
    let configured = filter_file::rollout(path, &spec.rollout)?;
    Ok(Some(PlannedAge::Configured(configured.outcome_age)))
}

fn tell(
    output: &Output,
    spec: &Spec,
    traffic: TrafficEstimate,
    age: PlannedAge,
) -> Result<(), Failure> {
    let plan = plan(spec, traffic, age.age());
    let text = |_| render::plan_text(&plan, traffic.baseline, age);
    Ok(output.print(|| render::plan_json(&plan), text)?)
}
