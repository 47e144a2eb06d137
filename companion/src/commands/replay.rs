//! `replay`: what a rollout file would have decided on recorded counters.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

use canary_judge::observation::read_lines;
use canary_rollout::replay::replay;
use serde::Deserialize;

use crate::cli::ReplayArgs;
use crate::error::{Error, Failure};
use crate::journal::leading_name;
use crate::render::{self, Output};
use crate::rollout_file;

/// `replay RECORDING -f FILE`. Any outcome is a result, so the exit code is 0. The recording is read line
/// by line: a journal of a month takes no more memory than one of a minute.
pub(crate) fn replay_file(output: &Output, args: &ReplayArgs) -> Result<(), Failure> {
    let spec = rollout_file::read(&args.file)?;
    let path = args.recording.display();
    let unreadable = |error: io::Error| Error::Usage { what: format!("{path}: {error}") };
    let file = File::open(&args.recording).map_err(unreadable)?;
    let mut failed = None;
    let lines = BufReader::new(file).lines().map_while(|line| match line {
        Ok(line) => Some(observation(line)),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let replayed = replay(&spec, read_lines(lines));
    if let Some(error) = failed {
        return Err(unreadable(error).into());
    }
    let replayed = replayed.map_err(|error| Error::Usage { what: format!("{path}: {error}") })?;
    Ok(output.print(|| render::replayed_json(&replayed), |_| render::replayed_text(&replayed))?)
}

/// A recording's line as it is. Of a journal, only observations are kept: an empty line in the place of
/// any other record leaves the numbers of the lines as they are.
fn observation(line: String) -> String {
    #[derive(Deserialize)]
    struct NamedRecord<'a> {
        #[serde(borrow)]
        record: Cow<'a, str>,
    }
    match leading_name(&line) {
        // It is read as one anyway.
        Some("observation") => return line,
        None if !line.contains("\"record\"") => return line,
        _ => {}
    }
    match serde_json::from_str::<NamedRecord<'_>>(&line) {
        Ok(NamedRecord { record }) if record != "observation" => String::new(),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_journal_only_observations_are_kept() {
        let kept = |line: &str| observation(line.to_owned()) == line;
        assert!(kept(r#"{"t": 1, "weight": 5}"#));
        assert!(kept(r#"{"record":"observation","t":1,"weight":5}"#));
        assert!(!kept(r#"{"record":"step","at":"2026-11-27T06:00:00Z"}"#));
        assert!(!kept(r#"{"record":"state","state":{"record":1}}"#));
        // What is broken is told with its line.
        assert!(kept(r#"{"record":"step","at":"#));
        assert!(kept("broken"));
    }
}
