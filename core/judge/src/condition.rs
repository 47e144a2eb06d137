//! Conditions on a query's result, such as `result[0] >= 0.95 && result[0] < 2`.
//!
//! A small part of the language that Argo Rollouts has for its `successCondition` and
//! `failureCondition` (expr-lang), parsed once and then evaluated without any way to fail but by the
//! result's shape:
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
//!
//! **NaN is no data**, and a condition sees only the values that it names. A test of a value that is
//! NaN is undecided, unless the test is `isNaN`; and so is the condition, unless its other parts
//! decide it whatever the undecided one would say (the strong three-valued logic of Kleene 1952). So
//! a NaN in `result[1]` doesn't matter to `result[0] > 1`, and `isNaN(result[0]) || result[1] > 1`
//! says nothing when only `result[1]` is NaN.

mod parse;
mod possible;

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
    IsNan(Operand),
    IsInfinite(Operand),
    Compare(Operand, Comparison, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operand {
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

/// Why a text is not a condition.
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

/// Why a condition neither holds nor doesn't hold for a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "camelCase")]
pub enum Undecided {
    /// `result` alone, but the result has another number of values than one.
    NotSingle {
        /// How many it has.
        len: usize,
    },
    /// `result[index]`, but the result has only so many values.
    OutOfRange {
        /// The index that was asked for.
        index: usize,
        /// How many values there are.
        len: usize,
    },
    /// The value that decides is NaN.
    NotANumber {
        /// Its index in the result, from 0.
        index: usize,
    },
}

/// A condition that never changes its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ConstantCondition {
    /// No result makes it hold.
    NeverHolds,
    /// It holds for every result that it can be asked about.
    AlwaysHolds,
    /// No result lets it be answered, such as `result[1] > 1` of a query that answers one value.
    NeverAnswers,
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
    /// [`Undecided`] where the result lacks a value that the condition asks for, and where the values
    /// that would decide are NaN.
    pub fn holds(&self, result: &[f64]) -> Result<bool, Undecided> {
        self.expression.holds(result)
    }

    /// Whether the condition says the same of every result, as far as that can be told from its text:
    /// what it reports is certain, and what it doesn't report may still be constant. `values` is how
    /// many values the query is known to answer.
    pub fn constant(&self, values: Option<usize>) -> Option<ConstantCondition> {
        possible::constant(&self.expression, values)
    }
}

impl Expression {
    /// As in Argo's language, what decides first ends the evaluation: of a value that isn't there only
    /// what is asked matters.
    fn holds(&self, result: &[f64]) -> Result<bool, Undecided> {
        match self {
            Self::Either(parts) => first_decisive(parts, result, true),
            Self::Both(parts) => first_decisive(parts, result, false),
            Self::Not(part) => part.holds(result).map(|held| !held),
            Self::IsNan(value) => value.read(result).map(|(value, _)| value.is_nan()),
            Self::IsInfinite(value) => value.number(result).map(f64::is_infinite),
            Self::Compare(left, comparison, right) => {
                Ok(comparison.holds(left.number(result)?, right.number(result)?))
            }
        }
    }
}

/// The parts of a disjunction (`decisive` true) or a conjunction (false): one that is `decisive` decides
/// alone; without it one that is undecided leaves the whole undecided.
fn first_decisive(parts: &[Expression], result: &[f64], decisive: bool) -> Result<bool, Undecided> {
    let mut undecided = None;
    for part in parts {
        match part.holds(result) {
            Ok(held) if held == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(nan @ Undecided::NotANumber { .. }) => undecided = undecided.or(Some(nan)),
            Err(shape) => return Err(shape),
        }
    }
    undecided.map_or(Ok(!decisive), Err)
}

impl Operand {
    /// The value, which may be NaN, and its index.
    fn read(self, result: &[f64]) -> Result<(f64, usize), Undecided> {
        match (self, result) {
            (Self::Number(number), _) => Ok((number, 0)),
            (Self::Length, _) => Ok((result.len() as f64, 0)),
            (Self::Single, [single]) => Ok((*single, 0)),
            (Self::Single, _) => Err(Undecided::NotSingle { len: result.len() }),
            (Self::Element(index), _) => {
                let missing = Undecided::OutOfRange { index, len: result.len() };
                result.get(index).map(|value| (*value, index)).ok_or(missing)
            }
        }
    }

    fn number(self, result: &[f64]) -> Result<f64, Undecided> {
        let (value, index) = self.read(result)?;
        if value.is_nan() { Err(Undecided::NotANumber { index }) } else { Ok(value) }
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

    /// What holds of two numbers exactly where this one doesn't.
    const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::AtLeast,
            Self::AtMost => Self::Greater,
            Self::Greater => Self::AtMost,
            Self::AtLeast => Self::Less,
        }
    }

    /// The same with the two sides exchanged.
    const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
            same => same,
        }
    }
}
