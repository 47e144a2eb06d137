//! A rollout as an operator sees it: the scrapes of many Envoys made into one view. Pure.
//!
//! Counts are since the start of each Envoy.

use std::collections::{BTreeMap, BTreeSet};

use canary_judge::counts::Pair;
use canary_model::histogram::Histogram;
use canary_model::role::Role;
use canary_model::runtime::Reading;
use canary_model::weight::Weight;

use super::Scrape;
use super::counters::{Counter, Difference, Quantity, RolloutCounters, VersionCounters};
use canary_judge::timing::Timing;
use canary_model::names::OTHER_VERSION;

/// Each Envoy's scrape, by the name that results give the Envoy.
pub type Scrapes = BTreeMap<String, Scrape>;

/// A rollout over all Envoys that answered.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetView {
    /// The name of the rollout.
    pub rollout: String,
    /// The weight that the runtime sets, else the configuration's; `None` if the Envoys differ.
    pub set: Option<Weight>,
    /// The weight in force; `None` if the Envoys differ.
    pub in_force: Option<Weight>,
    /// The canary's share of the compared requests, 0 to 1, as [`super::MeasuredShare`] gives it.
    pub measured: Option<f64>,
    /// The version that serves by default.
    pub stable: VersionView,
    /// The version under trial.
    pub canary: VersionView,
    /// Whether the guard has tripped on any Envoy.
    pub guard_tripped: Option<bool>,
    /// Whether the lease ran out on any Envoy.
    pub lease_expired: Option<bool>,
    /// Whether the kill switch sends everything to stable on any Envoy.
    pub killed: bool,
    /// Who drives the rollout, as the owner keys say.
    pub owners: BTreeSet<String>,
    /// The pushed configurations that Envoys refuse, by the name of the Envoy.
    pub refused: BTreeMap<String, String>,
    /// What an operator should know about these figures.
    pub warnings: Vec<String>,
}

/// What the fleet counted of one version.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VersionView {
    /// The version's label, if it is known.
    pub version: Option<String>,
    /// Its requests, failures and durations.
    pub counts: VersionCounts,
}

/// What one version did, since the start of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// Compared requests, `rq_total`, abandoned ones included.
    pub requests: u64,
    /// Those that failed, `rq_failure`.
    pub failures: u64,
    /// Those that reached the age `outcome_age` with a known outcome, `judged_total`.
    pub judged: u64,
    /// Those that reached it without an answer, `judged_unanswered`; `None` if no filter counts them.
    pub unanswered: Option<u64>,
    /// Request headers to end of response, in microseconds.
    pub time_us: Histogram,
    /// Request headers to the first byte of the answer, in microseconds.
    pub ttfb_us: Histogram,
    /// Mean time between an answer's chunks, in microseconds.
    pub gap_us: Histogram,
    /// The values of each signal that is recorded as numbers.
    pub values: BTreeMap<String, Histogram>,
}

impl VersionCounts {
    fn add(&mut self, counters: &VersionCounters) {
        self.requests = self.requests.saturating_add(counters.count(&Counter::Total));
        self.failures = self.failures.saturating_add(counters.count(&Counter::Failure));
        self.judged = self.judged.saturating_add(counters.count(&Counter::Judged));
        if let Some(more) = counters.counts.get(&Counter::Unanswered) {
            self.unanswered = Some(self.unanswered.unwrap_or(0).saturating_add(*more));
        }
        for (recorded, histogram) in &counters.histograms {
            let sum = match &recorded.what {
                _ if recorded.first => continue,
                Quantity::Time(Timing::Total) => &mut self.time_us,
                Quantity::Time(Timing::Ttfb) => &mut self.ttfb_us,
                Quantity::Time(Timing::Gap) => &mut self.gap_us,
                Quantity::Value(signal) => self.values.entry(signal.clone()).or_default(),
            };
            sum.merge(histogram);
        }
    }
}

impl FleetView {
    /// The view of a rollout. `earlier` is an earlier reading of the same Envoys: of several versions it
    /// tells which one serves now.
    pub fn new(rollout: &str, now: &Scrapes, earlier: Option<&Scrapes>) -> Self {
        let mut warnings = Vec::new();
        let set = agreed("weight set", now, set_weight, &mut warnings);
        let in_force = agreed("weight in force", now, |one| one.gauges.in_force, &mut warnings);
        let stable = version_view(Role::Stable, now, earlier, &mut warnings);
        let canary = version_view(Role::Canary, now, earlier, &mut warnings);
        warnings.extend(unanswered(&stable, &canary, now));
        warnings.extend(ages(now));
        warnings.extend(unreadable(now));
        let refused = refused(now);
        warnings.extend(refused.iter().map(|(url, why)| format!("{url}: {why}")));
        Self {
            rollout: rollout.to_owned(),
            set,
            in_force,
            measured: None,
            guard_tripped: any(now.values().map(|one| one.gauges.guard_tripped)),
            lease_expired: any(now.values().map(|one| one.gauges.lease_expired)),
            killed: now.values().any(|one| one.runtime.enabled == Reading::Set(false)),
            owners: now.values().filter_map(|one| one.runtime.owner.value().cloned()).collect(),
            stable,
            canary,
            refused,
            warnings,
        }
    }
}

/// The compared requests of both roles between two readings. An Envoy that has restarted since counts
/// from its start; one that wasn't there before doesn't count, and neither does an impossible reading.
pub fn requests_between(earlier: &Scrapes, now: &Scrapes) -> Pair<u64> {
    let mut sum = RolloutCounters::default();
    for (url, one) in now {
        let Some(before) = earlier.get(url) else { continue };
        match one.counters.since(&before.counters) {
            Difference::Counted(delta) | Difference::Restarted(delta) => sum.merge(&delta),
            Difference::Inconsistent => {}
        }
    }
    sum.requests()
}

/// What one Envoy was told: the runtime, else its configuration.
fn set_weight(one: &Scrape) -> Option<Weight> {
    match &one.runtime.weight {
        Reading::Set(value) => Some(value.weight),
        Reading::Absent => one.configuration.in_force.as_ref().map(|configured| configured.weight),
        Reading::Unreadable(..) => None,
    }
}

fn refused(now: &Scrapes) -> BTreeMap<String, String> {
    let one =
        |(url, one): (&String, &Scrape)| Some((url.clone(), one.configuration.refused.clone()?));
    now.iter().filter_map(one).collect()
}

/// A warning for each version that had answered less than half of its requests at the age at which they
/// are counted: its figures say little.
fn unanswered(stable: &VersionView, canary: &VersionView, now: &Scrapes) -> Vec<String> {
    let age = now.values().filter_map(|one| one.gauges.outcome_age).max().unwrap_or_default();
    let warning = |(role, view): (Role, &VersionView)| {
        let VersionCounts { judged, unanswered, .. } = view.counts;
        let unanswered = unanswered.unwrap_or(0);
        let all = judged.saturating_add(unanswered);
        (unanswered > judged).then(|| {
            format!(
                "{unanswered} of {all} {role} requests had no answer at {age} s; set outcome_age \
                 above the slowest answers"
            )
        })
    };
    [(Role::Stable, stable), (Role::Canary, canary)].into_iter().filter_map(warning).collect()
}

/// Warnings about filters whose counts can't be compared: those that count at no age, and ages that
/// differ.
fn ages(now: &Scrapes) -> Vec<String> {
    let works = |one: &Scrape| one.gauges.in_force.is_some();
    let outdated = now.iter().filter(|(_, one)| works(one) && one.gauges.outcome_age.is_none());
    let outdated = outdated.map(|(url, _)| {
        format!("{url}: the filter has no outcome_age: it is older than canaryctl: update the filters first")
    });
    let mut by_age: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (url, one) in now {
        if let Some(age) = one.gauges.outcome_age {
            by_age.entry(age).or_default().push(url);
        }
    }
    let parts = by_age.iter().map(|(age, urls)| format!("{age} s on {}", urls.join(", ")));
    let differ = (by_age.len() > 1).then(|| {
        let parts: Vec<String> = parts.collect();
        format!("the Envoys differ in outcome_age: {}", parts.join("; "))
    });
    outdated.chain(differ).collect()
}

/// The weight that all Envoys agree on; if they differ, a warning says which Envoy has what.
fn agreed(
    what: &str,
    now: &Scrapes,
    weight: impl Fn(&Scrape) -> Option<Weight>,
    warnings: &mut Vec<String>,
) -> Option<Weight> {
    let mut by_weight: BTreeMap<Option<Weight>, Vec<&str>> = BTreeMap::new();
    for (url, one) in now {
        by_weight.entry(weight(one)).or_default().push(url);
    }
    if let [only] = by_weight.keys().collect::<Vec<_>>().as_slice() {
        return **only;
    }
    let text = |weight: &Option<Weight>| {
        weight.map_or("unknown".to_owned(), |weight| format!("{weight} %"))
    };
    let parts: Vec<String> = by_weight
        .iter()
        .map(|(weight, urls)| format!("{} on {}", text(weight), urls.join(", ")))
        .collect();
    if !parts.is_empty() {
        warnings.push(format!("the Envoys differ in the {what}: {}", parts.join("; ")));
    }
    None
}

/// The figures of a role's current version.
fn version_view(
    role: Role,
    now: &Scrapes,
    earlier: Option<&Scrapes>,
    warnings: &mut Vec<String>,
) -> VersionView {
    let Some(version) = configured_version(role, now, warnings)
        .or_else(|| weighted_version(role, now))
        .or_else(|| counted_version(role, now, earlier, warnings))
    else {
        return VersionView::default();
    };
    let mut counts = VersionCounts::default();
    for one in now.values() {
        if let Some(more) = counted_as(one, role, &version) {
            counts.add(more);
        }
    }
    VersionView { version: Some(version), counts }
}

/// What an Envoy counted of a version, beyond the first 32 of a role together with others.
fn counted_as<'c>(one: &'c Scrape, role: Role, version: &str) -> Option<&'c VersionCounters> {
    let versions = &one.counters.versions;
    let named = |version: &str| versions.get(&(role, version.to_owned()));
    named(version).or_else(|| named(OTHER_VERSION))
}

/// A role's version as most of the Envoys have it, by their configuration and the labels in their runtime.
fn configured_version(role: Role, now: &Scrapes, warnings: &mut Vec<String>) -> Option<String> {
    let mut envoys: BTreeMap<String, usize> = BTreeMap::new();
    for version in now.values().filter_map(|one| one.versions().get(role).clone()) {
        *envoys.entry(version).or_default() += 1;
    }
    if envoys.len() > 1 {
        let versions: Vec<&str> = envoys.keys().map(String::as_str).collect();
        warnings.push(format!("the Envoys differ in the {role} version: {}", versions.join(", ")));
    }
    envoys.into_iter().max_by_key(|(_, count)| *count).map(|(version, _)| version)
}

/// The canary's version as the weight in force names it: with another canary it would be 0.
fn weighted_version(role: Role, now: &Scrapes) -> Option<String> {
    let named = now.values().map(|one| {
        let value = one.runtime.weight.value()?;
        let in_force = one.gauges.in_force.filter(|weight| *weight > Weight::ZERO)?;
        value.version.clone().filter(|_| in_force == value.weight)
    });
    let versions: BTreeSet<String> = named.collect::<Option<_>>()?;
    versions.first().filter(|_| role == Role::Canary && versions.len() == 1).cloned()
}

/// The only version of a role that was counted. Of several, the one that answered most requests since the
/// earlier reading. If none did, the role's version is unknown: the others may not serve any more.
fn counted_version(
    role: Role,
    now: &Scrapes,
    earlier: Option<&Scrapes>,
    warnings: &mut Vec<String>,
) -> Option<String> {
    let versions = now.values().flat_map(|one| one.counters.versions.keys());
    let counted: BTreeSet<&str> =
        versions.filter(|(of, _)| *of == role).map(|(_, version)| version.as_str()).collect();
    if counted.len() <= 1 {
        return counted.first().map(|version| (*version).to_owned());
    }
    let lately = |version: &&&str| requests_since(role, version, now, earlier);
    let current = counted.iter().max_by_key(lately).filter(|version| lately(version) > 0);
    let all: Vec<&str> = counted.iter().copied().collect();
    let shown = match current {
        Some(version) => format!("showing {version}, which answers requests now"),
        None => "none of them answers requests now".to_owned(),
    };
    warnings.push(format!(
        "versions {} were counted as {role} and no configuration says which is current; {shown}",
        all.join(", ")
    ));
    current.map(|version| (*version).to_owned())
}

/// A version's compared requests since the earlier reading; 0 without one.
fn requests_since(role: Role, version: &str, now: &Scrapes, earlier: Option<&Scrapes>) -> u64 {
    let Some(earlier) = earlier else { return 0 };
    let key = (role, version.to_owned());
    let total = |one: &Scrape| {
        one.counters.versions.get(&key).map_or(0, |version| version.count(&Counter::Total))
    };
    let since = |(url, one): (&String, &Scrape)| {
        let before = earlier.get(url).map_or(0, total);
        total(one).checked_sub(before).unwrap_or_else(|| total(one))
    };
    now.iter().map(since).sum()
}

/// True if any is, unknown if none is known.
fn any(flags: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    flags.flatten().reduce(|one, other| one || other)
}

/// A warning for each runtime value that the filter can't read either.
fn unreadable(now: &Scrapes) -> Vec<String> {
    let of = |(url, one): (&String, &Scrape)| {
        let problems = one.runtime.unreadable().into_iter();
        let text = |(setting, text, error)| {
            format!("{url}: the runtime's {setting} \"{text}\" is unreadable: {error}")
        };
        problems.map(text).collect::<Vec<_>>()
    };
    now.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;
