//! How the names of the filter's statistics become labels: by the tag regexes of the shipped files, for
//! every name that the filter's configuration allows, and by the relabeling rules of docs/ISTIO.md.

mod relabel;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use canary_integration::{Bootstrap, Rig, Running, TestUpstream, artifacts};
use canary_model::names::{is_bin, is_rollout_name, is_version};
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

/// Every metric of a role that is one word (DESIGN 6). The regexes list all of them, whether or not the
/// filter counts them yet, so that dashboards don't change when it does.
const METRICS: [&str; 24] = [
    "rq_total",
    "rq_failure",
    "rq_2xx",
    "rq_3xx",
    "rq_4xx",
    "rq_5xx",
    "judged_total",
    "judged_failure",
    "assigned_total",
    "judged_unanswered",
    "rq_broken",
    "rq_overdue",
    "rq_abandoned",
    "client_total",
    "client_failure",
    "client_first_failure",
    "rq_rescued",
    "rq_forced",
    "rq_time_us",
    "rq_ttfb_us",
    "rq_gap_us",
    "rq_time_first_us",
    "rq_ttfb_first_us",
    "rq_gap_first_us",
];
const GAUGES: [&str; 5] =
    ["weight_ppm", "guard_tripped", "lease_expired", "epoch", "outcome_age_seconds"];

type Labels = BTreeMap<String, String>;

/// One statistic of a role: its name's parts.
#[derive(Clone, Debug)]
struct RoleStat {
    rollout: String,
    role: &'static str,
    version: String,
    /// `rq_total`, `signal.label.cat` or `value.tokens`.
    metric: String,
}

impl RoleStat {
    fn name(&self) -> String {
        let Self { rollout, role, version, metric } = self;
        format!("{rollout}.{role}.{version}.{metric}")
    }

    /// The name and the labels that Prometheus should see.
    fn expected(&self) -> (String, Labels) {
        let mut parts = self.metric.split('.');
        let name = format!("canary_{}", parts.next().unwrap());
        let mut labels = Labels::from([
            ("rollout".to_owned(), self.rollout.clone()),
            ("role".to_owned(), self.role.to_owned()),
            ("version".to_owned(), self.version.clone()),
        ]);
        for (label, value) in ["signal", "bin"].into_iter().zip(parts) {
            labels.insert(label.to_owned(), value.to_owned());
        }
        (name, labels)
    }
}

static TAGS: LazyLock<Vec<(String, Regex)>> = LazyLock::new(|| {
    let tags = Bootstrap::shipped("envoy/envoy.yaml").stats_tags();
    tags.into_iter().map(|(label, regex)| (label, Regex::new(&regex).unwrap())).collect()
});

/// What Prometheus sees of a statistic. Envoy applies every regex to the whole name; the first group is
/// removed, and the second is the label's value. RE2 and the regex crate agree on the syntax used.
fn tagged(name: &str) -> (String, Labels) {
    let name = format!("wasmcustom.canary.{name}");
    let (mut cuts, mut labels) = (Vec::new(), Labels::new());
    for (label, regex) in TAGS.iter() {
        if let Some(groups) = regex.captures(&name) {
            cuts.push(groups.get(1).unwrap().range());
            labels.insert(label.clone(), groups[2].to_owned());
        }
    }
    let kept = name.char_indices().filter(|(at, _)| !cuts.iter().any(|cut| cut.contains(at)));
    let kept: String = kept.map(|(_, letter)| letter).collect();
    (flat(kept.trim_start_matches("wasmcustom.")), labels)
}

/// A name as Prometheus allows it.
fn flat(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

/// Rollout names, with many that look like roles and metrics.
fn rollout() -> impl Strategy<Value = String> {
    let part = "stable|canary|rq_total|signal|value|epoch|filter|pay|[a-z0-9]{1,4}";
    let name = (part, proptest::collection::vec(("[_-]{1,2}", part), 0..4)).prop_map(joined);
    name.prop_filter("legal", |name| is_rollout_name(name))
}

fn joined((first, rest): (String, Vec<(String, String)>)) -> String {
    rest.into_iter().fold(first, |name, (between, part)| name + &between + &part)
}

/// Versions, with many parts that look like roles, metrics and keywords.
fn version() -> impl Strategy<Value = String> {
    let part = "[0-9]{1,3}|v[0-9]|stable|canary|rq|rq_2|rq_total|rq-total|signal|a_signal|value-1|signal_first|\
                judged|first|us|client_total_|epoch|[A-Za-z0-9]{1,6}";
    let name = (part, proptest::collection::vec(("[._-]", part), 0..5)).prop_map(joined);
    name.prop_filter("legal", |version| is_version(version))
}

fn role() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("stable"), Just("canary")]
}

fn metric() -> impl Strategy<Value = String> {
    let plain = proptest::sample::select(METRICS.to_vec()).prop_map(str::to_owned);
    let signal = "signal|signal_first|value|rq_total|stable|[a-z0-9_]{1,8}";
    let bin = "b[0-9]{1,2}|other|unreadable|signal|value|stable|my_rq_200|[A-Za-z0-9_-]{1,8}"
        .prop_filter("legal", |bin| is_bin(bin));
    let first = prop_oneof![Just(""), Just("_first")];
    let signals = (first.clone(), signal, bin)
        .prop_map(|(first, signal, bin)| format!("signal{first}.{signal}.{bin}"));
    let values = (first, signal).prop_map(|(first, signal)| format!("value{first}.{signal}"));
    prop_oneof![plain, signals, values]
}

fn stat() -> impl Strategy<Value = RoleStat> {
    (rollout(), role(), version(), metric()).prop_map(|(rollout, role, version, metric)| RoleStat {
        rollout,
        role,
        version,
        metric,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tag_regexes_read_every_legal_name(stat in stat()) {
        prop_assert_eq!(tagged(&stat.name()), stat.expected(), "{}", stat.name());
    }

    #[test]
    fn a_gauge_gets_its_rollout(rollout in rollout(), gauge in proptest::sample::select(GAUGES.to_vec())) {
        let labels = Labels::from([("rollout".to_owned(), rollout.clone())]);
        let expected = (format!("canary_{gauge}"), labels);
        prop_assert_eq!(tagged(&format!("{rollout}.{gauge}")), expected);
    }
}

#[test]
fn the_filters_own_metrics_get_no_label() {
    for metric in
        ["poll_success", "poll_failure", "invalid_runtime", "config_rejected", "heartbeat"]
    {
        let expected = (format!("canary_filter_{metric}"), Labels::new());
        assert_eq!(tagged(&format!("filter.{metric}")), expected);
    }
}

/// Every shipped bootstrap and the one for Istio's gateways have the same regexes.
#[test]
fn all_shipped_files_have_the_same_regexes() {
    let tags = Bootstrap::shipped("envoy/envoy.yaml").stats_tags();
    for file in
        ["envoy/rescue.yaml", "envoy/kubernetes/envoy.yaml", "integration/compose/envoy.yaml"]
    {
        assert_eq!(Bootstrap::shipped(file).stats_tags(), tags, "{file}");
    }
    let addition = istio_addition();
    let regexes = addition["stats_config"]["stats_tags"].as_array().unwrap();
    let text = |tag: &Value, field: &str| tag[field].as_str().unwrap().to_owned();
    let istio: Vec<_> =
        regexes.iter().map(|tag| (text(tag, "tag_name"), text(tag, "regex"))).collect();
    assert_eq!(istio, tags);
}

/// What `envoy/istio/stats-tags.yaml` adds to the bootstrap of Istio's proxy.
fn istio_addition() -> Value {
    let file = artifacts::root().join("envoy/istio/stats-tags.yaml");
    let map: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    serde_json::from_str(map["data"]["custom_bootstrap.json"].as_str().unwrap()).unwrap()
}

/// The labels of every line of `/stats/prometheus` with this name.
async fn lines(rig: &Running, name: &str) -> Vec<Labels> {
    let lines = rig.prometheus().await;
    let of_name = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
    let label = |pair: &str| {
        let (label, value) = pair.split_once('=').unwrap();
        (label.to_owned(), value.trim_matches('"').to_owned())
    };
    of_name.map(|rest| rest.split('}').next().unwrap().split(',').map(label).collect()).collect()
}

/// Whether one of these has all the wanted labels.
fn carries(found: &[Labels], wanted: &[(&str, &str)]) -> bool {
    let has = |labels: &Labels, (label, value): &(&str, &str)| {
        labels.get(*label).is_some_and(|found| found == value)
    };
    found.iter().any(|labels| wanted.iter().all(|pair| has(labels, pair)))
}

/// A rollout with a name and versions that are hard to take apart, and a signal.
fn difficult(rollout: &mut Value) {
    rollout["name"] = "pay_canary".into();
    rollout["stable"]["version"] = "1.0-rq_2".into();
    rollout["canary"]["version"] = "1.cache.2-signal".into();
    rollout["weight"] = 50.0.into();
    rollout["signals"] = json!([{
        "name": "rq_total", "from": {"response_header": "x-label"}, "categories": ["my_rq_200"],
    }]);
}

/// The same regexes in Envoy itself, in the shipped bootstrap and added to Istio's, which has tags of
/// its own that would cut into the version.
#[tokio::test]
async fn envoy_gives_prometheus_the_labels() {
    let labeled = || TestUpstream::ok().header("x-label", "my_rq_200");
    let shipped = Rig::new().rollout(difficult);
    let istio = Rig::istio(canary_integration::Carrier::WasmPlugin).rollout(difficult);
    let istio = istio.rollout(|rollout| {
        rollout.as_object_mut().unwrap().remove("affinity");
        rollout.as_object_mut().unwrap().remove("match");
    });
    let istio = istio.bootstrap(|bootstrap| {
        let added = istio_addition()["stats_config"]["stats_tags"].as_array().unwrap().clone();
        let tags = &mut bootstrap.document()["stats_config"]["stats_tags"];
        tags.as_array_mut().unwrap().extend(added);
    });
    for (rig, host, path) in
        [(shipped, "a", "/"), (istio, "scorer.example.com", "/v2/models/scorer")]
    {
        let rig = rig.stable(labeled()).canary(labeled()).start().await;
        let ask = move |_| canary_integration::ClientRequest::get(path).authority(host);
        rig.load(100).each(ask).await;
        let versions = [("stable", "1.0-rq_2"), ("canary", "1.cache.2-signal")];
        for (role, version) in versions {
            let role_labels = [("rollout", "pay_canary"), ("role", role), ("version", version)];
            let plain = async || lines(&rig, "canary_rq_total").await;
            rig.eventually("a counter with its labels", plain, |found| {
                carries(found, &role_labels)
            })
            .await;
            let buckets = async || lines(&rig, "canary_rq_time_us_bucket").await;
            rig.eventually("a histogram with its labels", buckets, |found| {
                carries(found, &role_labels)
            })
            .await;
            let signals = async || lines(&rig, "canary_signal").await;
            let with = [&role_labels[..], &[("signal", "rq_total"), ("bin", "my_rq_200")]].concat();
            rig.eventually("a signal with its labels", signals, |found| carries(found, &with))
                .await;
        }
        let gauges = lines(&rig, "canary_weight_ppm").await;
        assert_eq!(gauges[0]["rollout"], "pay_canary", "{gauges:?}");
    }
}
