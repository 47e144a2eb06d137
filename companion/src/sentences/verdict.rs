//! What a metric concludes, and what it lacks.

use std::fmt::Write;

use canary_judge::condition::Undecided;
use canary_judge::counts::{Pair, Trials};
use canary_judge::spec::MetricKind;
use canary_judge::timing::Timing;
use canary_judge::verdict::{
    Conclusion, Evidence, FindingUnit, Findings, InsufficientData, NoAnswer, Verdict,
};

/// A verdict: the metric, both versions' figures, the margin, the counts, and how strong the evidence
/// is.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    let mut sentence = format!("{}: ", verdict.metric);
    if verdict.conclusion == Conclusion::Insufficient {
        sentence.push_str("not enough data since the step began");
        if let Some(missing) = &verdict.missing {
            let _ = write!(sentence, ": {}", self::missing(missing));
        }
        if let Findings::Query { outage: Some(why), .. } = &verdict.findings {
            let _ = write!(sentence, " ({})", no_answer(why));
        }
        return sentence;
    }
    sentence.push_str(&findings(&verdict.findings, verdict.kind));
    if let Some(found) = &verdict.evidence {
        let _ = write!(sentence, "; {}", evidence(found, verdict.conclusion));
    }
    if verdict.overruled {
        sentence.push_str("; an operator overruled it for the rest of the rollout");
    }
    sentence
}

fn evidence(evidence: &Evidence, conclusion: Conclusion) -> String {
    let (is, limit) = (e_value(evidence.log_e), e_value(evidence.log_needed()));
    match conclusion {
        Conclusion::Fail => format!("evidence of a regression: e-value {is}, limit {limit}"),
        _ => format!("no evidence of a regression: e-value {is}, limit {limit}"),
    }
}

/// What a metric lacks, with what there is of what is needed.
pub(super) fn missing(missing: &InsufficientData) -> String {
    use InsufficientData as Missing;
    match missing {
        Missing::Block { have, need } => {
            format!("{have} of the {need} observations that close a block")
        }
        Missing::BothVersions => "only one version has had any".to_owned(),
        Missing::ColdStart { have, need } => {
            format!("the canary is still warming up, after {have} of {need} requests")
        }
        Missing::History { have, need } => {
            format!("{have} of {need} stable observations to compare with")
        }
        Missing::ReadableValues { signal, unreadable } => format!(
            "the signal {signal} could not be read in any of {unreadable} answers of either \
             version; check its pointer or header in the filter's configuration"
        ),
        Missing::Measurement => "no measurement yet".to_owned(),
        Missing::Answer => "the last measurement has no result".to_owned(),
        Missing::ConclusiveMeasurements { inconclusive, limit } => {
            format!("{inconclusive} measurements were inconclusive, inconclusiveLimit is {limit}")
        }
    }
}

/// Why a measurement has no result.
pub(crate) fn no_answer(why: &NoAnswer) -> String {
    match why {
        NoAnswer::Outage { error } => error.clone(),
        NoAnswer::Sentence(text) => text.clone(),
        NoAnswer::NoSeries => "the query returned no data; append `or vector(0)` to it if that \
                               means zero"
            .to_owned(),
        NoAnswer::Undecided(Undecided::NotSingle { len }) => {
            format!("the query returned {len} series: name one as result[0], or aggregate them")
        }
        NoAnswer::Undecided(Undecided::OutOfRange { index, len }) => {
            format!("the condition reads result[{index}], but the query returned {len} series")
        }
        NoAnswer::Undecided(Undecided::NotANumber { index }) => {
            format!("result[{index}] is NaN, which is no data")
        }
    }
}

fn findings(findings: &Findings, kind: MetricKind) -> String {
    match findings {
        Findings::Shares { unit, counts, ratio, margin } => {
            shares(kind, *unit, counts, &format!("{} {}", times(*ratio), signed(kind, *margin)))
        }
        Findings::Quantile { timing, quantile, edge_us, tolerance, counts } => {
            let edge = edge_us.unwrap_or(0.0) / 1e3;
            let until = match timing {
                Timing::Total => "",
                Timing::Ttfb => " to the first byte",
                Timing::Gap => " between chunks",
            };
            format!(
                "at {quantile} stable takes {} ms{until}; {} canary requests took {} ms or more \
                     (tolerated: {} times as long), {} stable ones {} ms or more",
                figure(edge),
                share_of(counts.canary),
                figure(edge * tolerance),
                figure(*tolerance),
                share_of(counts.stable),
                figure(edge),
            )
        }
        Findings::Value { signal, quantile, lower, edge, tolerance, counts } => {
            let edge = edge.unwrap_or(0.0);
            let beyond = if *lower { edge / tolerance } else { edge * tolerance };
            let tail = |bound| match lower {
                true => format!("below {}", figure(bound)),
                false => format!("{} or more", figure(bound)),
            };
            format!(
                "at {quantile} stable's {signal} is {}; {} canary values were {} (tolerated: a \
                     factor of {}), {} stable ones {}",
                figure(edge),
                share_of(counts.canary),
                tail(beyond),
                figure(*tolerance),
                share_of(counts.stable),
                tail(edge),
            )
        }
        Findings::Class { signal, class, counts, tolerance } => format!(
            "{signal} was {:?} in {} canary answers and {} stable ones; tolerated is a \
                 difference of {}",
            class.as_deref().unwrap_or("?"),
            share_of(counts.canary),
            share_of(counts.stable),
            points(*tolerance),
        ),
        Findings::Query { values, condition, failures, failure_limit, outage } => {
            let last = match outage {
                Some(why) => format!("no result ({})", no_answer(why)),
                None => listed(values),
            };
            format!(
                "last result {last}, compared with {condition}; {failures} measurements \
                     failed, failureLimit is {failure_limit}"
            )
        }
    }
}

fn shares(kind: MetricKind, unit: FindingUnit, counts: &Pair<Trials>, tolerated: &str) -> String {
    let verb = if kind == MetricKind::Conversion { "converted" } else { "failed" };
    let unit = match unit {
        FindingUnit::Requests => "requests",
        FindingUnit::Clients => "clients",
    };
    let (canary, stable) = (share_of(counts.canary), share_of(counts.stable));
    format!("the canary {verb} {canary} {unit}, stable {stable}; tolerated is {tolerated}")
}

/// A margin with the sign that it has beside stable's share: fewer conversions are worse.
fn signed(kind: MetricKind, margin: f64) -> String {
    let sign = if kind == MetricKind::Conversion { '-' } else { '+' };
    format!("{sign} {}", points(margin))
}

/// `12 of 431 (2.78 %)`.
fn share_of(counts: Trials) -> String {
    let share = counts.share().map_or_else(String::new, |share| format!(" ({})", percent(share)));
    format!("{} of {}{share}", counts.events, counts.trials)
}

fn listed(values: &[Option<f64>]) -> String {
    let shown = |value: &Option<f64>| value.map_or_else(|| "no number".to_owned(), figure);
    let shown: Vec<String> = values.iter().take(5).map(shown).collect();
    shown.join(", ") + if values.len() > 5 { ", …" } else { "" }
}

fn times(ratio: f64) -> String {
    if ratio == 1.0 {
        return "stable's share".to_owned();
    }
    format!("{} times stable's share", figure(ratio))
}

fn points(share: f64) -> String {
    format!("{} points", figure(share * 100.0))
}

fn percent(share: f64) -> String {
    format!("{} %", figure(share * 100.0))
}

/// At least three significant digits, no trailing zeros.
pub(super) fn figure(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let decimals = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// An e-value by its natural logarithm: `1300`, `0.25`, `10^100`.
fn e_value(log: f64) -> String {
    if log.abs() < 13.0 {
        figure(log.exp())
    } else {
        format!("10^{:.0}", log / std::f64::consts::LN_10)
    }
}

#[cfg(test)]
mod tests;
