//! The benchmarks behind `scripts/bench`. Each one measures in a single run everything that it
//! compares, and holds the outcome against targets.

mod blast;
mod fleet;
mod judge;
mod overhead;
mod process;
mod report;
mod running_controller;
mod soak;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

pub use report::{BenchReport, BenchTarget, Row, Sheet};

/// A benchmark by its name.
type Bench = (&'static str, fn(&BenchRun) -> BenchReport);

const BENCHES: &[Bench] = &[
    ("overhead", overhead::run),
    ("blast", |run| blast::run(run.quick)),
    ("judge", |run| judge::run(run.quick)),
    ("fleet", |run| fleet::run(run.quick)),
    ("soak", soak::run),
];

/// How a benchmark runs.
#[derive(Debug, Default)]
struct BenchRun {
    /// Quickly, for a first look.
    quick: bool,
    /// Another build of the filter, measured beside the present one.
    against: Option<PathBuf>,
    /// The only parts to run; all if there are none.
    only: Vec<String>,
    /// How many minutes it runs, if not as long as it does by itself.
    minutes: Option<u32>,
}

impl BenchRun {
    /// Whether a part is to be run.
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

struct BenchOptions {
    bench: fn(&BenchRun) -> BenchReport,
    run: BenchRun,
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
            eprintln!(
                "       overhead also takes [--against FILE.wasm] [--only PART,…], soak [--minutes M]"
            );
            return ExitCode::from(2);
        }
    };
    let report = (options.bench)(&options.run);
    conclude("bench", &report, &report.to_json(), options.json.as_deref(), report.all_met())
}

/// Prints a run's tables and writes its JSON. The exit code is 1 where the run didn't pass, 2 where the file can't be
/// written.
pub(crate) fn conclude(
    program: &str,
    tables: &impl Display,
    json: &Value,
    file: Option<&Path>,
    passed: bool,
) -> ExitCode {
    println!("\n{tables}");
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, format!("{json:#}\n"))
    {
        eprintln!("{program}: {}: {error}", file.display());
        return ExitCode::from(2);
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn options(arguments: &[String]) -> Result<BenchOptions, String> {
    let (mut bench, mut run, mut json) = (None, BenchRun::default(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => run.quick = true,
            "--json" => json = Some(writable(arguments.next().ok_or("--json needs a file")?)?),
            "--against" => {
                let file = arguments.next().ok_or("--against needs a module, FILE.wasm")?;
                run.against = Some(module(file)?);
            }
            "--only" => {
                let parts = arguments.next().ok_or("--only needs the names of parts")?;
                run.only.extend(parts.split(',').map(str::to_owned));
            }
            "--minutes" => run.minutes = Some(minutes(arguments.next())?),
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            name if bench.is_some() => {
                return Err(format!("one benchmark at a time, not {name} too"));
            }
            name => {
                let known = BENCHES.iter().find(|(known, _)| *known == name);
                bench = Some(*known.ok_or_else(|| format!("there is no benchmark {name}"))?);
            }
        }
    }
    let (name, bench) = bench.ok_or("which benchmark?")?;
    if name != "overhead" && (run.against.is_some() || !run.only.is_empty()) {
        return Err(format!("{name} has no --against and no --only"));
    }
    if name != "soak" && run.minutes.is_some() {
        return Err(format!("{name} has no --minutes"));
    }
    if let Some(part) = run.only.iter().find(|part| !overhead::PARTS.contains(&part.as_str())) {
        let parts = overhead::PARTS.join(", ");
        return Err(format!("--only {part}: there is no such part; the parts are {parts}"));
    }
    Ok(BenchOptions { bench, run, json })
}

/// At most a day, and enough for a table.
fn minutes(text: Option<&String>) -> Result<u32, String> {
    let read =
        text.and_then(|text| text.parse().ok()).filter(|minutes| (2..=1_440).contains(minutes));
    read.ok_or_else(|| "--minutes needs a whole number from 2 to 1440".to_owned())
}

/// A module that exists: found out before the run, not after half of it.
fn module(file: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(file);
    let begins = std::fs::read(&path).map_err(|error| format!("--against {file}: {error}"))?;
    if !begins.starts_with(b"\0asm") {
        return Err(format!("--against {file}: not a Wasm module"));
    }
    // Envoy has another working directory.
    path.canonicalize().map_err(|error| format!("--against {file}: {error}"))
}

/// A file in a directory that exists: found out before the run, not after it.
pub(crate) fn writable(file: &str) -> Result<PathBuf, String> {
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
        assert!(options.run.quick && options.run.wants("plain"));
        assert_eq!(options.json, Some(PathBuf::from("figures.json")));
        assert!(!parse("blast").unwrap().run.quick);
        let options = parse("overhead --only plain,effect").unwrap();
        assert!(options.run.wants("effect") && !options.run.wants("big"));
        assert!(parse("judge").is_ok());
        assert_eq!(parse("soak --minutes 30").unwrap().run.minutes, Some(30));
    }

    #[test]
    fn what_cannot() {
        for (arguments, problem) in [
            ("", "which benchmark?"),
            ("speed", "there is no benchmark speed"),
            ("blast overhead", "one benchmark at a time, not overhead too"),
            ("blast --fast", "unknown option --fast"),
            ("blast --json", "--json needs a file"),
            ("overhead --against", "--against needs a module, FILE.wasm"),
            ("overhead --against Cargo.toml", "--against Cargo.toml: not a Wasm module"),
            ("soak --minutes 0", "--minutes needs a whole number from 2 to 1440"),
            ("soak --minutes", "--minutes needs a whole number from 2 to 1440"),
            ("fleet --minutes 5", "fleet has no --minutes"),
            ("judge --only plain", "judge has no --against and no --only"),
            (
                "overhead --only tea",
                "--only tea: there is no such part; the parts are plain, weights, realistic, stream, \
                 big, growth, http2, grpc, counting, footprint, effect, \
                 starts, controller",
            ),
            (
                "blast --json no/such/file",
                "--json no/such/file: not a file in an existing directory",
            ),
        ] {
            assert_eq!(parse(arguments).err().as_deref(), Some(problem), "{arguments}");
        }
    }
}
