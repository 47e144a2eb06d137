//! The benchmarks behind `scripts/bench`. Each one measures in a single run everything that it
//! compares, and holds the outcome against targets.

mod blast;
mod judge;
mod overhead;
mod process;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use report::{BenchReport, BenchTarget, Row, Sheet};

/// A benchmark by its name. The flag says: quickly, for a first look.
type Bench = (&'static str, fn(bool) -> BenchReport);

const BENCHES: &[Bench] =
    &[("overhead", overhead::run), ("blast", blast::run), ("judge", judge::run)];

struct BenchOptions {
    run: fn(bool) -> BenchReport,
    quick: bool,
    json: Option<PathBuf>,
}

/// Runs the benchmark that the arguments name, prints its table, writes its JSON. The exit code is
/// 1 where a target was missed, 2 where the arguments are wrong.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(problem) => {
            let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
            eprintln!("bench: {problem}");
            eprintln!("usage: ./scripts/bench {} [--quick] [--json FILE]", names.join("|"));
            return ExitCode::from(2);
        }
    };
    let report = (options.run)(options.quick);
    println!("\n{report}");
    if let Some(file) = &options.json
        && let Err(error) = std::fs::write(file, format!("{:#}\n", report.to_json()))
    {
        eprintln!("bench: {}: {error}", file.display());
        return ExitCode::from(2);
    }
    if report.all_met() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn options(arguments: &[String]) -> Result<BenchOptions, String> {
    let (mut run, mut quick, mut json) = (None, false, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--json" => json = Some(writable(arguments.next().ok_or("--json needs a file")?)?),
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            name if run.is_some() => {
                return Err(format!("one benchmark at a time, not {name} too"));
            }
            name => {
                let bench = BENCHES.iter().find(|(known, _)| *known == name);
                run = Some(bench.ok_or_else(|| format!("there is no benchmark {name}"))?.1);
            }
        }
    }
    Ok(BenchOptions { run: run.ok_or("which benchmark?")?, quick, json })
}

/// A file in a directory that exists: found out before the run, not after it.
fn writable(file: &str) -> Result<PathBuf, String> {
    let file = PathBuf::from(file);
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    if !directory.is_dir() || file.is_dir() {
        return Err(format!("--json {}: not a file in an existing directory", file.display()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BenchOptions, String> {
        options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_can_be_asked() {
        let options = parse("overhead --quick --json figures.json").unwrap();
        assert!(options.quick);
        assert_eq!(options.json, Some(PathBuf::from("figures.json")));
        assert!(!parse("blast").unwrap().quick);
        assert!(parse("judge").is_ok());
    }

    #[test]
    fn what_cannot() {
        for (arguments, problem) in [
            ("", "which benchmark?"),
            ("speed", "there is no benchmark speed"),
            ("blast overhead", "one benchmark at a time, not overhead too"),
            ("blast --fast", "unknown option --fast"),
            ("blast --json", "--json needs a file"),
            (
                "blast --json no/such/file",
                "--json no/such/file: not a file in an existing directory",
            ),
        ] {
            assert_eq!(parse(arguments).err().as_deref(), Some(problem), "{arguments}");
        }
    }
}
