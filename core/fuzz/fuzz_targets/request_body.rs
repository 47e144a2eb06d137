//! Any body behind a pointer and a limit: what it says doesn't depend on where it is split, nothing
//! stays pending past its end or its limit, and where the whole body is JSON within the limit, the value
//! is the one that another reader finds.
#![no_main]

use canary_dataplane::request_body::{BodyValue, JsonScalar, RequestBody};
use canary_model::pointer::Pointer;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What a body says in these pieces.
fn read<'a>(
    pointer: &Pointer,
    max_body: usize,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Option<JsonScalar> {
    let mut body = RequestBody::reading([(pointer, max_body)].into_iter());
    let mut fed = 0;
    for piece in pieces {
        fed += piece.len();
        let clear = body.push(piece);
        let pending = body.value(pointer, max_body) == BodyValue::Pending;
        assert_eq!(clear, !pending);
        assert!(!pending || fed < max_body, "nothing is waited for past the limit");
        if clear {
            break;
        }
    }
    body.end();
    match body.value(pointer, max_body) {
        BodyValue::Found(found) => Some(found.clone()),
        BodyValue::Absent => None,
        BodyValue::Pending => panic!("the body has ended"),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (head, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (Some((limit, rest)), Some(size)) = (head.split_first(), head.first()) else {
        return;
    };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    let Some(pointer) = Pointer::parse(text).filter(|pointer| !pointer.draws()) else {
        return;
    };
    let max_body = 1 + usize::from(*limit) * 16;
    let whole = read(&pointer, max_body, std::iter::once(body));
    assert_eq!(read(&pointer, max_body, body.chunks(1)), whole);
    assert_eq!(read(&pointer, max_body, body.chunks(1 + usize::from(*size % 13))), whole);
    if let (Ok(document), true) = (serde_json::from_slice::<Value>(body), body.len() < max_body) {
        let found = document.pointer(text);
        match (&whole, found) {
            // Of several fields with one name, this reader takes the first and serde_json the last.
            _ if has_duplicates(body, &document) => {}
            (Some(scalar), Some(Value::String(text))) => assert_eq!(scalar.text, *text),
            (Some(scalar), Some(Value::Bool(flag))) => assert_eq!(scalar.text, flag.to_string()),
            (Some(scalar), Some(Value::Number(_))) => assert!(!scalar.boolean),
            (None, None | Some(Value::Null | Value::Array(_) | Value::Object(_))) => {}
            (whole, found) => panic!("{whole:?} is {found:?}"),
        }
    }
});

/// Whether a body has more colons outside of strings than its document has fields.
fn has_duplicates(body: &[u8], document: &Value) -> bool {
    fn fields(value: &Value) -> usize {
        match value {
            Value::Object(map) => map.len() + map.values().map(fields).sum::<usize>(),
            Value::Array(items) => items.iter().map(fields).sum(),
            _ => 0,
        }
    }
    let (mut colons, mut inside, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            b'"' if !escaped => inside = !inside,
            b':' if !inside => colons += 1,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped;
    }
    colons != fields(document)
}
