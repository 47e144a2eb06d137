use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/scorer.jsonl");
    (folder, path)
}

fn open(path: &Path) -> (Journal, JournalContents) {
    Journal::open(path).unwrap()
}

impl ReadRecord for Value {
    fn read(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }
}

fn all(path: &Path, begin: u64) -> Vec<Value> {
    records(path, begin).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_was_written_is_read() {
    let (_folder, path) = folder();
    let (mut journal, found) = open(&path);
    assert_eq!((found.unfinished, found.notes.len()), (None, 0));
    let start = json!({"record": "start", "rollout": "scorer"});
    journal.append(&[start.clone(), json!({"record": "tick", "t": 1})]).unwrap();
    journal.append(&[json!({"record": "tick", "t": 2})]).unwrap();
    drop(journal);
    let (mut journal, found) = open(&path);
    assert_eq!(found.unfinished, Some(0));
    assert_eq!(all(&path, 0).len(), 3);
    journal.append(&[json!({"record": "end"})]).unwrap();
    drop(journal);
    let (mut journal, found) = open(&path);
    assert_eq!(found.unfinished, None, "it has ended");
    journal.append(&[start]).unwrap();
    drop(journal);
    let (_journal, found) = open(&path);
    let second = found.unfinished.unwrap();
    assert_eq!((all(&path, 0).len(), all(&path, second).len()), (4, 1));
    assert_eq!(Scan::read(&path).unwrap().starts, [0, second]);
    assert_eq!(starts(&path).unwrap(), [0, second]);
}

#[test]
fn a_torn_last_line_is_dropped_wherever_it_was_torn() {
    let (_folder, path) = folder();
    let (mut journal, _) = open(&path);
    journal.append(&[json!({"record": "start"})]).unwrap();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    let more = b"{\"record\": \"tick\", \"t\": \"\xc3\xa9\"}\n";
    for length in 1..more.len() {
        let torn = [whole.as_slice(), &more[..length]].concat();
        std::fs::write(&path, torn).unwrap();
        let (mut journal, found) = open(&path);
        assert_eq!(found.notes.len(), 1, "{length}");
        assert!(found.notes[0].contains("torn last line"), "{:?}", found.notes);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "{length}");
        journal.append(&[json!({"record": "tick"})]).unwrap();
        assert_eq!(all(&path, 0).len(), 2, "{length}");
    }
}

#[test]
fn a_line_of_nonsense_before_the_last_is_an_error() {
    let (_folder, path) = folder();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "{\"record\": \"start\"}\nnonsense\n{\"record\": \"tick\"}\n").unwrap();
    let error = Journal::open(&path).unwrap_err().to_string();
    assert!(error.contains("line 2 is no record"), "{error}");
}

#[test]
fn two_writers_never_share_it() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let error = Journal::open(&path).unwrap_err();
    assert!(
        matches!(&error, JournalError::Locked { pid: Some(pid), .. } if *pid == std::process::id())
    );
    assert!(error.to_string().contains("another controller (process "), "{error}");
    drop(journal);
    open(&path);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let (_folder, path) = folder();
    let (mut journal, _) = open(&path);
    let long = json!({"record": "tick", "text": "x".repeat(MAX_RECORD)});
    assert!(matches!(journal.append(&[long]), Err(JournalError::TooLong { .. })));
    assert!(all(&path, 0).is_empty());
    // The disk that is always full.
    let mut full =
        Journal { file: File::options().write(true).open("/dev/full").unwrap(), ..journal };
    let error = full.append(&[json!({"record": "tick"})]).unwrap_err();
    assert!(error.to_string().contains("can't write the journal"), "{error}");
    assert!(full.append(&[json!({"record": "tick"})]).is_err());
    let folder = path.parent().unwrap().to_owned();
    assert!(Journal::open(&folder).is_err(), "a folder is no journal");
}

#[test]
fn a_journal_shows_where_to_go_on_and_where_something_happened() {
    let (_folder, path) = folder();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lines = [
        r#"{"record":"start","rollout":"scorer"}"#,
        r#"{"record":"step","events":[{"event":"resumed"}]}"#,
        r#"{"record":"state","state":{"events":[]}}"#,
        r#"{"record":"step","reason":"\"events\":["}"#,
        r#"{"record":"step","events":[{"event":"outage"}]}"#,
        r#"{"record":"state","state":{}}"#,
        r#"{"record":"step","events":[{"event":"outageOver"}]}"#,
        r#"{"record":"start","rollout":"another"}"#,
        r#"{"record":"state","state":{}}"#,
    ];
    let begins: Vec<u64> = lines
        .iter()
        .scan(0, |at, line| Some(std::mem::replace(at, *at + line.len() as u64 + 1)))
        .collect();
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let found = Landmarks::read(&path, 0, 2).unwrap();
    assert_eq!(found.snapshot, Some(begins[5]));
    assert_eq!(found.eventful, [begins[4], begins[6]]);
    assert_eq!(Landmarks::read(&path, begins[7], 2).unwrap().snapshot, Some(begins[8]));
    assert_eq!(leading_name(lines[6]), Some("step"));
    assert_eq!(leading_name(r#"{"t": 1, "record": "step"}"#), None);
}
