//! The verbs that only read files: `lint`, `plan` and `replay`.

use std::path::Path;

use canary_core::config::Config;
use canary_core::document::Problem;
use canary_core::judge::observation::read_lines;
use canary_core::rollout::plan::{Plan, Traffic, plan};
use canary_core::rollout::replay::{Replayed, replay};
use canary_core::rollout::spec::Spec;
use serde::Serialize;
use serde_json::{Value, json};

use super::Context;
use crate::cli::{Lint, PlanFile, ReplayFile};
use crate::error::{Error, Failure};
use crate::yaml::Document;

/// One thing that is wrong with a file.
#[derive(Serialize)]
struct Finding {
    /// From 1.
    line: u64,
    path: String,
    message: String,
}

/// `lint -f FILE`: a rollout file, or the filter's configuration, which has `rollouts`.
pub(super) fn lint(context: &Context, args: &Lint) -> Result<(), Failure> {
    let file = args.file.display();
    let source = text(&args.file)?;
    let findings = findings(&source);
    let report = |_| {
        let line = |finding: &Finding| {
            let Finding { line, path, message } = finding;
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            format!("{file}:{line}: {path}{message}\n")
        };
        if findings.is_empty() {
            format!("{file}: ok\n")
        } else {
            findings.iter().map(line).collect()
        }
    };
    let machine =
        || json!({"file": file.to_string(), "ok": findings.is_empty(), "findings": findings});
    context.output.print(machine, report)?;
    match findings.len() {
        0 => Ok(()),
        1 => Err(Error::Usage { what: format!("{file}: 1 finding") }.into()),
        many => Err(Error::Usage { what: format!("{file}: {many} findings") }.into()),
    }
}

/// `plan -f FILE --rps N`.
pub(super) fn forecast(context: &Context, args: &PlanFile) -> Result<(), Failure> {
    let spec = rollout(&args.file)?;
    let (plan, _) = plan(&spec, Traffic { rps: args.rps, baseline: args.baseline });
    Ok(context.output.print(|| &plan, |_| plan_text(&plan))?)
}

/// `replay RECORDING -f FILE`. Any outcome is a result, so the exit code is 0.
pub(super) fn replay_file(context: &Context, args: &ReplayFile) -> Result<(), Failure> {
    let spec = rollout(&args.file)?;
    let recording = text(&args.recording)?;
    let lines = observations(&recording);
    let wrong = |error| Error::Usage { what: format!("{}: {error}", args.recording.display()) };
    let replayed = replay(&spec, read_lines(&lines)).map_err(wrong)?;
    Ok(context.output.print(|| &replayed, |_| replayed_text(&replayed))?)
}

fn text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Usage { what: format!("{}: {error}", path.display()) })
}

fn findings(source: &str) -> Vec<Finding> {
    let document = match Document::read(source) {
        Ok(document) => document,
        Err(error) => {
            let line = error.line.unwrap_or(1);
            return vec![Finding { line, path: String::new(), message: error.message }];
        }
    };
    let problems = if document.value.get("rollouts").is_some() {
        Config::parse(document.value.to_string().as_bytes()).err()
    } else {
        Spec::read(&document.value).err()
    };
    let finding = |Problem { path, message }| Finding { line: document.line(&path), path, message };
    problems.unwrap_or_default().into_iter().map(finding).collect()
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
        let place = |problem: &Problem| {
            usage(format!("{name}:{}: {problem}", document.line(&problem.path)))
        };
        Failure::refused(problems.iter().map(place).collect())
    })
}

/// A recording's lines as they are; of a journal those that are observations.
fn observations(recording: &str) -> String {
    let other = |line: &str| {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let record = value.as_ref().and_then(|value| value.get("record")).and_then(Value::as_str);
        record.is_some_and(|record| record != "observation")
    };
    let kept = |line: &&str| !line.contains("\"record\"") || !other(line);
    // An empty line in the place of a record leaves the numbers of the lines as they are.
    let lines = recording.lines().map(|line| if kept(&line) { line } else { "" });
    lines.collect::<Vec<_>>().join("\n")
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

fn plan_text(plan: &Plan) -> String {
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
