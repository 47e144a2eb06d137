//! What the controller's journals say was set, held against what Envoy's runtime showed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::journal_records;

/// A rollout's runtime keys, as far as a journal's write decides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuntimeView {
    /// The weight with its version, as in the runtime.
    pub weight: Option<String>,
    /// The kill switch: `100`, or `0` where it is thrown.
    pub enabled: Option<String>,
    /// The labels of stable and canary.
    pub labels: [Option<String>; 2],
}

impl RuntimeView {
    /// Reads the keys of a rollout from an answer to `GET /runtime`.
    #[must_use]
    pub(super) fn of_runtime(runtime: &Value, rollout: &str) -> Self {
        let key = |key: &str| {
            let text = &runtime["entries"][format!("canary.{rollout}.{key}")]["final_value"];
            text.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let labels = ["stable_version", "canary_version"].map(key);
        Self { weight: key("weight"), enabled: key("enabled"), labels }
    }

    /// Whether everything is back on stable, as after a rollback.
    #[must_use]
    pub(super) fn is_rolled_back(&self) -> bool {
        let weight = self.weight.as_deref().unwrap_or_default();
        weight.split('@').next() == Some("0") && self.enabled.as_deref() == Some("0")
    }

    /// Takes over what a journal's target says; a label that it leaves out stays.
    fn set(&mut self, target: &Value) {
        let version = target["version"].as_str().map(|version| format!("@{version}"));
        self.weight = Some(format!("{}{}", target["weight"], version.unwrap_or_default()));
        self.enabled = Some(if target["enabled"] == true { "100" } else { "0" }.to_owned());
        for (label, role) in self.labels.iter_mut().zip(["stable", "canary"]) {
            if let Some(text) = target["labels"][role].as_str() {
                *label = Some(text.to_owned());
            }
        }
    }
}

/// What was written into a rollout's journals, in the order of their times.
#[derive(Clone, Debug, Default)]
pub(super) struct JournalHistory {
    /// Each write's time (RFC 3339, UTC) and what it made of the runtime.
    pub writes: Vec<(String, RuntimeView)>,
    /// How each release ended.
    pub ends: Vec<String>,
    /// What is wrong with the journals themselves.
    pub faults: Vec<String>,
}

impl JournalHistory {
    /// Reads all journals of a rollout in a folder: those of past releases, and the present one.
    #[must_use]
    pub(super) fn read(folder: &Path, rollout: &str) -> Self {
        let mut history = Self::default();
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(rollout))
            })
            .collect();
        // `demo.20261127….jsonl` of past releases, then `demo.jsonl`.
        files.sort();
        let mut journals: Vec<Vec<Value>> = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match journal_records(&text) {
                Ok(records) => journals.push(records),
                Err(fault) => history.faults.push(format!("{}: {fault}", file.display())),
            }
        }
        journals.sort_by_key(|records| first_time(records));
        journals.iter().for_each(|records| history.add(records));
        history
    }

    fn add(&mut self, records: &[Value]) {
        let count = |name: &str| records.iter().filter(|record| record["record"] == name).count();
        let (starts, ends) = (count("start"), count("end"));
        if starts != 1 || ends > 1 {
            self.faults.push(format!("a journal with {starts} starts and {ends} ends"));
        }
        let mut view = RuntimeView::default();
        for record in records {
            for action in record["actions"].as_array().into_iter().flatten() {
                if action["action"] == "write" {
                    view.set(&action["target"]);
                    let at = record["at"].as_str().unwrap_or_default().to_owned();
                    self.writes.push((at, view.clone()));
                }
            }
            if record["record"] == "end" {
                self.ends.push(record["phase"].as_str().unwrap_or_default().to_owned());
            }
        }
    }

    /// What the last write made of the runtime.
    #[must_use]
    pub(super) fn last(&self) -> Option<&RuntimeView> {
        self.writes.last().map(|(_, view)| view)
    }

    /// Whether what Envoy showed at a time (RFC 3339) had been written down before: each key that it has
    /// is that of an earlier write. (Behind a release's end, missing keys alone are set again.)
    #[must_use]
    pub(super) fn allows(&self, at: &str, shown: &RuntimeView) -> bool {
        let before =
            || self.writes.iter().filter(|(time, _)| time.as_str() <= at).map(|(_, view)| view);
        let known = |of: fn(&RuntimeView) -> &Option<String>| {
            of(shown).is_none() || before().any(|view| of(view) == of(shown))
        };
        known(|view| &view.weight)
            && known(|view| &view.enabled)
            && known(|view| &view.labels[0])
            && known(|view| &view.labels[1])
    }
}

fn first_time(records: &[Value]) -> String {
    let times = records.iter().filter_map(|record| record["at"].as_str());
    times.map(str::to_owned).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn journal(version: &str, weights: &[u32]) -> String {
        let start =
            json!({"record": "start", "at": format!("2026-11-27T0{}:00:00.000Z", version.len())});
        let step = |(number, weight): (usize, &u32)| {
            let target = json!({"weight": weight, "version": version, "enabled": true,
                "labels": {"canary": format!("1.1.0={version}")}});
            let at = format!("2026-11-27T0{}:00:0{}.000Z", version.len(), number + 1);
            json!({"record": "step", "at": at, "actions": [{"action": "write", "target": target}]})
        };
        let steps = weights.iter().enumerate().map(step);
        let end = json!({"record": "end", "phase": "Healthy"});
        let records = [start].into_iter().chain(steps).chain([end]);
        records.map(|record| format!("{record}\n")).collect()
    }

    fn view(weight: &str, canary: &str) -> RuntimeView {
        RuntimeView {
            weight: Some(weight.to_owned()),
            enabled: Some("100".to_owned()),
            labels: [None, Some(canary.to_owned())],
        }
    }

    #[test]
    fn all_journals_in_the_order_of_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("demo.jsonl", &journal("12", &[20]));
        put("demo.9.jsonl", &journal("1", &[10, 30]));
        put("other.jsonl", "not ours\n");
        let history = JournalHistory::read(folder.path(), "demo");
        assert_eq!(history.faults, [""; 0]);
        assert_eq!(history.ends, ["Healthy", "Healthy"]);
        assert_eq!(history.last(), Some(&view("20@12", "1.1.0=12")));
        let at = |at: &str, weight: &str, canary: &str| history.allows(at, &view(weight, canary));
        assert!(at("2026-11-27T01:00:02.500Z", "30@1", "1.1.0=1"));
        assert!(!at("2026-11-27T01:00:01.500Z", "30@1", "1.1.0=1"), "before it was written");
        assert!(!at("2026-11-27T03:00:00.000Z", "40@1", "1.1.0=1"), "never written");
        assert!(!at("2026-11-27T03:00:00.000Z", "30@1", "1.1.0=2"), "never written");
        assert!(history.allows("2026-11-27T00:00:00.000Z", &RuntimeView::default()));
    }

    #[test]
    fn a_broken_journal_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let put = |text: &str| std::fs::write(folder.path().join("demo.jsonl"), text).unwrap();
        put(&format!("{}{{\"record\": \"st", journal("1", &[10])));
        assert_eq!(JournalHistory::read(folder.path(), "demo").faults, [""; 0]);
        put(&format!("{{\"record\": \"st\n{}", journal("1", &[10])));
        assert!(JournalHistory::read(folder.path(), "demo").faults[0].contains("line 1"));
        put(&journal("1", &[10]).repeat(2));
        let faults = JournalHistory::read(folder.path(), "demo").faults;
        assert_eq!(faults, ["a journal with 2 starts and 2 ends"]);
    }

    #[test]
    fn the_runtimes_keys() {
        let value = |text: &str| json!({"final_value": text});
        let runtime = json!({"entries": {
            "canary.demo.weight": value("20@2"), "canary.demo.enabled": value("100"),
            "canary.demo.canary_version": value("1=2"), "canary.demo.stable_version": value(""),
            "canary.storm.weight": value("7")}});
        let expected = view("20@2", "1=2");
        assert_eq!(RuntimeView::of_runtime(&runtime, "demo"), expected);
        assert!(!expected.is_rolled_back());
        let off = |weight| RuntimeView { enabled: Some("0".to_owned()), ..view(weight, "1=2") };
        assert!(off("0@2").is_rolled_back() && !off("10@2").is_rolled_back());
        assert!(!view("0@2", "1=2").is_rolled_back());
    }
}
