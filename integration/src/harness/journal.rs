//! Reading what a controller or its hooks are writing.

use std::path::Path;

use serde_json::Value;

/// The lines of a file that a process may be writing: without a last one that isn't there in whole.
pub fn whole_lines(text: &str) -> std::str::Lines<'_> {
    text.rfind('\n').map_or("", |end| &text[..end]).lines()
}

/// The records of a journal so far.
///
/// # Errors
/// The number of a line that isn't JSON, and why it isn't.
pub fn journal_records(text: &str) -> Result<Vec<Value>, String> {
    let records = whole_lines(text).enumerate().map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))
    });
    records.collect()
}

/// The records of a journal so far.
///
/// # Panics
/// If it can't be read, or a line isn't JSON.
#[must_use]
pub fn read_journal(file: &Path) -> Vec<Value> {
    let records = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let records = records.and_then(|text| journal_records(&text));
    records.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_does_not_count() {
        let lines = |text| whole_lines(text).collect::<Vec<_>>();
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("{\"a\": 1"), [""; 0]);
        assert_eq!(lines("{}\n{\"a\": 1"), ["{}"]);
        assert_eq!(lines("{}\n{\"a\": 1}\n"), ["{}", "{\"a\": 1}"]);
        assert_eq!(journal_records("{}\n{\"a").unwrap().len(), 1);
        assert!(journal_records("{}\n{\"a\n").unwrap_err().starts_with("line 2: "));
    }
}
