//! Reading a journal line by line, without holding it in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{JournalError, MAX_RECORD};

/// Room for most lines, in bytes.
const USUAL_LINE: usize = 512;

/// What a journal's lines are read as.
pub trait ReadRecord: Sized {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// Where the line is no record of this kind.
    fn read(line: &str) -> serde_json::Result<Self>;
}

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
        let mut bytes = Vec::with_capacity(USUAL_LINE);
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
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
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
pub fn records<R: ReadRecord>(
    path: &Path,
    begin: u64,
) -> Result<impl Iterator<Item = Result<R, JournalError>>, JournalError> {
    records_until(path, begin, u64::MAX)
}

/// The same, up to a position at which a record ends.
///
/// # Errors
/// As for [`records`].
pub fn records_until<R: ReadRecord>(
    path: &Path,
    begin: u64,
    end: u64,
) -> Result<impl Iterator<Item = Result<R, JournalError>>, JournalError> {
    let read = |line: JournalLine| {
        R::read(&line.text).map_err(|error| JournalError::Broken {
            path: path.to_owned(),
            line: line.number,
            cause: error.to_string(),
        })
    };
    let of_this = move |line: &Result<JournalLine, JournalError>| {
        line.as_ref()
            .map_or(true, |line| line.begin < end && (line.begin == begin || !is_start(&line.text)))
    };
    let whole =
        |line: &Result<JournalLine, JournalError>| line.as_ref().map_or(true, |line| line.whole);
    let lines = JournalLines::starting_at(path, begin)?.take_while(of_this).filter(whole);
    Ok(lines.map(move |line| line.and_then(read)))
}

/// The name of a line's record, if it is the first field, as it is in every record that is written: most of a
/// long journal is passed over by it, without being parsed. `None` says nothing.
pub fn leading_name(line: &str) -> Option<&str> {
    line.strip_prefix("{\"record\":\"")?.split_once('"').map(|(name, _)| name)
}

/// What going on with a rollout needs to know of its journal before it reads any of it.
#[derive(Debug, Default)]
pub struct Landmarks {
    /// Where the last `state` record begins.
    pub snapshot: Option<u64>,
    /// Where the last steps begin in which something happened, oldest first.
    pub eventful: VecDeque<u64>,
}

impl Landmarks {
    /// Reads the records of the rollout that begins at `begin`, and finds at most so many steps.
    ///
    /// # Errors
    /// Where the journal can't be read.
    pub fn read(path: &Path, begin: u64, steps: usize) -> Result<Self, JournalError> {
        let mut found = Self::default();
        for line in JournalLines::starting_at(path, begin)? {
            let line = line?;
            match leading_name(&line.text) {
                Some("start") if line.begin != begin => break,
                // One that is passed over costs time alone.
                Some("state") if line.whole => found.snapshot = Some(line.begin),
                // Within texts, the quotes are escaped.
                Some("step") if line.whole && line.text.contains("\"events\":[") => {
                    found.eventful.push_back(line.begin);
                    if found.eventful.len() > steps {
                        found.eventful.pop_front();
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Where each rollout of a journal begins. What its other lines hold isn't looked at.
///
/// # Errors
/// Where the journal can't be read.
pub fn starts(path: &Path) -> Result<Vec<u64>, JournalError> {
    let lines = JournalLines::starting_at(path, 0)?;
    let start = |line: Result<JournalLine, JournalError>| match line {
        Ok(line) => (line.whole && is_start(&line.text)).then_some(Ok(line.begin)),
        Err(error) => Some(Err(error)),
    };
    lines.filter_map(start).collect()
}

/// Few lines have the word anywhere, and the others needn't be parsed for it.
fn is_start(text: &str) -> bool {
    match leading_name(text) {
        Some(name) => name == "start",
        None => text.contains("\"start\"") && kind(text) == Kind::Start,
    }
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
