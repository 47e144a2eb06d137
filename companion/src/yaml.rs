//! YAML and JSON files as JSON values, with the line of each path.
//!
//! YAML 1.2: `on` and `no` are words, not booleans. Duplicate keys are errors, and so are files that
//! expand to more than a rollout can need: anchors and merge keys are bounded. Numbers must be
//! spelled as in JSON, because YAML's readers disagree about all other spellings.

mod fault;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};

use crate::error::Error;

/// The largest file that is read, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// The most values in a file, what anchors repeat included.
const MAX_VALUES: usize = 50_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 24;

/// A file's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// The line of each path, from 1.
    lines: BTreeMap<String, u64>,
    /// The first number that isn't spelled as in JSON.
    odd_number: Option<SyntaxError>,
}

/// Why a text can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, from 1, if that can be told.
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for SyntaxError {}

impl Document {
    /// Reads a YAML document; JSON is YAML.
    ///
    /// # Errors
    /// The first fault in its syntax, with its line.
    pub fn read(text: &str) -> Result<Self, SyntaxError> {
        let document = Self::flattened(text, DuplicateKeyPolicy::Error)?;
        match document.odd_number {
            Some(fault) => Err(fault),
            None => Ok(document),
        }
    }

    /// The lines of a text that another reader has read or will read, as far as they can be told:
    /// duplicate keys and odd numbers are that reader's business. `None` if it isn't even YAML.
    pub fn lenient(text: &str) -> Option<Self> {
        Self::flattened(text, DuplicateKeyPolicy::LastWins).ok()
    }

    fn flattened(text: &str, duplicates: DuplicateKeyPolicy) -> Result<Self, SyntaxError> {
        if text.len() > MAX_FILE {
            let message = format!("the file has {} bytes; the limit is {MAX_FILE}", text.len());
            return Err(SyntaxError { line: None, message });
        }
        let read = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options(duplicates));
        let tree = read.map_err(|error| fault::explain(&error, text))?;
        let mut flattening = Flattening { text, lines: BTreeMap::new(), odd_number: None };
        let value = flattening.flatten(tree, String::new(), None);
        Ok(Self { value, lines: flattening.lines, odd_number: flattening.odd_number })
    }

    /// The line of a path, from 1; if the path is missing, the line of its closest ancestor.
    pub fn line(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.get(..at).unwrap_or_default(),
                None if path.is_empty() => return 1,
                None => path = "",
            }
        }
    }
}

/// A value as a YAML document, in block style, read alike by YAML 1.1 (Kubernetes) and 1.2.
///
/// # Errors
/// What the writer says; a JSON value has nothing that YAML cannot say.
pub fn write(value: &Value) -> Result<String, Error> {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options)
        .map_err(|error| Error::Output(std::io::Error::other(error)))
}

fn options(duplicate_keys: DuplicateKeyPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_VALUES,
            max_events: MAX_VALUES * 4,
            max_depth: MAX_DEPTH,
            max_documents: 1,
        },
        duplicate_keys: duplicate_keys,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// A value whose parts know their lines.
enum Tree {
    Leaf(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

/// A document on its way from a tree to a value and its lines.
struct Flattening<'t> {
    text: &'t str,
    lines: BTreeMap<String, u64>,
    odd_number: Option<SyntaxError>,
}

impl Flattening<'_> {
    /// The value at a path. A field's line is its key's.
    fn flatten(&mut self, tree: Spanned<Tree>, path: String, key_line: Option<u64>) -> Value {
        let line = key_line.unwrap_or_else(|| tree.referenced.line());
        let value = match tree.value {
            Tree::Leaf(value) => {
                if let Value::Number(number) = &value
                    && self.odd_number.is_none()
                {
                    self.odd_number = fault::odd_number(number, self.text, tree.defined);
                }
                value
            }
            Tree::List(items) => {
                let items = items.into_iter().enumerate();
                items.map(|(at, item)| self.flatten(item, format!("{path}[{at}]"), None)).collect()
            }
            Tree::Map(fields) => {
                let mut map = Map::new();
                for (key, field) in fields {
                    let line = Some(key.referenced.line());
                    let dot = if path.is_empty() { "" } else { "." };
                    let at = format!("{path}{dot}{}", key.value);
                    map.insert(key.value, self.flatten(field, at, line));
                }
                Value::Object(map)
            }
        };
        self.lines.insert(path, line);
        value
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(flag.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        // JSON has no such number, so it becomes text, which readers of numbers refuse by name.
        let text = || Value::from(number.to_string());
        Ok(Tree::Leaf(Number::from_f64(number).map_or_else(text, Value::from)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests;
