//! Reading a journal line by line, without holding it in memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{JournalError, MAX_RECORD};

/// A line of a journal, with or without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalLine {
    /// Its number, from 1, counted from where reading began.
    pub number: usize,
    /// Where it begins in the file, in bytes.
    pub begin: u64,
    /// The text without its end.
    pub text: String,
    /// Whether its end is there: a line without is the last one, and torn.
    pub whole: bool,
}

/// The lines of a journal.
#[derive(Debug)]
pub struct JournalLines {
    path: PathBuf,
    reader: BufReader<File>,
    at: u64,
    number: usize,
}

impl JournalLines {
    /// The lines from a position on that begins one.
    ///
    /// # Errors
    /// [`JournalError`] where the file can't be opened.
    pub fn starting_at(path: &Path, begin: u64) -> Result<Self, JournalError> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(begin))?;
            Ok(file)
        };
        let failed = |cause| JournalError::Io { path: path.to_owned(), what: "open", cause };
        let reader = BufReader::with_capacity(1 << 16, open().map_err(failed)?);
        Ok(Self { path: path.to_owned(), reader, at: begin, number: 0 })
    }

    fn next_line(&mut self) -> io::Result<Option<JournalLine>> {
        let mut bytes = Vec::new();
        let limit = MAX_RECORD as u64 + 1;
        let read = io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line longer than any record",
            ));
        }
        let begin = self.at;
        self.at += read as u64;
        self.number += 1;
        let whole = bytes.last() == Some(&b'\n');
        if whole {
            bytes.pop();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(JournalLine { number: self.number, begin, text, whole }))
    }
}

impl Iterator for JournalLines {
    type Item = Result<JournalLine, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.next_line();
        let failed = |cause| JournalError::Io { path: self.path.clone(), what: "read", cause };
        line.map_err(failed).transpose()
    }
}

/// The records of one rollout: from a position on to the next rollout's start or the file's end. A
/// torn last line is passed over.
///
/// # Errors
/// Each item may be a [`JournalError`]; the reader stops at the first.
pub fn records<R: DeserializeOwned>(
    path: &Path,
    begin: u64,
) -> Result<impl Iterator<Item = Result<R, JournalError>>, JournalError> {
    records_until(path, begin, u64::MAX)
}

/// The same, up to a position at which a record ends.
///
/// # Errors
/// As for [`records`].
pub fn records_until<R: DeserializeOwned>(
    path: &Path,
    begin: u64,
    end: u64,
) -> Result<impl Iterator<Item = Result<R, JournalError>>, JournalError> {
    let read = |line: JournalLine| {
        serde_json::from_str(&line.text).map_err(|error| JournalError::Broken {
            path: path.to_owned(),
            line: line.number,
            cause: error.to_string(),
        })
    };
    let of_this = move |line: &Result<JournalLine, JournalError>| {
        line.as_ref().map_or(true, |line| {
            line.begin < end && (line.begin == begin || kind(&line.text) != Kind::Start)
        })
    };
    let whole =
        |line: &Result<JournalLine, JournalError>| line.as_ref().map_or(true, |line| line.whole);
    let lines = JournalLines::starting_at(path, begin)?.take_while(of_this).filter(whole);
    Ok(lines.map(move |line| line.and_then(read)))
}

/// Where the last `state` record of a rollout begins, which begins itself at `begin`.
///
/// # Errors
/// Where the journal can't be read.
pub fn last_snapshot(path: &Path, begin: u64) -> Result<Option<u64>, JournalError> {
    let mut last = None;
    for line in JournalLines::starting_at(path, begin)? {
        let line = line?;
        // Records are written with this field first; a snapshot that is passed over costs time alone.
        let is = |record: &str| line.text.starts_with(&format!("{{\"record\":\"{record}\""));
        if line.begin != begin && is("start") {
            break;
        }
        if line.whole && is("state") {
            last = Some(line.begin);
        }
    }
    Ok(last)
}

/// What a journal holds, as far as opening it needs to know.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where each rollout begins.
    pub starts: Vec<u64>,
    /// Where the last rollout begins, unless it has ended.
    pub unfinished: Option<u64>,
    /// Where the last whole record ends.
    pub end: u64,
    /// How many bytes of an unfinished record come after it.
    pub torn: Option<u64>,
}

impl Scan {
    /// Reads a journal once, from begin to end.
    ///
    /// # Errors
    /// [`JournalError`] where it can't be read, or a line before the last is no record.
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let mut scan = Self::default();
        let mut bad: Option<(usize, String)> = None;
        for line in JournalLines::starting_at(path, 0)? {
            let line = line?;
            if let Some((line, cause)) = bad {
                return Err(JournalError::Broken { path: path.to_owned(), line, cause });
            }
            let length = line.text.len() as u64 + u64::from(line.whole);
            match kind(&line.text) {
                Kind::None(cause) => bad = Some((line.number, cause)),
                // A whole record without its line's end may have lost a sync: it doesn't count.
                _ if !line.whole => bad = Some((line.number, "no end".to_owned())),
                Kind::Start => {
                    scan.starts.push(line.begin);
                    scan.unfinished = Some(line.begin);
                }
                Kind::End => scan.unfinished = None,
                Kind::Aside => {}
                // What comes behind an end goes on with it: somebody tried again.
                Kind::Other => scan.unfinished = scan.starts.last().copied(),
            }
            match bad {
                Some(_) => scan.torn = Some(length),
                None => scan.end = line.begin + length,
            }
        }
        Ok(scan)
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Start,
    End,
    /// Goes with what is there, and neither begins nor ends anything.
    Aside,
    Other,
    None(String),
}

fn kind(text: &str) -> Kind {
    #[derive(Deserialize)]
    struct RecordKind<'a> {
        record: &'a str,
    }
    match serde_json::from_str::<RecordKind<'_>>(text) {
        Ok(RecordKind { record: "start", .. }) => Kind::Start,
        Ok(RecordKind { record: "end", .. }) => Kind::End,
        Ok(RecordKind { record: "writtenBack", .. }) => Kind::Aside,
        Ok(_) => Kind::Other,
        Err(error) => Kind::None(error.to_string()),
    }
}
