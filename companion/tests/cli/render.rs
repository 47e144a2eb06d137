//! `render`: the manifests that the repository ships are those that the verb prints.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Run, ctl};

/// The manifests, each with the folder of its rollout files and filter configuration, and the arguments
/// that make it.
const SHIPPED: &[(&str, &str, &[&str])] = &[
    ("canary.yaml", "", &[]),
    ("canary-sidecar.yaml", "", &["--run-in", "sidecar", "--extension", "traffic-extension"]),
    ("two-rollouts/canary.yaml", "two-rollouts", &[]),
];

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/istio").join(file)
}

fn render(more: &[&str]) -> Run {
    render_in("", more)
}

/// Renders what a folder has: its filter configuration and all of its rollout files.
fn render_in(folder: &str, more: &[&str]) -> Run {
    let folder = shipped(folder);
    let filter = folder.join("filter.json");
    let names = match folder.ends_with("two-rollouts") {
        true => &["cart.yaml", "search.yaml"][..],
        false => &["rollout.yaml"],
    };
    let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let mut arguments = vec!["render", "istio", "--filter", filter.to_str().unwrap()];
    arguments.extend(files.iter().flat_map(|file| ["-f", file.to_str().unwrap()]));
    arguments.extend(more);
    ctl(&[], &arguments)
}

#[test]
fn the_shipped_manifests_are_what_is_printed() {
    for (file, folder, more) in SHIPPED {
        let printed = render_in(folder, more).exits(0).stdout;
        let path = shipped(file);
        if std::env::var_os("RENDER").is_some() {
            std::fs::write(&path, &printed).unwrap();
        }
        let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            on_disk == printed,
            "envoy/istio/{file} is not what `canaryctl render istio` prints; RENDER=1 writes it anew"
        );
    }
}

#[test]
fn a_rollout_file_alone_is_enough() {
    let rollout = shipped("rollout.yaml");
    let run =
        ctl(&[], &["render", "istio", "-f", rollout.to_str().unwrap(), "-o", "json"]).exits(0);
    let items = run.json()["items"].as_array().unwrap().clone();
    let config =
        items.iter().find(|one| one["kind"] == "WasmPlugin").unwrap()["spec"]["pluginConfig"]
            .clone();
    let canary = &config["rollouts"][0]["canary"];
    assert_eq!(canary["cluster"], "outbound|8080|v2|scorer.default.svc.cluster.local");
    assert_eq!(config["runtime"]["cluster"], "prometheus_stats");
}

#[test]
fn a_configuration_for_a_plain_envoy_is_refused_line_by_line() {
    let dir = TempDir::new().unwrap();
    let filter = dir.path().join("filter.json");
    let text = "{\"rollouts\": [{\n\"name\": \"scorer\",\n\"stable\": {\"version\": \"1\", \"cluster\": \"a\"},\n\
                \"canary\": {\"version\": \"2\", \"cluster\": \"b\"}}]}";
    std::fs::write(&filter, text).unwrap();
    let rollout = shipped("rollout.yaml");
    let arguments = ["render", "istio", "-f", rollout.to_str().unwrap(), "--filter"];
    let run = ctl(&[], &[&arguments[..], &[filter.to_str().unwrap()]].concat()).exits(2);
    let run =
        run.says("filter.json:3: rollouts[0].stable.cluster: expected Istio's name of a subset");
    let run = run.says("filter.json:4: rollouts[0].canary.cluster: ");
    assert!(run.says("runtime.cluster: must be prometheus_stats").stdout.is_empty());
}

#[test]
fn arguments_that_cannot_be_right_are_refused() {
    for more in [
        ["--service", "scorer"],
        ["--gateway", "gateway"],
        ["--selector", "istio"],
        ["--wasm", "registry.example.com/filter"],
        ["--wasm-sha256", "12"],
        ["--stable", "v3"],
    ] {
        assert!(render(&more).exits(2).stdout.is_empty(), "{more:?}");
    }
}
