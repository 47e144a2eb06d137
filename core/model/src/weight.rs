//! A weight: the share of eligible requests that goes to the canary, exact to one part per million.
//!
//! People and the runtime write percent (`5`, `0.25`); everything inside counts parts per million,
//! so that four decimals of a percent are exact and no floating point decides where a request goes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Parts per million in the whole: 100 %.
pub const PPM: u32 = 1_000_000;

/// Parts per million in one percent.
const PPM_PER_PERCENT: u32 = 10_000;

/// A share of traffic in parts per million, 0 to 1,000,000 inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

/// Why a text is no weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightError {
    /// Not of the form `5` or `0.25`: digits, then at most four decimals.
    Syntax,
    /// A number, but above 100.
    OutOfRange,
}

impl fmt::Display for WeightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => {
                "a weight is a percentage from 0 to 100 with up to four decimals, such as 5 or 0.25"
            }
            Self::OutOfRange => "a weight lies between 0 and 100 percent",
        })
    }
}

impl std::error::Error for WeightError {}

impl Weight {
    /// Nothing goes to the canary.
    pub const ZERO: Self = Self(0);
    /// Everything goes to the canary.
    pub const FULL: Self = Self(PPM);

    /// A weight from parts per million; `None` above 1,000,000.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= PPM { Some(Self(ppm)) } else { None }
    }

    /// Parts per million, 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// The share as a fraction, 0.0 to 1.0.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(PPM)
    }

    /// The share in percent, 0.0 to 100.0.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / f64::from(PPM_PER_PERCENT)
    }

    /// Reads the runtime's grammar: `0` to `100`, no leading zeros, at most four decimals
    /// (`5`, `0.25`; not `05`, `.5`, `5.`).
    ///
    /// # Errors
    /// [`WeightError::Syntax`] for anything else, [`WeightError::OutOfRange`] above 100.
    pub fn parse_percent(text: &str) -> Result<Self, WeightError> {
        let (whole, decimals) = match text.split_once('.') {
            None => (text, ""),
            Some((_, "")) => return Err(WeightError::Syntax),
            Some(parts) => parts,
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || !digits(whole) || leading_zero {
            return Err(WeightError::Syntax);
        }
        if decimals.len() > 4 || !digits(decimals) {
            return Err(WeightError::Syntax);
        }
        if whole.len() > 3 {
            return Err(WeightError::OutOfRange);
        }
        // At most three and four digits: neither parse can fail.
        let whole: u32 = whole.parse().map_err(|_| WeightError::Syntax)?;
        let decimals: u32 = format!("{decimals:0<4}").parse().map_err(|_| WeightError::Syntax)?;
        Self::from_ppm(whole * PPM_PER_PERCENT + decimals).ok_or(WeightError::OutOfRange)
    }

    /// Reads a JSON number of percent, as configurations have it (`5`, `0.25`, `5.0`).
    ///
    /// # Errors
    /// As [`Weight::parse_percent`]; a fifth decimal is a syntax error, never rounded away.
    pub fn from_json(number: &serde_json::Number) -> Result<Self, WeightError> {
        let Some(percent) = number.as_f64() else {
            return Err(WeightError::Syntax);
        };
        if !(0.0..=100.0).contains(&percent) {
            return Err(WeightError::OutOfRange);
        }
        // Reading a decimal and dividing both round to the nearest float, so a weight's decimal and
        // its quotient are the same float; and no two weights share one.
        let nearest = Self((percent * f64::from(PPM_PER_PERCENT)).round() as u32);
        if nearest.percent() == percent { Ok(nearest) } else { Err(WeightError::Syntax) }
    }
}

/// The percentage in the runtime's own grammar, shortest form: `5`, `0.25`.
impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / PPM_PER_PERCENT, self.0 % PPM_PER_PERCENT);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// A JSON number of percent, whole where it is whole.
impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(PPM_PER_PERCENT) {
            return serializer.serialize_u32(self.0 / PPM_PER_PERCENT);
        }
        serializer.serialize_f64(self.percent())
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        Self::from_json(&number).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for (text, ppm) in [
            ("0", 0),
            ("5", 50_000),
            ("0.25", 2_500),
            ("100", PPM),
            ("100.0000", PPM),
            ("0.0001", 1),
            ("99.9999", 999_999),
            ("5.0", 50_000),
        ] {
            assert_eq!(Weight::parse_percent(text).map(Weight::ppm), Ok(ppm), "{text}");
        }
        for text in
            ["", "05", ".5", "5.", "abc", "-1", "+1", "1e2", "5 ", " 5", "0.00001", "5.1.1", "٥"]
        {
            assert_eq!(Weight::parse_percent(text), Err(WeightError::Syntax), "{text}");
        }
        for text in ["101", "100.0001", "1000", "99999999999999"] {
            assert_eq!(Weight::parse_percent(text), Err(WeightError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn json_numbers_are_exact() {
        let read = |text: &str| Weight::from_json(&serde_json::from_str(text).unwrap());
        assert_eq!(read("0.0001").map(Weight::ppm), Ok(1));
        assert_eq!(read("33.3333").map(Weight::ppm), Ok(333_333));
        assert_eq!(read("5.0").map(Weight::ppm), Ok(50_000));
        assert_eq!(read("1e1").map(Weight::ppm), Ok(100_000));
        assert_eq!(read("0.00001"), Err(WeightError::Syntax));
        assert_eq!(read("101"), Err(WeightError::OutOfRange));
        assert_eq!(read("-1"), Err(WeightError::OutOfRange));
    }

    #[test]
    fn display_reads_back() {
        for ppm in (0..=PPM).step_by(37).chain([1, 999_999, PPM]) {
            let weight = Weight::from_ppm(ppm).unwrap();
            assert_eq!(Weight::parse_percent(&weight.to_string()), Ok(weight));
            let number: serde_json::Number = serde_json::from_str(&weight.to_string()).unwrap();
            assert_eq!(Weight::from_json(&number), Ok(weight));
            let json = serde_json::to_value(weight).unwrap();
            assert_eq!(serde_json::from_value::<Weight>(json).unwrap(), weight);
        }
    }
}
