//! Which version each of many affinity keys is assigned to: keys are read and answered one by one, so
//! that memory doesn't grow with their number.
//!
//! The assignment itself is the filter's own (`canary_dataplane::cohort`), so it agrees with every proxy.

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};

use canary_dataplane::cohort::KeyHash;
use canary_model::config::Rollout;
use canary_model::role::Role;
use canary_model::weight::Weight;
use serde::Serialize;

/// A rollout at one weight, which says for each key where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assigner<'r> {
    rollout: &'r Rollout,
    weight: Weight,
}

/// How the answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CohortFormat {
    /// `key<TAB>version`, one per line, the key's bytes unchanged.
    Lines,
    /// A JSON array of `{"key", "version"}`.
    Json,
}

/// Why not all keys were answered.
#[derive(Debug)]
pub(crate) enum CohortError {
    /// The keys couldn't be read.
    Read(io::Error),
    /// The answers couldn't be written.
    Write(io::Error),
    /// This line has no key. Lines are counted from 1.
    EmptyLine(u64),
    /// This line's key isn't UTF-8, so it can't be a JSON string. Lines are counted from 1.
    NotText(u64),
}

/// An element of the JSON result.
#[derive(Serialize)]
struct AssignedKey<'k> {
    key: &'k str,
    version: &'k str,
}

impl<'r> Assigner<'r> {
    /// The rollout with the versions that its roles run, at the weight in question.
    pub(crate) fn new(rollout: &'r Rollout, weight: Weight) -> Self {
        Self { rollout, weight }
    }

    /// The version that a client with this key gets.
    pub(crate) fn version(&self, key: &[u8]) -> &'r str {
        let bucket = KeyHash::new(&self.rollout.salt, key).bucket();
        let role = if bucket.on_canary(self.weight) { Role::Canary } else { Role::Stable };
        &self.rollout.backend(role).version
    }

    /// Answers each line's key. A line ends with LF or CR LF; the last one may have no end.
    ///
    /// # Errors
    /// At the first line that has no key, and if reading or writing fails. What was answered before is
    /// written.
    pub(crate) fn answer(
        &self,
        mut keys: impl BufRead,
        out: &mut impl Write,
        format: CohortFormat,
    ) -> Result<(), CohortError> {
        let written = self.answer_lines(&mut keys, out, format);
        out.flush().map_err(CohortError::Write).and(written)
    }

    fn answer_lines(
        &self,
        keys: &mut impl BufRead,
        out: &mut impl Write,
        format: CohortFormat,
    ) -> Result<(), CohortError> {
        let json = format == CohortFormat::Json;
        let (mut line, mut number) = (Vec::new(), 0_u64);
        if json {
            out.write_all(b"[").map_err(CohortError::Write)?;
        }
        while keys.read_until(b'\n', &mut line).map_err(CohortError::Read)? > 0 {
            number += 1;
            let key = without_end(&line);
            if key.is_empty() {
                return Err(CohortError::EmptyLine(number));
            }
            let version = self.version(key);
            if json {
                let key = std::str::from_utf8(key).map_err(|_| CohortError::NotText(number))?;
                write_element(out, &AssignedKey { key, version }, number == 1)
            } else {
                write_line(out, key, version)
            }
            .map_err(CohortError::Write)?;
            line.clear();
        }
        if json { out.write_all(b"]\n").map_err(CohortError::Write) } else { Ok(()) }
    }
}

/// A line without LF or CR LF at its end.
fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

fn write_line(out: &mut impl Write, key: &[u8], version: &str) -> io::Result<()> {
    out.write_all(key)?;
    out.write_all(b"\t")?;
    out.write_all(version.as_bytes())?;
    out.write_all(b"\n")
}

fn write_element(out: &mut impl Write, element: &AssignedKey<'_>, first: bool) -> io::Result<()> {
    if !first {
        out.write_all(b",")?;
    }
    Ok(serde_json::to_writer(out, element)?)
}
