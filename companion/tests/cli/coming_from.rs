//! docs/COMING_FROM.md: `lint` accepts the rollout files in it, and the other tools' files are YAML.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ctl;

const PAGE: &str = include_str!("../../../docs/COMING_FROM.md");

/// The page's blocks of YAML, in order.
fn blocks() -> Vec<&'static str> {
    let rest = PAGE.split("```yaml\n").skip(1);
    rest.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn its_rollout_files_pass_lint_without_a_warning() {
    let dir = TempDir::new().unwrap();
    let files: Vec<_> = blocks().into_iter().filter(|text| text.starts_with("rollout:")).collect();
    assert_eq!(files.len(), 2);
    for (index, text) in files.into_iter().enumerate() {
        let path = dir.path().join(format!("{index}.yaml"));
        std::fs::write(&path, text).unwrap();
        let found = ctl(&[], &["lint", "-f", path.to_str().unwrap(), "-o", "json"]);
        let found = found.exits(0).json();
        assert_eq!((&found["ok"], &found["findings"]), (&json!(true), &json!([])), "{found:#}");
    }
}

#[test]
fn the_other_tools_files_name_their_kinds() {
    let others = blocks().into_iter().filter(|text| text.starts_with('#'));
    let documents = others.flat_map(|text| text.split("\n---\n"));
    let kinds: Vec<Value> = documents
        .map(|text| serde_saphyr::from_str::<Value>(text).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["Rollout", "AnalysisTemplate", "Canary"]);
}
