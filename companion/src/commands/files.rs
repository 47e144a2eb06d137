//! The verbs that only read files: `lint`, `plan` and `replay`.

use std::borrow::Cow;
use std::path::Path;

use canary_judge::observation::read_lines;
use canary_model::config::Config;
use canary_model::document::ConfigError;
use canary_rollout::plan::{RolloutPlan, TrafficEstimate, plan};
use canary_rollout::replay::{Replayed, replay};
use canary_rollout::schema::schema;
use canary_rollout::spec::Spec;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, traffic};
use crate::cli::{Lint, PlanFile, ReplayFile};
use crate::error::{Error, Failure};
use crate::output::Output;
use crate::yaml::Document;

/// The share of requests that fail where nobody says another.
const BASELINE: f64 = 0.001;

/// One thing that is wrong with a file.
#[derive(Serialize)]
struct Finding {
    /// From 1.
    line: u64,
    path: String,
    message: String,
}

/// What `lint` has to say.
struct Findings {
    /// What keeps the file from being used.
    wrong: Vec<Finding>,
    /// What can be used, but can't have been meant.
    doubtful: Vec<Finding>,
}

/// `lint -f FILE`: a rollout file, or the filter's configuration, which has `rollouts`; `--schema`: what
/// editors know of rollout files.
pub(crate) fn lint(output: &Output, args: &Lint) -> Result<(), Failure> {
    let Some(path) = &args.file else {
        return Ok(output.write(&format!("{:#}\n", schema()))?);
    };
    let (file, source) = (path.display(), text(path)?);
    let Findings { wrong, doubtful } = findings(&source);
    let report = |_| {
        let line = |finding: &Finding, what: &str| {
            let Finding { line, path, message } = finding;
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            format!("{file}:{line}: {what}{path}{message}\n")
        };
        let warnings: String = doubtful.iter().map(|one| line(one, "warning: ")).collect();
        let faults: String = wrong.iter().map(|one| line(one, "")).collect();
        if wrong.is_empty() { format!("{warnings}{file}: ok\n") } else { faults }
    };
    let machine = || {
        let ok = wrong.is_empty();
        json!({"file": file.to_string(), "ok": ok, "findings": wrong, "warnings": doubtful})
    };
    output.print(machine, report)?;
    match wrong.len() {
        0 => Ok(()),
        1 => Err(Error::Usage { what: format!("{file}: 1 finding") }.into()),
        many => Err(Error::Usage { what: format!("{file}: {many} findings") }.into()),
    }
}

/// `plan -f FILE --rps N`: with given traffic.
pub(crate) fn forecast(output: &Output, args: &PlanFile, rps: f64) -> Result<(), Failure> {
    let baseline = args.baseline.unwrap_or(BASELINE);
    tell(output, &rollout(&args.file)?, TrafficEstimate { rps, baseline })
}

/// `plan -f FILE`: with the traffic that the Envoys have now.
pub(crate) async fn forecast_measured(context: &Context, args: &PlanFile) -> Result<(), Failure> {
    let spec = rollout(&args.file)?;
    let traffic = traffic::measure(context, &spec, args).await?;
    tell(&context.output, &spec, traffic)
}

fn tell(output: &Output, spec: &Spec, traffic: TrafficEstimate) -> Result<(), Failure> {
    let (plan, _) = plan(spec, traffic);
    Ok(output.print(|| &plan, |_| plan_text(&plan))?)
}

/// `replay RECORDING -f FILE`. Any outcome is a result, so the exit code is 0.
pub(crate) fn replay_file(output: &Output, args: &ReplayFile) -> Result<(), Failure> {
    let spec = rollout(&args.file)?;
    let recording = text(&args.recording)?;
    let lines = observations(&recording);
    let wrong = |error| Error::Usage { what: format!("{}: {error}", args.recording.display()) };
    let replayed = replay(&spec, read_lines(&lines)).map_err(wrong)?;
    Ok(output.print(|| &replayed, |_| replayed_text(&replayed))?)
}

/// A file's text.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Usage { what: format!("{}: {error}", path.display()) })
}

fn findings(source: &str) -> Findings {
    let document = match Document::read(source) {
        Ok(document) => document,
        Err(error) => {
            let line = error.line.unwrap_or(1);
            let wrong = vec![Finding { line, path: String::new(), message: error.message }];
            return Findings { wrong, doubtful: Vec::new() };
        }
    };
    let (problems, warnings) = if document.value.get("rollouts").is_some() {
        (Config::parse(document.value.to_string().as_bytes()).err(), Vec::new())
    } else {
        let spec = Spec::read(&document.value);
        let warnings = spec.as_ref().map(Spec::warnings).unwrap_or_default();
        (spec.err(), warnings)
    };
    let finding =
        |ConfigError { path, message }| Finding { line: document.line(&path), path, message };
    let all = |problems: Vec<ConfigError>| problems.into_iter().map(finding).collect();
    Findings { wrong: all(problems.unwrap_or_default()), doubtful: all(warnings) }
}

/// The rollout in a file.
fn rollout(path: &Path) -> Result<Spec, Failure> {
    spec(&text(path)?, &path.display().to_string())
}

/// The rollout in a text that `name` says the origin of; each fault with its line.
pub(super) fn spec(source: &str, name: &str) -> Result<Spec, Failure> {
    let usage = |what: String| Error::Usage { what };
    let document = Document::read(source).map_err(|error| usage(format!("{name}: {error}")))?;
    Spec::read(&document.value).map_err(|problems| {
        let place = |problem: &ConfigError| {
            usage(format!("{name}:{}: {problem}", document.line(&problem.path)))
        };
        Failure::refused(problems.iter().map(place).collect())
    })
}

/// A recording's lines as they are; of a journal those that are observations.
fn observations(recording: &str) -> Cow<'_, str> {
    if !recording.contains("\"record\"") {
        return recording.into();
    }
    let other = |line: &str| {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let record = value.as_ref().and_then(|value| value.get("record")).and_then(Value::as_str);
        record.is_some_and(|record| record != "observation")
    };
    let kept = |line: &&str| !line.contains("\"record\"") || !other(line);
    // An empty line in the place of a record leaves the numbers of the lines as they are.
    let lines = recording.lines().map(|line| if kept(&line) { line } else { "" });
    lines.collect::<Vec<_>>().join("\n").into()
}

fn replayed_text(replayed: &Replayed) -> String {
    let Replayed { outcome, at, reason, canary_requests, canary_failures } = replayed;
    let outcome = serde_json::to_value(outcome).ok();
    let outcome = outcome.as_ref().and_then(Value::as_str).unwrap_or_default();
    let at = at.map_or_else(String::new, |at| format!(" at {at} s"));
    format!(
        "{outcome}{at}: {reason}\n{canary_requests} canary requests, {canary_failures} of them failed\n"
    )
}

fn plan_text(plan: &RolloutPlan) -> String {
    let known = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let share = |share: Option<f64>| {
        share.map_or_else(|| "?".to_owned(), |share| format!("{:.3} %", 100.0 * share))
    };
    let mut text =
        String::from("  weight   seconds   canary requests   smallest regression found\n");
    for step in &plan.steps {
        let weight = format!("{} %", step.weight);
        let (seconds, requests) = (known(step.seconds), known(step.canary_requests));
        let found = share(step.smallest_regression);
        text += &format!("{weight:>8}{seconds:>10}{requests:>18}{found:>28}\n");
    }
    text += &format!("\ntime           {} s\n", known(plan.seconds));
    for (failing, harm) in plan.harm.iter().rev() {
        let percent = failing.parse::<f64>().map_or(0.0, |share| 100.0 * share);
        let harm = harm
            .map_or_else(|| "not found".to_owned(), |harm| format!("{harm:.0} failed requests"));
        text += &format!("if {percent:>3} % fail   {harm}\n");
    }
    text + &format!("false abort    at most {}\n", share(plan.false_abort))
}
