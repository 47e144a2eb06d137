//! JSON pointers (RFC 6901), with `*` for every element of an array.

use serde_json::Value;

/// At most so many values are taken out of one document.
pub const MAX_VALUES: usize = 64;
/// The longest pointer, in reference tokens.
const MAX_TOKENS: usize = 32;

/// Where in a JSON document values stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A field's name, or an array's index.
    Field(String),
    /// `*`: every element of an array.
    Each,
}

impl Pointer {
    /// Reads a pointer such as `/predictions/0/label`; the empty text is the whole document.
    /// `None` if it does not begin with `/` or has an escape other than `~0` and `~1`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let tokens: Option<Vec<_>> = text.strip_prefix('/')?.split('/').map(token).collect();
        tokens.filter(|tokens| tokens.len() <= MAX_TOKENS).map(Self)
    }

    /// The values that the pointer names, at most [`MAX_VALUES`]; none where nothing stands.
    pub fn values<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![document];
        for token in &self.0 {
            let next = found.into_iter().flat_map(|value| token.step(value));
            found = next.take(MAX_VALUES).collect();
        }
        found
    }
}

impl Token {
    fn step<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Each, Value::Array(items)) => items.iter().take(MAX_VALUES).collect(),
            (Self::Each, _) => Vec::new(),
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Field(name), Value::Array(items)) => {
                index(name).and_then(|index| items.get(index)).into_iter().collect()
            }
            (Self::Field(_), _) => Vec::new(),
        }
    }
}

fn token(text: &str) -> Option<Token> {
    if text == "*" {
        return Some(Token::Each);
    }
    let mut name = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        name.push(match letter {
            '~' => match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Token::Field(name))
}

/// An array index: digits without a leading zero (RFC 6901, section 4).
fn index(text: &str) -> Option<usize> {
    let plain = text == "0" || !text.starts_with('0');
    (plain && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(pointer: &str, document: &Value) -> Vec<Value> {
        Pointer::parse(pointer).unwrap().values(document).into_iter().cloned().collect()
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let document = json!({"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7});
        assert_eq!(at("", &document), std::slice::from_ref(&document));
        assert_eq!(at("/foo", &document), [json!(["bar", "baz"])]);
        assert_eq!(at("/foo/0", &document), [json!("bar")]);
        assert_eq!(at("/", &document), [json!(0)]);
        assert_eq!(at("/a~1b", &document), [json!(1)]);
        assert_eq!(at("/m~0n", &document), [json!(8)]);
        assert_eq!(at("/ ", &document), [json!(7)]);
    }

    #[test]
    fn each_and_its_limit() {
        let document = json!({"predictions": [{"label": "cat"}, {"label": "dog"}, {}]});
        assert_eq!(at("/predictions/*/label", &document), [json!("cat"), json!("dog")]);
        let long = json!((0..1000).collect::<Vec<_>>());
        assert_eq!(at("/*", &long).len(), MAX_VALUES);
        let nested = json!([[1, 2], [3]]);
        assert_eq!(at("/*/*", &nested), [json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn nothing_there_is_nothing() {
        let document = json!({"a": [1]});
        for pointer in ["/b", "/a/1", "/a/01", "/a/-", "/a/0/x", "/*"] {
            assert!(at(pointer, &document).is_empty(), "{pointer}");
        }
        assert_eq!(Pointer::parse("a"), None);
        assert_eq!(Pointer::parse("/~2"), None);
        assert_eq!(Pointer::parse("/~"), None);
    }
}
