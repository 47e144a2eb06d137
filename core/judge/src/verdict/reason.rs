//! A verdict in one sentence.

use std::fmt::Write;

use super::{Conclusion, Evidence, Findings, Lack, Missing, Unit, Verdict};
use crate::counts::Trials;
use crate::spec::Kind;

impl Verdict {
    /// The verdict in one sentence: the metric, both versions' figures, the margin, the counts, and
    /// how strong the evidence is.
    pub fn reason(&self) -> String {
        let mut sentence = format!("{}: ", self.metric);
        if self.conclusion == Conclusion::Insufficient {
            let lack = self.missing.map_or_else(String::new, |missing| missing.sentence());
            let _ = write!(sentence, "not enough data since the step's start: {lack}");
            if let Findings::Query { outage: Some(why), .. } = &self.findings {
                let _ = write!(sentence, " ({why})");
            }
            return sentence;
        }
        sentence.push_str(&self.findings.sentence(self.kind));
        if let Some(evidence) = &self.evidence {
            let _ = write!(sentence, "; {}", evidence.sentence(self.conclusion));
        }
        sentence
    }
}

impl Evidence {
    fn sentence(&self, conclusion: Conclusion) -> String {
        let (is, limit) = (odds(self.log_e), odds(self.log_needed()));
        match conclusion {
            Conclusion::Fail => {
                format!("the odds against the canary are {is}, the limit is {limit}")
            }
            _ => format!("no sign of more than that (odds {is}, limit {limit})"),
        }
    }
}

impl Missing {
    /// What is lacking, with what there is of what is needed.
    pub fn sentence(&self) -> String {
        let Self { what, have, need } = self;
        match what {
            Lack::Block => format!("{have} of the {need} observations that close a block"),
            Lack::BothVersions => "no block yet with something of both versions".to_owned(),
            Lack::ColdStart => {
                format!("the canary is starting cold: {have} of {need} requests")
            }
            Lack::History => format!("{have} of {need} earlier stable observations"),
            Lack::Measurement if *have == 0 => "no measurement yet".to_owned(),
            Lack::Measurement => "the last measurement says nothing".to_owned(),
            Lack::Conclusiveness => {
                format!("{have} measurements were neither good nor bad, {need} may be")
            }
        }
    }
}

impl Findings {
    fn sentence(&self, kind: Kind) -> String {
        match self {
            Self::Shares { unit, counts, ratio, margin } => {
                let (verb, sign) = match kind {
                    Kind::Conversion => ("converted", '-'),
                    _ => ("failed", '+'),
                };
                let unit = match unit {
                    Unit::Requests => "requests",
                    Unit::Clients => "clients",
                };
                format!(
                    "the canary {verb} {} {unit}, stable {}; tolerated is {} {sign} {}",
                    of(counts.canary),
                    of(counts.stable),
                    times(*ratio),
                    points(*margin),
                )
            }
            Self::Quantile { quantile, edge_us, tolerance, counts } => {
                let edge = edge_us.unwrap_or(0.0) / 1e3;
                format!(
                    "at {quantile} stable takes {} ms; {} canary requests took {} ms or more \
                     (tolerated: {} times as long), {} stable ones {} ms or more",
                    figure(edge),
                    of(counts.canary),
                    figure(edge * tolerance),
                    figure(*tolerance),
                    of(counts.stable),
                    figure(edge),
                )
            }
            Self::Class { signal, class, counts, tolerance } => format!(
                "{signal} was {:?} in {} canary answers and {} stable ones; tolerated is a \
                 difference of {}",
                class.as_deref().unwrap_or("?"),
                of(counts.canary),
                of(counts.stable),
                points(*tolerance),
            ),
            Self::Query { values, condition, failures, failure_limit, outage } => {
                let last = match outage {
                    Some(why) => format!("no answer ({why})"),
                    None => listed(values),
                };
                format!(
                    "last measured {last}, held against {condition}; {failures} measurements \
                     failed, {failure_limit} may"
                )
            }
        }
    }
}

/// `12 of 431 (2.78 %)`.
fn of(counts: Trials) -> String {
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
pub fn figure(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let decimals = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// `212 to 1`; below one the other way round.
fn odds(log: f64) -> String {
    let one_side = |log: f64| {
        if log < 13.0 {
            return figure(log.exp());
        }
        format!("10^{:.0}", log / std::f64::consts::LN_10)
    };
    if log >= 0.0 { format!("{} to 1", one_side(log)) } else { format!("1 to {}", one_side(-log)) }
}
