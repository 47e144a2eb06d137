use proptest::prelude::*;

use super::*;

/// The events of a stream in these chunks; `None` is an oversize one.
fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut note = |event: Event<'_>| {
        found.push(match event {
            Event::Data(data) => Some(String::from_utf8_lossy(data).into_owned()),
            Event::Oversize => None,
        });
    };
    let mut scanner = EventScanner::new(limit);
    for chunk in chunks {
        scanner.push(chunk, &mut note);
    }
    scanner.finish(&mut note);
    found
}

fn data<const N: usize>(expected: [&str; N]) -> Vec<Option<String>> {
    expected.map(|text| Some(text.to_owned())).to_vec()
}

/// Asserts the events of a stream, whole and split at every byte.
fn assert_events<const N: usize>(stream: &str, expected: [&str; N]) {
    let bytes = stream.as_bytes();
    assert_eq!(events([bytes], 100), data(expected), "{stream:?}");
    assert_eq!(events(bytes.chunks(1), 100), data(expected), "{stream:?}, byte by byte");
    for split in 0..=bytes.len() {
        let (first, second) = bytes.split_at(split);
        assert_eq!(events([first, second], 100), data(expected), "{stream:?} split at {split}");
    }
}

#[test]
fn the_examples_of_the_standard() {
    assert_events("data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]);
    let stream = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    assert_events(stream, ["first event", "second event", " third event"]);
    assert_events("data\n\ndata\ndata\n\ndata:\n\n", ["", "\n", ""]);
    assert_events("data:test\n\ndata: test\n\n", ["test", "test"]);
}

#[test]
fn line_ends_are_of_three_kinds() {
    assert_events("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n", ["a", "b", "c", "d"]);
    assert_events("data: a\r\ndata: b\r\n\r\n", ["a\nb"]);
}

#[test]
fn comments_other_fields_and_a_byte_order_mark() {
    assert_events("\u{feff}data: a\n\n: ping\n\nevent: x\nretry: 5\n\ndatum: b\n\n", ["a"]);
    assert_events("event: error\ndata: {\"error\": 1}\n\n", ["{\"error\": 1}"]);
    assert_events(" data: a\n\nDATA: b\n\n", []);
}

#[test]
fn a_last_event_needs_no_blank_line() {
    assert_events("data: a\n\ndata: [DONE]\n", ["a", "[DONE]"]);
    assert_events("data: a\n\ndata: [DONE]", ["a", "[DONE]"]);
    assert_events("", []);
}

#[test]
fn an_oversize_event_is_reported_and_the_next_is_read() {
    let long = "x".repeat(50);
    for stream in [
        format!("data: {long}\n\ndata: b\n\n"),
        format!("data: {}\ndata: {}\n\ndata: b\n\n", &long[..6], &long[..6]),
    ] {
        let expected = vec![None, Some("b".to_owned())];
        assert_eq!(events([stream.as_bytes()], 10), expected);
        assert_eq!(events(stream.as_bytes().chunks(1), 10), expected);
    }
    let comment = format!(": {long}\n\ndata: b\n\n");
    assert_eq!(events([comment.as_bytes()], 10), data(["b"]));
}

proptest! {
    #[test]
    fn chunks_make_no_difference_and_memory_is_bounded(
        stream in "(data: ?|data|:|id: |\\{\"a\":1\\}|x{1,30}|\r|\n|\r\n|\u{feff}){0,40}",
        cuts in prop::collection::vec(0usize..400, 0..10),
    ) {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(events(chunks, 16), events([bytes], 16));
        let mut scanner = EventScanner::new(16);
        scanner.push(bytes, |_| ());
        prop_assert!(scanner.line.len() <= 16 + FIELD + BYTE_ORDER_MARK.len() && scanner.data.len() <= 18);
    }
}
