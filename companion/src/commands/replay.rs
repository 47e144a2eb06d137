//! `replay`: what a rollout file would have decided on recorded counters.

use std::borrow::Cow;

use canary_judge::observation::read_lines;
use canary_rollout::replay::replay;
use serde_json::Value;

use crate::cli::ReplayArgs;
use crate::error::{Error, Failure};
use crate::render::{self, Output};
use crate::rollout_file;

/// `replay RECORDING -f FILE`. Any outcome is a result, so the exit code is 0.
pub(crate) fn replay_file(output: &Output, args: &ReplayArgs) -> Result<(), Failure> {
    let spec = rollout_file::read(&args.file)?;
    let recording = rollout_file::text(&args.recording)?;
    let lines = observations(&recording);
    let wrong = |error| Error::Usage { what: format!("{}: {error}", args.recording.display()) };
    let replayed = replay(&spec, read_lines(&lines)).map_err(wrong)?;
    Ok(output.print(|| render::replayed_json(&replayed), |_| render::replayed_text(&replayed))?)
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
