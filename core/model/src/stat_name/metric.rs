//! The last parts of the statistics' names: what is counted.

use std::fmt;

use super::{PREFIX, WASM_PREFIX};
use crate::names::{is_bin, is_metric_word, is_signal};
use crate::role::Role;

/// What is counted of one version. All are counters, except for times and values, which are
/// histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric<'a> {
    /// Compared requests, counted when they end.
    RqTotal,
    /// Compared requests that failed, as the rollout defines failure.
    RqFailure,
    /// Answers with a status of 200 to 299.
    Rq2xx,
    /// Answers with a status of 300 to 399.
    Rq3xx,
    /// Answers with a status of 400 to 499.
    Rq4xx,
    /// Answers with a status of 500 to 599.
    Rq5xx,
    /// Clients, each at its first request in the window.
    ClientTotal,
    /// Clients that failed in the window, each at its first failure.
    ClientFailure,
    /// Clients whose first request in the window failed.
    ClientFirstFailure,
    /// Compared requests at the age `outcome_age`.
    JudgedTotal,
    /// Those of them that had failed by then.
    JudgedFailure,
    /// Compared requests when they are assigned; in sticky rollouts clients, at their first request.
    AssignedTotal,
    /// Compared requests whose response hadn't begun at that age.
    JudgedUnanswered,
    /// Of the failures: responses that broke off.
    RqBroken,
    /// Of the failures: deadlines that passed.
    RqOverdue,
    /// Requests whose clients left before the response began.
    RqAbandoned,
    /// Failed on the canary, answered by stable.
    RqRescued,
    /// Overridden requests, which are in no other counter.
    RqForced,
    /// Request headers to end of response, in microseconds.
    RqTimeUs,
    /// As `RqTimeUs`, but of each client's first request in the window only.
    RqTimeFirstUs,
    /// Request headers to the first byte of the response's body, in microseconds.
    RqTtfbUs,
    /// As `RqTtfbUs`, but of each client's first request in the window only.
    RqTtfbFirstUs,
    /// Mean time between two chunks of a response's body, in microseconds.
    RqGapUs,
    /// As `RqGapUs`, but of each client's first request in the window only.
    RqGapFirstUs,
    /// The values of a signal, scaled; a histogram.
    Value(&'a str),
    /// As `Value`, but of each client's first request in the window only.
    ValueFirst(&'a str),
    /// Values of a signal that fell into a bin.
    Signal {
        /// The name of the signal that was read.
        signal: &'a str,
        /// The bin its value fell into.
        bin: &'a str,
    },
    /// As `Signal`, but of each client's first request in the window only.
    SignalFirst {
        /// The name of the signal that was read.
        signal: &'a str,
        /// The bin its value fell into.
        bin: &'a str,
    },
}

const SIGNAL: &str = "signal";
const SIGNAL_FIRST: &str = "signal_first";
const VALUE: &str = "value";
const VALUE_FIRST: &str = "value_first";

impl<'a> Metric<'a> {
    /// The metrics that are one word, in the order of the documentation.
    pub const PLAIN: [Metric<'static>; 24] = [
        Metric::RqTotal,
        Metric::RqFailure,
        Metric::Rq2xx,
        Metric::Rq3xx,
        Metric::Rq4xx,
        Metric::Rq5xx,
        Metric::JudgedTotal,
        Metric::JudgedFailure,
        Metric::AssignedTotal,
        Metric::JudgedUnanswered,
        Metric::RqBroken,
        Metric::RqOverdue,
        Metric::RqAbandoned,
        Metric::ClientTotal,
        Metric::ClientFailure,
        Metric::ClientFirstFailure,
        Metric::RqRescued,
        Metric::RqForced,
        Metric::RqTimeUs,
        Metric::RqTimeFirstUs,
        Metric::RqTtfbUs,
        Metric::RqTtfbFirstUs,
        Metric::RqGapUs,
        Metric::RqGapFirstUs,
    ];

    /// Reads a metric that is the whole text: one word, or `signal.<signal>.<bin>`.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            (word, None, None, None) => {
                Self::PLAIN.into_iter().find(|metric| metric.word() == word)
            }
            (kind, Some(signal), None, None) => Self::value(kind, signal),
            (kind, Some(signal), Some(bin), None) => Self::signal(kind, signal, bin),
            _ => None,
        }
    }

    /// The metric in the name of a statistic of a known version; `None` if the name belongs to another
    /// rollout, role or version.
    pub fn of_version(name: &'a str, rollout: &str, role: Role, version: &str) -> Option<Self> {
        let name = name.strip_prefix(WASM_PREFIX)?.strip_prefix(PREFIX)?;
        let after = |text: &'a str, part: &str| text.strip_prefix(part)?.strip_prefix('.');
        let name = after(name, rollout)?;
        let name = after(name, role.as_str())?;
        Self::parse(after(name, version)?)
    }

    fn value(kind: &str, signal: &'a str) -> Option<Self> {
        match kind {
            VALUE if is_signal(signal) => Some(Self::Value(signal)),
            VALUE_FIRST if is_signal(signal) => Some(Self::ValueFirst(signal)),
            _ => None,
        }
    }

    fn signal(kind: &str, signal: &'a str, bin: &'a str) -> Option<Self> {
        if !is_signal(signal) || !is_bin(bin) {
            return None;
        }
        match kind {
            SIGNAL => Some(Self::Signal { signal, bin }),
            SIGNAL_FIRST => Some(Self::SignalFirst { signal, bin }),
            _ => None,
        }
    }

    /// The metric's first word.
    const fn word(&self) -> &'static str {
        match self {
            Self::RqTotal => "rq_total",
            Self::RqFailure => "rq_failure",
            Self::Rq2xx => "rq_2xx",
            Self::Rq3xx => "rq_3xx",
            Self::Rq4xx => "rq_4xx",
            Self::Rq5xx => "rq_5xx",
            Self::JudgedTotal => "judged_total",
            Self::JudgedFailure => "judged_failure",
            Self::AssignedTotal => "assigned_total",
            Self::JudgedUnanswered => "judged_unanswered",
            Self::RqBroken => "rq_broken",
            Self::RqOverdue => "rq_overdue",
            Self::RqAbandoned => "rq_abandoned",
            Self::ClientTotal => "client_total",
            Self::ClientFailure => "client_failure",
            Self::ClientFirstFailure => "client_first_failure",
            Self::RqRescued => "rq_rescued",
            Self::RqForced => "rq_forced",
            Self::RqTimeUs => "rq_time_us",
            Self::RqTimeFirstUs => "rq_time_first_us",
            Self::RqTtfbUs => "rq_ttfb_us",
            Self::RqTtfbFirstUs => "rq_ttfb_first_us",
            Self::RqGapUs => "rq_gap_us",
            Self::RqGapFirstUs => "rq_gap_first_us",
            Self::Value(_) => VALUE,
            Self::ValueFirst(_) => VALUE_FIRST,
            Self::Signal { .. } => SIGNAL,
            Self::SignalFirst { .. } => SIGNAL_FIRST,
        }
    }
}

impl fmt::Display for Metric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Signal { signal, bin } | Self::SignalFirst { signal, bin } => {
                write!(f, ".{signal}.{bin}")
            }
            Self::Value(signal) | Self::ValueFirst(signal) => write!(f, ".{signal}"),
            _ => Ok(()),
        }
    }
}

/// Splits `<version>.<metric>`, where the version has dots itself: the first part that can begin a
/// metric does, because no part of a version can.
pub(super) fn split_version(text: &str) -> Option<(&str, Metric<'_>)> {
    let mut begins = text.match_indices('.').map(|(dot, _)| dot);
    let first_word = |dot: &usize| {
        let rest = text.get(dot + 1..).unwrap_or_default();
        is_metric_word(rest.split_once('.').map_or(rest, |(word, _)| word))
    };
    let dot = begins.find(first_word)?;
    Some((text.get(..dot)?, Metric::parse(text.get(dot + 1..)?)?))
}

/// Declares an enum of words: its variants, the list of all, and both directions of the word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word in the statistic's name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads the word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// The state of a rollout, a gauge each.
    RolloutGauge {
        /// The weight in force, in parts per million.
        WeightPpm = "weight_ppm",
        /// 1 where the guard has tripped in this epoch.
        GuardTripped = "guard_tripped",
        /// 1 where the lease ran out.
        LeaseExpired = "lease_expired",
        /// The guard's epoch.
        Epoch = "epoch",
        /// The age at which the judge counts requests, in seconds.
        OutcomeAgeSeconds = "outcome_age_seconds",
    }
}

words! {
    /// The state of the filter: counters, but for the heartbeat, which is a gauge.
    FilterMetric {
        /// Polls of the runtime that were answered.
        PollSuccess = "poll_success",
        /// Polls that were not.
        PollFailure = "poll_failure",
        /// Runtime values that could not be read, one count a change.
        InvalidRuntime = "invalid_runtime",
        /// Configurations that were refused.
        ConfigRejected = "config_rejected",
        /// The time of the last tick, in seconds since 1970.
        Heartbeat = "heartbeat",
    }
}
