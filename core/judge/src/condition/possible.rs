//! Which answers a condition can give at all: to warn of one that never changes.
//!
//! [`can`] never calls an answer impossible that some result gives. It follows `and`, `or` and `not`
//! and, of what must hold together, intersects the ranges that comparisons with numbers leave each
//! value, and the orders that comparisons with each other leave each two. Ranges and orders together it
//! takes for possible.

use std::collections::BTreeMap;

use super::{Comparison, ConstantCondition, Expression, Operand};

/// What is said of a condition's answers; `values` is how many values a result has, if that is known.
pub(super) fn constant(condition: &Expression, values: Option<usize>) -> Option<ConstantCondition> {
    match (can(condition, true, values), can(condition, false, values)) {
        (false, false) => Some(ConstantCondition::NeverAnswers),
        (false, true) => Some(ConstantCondition::NeverHolds),
        (true, false) => Some(ConstantCondition::AlwaysHolds),
        (true, true) => None,
    }
}

/// Whether a result may give the answer `holds`.
fn can(expression: &Expression, holds: bool, values: Option<usize>) -> bool {
    match (expression, holds) {
        (Expression::Not(part), _) => can(part, !holds, values),
        // All parts must give this answer, of one and the same result.
        (Expression::Both(parts), true) | (Expression::Either(parts), false) => {
            parts.iter().all(|part| can(part, holds, values)) && together(expression, holds, values)
        }
        // The first part is always asked; a later one only after it answered.
        (Expression::Both(parts), false) | (Expression::Either(parts), true) => {
            parts.iter().any(|part| can(part, holds, values))
        }
        (Expression::IsNan(value) | Expression::IsInfinite(value), _) => {
            let constant = matches!(value, Operand::Number(_) | Operand::Length);
            (!constant || !holds) && together(expression, holds, values)
        }
        (Expression::Compare(left, comparison, right), _) => {
            let certain = match (left, right) {
                (Operand::Number(left), Operand::Number(right)) => {
                    Some(comparison.holds(*left, *right))
                }
                (left, right) if left == right => Some(comparison.holds(0.0, 0.0)),
                _ => None,
            };
            certain.is_none_or(|certain| certain == holds) && together(expression, holds, values)
        }
    }
}

/// Whether all that `expression` asks for at once, to be answered `holds`, leaves each value a range.
fn together(expression: &Expression, holds: bool, values: Option<usize>) -> bool {
    let mut demands = Demands::new(values);
    demands.add(expression, holds);
    demands.can_be_met()
}

/// What one result must be like.
struct Demands {
    length: Range,
    elements: BTreeMap<usize, Range>,
    /// For two elements, by their indexes: whether the first may be less, equal, greater.
    orders: BTreeMap<(usize, usize), [bool; 3]>,
    nan: Vec<usize>,
}

impl Demands {
    fn new(values: Option<usize>) -> Self {
        // An empty result is no data: it is never held against a condition.
        let mut length = Range::default();
        length.demand(Comparison::AtLeast, 1.0);
        if let Some(values) = values {
            length.demand(Comparison::Equal, values as f64);
        }
        Self { length, elements: BTreeMap::new(), orders: BTreeMap::new(), nan: Vec::new() }
    }

    fn add(&mut self, expression: &Expression, holds: bool) {
        match (expression, holds) {
            (Expression::Not(part), _) => self.add(part, !holds),
            (Expression::Both(parts), true) | (Expression::Either(parts), false) => {
                parts.iter().for_each(|part| self.add(part, holds));
            }
            // One part alone may decide these.
            (Expression::Both(_), false) | (Expression::Either(_), true) => {}
            (Expression::IsNan(value), _) => {
                if let Some(index) = self.names(*value) {
                    if holds {
                        self.nan.push(index);
                    } else {
                        self.elements.entry(index).or_default();
                    }
                }
            }
            (Expression::IsInfinite(value), _) => {
                if let Some(index) = self.names(*value) {
                    self.elements.entry(index).or_default();
                }
            }
            (Expression::Compare(left, comparison, right), _) => {
                let comparison = if holds { *comparison } else { comparison.negated() };
                self.compare(*left, comparison, *right);
                self.compare(*right, comparison.flipped(), *left);
                if let (Some(left), Some(right)) = (self.names(*left), self.names(*right)) {
                    self.order(left, comparison, right);
                }
            }
        }
    }

    fn compare(&mut self, value: Operand, comparison: Comparison, with: Operand) {
        let index = self.names(value);
        let range = match index {
            Some(index) => self.elements.entry(index).or_default(),
            None if value == Operand::Length => &mut self.length,
            None => return,
        };
        if let Operand::Number(number) = with {
            range.demand(comparison, number);
        }
    }

    fn order(&mut self, left: usize, comparison: Comparison, right: usize) {
        let (pair, comparison) = if left <= right {
            ((left, right), comparison)
        } else {
            ((right, left), comparison.flipped())
        };
        let possible = [(0.0, 1.0), (0.0, 0.0), (1.0, 0.0)].map(|(a, b)| comparison.holds(a, b));
        let held = self.orders.entry(pair).or_insert([left != right, true, left != right]);
        for (held, possible) in held.iter_mut().zip(possible) {
            *held &= possible;
        }
    }

    /// The index of the element that is asked for, which the result must then have.
    fn names(&mut self, value: Operand) -> Option<usize> {
        match value {
            Operand::Number(_) | Operand::Length => None,
            Operand::Single => {
                self.length.demand(Comparison::Equal, 1.0);
                Some(0)
            }
            Operand::Element(index) => {
                self.length.demand(Comparison::Greater, index as f64);
                Some(index)
            }
        }
    }

    fn can_be_met(&self) -> bool {
        let number_and_nan = self.nan.iter().any(|index| self.elements.contains_key(index));
        !number_and_nan
            && self.length.has_whole_number()
            && self.elements.values().all(Range::is_not_empty)
            && self.orders.values().all(|order| order.contains(&true))
    }
}

/// The numbers that are left.
#[derive(Clone, Debug)]
struct Range {
    least: f64,
    least_itself: bool,
    most: f64,
    most_itself: bool,
    excluded: Vec<f64>,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            least: f64::NEG_INFINITY,
            least_itself: true,
            most: f64::INFINITY,
            most_itself: true,
            excluded: Vec::new(),
        }
    }
}

impl Range {
    #[allow(clippy::float_cmp, reason = "bounds are compared as they were written")]
    fn demand(&mut self, comparison: Comparison, number: f64) {
        use Comparison::{AtLeast, AtMost, Equal, Greater, Less, NotEqual};
        if matches!(comparison, AtLeast | Greater | Equal) {
            let itself = comparison != Greater;
            if number > self.least {
                (self.least, self.least_itself) = (number, itself);
            } else if number == self.least {
                self.least_itself &= itself;
            }
        }
        if matches!(comparison, AtMost | Less | Equal) {
            let itself = comparison != Less;
            if number < self.most {
                (self.most, self.most_itself) = (number, itself);
            } else if number == self.most {
                self.most_itself &= itself;
            }
        }
        if comparison == NotEqual {
            self.excluded.push(number);
        }
    }

    #[allow(clippy::float_cmp, reason = "bounds are compared as they were written")]
    fn is_not_empty(&self) -> bool {
        if self.least == self.most {
            let itself = self.least_itself && self.most_itself;
            return itself && !self.excluded.contains(&self.least);
        }
        self.least < self.most
    }

    fn has_whole_number(&self) -> bool {
        let after = |bound: f64, itself: bool| {
            if itself { bound.ceil() } else { bound.floor() + 1.0 }
        };
        let first = after(self.least, self.least_itself);
        let last = -after(-self.most, self.most_itself);
        // One more candidate than numbers that are excluded is enough to find one that isn't.
        let candidates = (0..=self.excluded.len()).map(|step| first + step as f64);
        candidates.take_while(|number| *number <= last).any(|n| !self.excluded.contains(&n))
    }
}
