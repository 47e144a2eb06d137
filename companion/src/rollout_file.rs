//! Reading files that the command line or a journal names: text, rollout files, each fault with its
//! line.

mod redaction;

use std::path::{Path, PathBuf};

use canary_model::document::ConfigError;
use canary_rollout::spec::Spec;

use crate::envoy::EnvoyUrl;
use crate::error::{Error, Failure};
use crate::yaml::Document;

pub(crate) use redaction::without_secrets;

/// A file's text.
///
/// # Errors
/// If it can't be read or isn't UTF-8.
pub(crate) fn text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::Usage { what: format!("{}: {error}", path.display()) })
}

/// The folder of a rollout file, in which its deploy command runs.
///
/// # Errors
/// If it can't be found.
pub(crate) fn folder(path: &Path) -> Result<PathBuf, Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::canonicalize(folder.unwrap_or(Path::new("."))).map_err(Error::System)
}

/// The rollout in a file.
///
/// # Errors
/// If the file can't be read, and every fault in it with its line.
pub(crate) fn read(path: &Path) -> Result<Spec, Failure> {
    parse(&text(path)?, &path.display().to_string())
}

/// The rollout in a text; messages call its source `name`.
///
/// # Errors
/// Every fault with its line.
pub(crate) fn parse(source: &str, name: &str) -> Result<Spec, Failure> {
    let usage = |what: String| Error::Usage { what };
    let document = Document::read(source).map_err(|error| usage(format!("{name}: {error}")))?;
    check(&document).map_err(|problems| {
        let place = |problem: &ConfigError| {
            usage(format!("{name}:{}: {problem}", document.line(&problem.path)))
        };
        Failure::refused(problems.iter().map(place).collect())
    })
}

/// The rollout in a document. `lint` and the commands that use the file read it here, so that they
/// accept the same files.
///
/// # Errors
/// Every fault with its path.
pub(crate) fn check(document: &Document) -> Result<Spec, Vec<ConfigError>> {
    let spec = Spec::read(&document.value)?;
    let address = |(index, text): (usize, &String)| {
        let message = text.parse::<EnvoyUrl>().err()?;
        Some(ConfigError { path: format!("envoys[{index}]"), message })
    };
    let faults: Vec<ConfigError> = spec.envoys.iter().enumerate().filter_map(address).collect();
    if faults.is_empty() { Ok(spec) } else { Err(faults) }
}

/// The rollout file that a journal recorded; `None` if this canaryctl can't read it.
pub(crate) fn recorded(source: &str) -> Option<Spec> {
    parse(source, "the recorded file").ok()
}
