//! What the runtime's values mean: the grammar of each key.

use std::fmt;

use super::{Setting, Snapshot, VersionLabel, WeightValue};
use crate::names::VERSION_EXPECTED;
use crate::weight::WeightError;

/// The longest lease, in seconds: a day.
pub const MAX_LEASE_SECONDS: u32 = 86_400;

/// The longest nonce of a lease, in characters.
pub const MAX_NONCE: usize = 64;

/// The longest value that is read or written, in bytes.
pub const MAX_VALUE: usize = 256;

/// Why a value of the runtime can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// Not a weight of the grammar `5` or `5@3.2`.
    Weight(WeightError),
    /// A weight, and after its `@` something that isn't a version.
    WeightVersion,
    /// Not a label of the form `<configured>=<version>`.
    VersionLabel,
    /// Not a lease of the form `<seconds>:<nonce>`.
    Lease,
    /// Not a non-negative integer that fits 64 bits.
    Count,
    /// Neither `100` nor `0`.
    Enabled,
    /// Longer than [`MAX_VALUE`] bytes.
    TooLong,
    /// Not a text that `canaryctl` writes as an owner.
    Owner,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight(error) => return error.fmt(f),
            Self::WeightVersion => {
                return write!(f, "after the weight's @, expected {VERSION_EXPECTED}");
            }
            Self::VersionLabel => {
                return write!(
                    f,
                    "expected <configured>=<version>, such as 3.1=3.2, each part {VERSION_EXPECTED}"
                );
            }
            Self::Lease => {
                "a lease is <seconds>:<nonce>, 1 to 86400 whole seconds and 1 to 64 characters \
                 A-Z a-z 0-9 _ -, such as 30:k3v9"
            }
            Self::Count => "expected a non-negative integer",
            Self::Enabled => "the kill switch is 100 (on) or 0 (everything to stable)",
            Self::TooLong => "longer than 256 bytes",
            Self::Owner => {
                "an owner is 1 to 128 characters A-Z a-z 0-9 . _ @ : / -, beginning with a letter or \
                 digit"
            }
        })
    }
}

impl std::error::Error for ValueError {}

/// A lease: the weight holds for so long after a filter first saw this exact lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    seconds: u32,
    nonce: String,
}

impl Lease {
    /// A lease of 1 to 86,400 seconds; a nonce that differs from the last one renews.
    ///
    /// # Errors
    /// [`ValueError::Lease`] where the seconds or the nonce are outside the grammar.
    pub fn new(seconds: u32, nonce: &str) -> Result<Self, ValueError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let nonce_ok = (1..=MAX_NONCE).contains(&nonce.len()) && nonce.bytes().all(plain);
        if !(1..=MAX_LEASE_SECONDS).contains(&seconds) || !nonce_ok {
            return Err(ValueError::Lease);
        }
        Ok(Self { seconds, nonce: nonce.to_owned() })
    }

    /// Reads `<seconds>:<nonce>`.
    ///
    /// # Errors
    /// [`ValueError::Lease`] for anything else.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let (seconds, nonce) = text.split_once(':').ok_or(ValueError::Lease)?;
        let seconds = parse_count(seconds).map_err(|_| ValueError::Lease)?;
        Self::new(u32::try_from(seconds).map_err(|_| ValueError::Lease)?, nonce)
    }

    /// How long it holds, in seconds, 1 to 86,400.
    pub const fn seconds(&self) -> u32 {
        self.seconds
    }

    /// What tells it from the lease before.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seconds, self.nonce)
    }
}

/// Reads an epoch or a window: decimal digits that fit 64 bits.
///
/// # Errors
/// [`ValueError::Count`] for anything else, signs and spaces included.
pub fn parse_count(text: &str) -> Result<u64, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(ValueError::Count);
    }
    text.parse().map_err(|_| ValueError::Count)
}

/// Reads the kill switch: `100` is on, `0` sends everything to stable.
///
/// # Errors
/// [`ValueError::Enabled`] for anything else.
pub fn parse_enabled(text: &str) -> Result<bool, ValueError> {
    match text {
        "100" => Ok(true),
        "0" => Ok(false),
        _ => Err(ValueError::Enabled),
    }
}

/// Whether `canaryctl` may write this owner. What others wrote is taken as it stands; what we write
/// is plain, because Envoy passes every value through a YAML parser and refuses what fails there.
///
/// # Errors
/// [`ValueError::Owner`] outside 1 to 128 characters `A-Z a-z 0-9 . _ @ : / -`, the first of them a
/// letter or digit.
pub fn check_owner(text: &str) -> Result<(), ValueError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:/-".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && text.len() <= 128 && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(ValueError::Owner)
    }
}

/// What the runtime says for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// The key is missing or empty.
    Absent,
    /// A value within the grammar.
    Set(T),
    /// Something else: the text (cut after [`MAX_VALUE`] bytes) and what is wrong with it.
    Unreadable(String, ValueError),
}

impl<T> Reading<T> {
    fn read(text: Option<&str>, parse: impl FnOnce(&str) -> Result<T, ValueError>) -> Self {
        let Some(text) = text else {
            return Self::Absent;
        };
        let parsed = if text.len() > MAX_VALUE { Err(ValueError::TooLong) } else { parse(text) };
        parsed.map_or_else(|error| Self::Unreadable(text.to_owned(), error), Self::Set)
    }

    /// The value, where there is a readable one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Unreadable(..) => None,
        }
    }
}

/// Everything the runtime says about one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRuntime {
    /// The weight that overrides the configuration's, and the canary version that it is for.
    pub weight: Reading<WeightValue>,
    /// How long it holds.
    pub lease: Reading<Lease>,
    /// The generation of the guard's count.
    pub epoch: Reading<u64>,
    /// The window of first observations.
    pub window: Reading<u64>,
    /// Which version stable now runs.
    pub stable_version: Reading<VersionLabel>,
    /// Which version the canary now runs.
    pub canary_version: Reading<VersionLabel>,
    /// The kill switch: true lets requests pass to the canary.
    pub enabled: Reading<bool>,
    /// Who drives the rollout.
    pub owner: Reading<String>,
}

impl RolloutRuntime {
    /// Reads a rollout's settings out of an answer of Envoy.
    pub fn new(snapshot: &Snapshot, rollout: &str) -> Self {
        let text = |setting| snapshot.get(rollout, setting);
        Self {
            weight: Reading::read(text(Setting::Weight), WeightValue::parse),
            lease: Reading::read(text(Setting::Lease), Lease::parse),
            epoch: Reading::read(text(Setting::Epoch), parse_count),
            window: Reading::read(text(Setting::Window), parse_count),
            stable_version: Reading::read(text(Setting::StableVersion), VersionLabel::parse),
            canary_version: Reading::read(text(Setting::CanaryVersion), VersionLabel::parse),
            enabled: Reading::read(text(Setting::Enabled), parse_enabled),
            owner: Reading::read(text(Setting::Owner), |text| Ok(text.to_owned())),
        }
    }

    /// The settings that can't be read, with their text and what is wrong.
    pub fn unreadable(&self) -> Vec<(Setting, &str, ValueError)> {
        fn problem<T>(
            setting: Setting,
            reading: &Reading<T>,
        ) -> Option<(Setting, &str, ValueError)> {
            match reading {
                Reading::Unreadable(text, error) => Some((setting, text, *error)),
                Reading::Absent | Reading::Set(_) => None,
            }
        }
        [
            problem(Setting::Weight, &self.weight),
            problem(Setting::Lease, &self.lease),
            problem(Setting::Epoch, &self.epoch),
            problem(Setting::Window, &self.window),
            problem(Setting::StableVersion, &self.stable_version),
            problem(Setting::CanaryVersion, &self.canary_version),
            problem(Setting::Enabled, &self.enabled),
            problem(Setting::Owner, &self.owner),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases() {
        for (text, seconds, nonce) in
            [("30:ab", 30, "ab"), ("1:-", 1, "-"), ("86400:A_z-9", 86_400, "A_z-9")]
        {
            let lease = Lease::parse(text).unwrap();
            assert_eq!((lease.seconds(), lease.nonce()), (seconds, nonce));
            assert_eq!(lease.to_string(), text);
        }
        let long = format!("30:{}", "x".repeat(MAX_NONCE + 1));
        for text in [
            "",
            "30",
            "30:",
            ":ab",
            "0:ab",
            "86401:ab",
            "-1:ab",
            "+1:ab",
            "1.5:ab",
            "30s:ab",
            "30:a b",
            "30:a:b",
            "30:é",
            " 30:ab",
            "30:ab ",
            "4294967326:ab",
            &long,
        ] {
            assert_eq!(Lease::parse(text), Err(ValueError::Lease), "{text}");
        }
    }

    #[test]
    fn counts_and_switch() {
        assert_eq!(parse_count("0"), Ok(0));
        assert_eq!(parse_count("18446744073709551615"), Ok(u64::MAX));
        for text in ["", "-1", "+1", "1.0", "1e+06", "18446744073709551616", "٥", " 1"] {
            assert_eq!(parse_count(text), Err(ValueError::Count), "{text}");
        }
        assert_eq!(parse_enabled("100"), Ok(true));
        assert_eq!(parse_enabled("0"), Ok(false));
        for text in ["", "1", "50", "true", "100.0"] {
            assert_eq!(parse_enabled(text), Err(ValueError::Enabled), "{text}");
        }
    }

    #[test]
    fn owners_that_envoy_would_choke_on_are_not_written() {
        for text in ["canaryctl@host:1234", "ci/deploy-7", "a"] {
            assert_eq!(check_owner(text), Ok(()), "{text}");
        }
        for text in ["", "*a", "@x", "`x", "\"x", "a b", "a\n", "é", &"x".repeat(129)] {
            assert_eq!(check_owner(text), Err(ValueError::Owner), "{text}");
        }
    }
}
