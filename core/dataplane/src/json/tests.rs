use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Option<Value> {
    parse(text.as_bytes())
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

proptest! {
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
