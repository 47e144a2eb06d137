use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn values_as_yaml_1_2_has_them() {
    let text = "a: 1\nb: 0.25\nc: 1%\non: [yes, no, on, true, ~]\nd: {}\ne: \"5\"\nf: result > 0.9\n\
                g: 10m\nh: http://a:1/b\nj: 1e2\nk:\n";
    let document = Document::read(text).unwrap();
    assert_eq!(
        document.value,
        json!({"a": 1, "b": 0.25, "c": "1%", "on": ["yes", "no", "on", true, null], "d": {},
            "e": "5", "f": "result > 0.9", "g": "10m", "h": "http://a:1/b", "j": 100.0,
            "k": null})
    );
}

#[test]
fn every_path_has_its_line() {
    let text = "rollout: r\nsteps:\n  - setWeight: 1\n  - pause:\n      duration: 10m\n\
                analysis: {\n  metrics: [\n    {name: x,\n     kind: y}]}\n";
    let document = Document::read(text).unwrap();
    for (path, line) in [
        ("", 1),
        ("rollout", 1),
        ("steps", 2),
        ("steps[0]", 3),
        ("steps[0].setWeight", 3),
        ("steps[1].pause", 4),
        ("steps[1].pause.duration", 5),
        ("steps[1].pause.timeout", 4),
        ("steps[7]", 2),
        ("analysis.metrics[0].kind", 9),
        ("analysis.metrics[0].margin", 8),
        ("lease", 1),
    ] {
        assert_eq!(document.line(path), line, "{path}");
    }
}

#[test]
fn json_has_lines_too() {
    let document = Document::read("{\n  \"a\": {\n    \"b\": [1,\n 2]}\n}").unwrap();
    assert_eq!(document.value, json!({"a": {"b": [1, 2]}}));
    assert_eq!((document.line("a.b"), document.line("a.b[1]")), (3, 4));
}

#[test]
fn anchors_and_merge_keys_stand_where_they_are_used() {
    let text =
        "base: &b {url: http://x/, timeout: 1s}\ngates:\n  - <<: *b\n    before: 5\n  - *b\n";
    let document = Document::read(text).unwrap();
    let gate = json!({"url": "http://x/", "timeout": "1s"});
    assert_eq!(document.value["gates"][1], gate);
    assert_eq!(document.value["gates"][0]["url"], "http://x/");
    assert_eq!((document.line("gates[1]"), document.line("gates[0].before")), (5, 4));
}

fn refused(text: &str) -> SyntaxError {
    Document::read(text).unwrap_err()
}

#[test]
fn what_is_no_document_says_where() {
    let doubled = refused("a: 1\nb: 2\na: 3\n");
    assert_eq!(doubled.line, Some(3), "{doubled}");
    assert!(doubled.message.contains("duplicate"), "{doubled}");
    assert_eq!(refused("a: 1\nb: [1, 2\nc: 3\n").line.map(|line| line > 1), Some(true));
    assert!(refused("a: 1\n---\nb: 2\n").message.contains("document"));
    assert!(refused(&"x".repeat(MAX_FILE + 1)).message.contains("at most"));
    refused("\"open");
    refused("a: *nowhere\n");
    refused("a:\n\t- b\n");
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (new, old) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip("abcdefgh".chars()) {
        let ten = vec![format!("*{old}"); 10].join(", ");
        bomb += &format!("{new}: &{new} [{ten}]\n");
    }
    refused(&bomb);
    refused(&"[".repeat(10_000));
    refused(&format!("{}1{}", "{a: ".repeat(5_000), "}".repeat(5_000)));
    refused(&(0..200_000).map(|_| "- 1\n").collect::<String>());
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        "(yes|no|on|off|null|~|1e3|0x1F|1_000|3\\.10|2026-01-01|12:30:45|\\.5|=|<<|-|)"
            .prop_map(Value::from),
        "([ -~]{0,8}\n){1,3}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ -~]{1,12}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    /// What is written reads back as it was.
    #[test]
    fn writes_what_it_reads(value in json_value()) {
        let text = write(&value).unwrap();
        prop_assert_eq!(Document::read(&text).map(|document| document.value), Ok(value), "{}", text);
    }
}
