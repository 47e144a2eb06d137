//! Conditions on a query's result, such as `result[0] >= 0.95 && result[0] < 2`.
//!
//! A small part of the language that Argo Rollouts has for its `successCondition` and
//! `failureCondition`, parsed once and then evaluated without any way to fail but by the result's
//! shape:
//!
//! ```text
//! either     = both { ("||" | "or") both }
//! both       = negation { ("&&" | "and") negation }
//! negation   = ("!" | "not") negation | "(" either ")" | test
//! test       = "isNaN(" value ")" | "isInf(" value ")" | value comparison value
//! comparison = "==" | "!=" | "<" | "<=" | ">" | ">="
//! value      = number | "result" | "result[" index "]" | "len(result)"
//! ```
//!
//! `result` is the one value of a result that has exactly one; where a query answers several series,
//! the condition says by index which one it means.

mod parse;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest condition, in bytes.
pub const MAX_CONDITION: usize = 1_000;

/// A condition that was understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Condition {
    text: String,
    expression: Expression,
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Either(Vec<Expression>),
    Both(Vec<Expression>),
    Not(Box<Expression>),
    IsNan(Value),
    IsInfinite(Value),
    Compare(Value, Comparison, Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Number(f64),
    Single,
    Element(usize),
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// Where, in bytes from 0.
    pub at: usize,
    /// What would be right there.
    pub expected: String,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: expected {}", self.at + 1, self.expected)
    }
}

impl std::error::Error for ConditionError {}

/// The result has not the shape that the condition asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// `result` alone, but the result has this many values.
    NotSingle(usize),
    /// `result[index]`, but the result has only so many values.
    OutOfRange {
        /// The index that was asked for.
        index: usize,
        /// How many values there are.
        len: usize,
    },
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSingle(len) => {
                write!(f, "the query answered {len} series: name one as result[0], or aggregate")
            }
            Self::OutOfRange { index, len } => {
                write!(f, "result[{index}] asks for more than the {len} series there are")
            }
        }
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        Self::parse(&text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.text
    }
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// Where the text stops making sense, and what would be right there.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        parse::parse(text).map(|expression| Self { text: text.to_owned(), expression })
    }

    /// The condition as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the condition holds for a result.
    ///
    /// # Errors
    /// Where the result lacks the value that the condition asks for.
    pub fn holds(&self, result: &[f64]) -> Result<bool, ShapeError> {
        self.expression.holds(result)
    }

    /// Whether the condition itself asks for values that are no numbers; otherwise such a value is
    /// no data.
    pub fn asks_for_nan(&self) -> bool {
        self.expression.asks_for_nan()
    }
}

impl Expression {
    /// As in Argo's language, what decides first ends the evaluation.
    fn holds(&self, result: &[f64]) -> Result<bool, ShapeError> {
        match self {
            Self::Either(parts) => {
                for part in parts {
                    if part.holds(result)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Both(parts) => {
                for part in parts {
                    if !part.holds(result)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(part) => part.holds(result).map(|held| !held),
            Self::IsNan(value) => value.of(result).map(f64::is_nan),
            Self::IsInfinite(value) => value.of(result).map(f64::is_infinite),
            Self::Compare(left, comparison, right) => {
                Ok(comparison.holds(left.of(result)?, right.of(result)?))
            }
        }
    }

    fn asks_for_nan(&self) -> bool {
        match self {
            Self::Either(parts) | Self::Both(parts) => parts.iter().any(Self::asks_for_nan),
            Self::Not(part) => part.asks_for_nan(),
            Self::IsNan(_) => true,
            Self::IsInfinite(_) | Self::Compare(..) => false,
        }
    }
}

impl Value {
    fn of(self, result: &[f64]) -> Result<f64, ShapeError> {
        match (self, result) {
            (Self::Number(number), _) => Ok(number),
            (Self::Length, _) => Ok(result.len() as f64),
            (Self::Single, [single]) => Ok(*single),
            (Self::Single, _) => Err(ShapeError::NotSingle(result.len())),
            (Self::Element(index), _) => {
                let missing = ShapeError::OutOfRange { index, len: result.len() };
                result.get(index).copied().ok_or(missing)
            }
        }
    }
}

impl Comparison {
    #[allow(clippy::float_cmp, reason = "the user's == means exactly equal, as in Argo")]
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}
