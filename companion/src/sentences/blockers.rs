//! What a rollout waits for.

use std::time::Duration;

use canary_rollout::blockers::{Blocker, Blockers, MissingInput, StepPosition};

use super::reasons::{mismatch, pause};
use super::verdict::{figure, missing, no_answer};

/// `step 2 of 4 (5 %) waits for 312 of 500 canary requests (4 min more at this traffic)`; `None` where
/// there is nothing to wait for.
pub(crate) fn waits_for(blockers: &Blockers) -> Option<String> {
    let waits: Vec<String> = blockers.waiting_for.iter().map(blocker).collect();
    let mut sentence = String::new();
    if let Some(StepPosition { number, total, weight }) = blockers.step {
        let goes_on = if waits.is_empty() { "goes on" } else { "waits for " };
        sentence = format!("step {number} of {total} ({weight} %) {goes_on}");
    } else if !waits.is_empty() {
        sentence.push_str("waits for ");
    }
    sentence.push_str(&waits.join("; "));
    if !blockers.unreachable.is_empty() {
        let named = |(name, why): &(String, String)| format!("{name} ({why})");
        let lost: Vec<String> = blockers.unreachable.iter().map(named).collect();
        let before = if sentence.is_empty() { "" } else { "; " };
        sentence = format!("{sentence}{before}out of reach: {}", lost.join(", "));
    }
    (!sentence.is_empty()).then_some(sentence)
}

fn blocker(blocker: &Blocker) -> String {
    match blocker {
        Blocker::SampleRatio { weight, measured } => sample_ratio(*weight, *measured),
        Blocker::Journal => "its journal, which can't be written".to_owned(),
        Blocker::AnyEnvoy => "an Envoy that can be reached".to_owned(),
        Blocker::CanaryVersion => {
            "the canary's version: no Envoy that answers says which it is".to_owned()
        }
        Blocker::ConfiguredVersion { .. } | Blocker::Deploy { .. } | Blocker::Handover { .. } => {
            release(blocker)
        }
        Blocker::OtherVersion { expected, envoys } => {
            format!("version {expected} of the canary: {}", listed(envoys, "runs"))
        }
        Blocker::Signal { metric, signal, values, envoys, known } => {
            let with = if *values { " with `values`" } else { "" };
            no_signal(
                metric,
                &format!("{signal}{with}"),
                &envoys.join(", "),
                &known_signals(known, with),
            )
        }
        Blocker::Timing { metric, timing, envoys } => format!(
            "timing {timing}, which metric {metric} compares: the filter of {} doesn't measure it; add \
             it to the configuration's `timings`",
            envoys.join(", ")
        ),
        Blocker::OutdatedFilter { envoys } => format!(
            "outcome_age of the filter of {}: it is older than canaryctl: update the filters first",
            envoys.join(", ")
        ),
        Blocker::OneOutcomeAge { envoys } => one_age(envoys),
        Blocker::Age { age, left } => first_requests(*age, *left),
        Blocker::Answers { unanswered, requests, age } => format!(
            "answers: {unanswered} of {requests} canary requests had no answer at {} s; set outcome_age \
             above the slowest answers",
            age.as_secs()
        ),
        Blocker::Endpoints { role, envoys } => {
            format!("an endpoint in {role}'s cluster: {} has none", envoys.join(", "))
        }
        Blocker::RefusedConfiguration { envoys } => {
            format!("a configuration that Envoy accepts: {}", listed(envoys, "refuses one:"))
        }
        Blocker::Reachable { envoys } => confirmation(envoys, String::clone),
        Blocker::Confirmation { envoys } => confirmation(envoys, mismatch),
        Blocker::Leases { envoys, left } => {
            format!("the leases of {} to run out, {} at most", envoys.join(", "), span(*left))
        }
        Blocker::Counts { missing } => {
            format!("statistics: none could be read for {}", span(*missing))
        }
        Blocker::Time { have, need } => {
            let left = need.saturating_sub(*have);
            format!("{} of {} to pass ({} more)", span(*have), span(*need), span(left))
        }
        Blocker::Requests { have, need, left } => {
            format!("{have} of {need} canary requests{}", more(*left))
        }
        Blocker::Data { metric, lacks } => format!("data of {metric}: {}", lack(lacks)),
        Blocker::Certificate { metric, log_e, log_limit, margin, left } => {
            let evidence = certainty(metric, log_e / log_limit, *margin);
            format!("{evidence}{}", more(*left))
        }
        Blocker::Gate { url, attempts, said } => gate(url, *attempts, said.as_deref()),
        Blocker::Operator { why } => pause(why),
    }
}

fn sample_ratio(weight: f64, measured: Option<f64>) -> String {
    let receives = |share: f64| format!(", receives {} %", figure(share * 100.0));
    format!(
        "the sample ratio: the canary should receive {} % of requests{}, so no comparison can be trusted",
        figure(weight * 100.0),
        measured.map_or_else(String::new, receives)
    )
}

/// What a release waits for beside its steps; empty for everything else.
fn release(blocker: &Blocker) -> String {
    match blocker {
        Blocker::ConfiguredVersion { role } => format!(
            "the configured version of {role}: no Envoy that answers shows its configuration, and a label \
             says which version it replaces"
        ),
        Blocker::Deploy { role, version, running } => format!(
            "version {version} to be deployed into {role}'s place (for {} so far)",
            span(*running)
        ),
        Blocker::Handover { have, need, left } => format!(
            "the new stable to be judged: {} of {need} requests in stable's place, {} of {need} in the \
             canary's{}",
            have.stable,
            have.canary,
            more(*left)
        ),
        _ => String::new(),
    }
}

fn first_requests(age: Duration, left: Duration) -> String {
    let (age, left) = (span(age), span(left));
    format!("the first requests of this step to reach their outcome_age of {age} ({left} more)")
}

fn one_age<T: std::fmt::Display>(envoys: &[(String, T)]) -> String {
    let each = envoys.iter().map(|(name, age)| format!("{name} has {age} s"));
    format!("the same outcome_age in every filter: {}", each.collect::<Vec<_>>().join(", "))
}

fn gate(url: &str, attempts: u32, said: Option<&str>) -> String {
    let said = said.map_or_else(String::new, |said| format!(" (it said: {said})"));
    format!("the gate {url}, asked {attempts} times{said}")
}

fn no_signal(metric: &str, signal: &str, envoys: &str, known: &str) -> String {
    format!(
        "signal {signal}, which metric {metric} names: the filter of {envoys} doesn't have it{known}"
    )
}

fn known_signals(known: &[String], with: &str) -> String {
    match known {
        [] => format!(" and has no signals{with}"),
        known => format!("; it has {}", known.join(", ")),
    }
}

/// Whose confirmation is missing, and why.
fn confirmation<T>(envoys: &[(String, T)], why: impl Fn(&T) -> String) -> String {
    let each = envoys.iter().map(|(name, what)| format!("{name} ({})", why(what)));
    format!("confirmation by {}", each.collect::<Vec<_>>().join(", "))
}

/// How much of the evidence there is that a metric is within its margin; `share` is 1 at the limit.
fn certainty(metric: &str, share: f64, margin: f64) -> String {
    let (percent, points) = (share.clamp(0.0, 1.0) * 100.0, figure(margin * 100.0));
    format!(
        "certainty that {metric} is within {points} points of stable: {percent:.0} % of the evidence"
    )
}

fn lack(lacks: &MissingInput) -> String {
    match lacks {
        MissingInput::Answer(why) => no_answer(why),
        MissingInput::Data(lacking) => missing(lacking),
        MissingInput::Anything => "nothing was measured yet".to_owned(),
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
fn span(time: Duration) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_rollout_because_of_ages() {
        let name = |name: &str| name.to_owned();
        let (age, left) = (Duration::from_secs(20), Duration::from_secs(12));
        let (metric, timing) = (name("ttft"), name("ttfb"));
        for (blocker, sentence) in [
            (
                Blocker::OutdatedFilter { envoys: vec![name("a"), name("b")] },
                "outcome_age of the filter of a, b: it is older than canaryctl: update the filters first",
            ),
            (
                Blocker::OneOutcomeAge { envoys: vec![(name("a"), 20), (name("b"), 35)] },
                "the same outcome_age in every filter: a has 20 s, b has 35 s",
            ),
            (
                Blocker::Age { age, left },
                "the first requests of this step to reach their outcome_age of 20 s (12 s more)",
            ),
            (
                Blocker::Answers { unanswered: 37, requests: 40, age },
                "answers: 37 of 40 canary requests had no answer at 20 s; set outcome_age above the \
                 slowest answers",
            ),
            (
                Blocker::Timing { metric, timing, envoys: vec![name("a")] },
                "timing ttfb, which metric ttft compares: the filter of a doesn't measure it; add it to \
                 the configuration's `timings`",
            ),
        ] {
            let blockers = Blockers { waiting_for: vec![blocker], ..Blockers::default() };
            assert_eq!(waits_for(&blockers).unwrap(), format!("waits for {sentence}"));
        }
    }
}
