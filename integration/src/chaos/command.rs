//! The command line of `scripts/chaos`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::runtime::Runtime;

use super::ChaosPlan;
use crate::bench;

/// What comes on top of the faults' time, at most: the start, the last requests, the checks.
const AROUND: Duration = Duration::from_secs(180);

/// What can be asked.
#[derive(Debug, PartialEq)]
struct ChaosOptions {
    seed: Option<u64>,
    minutes: f64,
    json: Option<PathBuf>,
}

/// Runs it as the arguments say, prints the tables, writes the JSON. The exit code is 1 if a check failed,
/// 2 if the arguments are wrong.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("chaos: {problem}");
            eprintln!("usage: ./scripts/chaos [--seed N] [--minutes M] [--json FILE]");
            return ExitCode::from(2);
        }
    };
    let drawn = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or(drawn.as_secs());
    let plan = ChaosPlan::draw(seed, Duration::from_secs_f64(options.minutes * 60.0));
    eprintln!("chaos: seed {seed}, {} s of faults under load", plan.length.as_secs());
    let limit = plan.length + AROUND;
    let run = async { tokio::time::timeout(limit, super::run(&plan)).await };
    let Ok(report) = Runtime::new().expect("a runtime").block_on(run) else {
        eprintln!("chaos: seed {seed}: not over after {} s", limit.as_secs());
        return ExitCode::from(1);
    };
    let (json, file) = (report.to_json(), options.json.as_deref());
    bench::conclude("chaos", &report, &json, file, report.all_hold())
}

fn options(arguments: &[String]) -> Result<ChaosOptions, String> {
    let mut options = ChaosOptions { seed: None, minutes: 10.0, json: None };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seed" => {
                let text = value()?;
                let seed =
                    text.parse().map_err(|_| format!("--seed {text}: not a whole number"))?;
                options.seed = Some(seed);
            }
            "--minutes" => {
                let text = value()?;
                let minutes = text.parse().ok().filter(|minutes| (0.1..=600.0).contains(minutes));
                options.minutes =
                    minutes.ok_or(format!("--minutes {text}: expected 0.1 to 600"))?;
            }
            "--json" => options.json = Some(bench::writable(value()?)?),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ChaosOptions, String> {
        options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_can_be_asked_and_what_cannot() {
        let json = Some(PathBuf::from("a.json"));
        let all = ChaosOptions { seed: Some(7), minutes: 0.5, json };
        assert_eq!(parse("--seed 7 --minutes 0.5 --json a.json"), Ok(all));
        assert_eq!(parse(""), Ok(ChaosOptions { seed: None, minutes: 10.0, json: None }));
        for (arguments, problem) in [
            ("--seed x", "--seed x: not a whole number"),
            ("--seed", "--seed needs a value"),
            ("--minutes 0", "--minutes 0: expected 0.1 to 600"),
            ("--minutes NaN", "--minutes NaN: expected 0.1 to 600"),
            ("--json no/such/file", "--json no/such/file: not a file in an existing directory"),
            ("fast", "unknown argument fast"),
        ] {
            assert_eq!(parse(arguments).err().as_deref(), Some(problem), "{arguments}");
        }
    }
}
