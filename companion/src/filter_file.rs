//! Reading the filter's configuration from a file that the command line names, each fault with its
//! line.

use std::path::Path;

use canary_model::config::{Config, Rollout};

use crate::error::{Error, Failure};
use crate::rollout_file;

/// One rollout of the configuration in a file.
///
/// # Errors
/// If the file can't be read, every fault in it with its line, and a configuration without this
/// rollout.
pub(crate) fn rollout(path: &Path, name: &str) -> Result<Rollout, Failure> {
    let file = path.display();
    let usage = |what: String| Error::Usage { what };
    let config = Config::parse_text(&rollout_file::text(path)?).map_err(|errors| {
        let each = errors.iter().map(|(line, error)| usage(format!("{file}:{line}: {error}")));
        Failure::refused(each.collect())
    })?;
    let known: Vec<String> = config.rollouts.iter().map(|one| one.name.clone()).collect();
    let found = config.rollouts.into_iter().find(|rollout| rollout.name == name);
    let missing = || format!("{file}: has no rollout \"{name}\", only {}", known.join(", "));
    Ok(found.ok_or_else(|| usage(missing()))?)
}
