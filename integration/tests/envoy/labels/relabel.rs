//! The relabeling rules of docs/ISTIO.md, for gateways whose bootstrap can't be changed: applied to
//! names as Prometheus applies them.

use super::*;

/// One rule of `metric_relabel_configs`.
struct RelabelRule {
    sources: Vec<String>,
    regex: Regex,
    target: String,
    replacement: String,
    drops_labels: bool,
}

/// The rules as the document has them.
static RULES: LazyLock<Vec<RelabelRule>> = LazyLock::new(|| {
    let document = std::fs::read_to_string(artifacts::root().join("docs/ISTIO.md")).unwrap();
    let blocks = document.split("```yaml").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("metric_relabel_configs")).unwrap();
    let rules: Value = serde_saphyr::from_str(block).unwrap();
    rules["metric_relabel_configs"].as_array().unwrap().iter().map(rule).collect()
});

fn rule(rule: &Value) -> RelabelRule {
    let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
    let sources = rule["source_labels"].as_array().into_iter().flatten();
    RelabelRule {
        sources: sources.map(|label| label.as_str().unwrap().to_owned()).collect(),
        // Prometheus anchors its expressions.
        regex: Regex::new(&format!("^(?s:{})$", text("regex"))).unwrap(),
        target: text("target_label"),
        replacement: text("replacement"),
        drops_labels: rule["action"] == "labeldrop",
    }
}

/// A scraped name after all rules.
fn relabeled(name: &str) -> (String, Labels) {
    let mut labels = Labels::from([("__name__".to_owned(), name.to_owned())]);
    for rule in RULES.iter() {
        if rule.drops_labels {
            labels.retain(|label, _| !rule.regex.is_match(label));
            continue;
        }
        let values = rule.sources.iter().map(|label| labels.get(label).map_or("", String::as_str));
        let source = values.collect::<Vec<_>>().join(";");
        if let Some(groups) = rule.regex.captures(&source) {
            let mut value = String::new();
            groups.expand(&rule.replacement, &mut value);
            if value.is_empty() {
                labels.remove(&rule.target);
            } else {
                labels.insert(rule.target.clone(), value);
            }
        }
    }
    let name = labels.remove("__name__").unwrap();
    (name, labels)
}

/// The name that Prometheus scrapes of a statistic without tags, and what the rules should make of it.
fn scraped(stat: &RoleStat, suffix: &str) -> (String, (String, Labels)) {
    let (name, labels) = stat.expected();
    let labels = labels.into_iter().map(|(label, value)| (label, flat(&value))).collect();
    (format!("canary_{}{suffix}", flat(&stat.name())), (name + suffix, labels))
}

/// Whether a part `stable` or `canary` of a name is followed by what looks like a version.
fn looks_like_a_version_follows(name: &str) -> bool {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("(^|_)(stable|canary)_v?[0-9]").unwrap());
    PATTERN.is_match(&flat(name))
}

/// The names that the document says the rules can take apart.
fn is_within_limits(stat: &RoleStat) -> bool {
    let (version, metric) = (flat(&stat.version), flat(&stat.metric));
    let has = |name: &str, words: &[&str]| name.split('_').any(|part| words.contains(&part));
    let roles = ["stable", "canary"];
    let by_role = is_numbered(&version) || !(has(&version, &roles) || has(&metric, &roles));
    let by_keyword = METRICS.contains(&metric.as_str())
        || (!has(&version, &["signal", "value"]) && is_plain(&stat.metric));
    !looks_like_a_version_follows(&stat.rollout) && by_role && by_keyword
}

fn is_numbered(version: &str) -> bool {
    let number = version.strip_prefix('v').unwrap_or(version);
    number.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether the names in `signal.label.cat` or `value.tokens` can be told apart without dots.
fn is_plain(metric: &str) -> bool {
    let mut parts = metric.split('.').skip(1);
    let (signal, bin) = (parts.next().unwrap(), parts.next());
    let is_common = |bin: &str| {
        let number = bin.strip_prefix('b').unwrap_or_default();
        ["other", "unreadable", "converted"].contains(&bin)
            || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let plain_signal = !signal.starts_with('_')
        && !signal.starts_with("first")
        && (!signal.contains('_') || bin.is_none_or(is_common));
    let plain_bin = bin.is_none_or(|bin| {
        let flat = flat(bin);
        let last = flat.rsplit('_').next().unwrap_or_default();
        !flat.starts_with('_') && (is_common(bin) || !is_common(last))
    });
    let whole = flat(metric);
    let ends_alike = |word: &str| whole.ends_with(&format!("_{word}"));
    plain_signal && plain_bin && !METRICS.into_iter().chain(GAUGES).any(ends_alike)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000, failure_persistence: None, max_global_rejects: 100_000, ..ProptestConfig::default()
    })]

    #[test]
    fn the_rules_split_every_name_within_their_limits(
        stat in stat().prop_filter("within the limits", is_within_limits),
        suffix in prop_oneof![Just("_bucket"), Just("_sum"), Just("_count")],
    ) {
        let histogram = stat.metric.ends_with("_us") || stat.metric.starts_with("value");
        let (name, expected) = scraped(&stat, if histogram { suffix } else { "" });
        prop_assert_eq!(relabeled(&name), expected, "{}", name);
    }

    #[test]
    fn the_rules_split_gauges(
        rollout in rollout().prop_filter("within the limits", |name| !looks_like_a_version_follows(name)),
        gauge in proptest::sample::select(GAUGES.to_vec()),
    ) {
        let labels = Labels::from([("rollout".to_owned(), flat(&rollout))]);
        let name = format!("canary_{}_{gauge}", flat(&rollout));
        prop_assert_eq!(relabeled(&name), (format!("canary_{gauge}"), labels), "{}", name);
    }
}

#[test]
fn the_examples_of_the_issue() {
    let split = |rollout: &str, version: &str, metric: &str| {
        let (rollout, version, metric) =
            (rollout.to_owned(), version.to_owned(), metric.to_owned());
        let stat = RoleStat { rollout, role: "canary", version, metric };
        let (name, expected) = scraped(&stat, "");
        assert_eq!(relabeled(&name), expected, "{name}");
    };
    split("pay_canary", "1.0", "rq_total");
    split("scorer", "1.0-rq_2", "rq_total");
    split("scorer", "1.0-canary.2", "judged_failure");
    split("scorer", "3.2", "signal.finish.tool_calls");
    split("scorer", "3.2", "signal_first.model_score.b3");
    let untouched = relabeled("canary_filter_heartbeat");
    assert_eq!(untouched, ("canary_filter_heartbeat".to_owned(), Labels::new()));
}

/// Why the rules have limits: without tags, two statistics can have one name.
#[test]
fn without_tags_two_statistics_can_have_one_name() {
    let stat = |rollout: &str, version: &str| RoleStat {
        rollout: rollout.to_owned(),
        role: "canary",
        version: version.to_owned(),
        metric: "rq_total".to_owned(),
    };
    let (one, other) = (stat("a", "canary.1"), stat("a_canary", "1"));
    assert_eq!(flat(&one.name()), flat(&other.name()));
    assert_ne!(tagged(&one.name()), tagged(&other.name()));
}
