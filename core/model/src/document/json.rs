//! Reading JSON text strictly, and the line on which each of its values begins.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads JSON as RFC 8259 defines it. Comments, trailing commas and other spellings of numbers are
/// errors, and so is a field that an object has twice, because readers differ in which one they take.
///
/// # Errors
/// The first thing that is wrong, with its line and column.
pub fn parse(json: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(json).map(|Strict(value)| value)
}

/// A value in which no object has a field twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            let Strict(value) = fields.next_value()?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// The line of every value in a JSON text, by its path.
#[derive(Clone, Debug, Default)]
pub struct JsonLines(BTreeMap<String, u64>);

/// What the scanner is inside of.
enum Inside {
    /// An object: its path, and the field whose value comes next with the line of its name.
    Object(String, Option<(String, u64)>),
    /// A list: its path, and the index of the element that comes next.
    List(String, usize),
}

impl JsonLines {
    /// Scans a text that [`parse`] reads; the lines of any other text are arbitrary.
    pub fn new(json: &str) -> Self {
        let mut lines = BTreeMap::new();
        let mut inside: Vec<Inside> = Vec::new();
        let (mut line, mut rest) = (1, json);
        while let Some(letter) = rest.chars().next() {
            let token = rest.get(..token_length(rest, letter)).unwrap_or(rest);
            rest = rest.get(token.len()..).unwrap_or_default();
            match letter {
                '\n' => line += 1,
                ' ' | '\t' | '\r' | ':' => {}
                ',' => {
                    if let Some(Inside::List(_, index)) = inside.last_mut() {
                        *index += 1;
                    }
                }
                '}' | ']' => drop(inside.pop()),
                _ => {
                    if let Some(Inside::Object(_, next @ None)) = inside.last_mut() {
                        *next = Some((serde_json::from_str(token).unwrap_or_default(), line));
                        continue;
                    }
                    let (path, at) = place(inside.last_mut(), line);
                    match letter {
                        '{' => inside.push(Inside::Object(path.clone(), None)),
                        '[' => inside.push(Inside::List(path.clone(), 0)),
                        _ => {}
                    }
                    lines.insert(path, at);
                }
            }
        }
        Self(lines)
    }

    /// The line on which a path such as `rollouts[0].name` begins, from 1. For a missing field, it is
    /// the line of the object that lacks it.
    pub fn line(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return *line;
            }
            let end = path.rfind(['.', '[']).unwrap_or_default();
            if path.is_empty() {
                return 1;
            }
            path = path.get(..end).unwrap_or_default();
        }
    }
}

/// The path of a value that begins on `line`, and the line to show for it: a field begins with its name.
fn place(inside: Option<&mut Inside>, line: u64) -> (String, u64) {
    match inside {
        None => (String::new(), line),
        Some(Inside::List(path, index)) => (format!("{path}[{index}]"), line),
        Some(Inside::Object(path, next)) => {
            let (field, at) = next.take().unwrap_or_default();
            (super::join(path, &field), at)
        }
    }
}

/// How many bytes the token at the start of `text` has: a string, a word or number, or one letter.
fn token_length(text: &str, first: char) -> usize {
    let word = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    if word(first) {
        return text.find(|letter| !word(letter)).unwrap_or(text.len());
    }
    if first != '"' {
        return first.len_utf8();
    }
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_read() {
        for text in [
            "{\"a\": 1,}",
            "{a: 1}",
            "{'a': 1}",
            "[1, 2,]",
            "// x\n{}",
            "{} {}",
            "{\"a\": 0x0A}",
            "{\"a\": 010}",
            "{\"a\": +1}",
            "{\"a\": .5}",
            "{\"a\": 5.}",
            "{\"a\": 1_0}",
            "{\"a\": NaN}",
            "{\"a\": 1e999}",
            "{\"a\": yes}",
            "{\"a\": ~}",
            "a: 1",
            "\u{feff}{}",
            "",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let all = r#"{"a": [null, true, -1, 18446744073709551615, 1.5e3, "é\n"], "b": {}}"#;
        assert_eq!(parse(all.as_bytes()).unwrap(), serde_json::from_str::<Value>(all).unwrap());
    }

    #[test]
    fn a_duplicate_field_is_an_error_with_its_place() {
        let error = parse(b"{\"a\": {\"b\": 1,\n \"c\": 2,\n \"b\": 3}}").unwrap_err();
        assert_eq!(error.to_string(), "duplicate field `b` at line 3 column 4");
        assert!(parse(br#"{"a": {"b": 1}, "b": [{"b": 2}]}"#).is_ok());
    }

    #[test]
    fn every_value_has_its_line() {
        let text = "{\n\"a\": [1,\n {\"b\": \"x\\\"}\\\\\",\n  \"c d\":\n   {}},\n [\n]],\n\"e\\n\": -1.5e+3}";
        parse(text.as_bytes()).unwrap();
        let lines = JsonLines::new(text);
        for (path, line) in [
            ("", 1),
            ("a", 2),
            ("a[0]", 2),
            ("a[1]", 3),
            ("a[1].b", 3),
            ("a[1].c d", 4),
            ("a[1].missing", 3),
            ("a[1].c d.missing", 4),
            ("a[2]", 6),
            ("a[3]", 2),
            ("e\n", 8),
            ("missing", 1),
        ] {
            assert_eq!(lines.line(path), line, "{path}");
        }
    }

    proptest::proptest! {
        /// Whatever the text is, the scanner ends.
        #[test]
        fn scanning_never_panics(text in "[\\[\\]{}\",:a1\\\\ \n\u{e9}-]{0,40}", path in "\\PC{0,9}") {
            let _ = JsonLines::new(&text).line(&path);
        }
    }
}
