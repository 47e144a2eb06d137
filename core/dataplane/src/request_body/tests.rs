use proptest::prelude::*;
use serde_json::Value;

use super::*;

const LIMIT: usize = 1000;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

/// What a body says, fed in these pieces; the value's text, marked if it is a boolean.
fn read_in(pieces: &[&[u8]], wanted: &str, max_body: usize) -> Option<String> {
    let wanted = pointer(wanted);
    let mut body = RequestBody::reading([(&wanted, max_body)].into_iter());
    for piece in pieces {
        let clear = body.push(piece);
        assert_eq!(clear, body.value(&wanted, max_body) != BodyValue::Pending);
        if clear {
            break;
        }
    }
    body.end();
    match body.value(&wanted, max_body) {
        BodyValue::Pending => panic!("the body has ended"),
        BodyValue::Absent => None,
        BodyValue::Found(JsonScalar { text, boolean: false }) => Some(text.clone()),
        BodyValue::Found(JsonScalar { text, boolean: true }) => Some(format!("[{text}]")),
    }
}

/// What a body says, which must not depend on where it is split.
fn read(text: &[u8], wanted: &str, max_body: usize) -> Option<String> {
    let whole = read_in(&[text], wanted, max_body);
    for at in 0..=text.len() {
        let (one, other) = text.split_at(at);
        assert_eq!(read_in(&[one, other], wanted, max_body), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    assert_eq!(read_in(&bytes, wanted, max_body), whole, "byte by byte");
    whole
}

#[test]
fn strings_by_their_value_others_by_their_source() {
    for (body, wanted, found) in [
        (r#"{"model": "scorer"}"#, "/model", Some("scorer")),
        (r#"{"a": {"model": "no"}, "model": "yes"}"#, "/model", Some("yes")),
        (r#"{"a": [1, {"b": "x"}, [2, "y"]]}"#, "/a/1/b", Some("x")),
        (r#"{"a": [1, {"b": "x"}, [2, "y"]]}"#, "/a/2/1", Some("y")),
        (r#"{"m": "\u0073\ud83d\ude00\n\"\/é"}"#, "/m", Some("s😀\n\"/é")),
        (r#"{"\u006dodel": "x"}"#, "/model", Some("x")),
        (r#"{"a/b": {"~": 1}}"#, "/a~1b/~0", Some("1")),
        (r#"{"": "empty"}"#, "/", Some("empty")),
        (r#"{"m": ""}"#, "/m", Some("")),
        (r#"{"m": 1.50E+2}"#, "/m", Some("1.50E+2")),
        (r#"{"m": -0 }"#, "/m", Some("-0")),
        (r#"[123456789012345678901234567890]"#, "/0", Some("123456789012345678901234567890")),
        (r#"{"m": true, "n": 1}"#, "/m", Some("[true]")),
        (r#"{"m": false}"#, "/m", Some("[false]")),
        ("12", "", Some("12")),
        ("\"x\"", "", Some("x")),
        (" true ", "", Some("[true]")),
        (r#"{"m": null}"#, "/m", None),
        (r#"{"m": {}}"#, "/m", None),
        (r#"{"m": []}"#, "/m", None),
        (r#"{"n": 1}"#, "/m", None),
        (r#"{"n": 1}"#, "/n/m", None),
        (r#"[1]"#, "/1", None),
        (r#"[1]"#, "/00", None),
        ("", "/m", None),
    ] {
        assert_eq!(read(body.as_bytes(), wanted, LIMIT).as_deref(), found, "{body} {wanted}");
    }
}

#[test]
fn the_first_of_several_fields_with_one_name_counts() {
    for (body, wanted, found) in [
        (r#"{"m": "a", "m": "b"}"#, "/m", Some("a")),
        (r#"{"m": null, "m": "b"}"#, "/m", None),
        (r#"{"m": 1, "m": {"n": "b"}}"#, "/m/n", None),
        (r#"{"m": {}, "m": {"n": "b"}}"#, "/m/n", None),
        (r#"{"m": {"n": "a", "n": "b"}}"#, "/m/n", Some("a")),
    ] {
        assert_eq!(read(body.as_bytes(), wanted, LIMIT).as_deref(), found, "{body}");
    }
}

/// What is clear before a fault stays; what isn't is absent.
#[test]
fn broken_json_has_no_values_from_the_fault_on() {
    for (body, found) in [
        (&br#"{"m": "a", x"#[..], Some("a")),
        (br#"{"m": 12x"#, None),
        (br#"{"m": 012}"#, None),
        (br#"{"n": 1,, "m": "a"}"#, None),
        (br#"{"n": 'a', "m": "a"}"#, None),
        (br#"{"n": NaN, "m": "a"}"#, None),
        (br#"["m", "a"}"#, None),
        (br#"{"m": "a"#, None),
        (br#"{"m": tru}"#, None),
        (b"{\"m\": \"\xff\"}", None),
        (b"{\"\xff\": 1, \"m\": \"a\"}", None),
        (b"{\"n\": \"\n\", \"m\": \"a\"}", None),
        (b"\xef\xbb\xbf{\"m\": \"a\"}", None),
        (b"\x1f\x8b\x08{\"m\": \"a\"}", None),
        (b"m=a", None),
    ] {
        assert_eq!(read(body, "/m", LIMIT).as_deref(), found, "{}", body.escape_ascii());
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let deep = |depth| format!("{{\"n\": {}, \"m\": \"a\"}}", nested(depth));
    assert_eq!(read(deep(126).as_bytes(), "/m", LIMIT).as_deref(), Some("a"));
    assert_eq!(read(deep(129).as_bytes(), "/m", LIMIT), None);
}

/// The limit is the byte by which a value must be clear, not the longest body.
#[test]
fn only_what_is_clear_within_the_limit_counts() {
    let body = format!("{{\"m\": \"abc\", \"n\": 123, \"long\": \"{}\"}}", "x".repeat(200));
    for (wanted, clear, found) in [("/m", 11, "abc"), ("/n", 22, "123")] {
        assert_eq!(read(body.as_bytes(), wanted, clear).as_deref(), Some(found));
        assert_eq!(read(body.as_bytes(), wanted, clear - 1), None);
    }
    assert_eq!(read(b"123", "", 4).as_deref(), Some("123"));
    assert_eq!(read(b"123", "", 3), None, "nothing shows that the number has ended");
}

#[test]
fn each_value_has_its_own_limit() {
    let (m, n) = (pointer("/m"), pointer("/n"));
    let mut body = RequestBody::reading([(&m, 13), (&n, 30), (&n, 13), (&m, 13)].into_iter());
    assert!(!body.push(b"{\"a\": 123456"));
    assert!(body.push(b","), "the smaller limit is over");
    assert_eq!(body.value(&m, 13), BodyValue::Absent);
    assert_eq!(body.value(&n, 13), BodyValue::Absent);
    assert_eq!(body.value(&n, 30), BodyValue::Pending);
    assert!(body.push(b" \"n\": 5}"));
    let five = JsonScalar { text: "5".to_owned(), boolean: false };
    assert_eq!(body.value(&n, 30), BodyValue::Found(&five));
    assert_eq!(body.value(&n, 13), BodyValue::Absent);
}

#[test]
fn without_a_body_and_without_time_nothing_is_pending() {
    let m = pointer("/m");
    assert_eq!(RequestBody::unread().value(&m, 1), BodyValue::Pending);
    assert_eq!(RequestBody::none().value(&m, 1), BodyValue::Absent);
    let n = pointer("/n");
    let mut late = RequestBody::reading([(&m, LIMIT), (&n, LIMIT)].into_iter());
    assert!(late.push(b"{\"n\": 1, "));
    late.give_up();
    assert_eq!(late.value(&m, LIMIT), BodyValue::Absent);
    assert!(matches!(late.value(&n, LIMIT), BodyValue::Found(_)), "what was clear stays");
    assert!(late.push(b"\"m\": 1}"));
    assert_eq!(late.value(&m, LIMIT), BodyValue::Absent);
}

#[test]
fn content_types() {
    for json in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=utf-8",
        " application/json ",
        "application/vnd.api+json",
        "application/problem+JSON; x=y",
    ] {
        assert!(is_json(json.as_bytes()), "{json}");
    }
    for other in [
        "",
        "text/plain",
        "text/json",
        "application/jsonl",
        "application/json-seq",
        "multipart/form-data; boundary=application/json",
        "application/grpc+json",
        "application/grpc-web+json",
        "application/grpc",
    ] {
        assert!(!is_json(other.as_bytes()), "{other}");
    }
}

/// A value with these many levels below it.
fn value(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(|number| serde_json::json!(number)),
        "[a\"\\\\/é\u{1f600}\n]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(depth, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab/~]{1,2}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

/// The text that a value is compared by, as serde_json sees it.
fn expected(document: &Value, wanted: &str) -> Option<String> {
    match document.pointer(wanted)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(format!("[{flag}]")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

proptest! {
    // Each case reads a document once for each place where it can be split.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any document, wherever it is split, the value is the one that serde_json finds.
    #[test]
    fn the_value_is_the_documents(
        document in value(4),
        wanted in "(/([ab]|~0|~1|[ab]~1|[01])){0,3}",
        spaced: bool,
    ) {
        let text = if spaced {
            serde_json::to_string_pretty(&document).unwrap()
        } else {
            document.to_string()
        };
        prop_assert_eq!(read(text.as_bytes(), &wanted, LIMIT * 10), expected(&document, &wanted));
    }

    /// Any bytes: the result doesn't depend on where they are split, and a value that is found is what
    /// all longer bodies with this beginning have.
    #[test]
    fn any_bytes_split_anywhere(
        bytes in "[\\[\\]{}\",:amtrue1.e\\\\ u0d8-]{0,40}",
        max_body in 1..40_usize,
        more in "[\\[\\]{}\",:am1 ]{0,9}",
    ) {
        for wanted in ["", "/a", "/0", "/m/a"] {
            let found = read(bytes.as_bytes(), wanted, max_body);
            let longer = read(format!("{bytes}{more}").as_bytes(), wanted, max_body);
            let ended = wanted.is_empty();
            prop_assert!(found.is_none() || longer == found || ended, "{} {}", bytes, wanted);
        }
    }
}
