//! JSON pointers (RFC 6901), with `*` for one element of an array, drawn at random.

use serde_json::Value;

/// One of the first `DRAWN_FROM` elements of an array is drawn.
pub const DRAWN_FROM: usize = 64;
/// The longest pointer, in reference tokens.
const MAX_TOKENS: usize = 32;

/// The place of a value in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<Step>);

/// One reference token between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A field's name, or an array's index.
    Field(String),
    /// `*`: one element of an array.
    Element,
}

impl Pointer {
    /// Reads a pointer such as `/predictions/0/label`; the empty text is the whole document.
    /// `None` if it does not begin with `/` or has an escape other than `~0` and `~1`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let steps: Option<Vec<_>> = text.strip_prefix('/')?.split('/').map(step).collect();
        steps.filter(|steps| steps.len() <= MAX_TOKENS).map(Self)
    }

    /// Whether it has a `*`, so that a random element decides where it leads.
    pub fn draws(&self) -> bool {
        self.0.contains(&Step::Element)
    }

    /// How many steps lead from the document to the value; 0 for the whole document.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether the step at `depth`, from 0, leads from an object to its field of this name.
    pub fn enters_field(&self, depth: usize, name: &str) -> bool {
        matches!(self.0.get(depth), Some(Step::Field(field)) if field == name)
    }

    /// Whether the step at `depth`, from 0, leads or may be drawn to lead from an array to its element
    /// at this index.
    pub fn may_enter_element(&self, depth: usize, place: usize) -> bool {
        match self.0.get(depth) {
            Some(Step::Field(name)) => index(name) == Some(place),
            Some(Step::Element) => place < DRAWN_FROM,
            None => false,
        }
    }

    /// The value that the pointer leads to; `None` if there is none.
    ///
    /// A document gives at most one value, because one request is one observation: a batch of ten equal
    /// labels says no more about a version than one label does. At each `*`, `draw` (a uniformly random
    /// number) picks one of the first [`DRAWN_FROM`] elements, each with the same probability; an empty
    /// array leads nowhere. With several `*`, each array on the way is drawn from by itself, so a pick
    /// doesn't depend on how long the arrays inside the other elements are. Equal draws pick the same
    /// places in arrays of equal length, so signals that are read with one draw describe one element.
    pub fn find<'a>(&self, document: &'a Value, draw: u64) -> Option<&'a Value> {
        let mut draw = draw;
        self.0.iter().try_fold(document, |value, step| step.follow(value, &mut draw))
    }
}

impl Step {
    fn follow<'a>(&self, value: &'a Value, draw: &mut u64) -> Option<&'a Value> {
        match (self, value) {
            (Self::Element, Value::Array(items)) => items.get(take_index(draw, items.len())),
            (Self::Element, _) => None,
            (Self::Field(name), Value::Object(map)) => map.get(name),
            (Self::Field(name), Value::Array(items)) => items.get(index(name)?),
            (Self::Field(_), _) => None,
        }
    }
}

/// An index below `length` and [`DRAWN_FROM`]. What the draw has left over is the next draw: the high
/// half of the product is uniform over the indexes, and the low half is uniform given it.
fn take_index(draw: &mut u64, length: usize) -> usize {
    let product = u128::from(*draw) * length.min(DRAWN_FROM) as u128;
    *draw = product as u64;
    (product >> 64) as usize
}

fn step(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::Element);
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
    Some(Step::Field(name))
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

    fn at(pointer: &str, document: &Value) -> Option<Value> {
        Pointer::parse(pointer).unwrap().find(document, 0).cloned()
    }

    #[test]
    fn the_examples_of_rfc_6901() {
        let document = json!({"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7});
        assert_eq!(at("", &document), Some(document.clone()));
        assert_eq!(at("/foo", &document), Some(json!(["bar", "baz"])));
        assert_eq!(at("/foo/0", &document), Some(json!("bar")));
        assert_eq!(at("/", &document), Some(json!(0)));
        assert_eq!(at("/a~1b", &document), Some(json!(1)));
        assert_eq!(at("/m~0n", &document), Some(json!(8)));
        assert_eq!(at("/ ", &document), Some(json!(7)));
    }

    #[test]
    fn nothing_there_is_nothing() {
        let document = json!({"a": [1], "empty": [], "objects": {"x": 1}});
        for pointer in
            ["/b", "/a/1", "/a/01", "/a/-", "/a/0/x", "/*", "/empty/*", "/objects/*", "/a/*/*"]
        {
            assert_eq!(at(pointer, &document), None, "{pointer}");
        }
        assert_eq!(Pointer::parse("a"), None);
        assert_eq!(Pointer::parse("/~2"), None);
        assert_eq!(Pointer::parse("/~"), None);
    }

    /// How often each number was drawn, in this many draws that are evenly spaced.
    fn drawn(pointer: &str, document: &Value, draws: u64) -> Vec<(u64, u64)> {
        let pointer = Pointer::parse(pointer).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for draw in 0..draws {
            // Odd multiples of an odd number: low bits vary as well as high ones.
            let draw = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let value = pointer.find(document, draw).unwrap().as_u64().unwrap();
            *counts.entry(value).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    #[test]
    fn each_of_the_first_64_elements_is_drawn_equally_often() {
        for (length, reached) in [(1, 1), (3, 3), (10, 10), (64, 64), (1000, 64)] {
            let document = json!((0..length).collect::<Vec<_>>());
            let counts = drawn("/*", &document, 64_000);
            let expected = 64_000 / reached;
            assert_eq!(counts.len() as u64, reached);
            for (value, count) in counts {
                assert!(
                    value < reached && count.abs_diff(expected) <= expected / 20,
                    "{value}: {count}"
                );
            }
        }
    }

    #[test]
    fn nested_arrays_are_drawn_from_one_after_the_other() {
        let document = json!([[0, 1], [2], [3, 4, 5, 6]]);
        let shares = [6, 6, 3, 12, 12, 12, 12];
        for (value, count) in drawn("/*/*", &document, 120_000) {
            let one_in = if value == 2 { 3 } else { shares[value as usize] };
            let expected = 120_000 / one_in;
            assert!(count.abs_diff(expected) <= expected / 20, "{value}: {count} of {expected}");
        }
    }

    #[test]
    fn one_draw_picks_the_same_place_in_arrays_of_equal_length() {
        let document = json!({"label": [0, 1, 2, 3, 4], "score": [0, 1, 2, 3, 4]});
        let find =
            |pointer: &str, draw| Pointer::parse(pointer).unwrap().find(&document, draw).cloned();
        for draw in (0..1_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            assert_eq!(find("/label/*", draw), find("/score/*", draw));
        }
    }

    proptest::proptest! {
        /// Whatever is drawn, the value is the one element of an array of equal ones, and an array with
        /// an element always leads to one.
        #[test]
        fn a_batch_of_equal_elements_is_one_of_them(length in 1..200_usize, draw: u64) {
            let document = json!({"items": vec![json!({"label": "cat"}); length]});
            let found = Pointer::parse("/items/*/label").unwrap().find(&document, draw);
            proptest::prop_assert_eq!(found, Some(&json!("cat")));
        }
    }
}
