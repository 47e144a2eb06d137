//! `plan`: forecasts a rollout before it starts.

use canary_rollout::plan::{TrafficEstimate, plan};
use canary_rollout::spec::Spec;

use super::{Context, traffic};
use crate::cli::PlanArgs;
use crate::error::Failure;
use crate::render::{self, Output};
use crate::rollout_file;

/// The share of requests that fail today, unless the command line or the Envoys say otherwise.
const BASELINE: f64 = 0.001;

/// `plan -f FILE --rps N`: with given traffic.
pub(crate) fn forecast(output: &Output, args: &PlanArgs, rps: f64) -> Result<(), Failure> {
    let baseline = args.baseline.unwrap_or(BASELINE);
    tell(output, &rollout_file::read(&args.file)?, TrafficEstimate { rps, baseline })
}

/// `plan -f FILE`: with the traffic that the Envoys have now.
pub(crate) async fn forecast_measured(context: &Context, args: &PlanArgs) -> Result<(), Failure> {
    let spec = rollout_file::read(&args.file)?;
    let traffic = traffic::measure(context, &spec, args).await?;
    tell(&context.output, &spec, traffic)
}

fn tell(output: &Output, spec: &Spec, traffic: TrafficEstimate) -> Result<(), Failure> {
    let (plan, _) = plan(spec, traffic);
    Ok(output.print(|| &plan, |_| render::plan_text(&plan))?)
}
