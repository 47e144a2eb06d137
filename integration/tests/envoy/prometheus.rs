//! The shipped Prometheus files in a real Prometheus that scrapes a real Envoy and the controller, and
//! rollouts that are judged by what it says.

use std::process::Command;

use canary_integration::{AdminOn, Load, PrometheusProcess, Rig, Running, artifacts};
use serde_json::Value;

use crate::observed::{ControllerProcess, ObservedRig, admin_port, text};

#[test]
fn promtool_takes_the_shipped_files() {
    let folder = artifacts::root().join("envoy/prometheus");
    for (what, file) in [("config", "prometheus.yaml"), ("rules", "canary.rules.yaml")] {
        let check = ["check", what, "--lint-fatal"];
        let mut promtool = Command::new(artifacts::promtool());
        let output = promtool.args(check).arg(folder.join(file)).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }
}

/// The only value of a query for a role.
async fn of_role(prometheus: &PrometheusProcess, metric: &str, role: &str) -> f64 {
    let values = prometheus.values(&format!("{metric}{{rollout=\"demo\",role=\"{role}\"}}")).await;
    assert_eq!(values.len(), 1, "{values:?}");
    let version = if role == "canary" { "1.1.0" } else { "1.0.0" };
    assert_eq!(values[0].labels["version"], version, "{values:?}");
    values[0].value
}

#[tokio::test]
async fn the_rules_show_both_versions_side_by_side() {
    let observed = ObservedRig::start().await;
    let prometheus = &observed.prometheus;
    prometheus.values("count(up{job=~'envoy|canaryctl'} == 1) == 2").await;
    for record in records() {
        prometheus.values(&record).await;
    }
    let rate = of_role(prometheus, "rollout_role_version:canary_rq_total:rate1m", "stable").await;
    assert!(rate > 0.0, "{rate}");
    let failures = "rollout_role_version:canary_rq_failure:ratio_rate1m";
    assert_eq!(of_role(prometheus, failures, "stable").await, 0.0);
    let failed = of_role(prometheus, failures, "canary").await;
    assert!((failed - 0.2).abs() < 0.1, "{failed}");
    let median = "rollout_role_version:canary_rq_time_seconds:p50_1m";
    let (stable, canary) =
        (of_role(prometheus, median, "stable").await, of_role(prometheus, median, "canary").await);
    assert!(canary > 0.02 && stable < canary, "{stable} {canary}");
    let share = prometheus.values("rollout:canary_share:ratio_rate1m").await;
    assert!((share[0].value - 0.3).abs() < 0.15, "{share:?}");
    let weight = prometheus.values("rollout:canary_weight:min_ratio").await;
    assert_eq!(weight[0].value, 0.3, "{weight:?}");
}

/// The names of the shipped rules.
fn records() -> Vec<String> {
    let file = artifacts::root().join("envoy/prometheus/canary.rules.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// A rollout file that is judged by Prometheus alone.
fn rollout(prometheus: &PrometheusProcess, condition: &str) -> String {
    let query = "rollout_role_version:canary_rq_failure:ratio_rate1m{rollout='demo',role='canary'}";
    format!(
        "rollout: demo\nlease: 5s\nsteps:\n- setWeight: 30\n- pause: {{duration: 2s, minRequests: 20}}\n\
         analysis:\n  metrics:\n  - name: slo\n    kind: prometheus\n    address: {}\n    \
         query: \"{query}\"\n    interval: 1s\n    failureCondition: {condition}\n",
        prometheus.url()
    )
}

/// An Envoy without the guard, so that it's Prometheus who finds a bad version, and its Prometheus.
async fn scraped(errors: f64) -> (Running, PrometheusProcess) {
    let rig = Rig::new().admin(AdminOn::Tcp).unguarded().start().await;
    rig.canary().change(|behavior| behavior.errors = errors);
    let prometheus = PrometheusProcess::start(&[admin_port(&rig)], None).await;
    (rig, prometheus)
}

#[tokio::test]
async fn a_rollout_goes_on_by_what_prometheus_says() {
    let (rig, prometheus) = scraped(0.0).await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let run = ControllerProcess::new(&rollout(&prometheus, "result > 0.05")).run(&rig).await;
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    rig.all_go_to("1.1.0").await;
}

#[tokio::test]
async fn a_rollout_is_rolled_back_by_what_prometheus_says() {
    let (rig, prometheus) = scraped(0.2).await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let run = ControllerProcess::new(&rollout(&prometheus, "result > 0.05")).run(&rig).await;
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(1), "{}", text(&run));
    assert!(text(&run).contains("rolling back to stable: slo"), "{}", text(&run));
    rig.all_go_to("1.0.0").await;
}

#[tokio::test]
async fn a_rollout_holds_while_prometheus_is_away_and_says_so() {
    let (rig, mut prometheus) = scraped(0.0).await;
    let traffic = rig.load(Load::ENDLESS).rate(300.0).spawn();
    let controller = ControllerProcess::new(&rollout(&prometheus, "result > 0.05"));
    prometheus.kill().await;
    let steered = async {
        // It waits for nothing else any more: the step's time is over.
        let held = |status: &Value| {
            let waits = status["waits_for"].as_str().unwrap_or_default();
            waits.starts_with("step 1 of 1 (30 %) waits for data of slo: Prometheus at")
        };
        let status = async || controller.status(&rig).await;
        let shown = rig.eventually("it holds for want of Prometheus", status, held).await;
        assert_eq!(shown["phase"], "Progressing", "{shown:#}");
        assert_eq!(shown["weight"]["in_force"], 30, "the lease is renewed all the same: {shown:#}");
        prometheus.start_again().await;
    };
    let (run, ()) = tokio::join!(controller.run(&rig), steered);
    traffic.stop().await;
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    rig.all_go_to("1.1.0").await;
}
