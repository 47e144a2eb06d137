//! The shipped files by themselves: what `envoy.yaml` and `rescue.yaml` share, and how statistic
//! names become labels.

use canary_integration::Bootstrap;
use regex::Regex;
use serde_json::{Value, json};

/// Envoy's extraction: every regex sees the whole name; the first group is cut out, the second is
/// the value. RE2 and the regex crate agree on the syntax used.
fn tagged(name: &str) -> (String, Vec<(String, String)>) {
    let (mut cuts, mut labels) = (Vec::new(), Vec::new());
    for (label, regex) in Bootstrap::shipped("envoy/envoy.yaml").stats_tags() {
        if let Some(groups) = Regex::new(&regex).unwrap().captures(name) {
            cuts.push(groups.get(1).unwrap().range());
            labels.push((label, groups[2].to_owned()));
        }
    }
    let kept = name.char_indices().filter(|(at, _)| !cuts.iter().any(|cut| cut.contains(at)));
    (kept.map(|(_, letter)| letter).collect(), labels)
}

/// What Prometheus gets to see: `name{label="value"}`.
fn prometheus(name: &str) -> String {
    let (name, labels) = tagged(&format!("wasmcustom.canary.{name}"));
    let name = name.trim_start_matches("wasmcustom.").replace(['.', '-'], "_");
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

#[test]
fn a_roles_metric_gets_rollout_role_and_version() {
    for version in
        ["1", "3.1.0", "v2", "1.0.0-rc.1_x", "2024.11.23.rq_total", "stable.1", "a.signal"]
    {
        for metric in [
            "rq_total",
            "rq_2xx",
            "rq_time_us",
            "rq_time_first_us",
            "client_first_failure",
            "rq_forced",
        ] {
            for role in ["stable", "canary"] {
                let labels = format!("rollout=demo,role={role},version={version}");
                let name = format!("demo.{role}.{version}.{metric}");
                assert_eq!(prometheus(&name), format!("canary_{metric}{{{labels}}}"), "{name}");
            }
        }
    }
}

#[test]
fn a_signal_gets_its_name_and_bin_as_well() {
    for kind in ["signal", "signal_first"] {
        for (version, bin) in
            [("3.1.0", "cat"), ("1", "b0"), ("3.1", "rq_total"), ("1.signal", "A-b_c")]
        {
            let labels =
                format!("rollout=a_b-c,role=canary,version={version},signal=label_1,bin={bin}");
            let name = format!("a_b-c.canary.{version}.{kind}.label_1.{bin}");
            assert_eq!(prometheus(&name), format!("canary_{kind}{{{labels}}}"), "{name}");
        }
    }
}

#[test]
fn a_rollouts_gauge_gets_the_rollout_and_the_filters_own_metrics_nothing() {
    for rollout in ["demo", "stable", "canary", "0", "filter-2", "a_b-c"] {
        for gauge in ["weight_ppm", "guard_tripped", "lease_expired", "epoch"] {
            assert_eq!(
                prometheus(&format!("{rollout}.{gauge}")),
                format!("canary_{gauge}{{rollout={rollout}}}")
            );
        }
    }
    for metric in
        ["poll_success", "poll_failure", "invalid_runtime", "config_rejected", "heartbeat"]
    {
        assert_eq!(prometheus(&format!("filter.{metric}")), format!("canary_filter_{metric}{{}}"));
    }
}

/// `rescue.yaml` is `envoy.yaml` with rescue: undo that, and they're the same document.
#[test]
fn rescue_differs_by_rescue_alone() {
    let mut rescue = Bootstrap::shipped("envoy/rescue.yaml");
    let routes = &mut rescue.connection_manager()["route_config"]["virtual_hosts"][0]["routes"];
    routes[0]["route"] = json!({"cluster": "demo-canary"});
    let clusters = rescue.document()["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.retain(|cluster| cluster["name"] != "demo-canary-rescued");
    let mut plain: Value = Bootstrap::shipped("envoy/envoy.yaml").document().clone();
    assert_eq!(*rescue.document(), plain.take());
}
