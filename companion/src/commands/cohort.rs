//! `cohort`: which version clients with given affinity keys get.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};

use crate::cli::CohortArgs;
use crate::cohort::{Assigner, CohortError, CohortFormat};
use crate::error::{Error, Failure};
use crate::filter_file;
use crate::render::{Format, Output, messages};

/// Bytes that are read or written at once.
const BUFFER: usize = 1 << 16;

/// `cohort NAME --filter FILE --weight PERCENT`: answers each key of the file or of standard input.
pub(crate) fn cohort(output: &Output, args: &CohortArgs) -> Result<(), Failure> {
    let usage = |what: String| Error::Usage { what };
    let configured = filter_file::rollout(&args.filter, &args.name)?;
    if !configured.sticky() {
        return Err(usage(messages::no_affinity(&args.filter, &args.name)).into());
    }
    let stable = args.stable_version.as_deref().unwrap_or(&configured.stable.version);
    let canary = args.canary_version.as_deref().unwrap_or(&configured.canary.version);
    let rollout = configured.labeled(stable, canary);
    let (name, keys): (String, Box<dyn Read>) = match &args.keys {
        Some(path) => {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| usage(format!("{name}: {error}")))?;
            (name, Box::new(file))
        }
        None => ("standard input".to_owned(), Box::new(io::stdin().lock())),
    };
    let format = match output.format() {
        Format::Text => CohortFormat::Lines,
        Format::Json => CohortFormat::Json,
    };
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let keys = BufReader::with_capacity(BUFFER, keys);
    let answered = Assigner::new(&rollout, args.weight).answer(keys, &mut out, format);
    Ok(answered.map_err(|error| match error {
        CohortError::Write(error) => Error::Output(error),
        CohortError::Read(error) => usage(format!("{name}: {error}")),
        CohortError::EmptyLine(line) => usage(messages::empty_key(&name, line)),
        CohortError::NotText(line) => usage(messages::key_is_not_text(&name, line)),
    })?)
}
