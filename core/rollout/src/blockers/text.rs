//! What a rollout waits for, in a sentence.

use std::fmt;
use std::time::Duration;

use canary_judge::verdict::reason::figure;

use super::{Blocker, Blockers, StepPosition};

/// `step 2 of 4 (5 %) waits for 312 of 500 canary requests (4 min more at this traffic)`; empty where
/// there is nothing to wait for.
impl fmt::Display for Blockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits: Vec<String> = self.waiting_for.iter().map(ToString::to_string).collect();
        if let Some(StepPosition { number, total, weight }) = self.step {
            write!(f, "step {number} of {total} ({weight} %)")?;
            f.write_str(if waits.is_empty() { " goes on" } else { " waits for " })?;
        } else if !waits.is_empty() {
            f.write_str("waits for ")?;
        }
        f.write_str(&waits.join("; "))?;
        if self.unreachable.is_empty() {
            return Ok(());
        }
        let lost: Vec<String> =
            self.unreachable.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        let before = if self.step.is_none() && waits.is_empty() { "" } else { "; " };
        write!(f, "{before}out of reach: {}", lost.join(", "))
    }
}

impl Blockers {
    /// The sentence, if there is anything to say.
    pub fn sentence(&self) -> Option<String> {
        let text = self.to_string();
        (!text.is_empty()).then_some(text)
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyEnvoy => f.write_str("an Envoy that can be reached"),
            Self::CanaryVersion => {
                f.write_str("the canary's version: no Envoy that answers says which it is")
            }
            Self::OtherVersion { expected, envoys } => {
                write!(f, "version {expected} of the canary: {}", listed(envoys, "runs"))
            }
            Self::Signal { metric, signal, envoys, known } => {
                write!(f, "signal {signal}, which metric {metric} names: ")?;
                write!(f, "the filter of {} doesn't have it", envoys.join(", "))?;
                match known.as_slice() {
                    [] => f.write_str(" and has no signals"),
                    known => write!(f, "; it has {}", known.join(", ")),
                }
            }
            Self::Timing { metric, timing, envoys } => write!(
                f,
                "timing {timing}, which metric {metric} compares: the filter of {} doesn't measure it; \
                 add it to the configuration's `timings`",
                envoys.join(", ")
            ),
            Self::OutdatedFilter { envoys } => write!(
                f,
                "outcome_age of the filter of {}: it is older than canaryctl: update the filters first",
                envoys.join(", ")
            ),
            Self::OneOutcomeAge { envoys } => {
                let each: Vec<String> =
                    envoys.iter().map(|(name, age)| format!("{name} has {age} s")).collect();
                write!(f, "the same outcome_age in every filter: {}", each.join(", "))
            }
            Self::Age { age, left } => write!(
                f,
                "the first requests of this step to reach their outcome_age of {} ({} more)",
                span(*age),
                span(*left)
            ),
            Self::Answers { unanswered, requests, age } => write!(
                f,
                "answers: {unanswered} of {requests} canary requests had no answer at {}; set \
                 outcome_age above the slowest answers",
                span(*age)
            ),
            Self::Endpoints { role, envoys } => {
                write!(f, "an endpoint in {role}'s cluster: {} has none", envoys.join(", "))
            }
            Self::RefusedConfiguration { envoys } => {
                write!(f, "a configuration that Envoy accepts: {}", listed(envoys, "refuses one:"))
            }
            Self::Reachable { envoys } => {
                let each: Vec<String> =
                    envoys.iter().map(|(name, why)| format!("{name} ({why})")).collect();
                write!(f, "confirmation by {}", each.join(", "))
            }
            Self::Confirmation { envoys } => {
                let each: Vec<String> =
                    envoys.iter().map(|(name, mismatch)| format!("{name} ({mismatch})")).collect();
                write!(f, "confirmation by {}", each.join(", "))
            }
            Self::Leases { envoys, left } => {
                write!(f, "the leases of {} to run out, {} at most", envoys.join(", "), span(*left))
            }
            Self::Counts { missing } => {
                write!(f, "statistics: none could be read for {}", span(*missing))
            }
            Self::Time { have, need } => {
                let left = need.saturating_sub(*have);
                write!(f, "{} of {} to pass ({} more)", span(*have), span(*need), span(left))
            }
            Self::Requests { have, need, left } => {
                write!(f, "{have} of {need} canary requests{}", more(*left))
            }
            Self::Data { metric, lacks } => write!(f, "data of {metric}: {lacks}"),
            Self::Certificate { metric, log_e, log_limit, margin, left } => {
                let share = (log_e / log_limit).clamp(0.0, 1.0) * 100.0;
                let points = figure(margin * 100.0);
                write!(
                    f,
                    "certainty that {metric} is within {points} points of stable: {share:.0} % of \
                     the evidence{}",
                    more(*left)
                )
            }
            Self::Gate { url, attempts, said } => {
                write!(f, "the gate {url}, asked {attempts} times")?;
                said.as_ref().map_or(Ok(()), |said| write!(f, " (it said: {said})"))
            }
            Self::Operator { why } => f.write_str(&why.sentence()),
        }
    }
}

fn more(left: Option<Duration>) -> String {
    left.map_or_else(String::new, |left| format!(" ({} more at this traffic)", span(left)))
}

fn listed(envoys: &[(String, String)], verb: &str) -> String {
    let each: Vec<String> =
        envoys.iter().map(|(name, what)| format!("{name} {verb} {what}")).collect();
    each.join(", ")
}

/// A time as people say it: its two largest units.
pub fn span(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = time.as_secs();
    let Some(first) = UNITS.iter().position(|(size, _)| seconds >= *size) else {
        return if time.is_zero() { "0 s".to_owned() } else { format!("{} ms", time.as_millis()) };
    };
    let mut rest = seconds;
    let mut words = Vec::new();
    for (size, unit) in UNITS.iter().skip(first).take(2) {
        if rest >= *size {
            words.push(format!("{} {unit}", rest / size));
        }
        rest %= size;
    }
    words.join(" ")
}
