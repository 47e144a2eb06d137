//! `lint`: checks rollout files and plugin configurations.

use canary_rollout::schema::schema;

use crate::cli::LintArgs;
use crate::error::{Error, Failure};
use crate::lint::{self, CheckedFile};
use crate::render::{self, Output};
use crate::rollout_file;

/// `lint -f FILE…`: rollout files and plugin configurations, which have `rollouts`; `--schema`: the
/// schema that editors check rollout files with. Warnings alone leave the exit code at 0.
pub(crate) fn lint(output: &Output, args: &LintArgs) -> Result<(), Failure> {
    if args.schema {
        return Ok(output.write(&format!("{:#}\n", schema()))?);
    }
    let files =
        args.files.iter().map(|path| Ok((path.display().to_string(), rollout_file::text(path)?)));
    let checked = lint::check_all(&files.collect::<Result<Vec<_>, Error>>()?);
    output.print(|| render::lint_json(&checked), |_| render::lint_text(&checked))?;
    match checked.iter().map(CheckedFile::errors).sum() {
        0 => Ok(()),
        1 => Err(Error::Usage { what: "1 error".to_owned() }.into()),
        errors => Err(Error::Usage { what: format!("{errors} errors") }.into()),
    }
}
