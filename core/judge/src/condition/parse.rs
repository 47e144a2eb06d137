//! The condition's grammar, by recursive descent.

use super::{Comparison, ConditionError, Expression, MAX_CONDITION, Operand};

/// How deep parentheses and negations may nest.
const MAX_DEPTH: usize = 32;
/// What a value looks like, for error messages.
const A_VALUE: &str = "a number, result, result[0] or len(result)";
/// Longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

pub(super) fn parse(text: &str) -> Result<Expression, ConditionError> {
    if text.len() > MAX_CONDITION {
        let expected = format!("the end: a condition has at most {MAX_CONDITION} bytes");
        return Err(ConditionError { at: MAX_CONDITION, expected });
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expression = parser.either()?;
    parser.skip_blanks();
    if parser.at < text.len() {
        return Err(parser.expected("&&, || or the end"));
    }
    Ok(expression)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn either(&mut self) -> Result<Expression, ConditionError> {
        self.chain(["||", "or"], Self::both, Expression::Either)
    }

    fn both(&mut self) -> Result<Expression, ConditionError> {
        self.chain(["&&", "and"], Self::negation, Expression::Both)
    }

    fn chain(
        &mut self,
        [sign, word]: [&str; 2],
        part: fn(&mut Self) -> Result<Expression, ConditionError>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Expression, ConditionError> {
        let first = part(self)?;
        let mut parts = vec![];
        while self.take(sign) || self.take_word(word) {
            parts.push(part(self)?);
        }
        if parts.is_empty() {
            return Ok(first);
        }
        parts.insert(0, first);
        Ok(join(parts))
    }

    fn negation(&mut self) -> Result<Expression, ConditionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected(&format!("at most {MAX_DEPTH} levels")));
        }
        let expression = if self.take("!") || self.take_word("not") {
            Expression::Not(Box::new(self.negation()?))
        } else if self.take("(") {
            let inner = self.either()?;
            self.require(")")?;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn test(&mut self) -> Result<Expression, ConditionError> {
        for (word, make) in [
            ("isNaN", Expression::IsNan as fn(Operand) -> Expression),
            ("isInf", Expression::IsInfinite),
        ] {
            if self.take_word(word) {
                self.require("(")?;
                let value = self.value()?;
                self.require(")")?;
                return Ok(make(value));
            }
        }
        let left = self.value()?;
        let Some((_, comparison)) = COMPARISONS.into_iter().find(|(sign, _)| self.take(sign))
        else {
            return Err(self.expected("a comparison: == != < <= > >="));
        };
        Ok(Expression::Compare(left, comparison, self.value()?))
    }

    fn value(&mut self) -> Result<Operand, ConditionError> {
        if self.take_word("len") {
            self.require("(")?;
            if !self.take_word("result") {
                return Err(self.expected("result"));
            }
            self.require(")")?;
            return Ok(Operand::Length);
        }
        if !self.take_word("result") {
            return self.number();
        }
        if !self.take("[") {
            return Ok(Operand::Single);
        }
        self.skip_blanks();
        let digits = self.run(|c| c.is_ascii_digit());
        let index = digits.parse().map_err(|_| self.expected("an index such as 0"))?;
        self.at += digits.len();
        self.require("]")?;
        Ok(Operand::Element(index))
    }

    fn number(&mut self) -> Result<Operand, ConditionError> {
        self.skip_blanks();
        let mut previous = ' ';
        // A sign belongs to the number at its start and after the exponent's letter.
        let text = self.run(|c| {
            let sign = matches!(c, '-' | '+') && matches!(previous, ' ' | 'e' | 'E');
            previous = c;
            sign || c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E')
        });
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.expected(A_VALUE))?;
        self.at += text.len();
        Ok(Operand::Number(number))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The longest beginning of the rest whose characters all pass.
    fn run(&self, mut passes: impl FnMut(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !passes(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at += self.run(|c| c.is_ascii_whitespace()).len();
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len();
        }
        found
    }

    /// A word, not just the beginning of a longer one.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let found = self.run(|c| c.is_ascii_alphanumeric() || c == '_') == word;
        if found {
            self.at += word.len();
        }
        found
    }

    fn require(&mut self, sign: &str) -> Result<(), ConditionError> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    fn expected(&self, what: &str) -> ConditionError {
        ConditionError { at: self.at, expected: what.to_owned() }
    }
}
