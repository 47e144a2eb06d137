//! What a chaos run did and found: tables for people, JSON for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::clients::ChaosRollout;
use super::excuses::Excuse;
use super::plan::{AdminBlock, ChaosFault, ChaosPlan, UpstreamBreak};
use crate::bench::{BenchReport, Row, Sheet};

/// How many facts of a check that failed are printed.
const FACTS: usize = 12;

/// One thing that must hold after a run.
#[derive(Clone, Debug)]
pub struct ChaosCheck {
    /// What must hold, in a few words.
    pub name: &'static str,
    /// How many facts were looked at.
    pub compared: u64,
    /// Those that are not as they must be.
    pub wrong: Vec<String>,
}

impl ChaosCheck {
    /// Whether it holds; a check that looked at nothing doesn't.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.wrong.is_empty() && self.compared > 0
    }
}

/// All that a run has to say.
#[derive(Clone, Debug)]
pub struct ChaosReport {
    /// The seed of its plan.
    pub seed: u64,
    /// How long faults and traffic lasted, in seconds.
    pub seconds: u64,
    /// How often each kind of fault was done.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many requests there were, by rollout and whether they were streams.
    pub requests: BTreeMap<(ChaosRollout, bool), u64>,
    /// How many of them failed, with what excuses them.
    pub failures: BTreeMap<(ChaosRollout, bool, Excuse), u64>,
    /// How many releases were started, and how those that ended did.
    pub releases: BTreeMap<String, u64>,
    /// What was checked afterward, in order.
    pub checks: Vec<ChaosCheck>,
}

impl ChaosReport {
    /// Whether every check holds.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        self.checks.iter().all(ChaosCheck::holds)
    }

    /// What went wrong, with the seed; nothing if all is well.
    #[must_use]
    pub fn disagreements(&self) -> String {
        let failed = self.checks.iter().filter(|check| !check.holds());
        let lines = failed.map(|check| {
            let facts: Vec<&str> = check.wrong.iter().take(FACTS).map(String::as_str).collect();
            let (wrong, compared) = (check.wrong.len(), check.compared);
            let facts = facts.join("\n  ");
            format!("FAILED: {} ({wrong} of {compared})\n  {facts}\n", check.name)
        });
        let text: String = lines.collect();
        if text.is_empty() { text } else { format!("seed {}\n{text}", self.seed) }
    }

    /// The report as JSON for programs: as a benchmark's, with the seed and what was wrong.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = self.tables().to_json();
        json["seed"] = self.seed.into();
        json["seconds"] = self.seconds.into();
        let wrong = self.checks.iter().map(|check| (check.name.to_owned(), json!(check.wrong)));
        json["wrong"] = Value::Object(wrong.collect());
        json
    }

    fn tables(&self) -> BenchReport {
        let about = format!("; seed {}, {} s of faults under load", self.seed, self.seconds);
        let mut report = BenchReport::new("chaos", &about);
        let mut faults =
            Sheet::new("What was done", "each kind of fault, from the seed", &["times"]);
        let releases = self.releases.iter().map(|(name, times)| (name.as_str(), times));
        for (name, times) in self.faults.iter().map(|(name, times)| (*name, times)).chain(releases)
        {
            faults.row(row(name, vec![*times], None, json!({"times": times})));
        }
        report.sheet(faults);
        let columns: Vec<&'static str> =
            ["sent", "succeeded"].into_iter().chain(Excuse::ALL.map(Excuse::name)).collect();
        let mut requests =
            Sheet::new("Requests", "what the clients saw, and what excuses failures", &columns);
        for ((rollout, stream), sent) in &self.requests {
            let failed =
                |excuse| self.failures.get(&(*rollout, *stream, excuse)).copied().unwrap_or(0);
            let failures = Excuse::ALL.map(failed);
            let succeeded = sent - failures.iter().sum::<u64>();
            let name = format!("{}, {}", rollout.name(), if *stream { "streams" } else { "plain" });
            let figures = Excuse::ALL.map(Excuse::name).into_iter().zip(failures).fold(
                json!({"sent": sent, "succeeded": succeeded}),
                |mut figures, (name, failures)| {
                    figures[name] = failures.into();
                    figures
                },
            );
            let cells = [vec![*sent, succeeded], failures.to_vec()].concat();
            requests.row(row(&name, cells, None, figures));
        }
        report.sheet(requests);
        let mut checks =
            Sheet::new("Checks", "what must hold afterward", &["facts looked at", "wrong"]);
        for check in &self.checks {
            let wrong = check.wrong.len() as u64;
            let figures = json!({"compared": check.compared, "wrong": wrong});
            checks.row(row(check.name, vec![check.compared, wrong], Some(check.holds()), figures));
        }
        report.sheet(checks);
        report
    }
}

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.tables(), self.disagreements())
    }
}

fn row(name: &str, cells: Vec<u64>, met: Option<bool>, figures: Value) -> Row {
    let cells = cells.iter().map(u64::to_string).collect();
    Row { name: name.to_owned(), cells, met, figures }
}

/// How often a plan does each kind of fault, by names for the table.
pub(super) fn kinds(plan: &ChaosPlan) -> BTreeMap<&'static str, u64> {
    let mut kinds = BTreeMap::new();
    for planned in &plan.faults {
        let name = match planned.fault {
            ChaosFault::KillEnvoy => "Envoy killed and restarted",
            ChaosFault::KillController => "controller killed and started again",
            ChaosFault::BlockAdmin(AdminBlock::Refuses) => "admin refuses connections",
            ChaosFault::BlockAdmin(AdminBlock::Hangs) => "admin hangs",
            ChaosFault::Break(_, UpstreamBreak::Refuses) => "upstream refuses connections",
            ChaosFault::Break(_, UpstreamBreak::Closes) => "upstream closes connections",
            ChaosFault::Break(_, UpstreamBreak::Errors) => "upstream answers 500",
            ChaosFault::FillDisk => "journal's disk full",
            ChaosFault::Push => "filter's configuration pushed",
            ChaosFault::StartController
            | ChaosFault::FreeAdmin
            | ChaosFault::Mend(_)
            | ChaosFault::FreeDisk => continue,
        };
        *kinds.entry(name).or_default() += 1;
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(wrong: &[&str], compared: u64) -> ChaosReport {
        let wrong = wrong.iter().map(|fact| (*fact).to_owned()).collect();
        ChaosReport {
            seed: 7,
            seconds: 20,
            faults: BTreeMap::from([("Envoy killed and restarted", 1)]),
            requests: BTreeMap::from([((ChaosRollout::Storm, true), 10)]),
            failures: BTreeMap::from([((ChaosRollout::Storm, true, Excuse::UpstreamDid), 3)]),
            releases: BTreeMap::new(),
            checks: vec![ChaosCheck { name: "counters", compared, wrong }],
        }
    }

    #[test]
    fn a_check_fails_on_a_wrong_fact_and_on_none_at_all() {
        assert!(report(&[], 5).all_hold());
        assert!(report(&[], 5).disagreements().is_empty());
        assert!(!report(&["a is 1"], 5).all_hold());
        assert!(!report(&[], 0).all_hold());
        let text = report(&["a is 1"], 5).to_string();
        assert!(text.contains("seed 7") && text.contains("a is 1") && text.contains("MISSED"));
    }

    #[test]
    fn json_has_the_seed_and_the_figures() {
        let json = report(&["a is 1"], 5).to_json();
        assert_eq!((&json["seed"], &json["wrong"]["counters"][0]), (&json!(7), &json!("a is 1")));
        let requests = &json["cells"][1];
        assert_eq!((&requests["sent"], &requests["succeeded"]), (&json!(10), &json!(7)));
    }
}
