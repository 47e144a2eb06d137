//! `plan`: forecasts a rollout before it starts.

use canary_model::config::Config;
use canary_rollout::plan::{TrafficEstimate, plan};
use canary_rollout::spec::Spec;

use super::{Context, traffic};
use crate::cli::PlanArgs;
use crate::error::{Error, Failure};
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
    let file = path.display().to_string();
    let fault = |what: String| Error::Usage { what: format!("{file}: {what}") };
    let config = Config::parse_text(&rollout_file::text(path)?).map_err(|errors| {
        let first = errors.first().map(|(line, error)| format!("line {line}: {error}"));
        fault(first.unwrap_or_default())
    })?;
    let found = config.rollouts.iter().find(|rollout| rollout.name == spec.rollout);
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = config.rollouts.iter().map(|one| one.name.as_str()).collect();
        fault(format!("has no rollout \"{}\", only {}", spec.rollout, names.join(", ")))
    })?;
    Ok(Some(PlannedAge::Configured(found.outcome_age)))
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
