//! The runtime's weight: a percentage, and the version of the canary that it is meant for.

use std::fmt;

use super::ValueError;
use crate::names::is_version;
use crate::weight::Weight;

/// The value of a rollout's `weight` key: `5`, or `5@3.2` for the canary version 3.2 only.
///
/// [`fmt::Display`] writes the runtime's grammar, which [`WeightValue::parse`] reads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightValue {
    /// The share of eligible requests that goes to the canary.
    pub weight: Weight,
    /// The canary version that the weight is meant for; `None` means whichever version is the canary.
    pub version: Option<String>,
}

impl WeightValue {
    /// A weight for one version of the canary, or for any if `version` is `None`.
    ///
    /// A version outside the grammar of [`is_version`] makes a value that no filter can read;
    /// [`Update::form_body`](super::Update::form_body) refuses to write it.
    pub fn new(weight: Weight, version: Option<&str>) -> Self {
        Self { weight, version: version.map(str::to_owned) }
    }

    /// Reads a percentage as [`Weight::parse_percent`] does, then nothing or `@` and a version.
    ///
    /// # Errors
    /// [`ValueError::Weight`] if the percentage is wrong, [`ValueError::WeightVersion`] if what comes
    /// after `@` isn't a version.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let (percent, version) = match text.split_once('@') {
            None => (text, None),
            Some((percent, version)) => (percent, Some(version)),
        };
        let weight = Weight::parse_percent(percent).map_err(ValueError::Weight)?;
        if version.is_some_and(|version| !is_version(version)) {
            return Err(ValueError::WeightVersion);
        }
        Ok(Self::new(weight, version))
    }

    /// The weight that this value puts in force for a canary of version `canary`: zero if the value
    /// is meant for another version, so that a new canary never starts at its predecessor's weight.
    pub fn for_canary(&self, canary: &str) -> Weight {
        if self.is_for(canary) { self.weight } else { Weight::ZERO }
    }

    /// Whether the value is meant for a canary of version `canary`.
    pub fn is_for(&self, canary: &str) -> bool {
        self.version.as_deref().is_none_or(|version| version == canary)
    }
}

impl fmt::Display for WeightValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => write!(f, "{}", self.weight),
            Some(version) => write!(f, "{}@{version}", self.weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::weight::{PPM, WeightError};

    #[test]
    fn weights_with_and_without_a_version() {
        for (text, ppm, version) in [
            ("5", 50_000, None),
            ("0", 0, None),
            ("5@3.2", 50_000, Some("3.2")),
            ("0.25@v1.2.3-rc_1", 2_500, Some("v1.2.3-rc_1")),
            ("100@3", PPM, Some("3")),
            ("0@A", 0, Some("A")),
        ] {
            let value = WeightValue::parse(text).unwrap();
            assert_eq!((value.weight.ppm(), value.version.as_deref()), (ppm, version), "{text}");
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_weight_value() {
        let syntax = ValueError::Weight(WeightError::Syntax);
        let range = ValueError::Weight(WeightError::OutOfRange);
        for (text, error) in [
            ("", syntax),
            ("@3.2", syntax),
            ("05@3.2", syntax),
            (".5@3.2", syntax),
            ("5.@3.2", syntax),
            ("5 @3.2", syntax),
            ("5%@3.2", syntax),
            ("0.00001@3.2", syntax),
            ("101@3.2", range),
            ("5@", ValueError::WeightVersion),
            ("5@ 3.2", ValueError::WeightVersion),
            ("5@3.2@3.3", ValueError::WeightVersion),
            ("5@.2", ValueError::WeightVersion),
            ("5@3/2", ValueError::WeightVersion),
        ] {
            assert_eq!(WeightValue::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_weight_for_another_version_is_zero() {
        let bound = WeightValue::parse("100@3.2").unwrap();
        assert_eq!(bound.for_canary("3.2"), Weight::FULL);
        assert_eq!(bound.for_canary("3.3"), Weight::ZERO);
        assert_eq!(bound.for_canary("3.20"), Weight::ZERO);
        let bare = WeightValue::parse("100").unwrap();
        assert_eq!(bare.for_canary("3.3"), Weight::FULL);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            ppm in 0..=PPM,
            version in proptest::option::of("[A-Za-z0-9][A-Za-z0-9._-]{0,62}"),
        ) {
            prop_assume!(version.as_deref().is_none_or(is_version));
            let value = WeightValue::new(Weight::from_ppm(ppm).unwrap(), version.as_deref());
            prop_assert_eq!(WeightValue::parse(&value.to_string()), Ok(value));
        }
    }
}
