//! Reading a configuration out of a JSON value, with every problem named by its path.
//!
//! A configuration is read once, into checked types; what is wrong with it is collected rather than
//! thrown at the first fault, so that a person mends a file in one go. YAML files come here as
//! JSON values, too; who read them knows which line a path stands on.

mod json;

use std::fmt;

use serde_json::{Map, Value};

pub use json::{JsonLines, parse as parse_json};

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: `rollouts[0].canary.version`; empty for the document itself.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The problems found so far, in the order of the document's reading.
#[derive(Debug, Default)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Notes a problem at a path.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(ConfigError { path: path.to_owned(), message: message.into() });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value if nothing was wrong, else every problem.
    ///
    /// # Errors
    /// The problems, when there are any or the value could not be made.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<ConfigError>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// What a text must look like.
#[derive(Clone, Copy, Debug)]
pub struct TextRule {
    /// What would be right, for the message where it is not.
    pub expected: &'static str,
    /// Whether a text is right.
    pub fits: fn(&str) -> bool,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    /// The root of a document, whose path is empty.
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// Where this value stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The JSON value as it was read.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Notes a problem at this value.
    pub fn problem(&self, problems: &mut ConfigErrors, message: impl Into<String>) {
        problems.add(&self.path, message);
    }

    /// Notes that something else was expected here.
    pub fn expected(&self, problems: &mut ConfigErrors, what: &str) {
        self.problem(problems, format!("expected {what}, found {}", describe(self.value)));
    }

    /// The value as an object whose fields are all among `known`; a field that is not is a problem
    /// at its own path.
    pub fn object(&self, known: &[&str], problems: &mut ConfigErrors) -> Option<Object<'a>> {
        let Value::Object(map) = self.value else {
            self.expected(problems, "an object");
            return None;
        };
        for field in map.keys().filter(|field| !known.contains(&field.as_str())) {
            let message = format!("unknown field; known here: {}", known.join(", "));
            problems.add(&join(&self.path, field), message);
        }
        Some(Object { map, path: self.path.clone() })
    }

    /// The elements of a list of at most `limit`.
    pub fn list(&self, limit: usize, problems: &mut ConfigErrors) -> Option<Vec<Node<'a>>> {
        let Value::Array(items) = self.value else {
            self.expected(problems, "a list");
            return None;
        };
        if items.len() > limit {
            self.problem(problems, format!("at most {limit} entries, found {}", items.len()));
            return None;
        }
        let at = |index| format!("{}[{index}]", self.path);
        let nodes = items.iter().enumerate();
        Some(nodes.map(|(index, value)| Node { value, path: at(index) }).collect())
    }

    /// The value as text.
    pub fn text(&self, problems: &mut ConfigErrors) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected(problems, "a string");
        }
        text
    }

    /// The value as true or false.
    pub fn flag(&self, problems: &mut ConfigErrors) -> Option<bool> {
        let flag = self.value.as_bool();
        if flag.is_none() {
            self.expected(problems, "true or false");
        }
        flag
    }

    /// The value as a finite number.
    pub fn number(&self, problems: &mut ConfigErrors) -> Option<f64> {
        let number = self.value.as_f64();
        if number.is_none() {
            self.expected(problems, "a number");
        }
        number
    }

    /// The value as a whole number from `least` to `most`.
    pub fn whole(&self, least: u64, most: u64, problems: &mut ConfigErrors) -> Option<u64> {
        let number = self.value.as_u64().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.expected(problems, &format!("a whole number from {least} to {most}"));
        }
        number
    }

    /// Text by a rule. Where it breaks it, that is noted and the text reads as empty: reading goes on,
    /// and [`ConfigErrors::finish`] refuses the whole in the end.
    pub fn ruled(&self, rule: &TextRule, problems: &mut ConfigErrors) -> String {
        match self.value.as_str().filter(|text| (rule.fits)(text)) {
            Some(text) => text.to_owned(),
            None => {
                self.expected(problems, rule.expected);
                String::new()
            }
        }
    }

    /// Text that `parse` understands; `what` says in an error what would have been right.
    pub fn parsed<T>(
        &self,
        what: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
        problems: &mut ConfigErrors,
    ) -> Option<T> {
        let parsed = self.value.as_str().and_then(parse);
        if parsed.is_none() {
            self.expected(problems, what);
        }
        parsed
    }
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// Where the object stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A field, if it is there. `null` counts as missing.
    pub fn get(&self, field: &str) -> Option<Node<'a>> {
        let value = self.map.get(field).filter(|value| !value.is_null())?;
        Some(Node { value, path: join(&self.path, field) })
    }

    /// The text of a field that must be there, by a rule; empty as in [`Node::ruled`].
    pub fn ruled(&self, field: &str, rule: &TextRule, problems: &mut ConfigErrors) -> String {
        let node = self.require(field, problems);
        node.map(|node| node.ruled(rule, problems)).unwrap_or_default()
    }

    /// A field that must be there.
    pub fn require(&self, field: &str, problems: &mut ConfigErrors) -> Option<Node<'a>> {
        let node = self.get(field);
        if node.is_none() {
            problems.add(&join(&self.path, field), "required, but missing");
        }
        node
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// A value as an error message shows it: its kind, and what it says when that is short.
fn describe(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::Null => return "null".to_owned(),
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => serde_json::to_string(text).unwrap_or_default(),
    };
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(&text)),
    }
}
