use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts.iter().map(|text| Pointer::parse(text).unwrap()).collect()
}

/// The whole of a document.
fn read(text: &str) -> Option<Value> {
    select(text.as_bytes(), &[&Pointer::parse("").unwrap()])
}

/// What is kept for these pointers.
fn kept(text: &str, places: &[&str]) -> Option<Value> {
    let pointers = pointers(places);
    select(text.as_bytes(), &pointers.iter().collect::<Vec<_>>())
}

#[test]
fn only_what_is_pointed_at_is_kept() {
    let chunk = r#"{"id": "x", "choices": [{"index": 0, "delta": {"content": "Hi", "role": "a"}}, 7],
        "usage": {"total": 3, "more": [1]}, "error": null}"#;
    let expected = json!({"choices": [{"delta": {"content": "Hi"}}, null], "usage": {"total": 3, "more": [1]}});
    assert_eq!(kept(chunk, &["/choices/0/delta/content", "/usage", "/x"]), Some(expected));
    assert_eq!(kept(chunk, &[]), Some(Value::Null));
    assert_eq!(kept("[[1, 2], [3, 4]]", &["/*/1"]), Some(json!([[null, 2], [null, 4]])));
    assert_eq!(kept("{\"a\": {\"b\": 1}, \"a\": {}}", &["/a/b"]), Some(json!({"a": {}})));
    assert_eq!(kept("{\"\\u0061\": 1}", &["/a"]), Some(json!({"a": 1})));
    for text in ["{\"a\": 1", "{\"b\": [1,}, \"a\": 1}", "{\"a\": 1} x", "{\"b\" 1}", "[1 2]"] {
        assert_eq!(kept(text, &["/a"]), None, "{text}");
    }
}

#[test]
fn bare_words_are_values_wherever_a_value_may_be() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        assert_eq!(read(word), Some(json!(word)));
        assert_eq!(read(&format!(" {word}\n")), Some(json!(word)));
        assert_eq!(read(&format!("[{word},1, {word} ]")), Some(json!([word, 1, word])));
        let object = format!("{{\"a\": {word}, \"b\":{word}}}");
        assert_eq!(read(&object), Some(json!({"a": word, "b": word})));
    }
}

#[test]
fn words_in_strings_stay_as_they_are() {
    let text = r#"{"a NaN,": "x\\\"NaN]", "b": [NaN, "\\"], "Infinity": "-Infinity, "}"#;
    let expected = json!({"a NaN,": "x\\\"NaN]", "b": ["NaN", "\\"], "Infinity": "-Infinity, "});
    assert_eq!(read(text), Some(expected));
}

#[test]
fn what_is_not_json_stays_unreadable() {
    for text in [
        "NaNs",
        "[1NaN]",
        "{NaN: 1}",
        "{NaN :1}",
        "nan",
        "inf",
        "-NaN",
        "--Infinity",
        "[NaN",
        "NaN NaN",
        "[NaN NaN]",
        "\"NaN",
        "-inf",
        "+Infinity",
        "[\"a\"NaN]",
        "",
        "[DONE]",
        "\\NaN",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

/// JSON documents with few names, so that pointers lead somewhere.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a\"\\\\é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ab01*]", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// A pointer finds in what is kept for it what it finds in the whole document.
    #[test]
    fn pointers_find_the_same(
        document in document(),
        places in prop::collection::vec("(/[ab01*]){0,4}", 0..5),
        draw: u64,
    ) {
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let text = document.to_string();
        // Written and read again, because a number's last bit may change.
        let document: Value = serde_json::from_str(&text).unwrap();
        let kept = kept(&text, &places).unwrap();
        for pointer in pointers(&places) {
            prop_assert_eq!(pointer.find(&kept, draw), pointer.find(&document, draw), "{:?}", pointer);
        }
    }

    /// What `serde_json` reads, it reads alike; and bare words read like quoted ones.
    #[test]
    fn quoted_and_bare_words_are_alike(
        text in "([\\[\\]{},: \"\\\\-]|\"a\"|-1|NaN|Infinity|-Infinity|\"NaN\"){0,12}",
    ) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(read(&text), Some(value));
        } else if let Some(value) = read(&text) {
            let written = value.to_string();
            prop_assert_eq!(read(&written), Some(value));
        }
    }
}
