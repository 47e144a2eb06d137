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

/// Every kind of fault: the text, the line, and what the message must say. None may speak of the
/// library.
#[test]
fn every_fault_is_told_in_our_own_words_with_its_line() {
    let long = "- 1\n".repeat(60_000);
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let faults: &[(&str, u64, &str)] = &[
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key \"a\""),
        ("a: 1\n---\nb: 2\n", 2, "a second document"),
        ("# x\n---\na: 1\n--- {}\n", 4, "a second document"),
        ("a:\n\t- b\n", 2, "a tab in the indentation"),
        ("a: 1\nb:\n  c: 1\n\td: 2\n", 4, "a tab in the indentation"),
        ("a: 1\nb: [1, 2\n", 2, "`[` is never closed"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "check the indentation and the brackets above"),
        ("a: {b: 1 c: 2}\n", 1, "expected `,` or `}`"),
        ("a: [1 [2]]\n", 1, "expected `,` or `]`"),
        ("a: !x!y 1\n", 1, "a tag that can't be read"),
        ("a: {b: 1\n", 1, "`{` is never closed"),
        ("a: [1, 2}\n", 1, "`[` is closed by `}`"),
        ("a: 1]\nb: 2\n]\n", 3, "without its opening bracket"),
        ("a: 1\nb: \"open\n", 2, "quote is never closed"),
        ("a: 1\nb: 'open\n", 2, "quote is never closed"),
        ("a: 1\nb: 'x' y\n", 2, "text after the closing quote"),
        ("a: 1\nb: \"\\q\"\n", 2, "unknown escape"),
        ("a: 1\nb\nc: 2\n", 2, "a line without `:`"),
        ("a: 1\n  b: 2\n", 2, "a `:` that doesn't belong here"),
        ("a: b: 2\n", 1, "a `:` that doesn't belong here"),
        ("a:\n  b: 1\n c: 2\n", 3, "this line doesn't belong to the block above"),
        ("a: 1\nb: *nowhere\n", 2, "unknown anchor"),
        ("a: 1\nb: @x\n", 2, "unexpected character `@`"),
        ("a: 1\nb: `x`\n", 2, "unexpected character ```"),
        ("a: 1\nb: %x\n", 2, "unexpected character `%`"),
        ("a: 1\n<<: 5\n", 2, "`<<` merges a mapping"),
        ("a: 1\n- b\n", 2, "this line doesn't belong to the block above"),
        ("a: - b\n", 1, "`- ` entry where no list is"),
        ("a: 0x0A\n", 1, "0x0A is an ambiguous number: write 10, or \"0x0A\""),
        ("a: 1\nb: [1, 0o12]\n", 2, "0o12 is an ambiguous number: write 10"),
        ("a: 0b11\n", 1, "0b11 is an ambiguous number: write 3"),
        ("a: 1_0\n", 1, "1_0 is an ambiguous number: write 10"),
        ("a: 010\n", 1, "010 is an ambiguous number: write 10"),
        ("a: +5\n", 1, "+5 is an ambiguous number: write 5"),
        ("a: {b: .5}\n", 1, ".5 is an ambiguous number: write 0.5"),
        ("a: 5.\n", 1, "5. is an ambiguous number: write 5"),
        ("a: .nan\n", 1, "isn't a number here"),
        ("a: -.inf\n", 1, "isn't a number here"),
        ("a: &x [*x]\n", 1, "anchor"),
        (&long, 1, "more than 50000 values"),
        (&deep, 1, "nested more than 24 levels deep"),
    ];
    let mut wrong = String::new();
    for (text, line, message) in faults {
        let fault = refused(text);
        let library = ["budget", "breach", "Options", "Policy", "serde", "scanning", "parsing"];
        let ours = library.iter().all(|word| !fault.message.contains(word));
        let at = fault.line.unwrap_or(0);
        let fits = at == *line || *line == 1 && text.len() > 99;
        if !fits || !fault.message.contains(message) || !ours {
            let text: String = text.chars().take(40).collect();
            wrong += &format!("{text:?}: expected {line}: {message}\n    found {fault}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(refused(&"x".repeat(MAX_FILE + 1)).message.contains("the limit is"));
}

/// What looks like the faults above and is none.
#[test]
fn what_is_no_fault() {
    for (text, value) in [
        ("a: \"010\"\n", json!({"a": "010"})),
        ("a: '0x0A'\n", json!({"a": "0x0A"})),
        ("a: v010\n", json!({"a": "v010"})),
        ("a: 10ms\n", json!({"a": "10ms"})),
        ("a: 0.10\n", json!({"a": 0.1})),
        ("a: -0.5\n", json!({"a": -0.5})),
        ("a: 1e3 # thousand\n", json!({"a": 1000.0})),
        ("a: 0\n", json!({"a": 0})),
        ("---\na: 1\n", json!({"a": 1})),
        ("a: 1\n...\n", json!({"a": 1})),
        ("a: &x 5\nb: *x\n", json!({"a": 5, "b": 5})),
        ("a: |\n  text\twith a tab\n", json!({"a": "text\twith a tab\n"})),
        ("\u{feff}a: 1\r\nb: 2\r\n", json!({"a": 1, "b": 2})),
    ] {
        let read = Document::read(text).map(|document| document.value);
        assert_eq!(read, Ok(value), "{text:?}");
    }
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
