//! The README's chapter on streaming model servers: `lint` has nothing to say against its files.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ctl;

/// The first of the chapter's blocks of this kind that has this text.
fn block(kind: &str, text: &str) -> &'static str {
    let chapter =
        include_str!("../../../README.md").split("## Canary for a streaming model server").nth(1);
    let chapter = chapter.unwrap().split("\n## ").next().unwrap();
    let fence = format!("```{kind}\n");
    let mut blocks = chapter.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(text)).unwrap()
}

fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_streaming_chapter_s_files_pass_lint_without_a_warning() {
    let dir = TempDir::new().unwrap();
    let rollout = file(&dir, "rollout.yaml", block("yaml", "rollout: chat"));
    let filter = file(&dir, "filter.json", block("json", "\"rollouts\""));
    let (rollout, filter) = (rollout.to_str().unwrap(), filter.to_str().unwrap());
    let found = ctl(&[], &["lint", "-f", rollout, "-f", filter, "-o", "json"]).exits(0).json();
    assert_eq!((&found["ok"], &found["findings"]), (&json!(true), &json!([])), "{found:#}");
}

/// Both routes carry the same limits, none of which is the whole answer's.
#[test]
fn the_streaming_chapter_s_routes_cut_no_stream() {
    let routes: Value = serde_saphyr::from_str(block("yaml", "routes:")).unwrap();
    for route in routes["routes"].as_array().unwrap() {
        assert_eq!(
            (&route["route"]["timeout"], &route["route"]["idle_timeout"]),
            (&"0s".into(), &"60s".into())
        );
    }
}
