use serde_json::{Value, json};

use super::*;
use canary_model::document::{ConfigErrors, Node};

fn read(value: &Value) -> Result<Analysis, Vec<String>> {
    let mut problems = ConfigErrors::default();
    let analysis = Analysis::read(&Node::root(value), &mut problems);
    problems.finish(analysis).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn metric(value: Value) -> Result<MetricRule, Vec<String>> {
    let mut analysis = read(&json!({"metrics": [value]}))?;
    Ok(analysis.metrics.remove(0).rule)
}

#[test]
fn reads_the_example() {
    let analysis = read(&json!({"falseAbort": "1%", "metrics": [
        {"name": "failures", "kind": "failureRate", "margin": "0.1%"},
        {"name": "latency", "kind": "latency", "quantiles": {"p50": 1.1, "p95": 1.2, "p99": 1.5}},
        {"name": "label", "kind": "distribution", "signal": "label"},
        {"name": "checkout", "kind": "conversion", "signal": "checkout", "margin": "1%"},
        {"name": "gpu", "kind": "prometheus", "address": "http://prometheus:9090",
         "query": "max(gpu)", "failureCondition": "result > 0.9", "interval": "30s",
         "failureLimit": 2},
    ]}))
    .unwrap();
    assert_eq!((analysis.false_abort, analysis.shares()), (0.01, 4));
    let rules: Vec<MetricRule> = analysis.metrics.into_iter().map(|metric| metric.rule).collect();
    assert_eq!(rules[0], MetricRule::FailureRate { ratio: 1.0, margin: 0.001 });
    let tolerances = [1.1, 1.1, 1.1, 1.2, 1.2, 1.5, 1.5, 1.5, 1.5];
    assert_eq!(rules[1], MetricRule::Latency { timing: Timing::Total, tolerances });
    assert_eq!(rules[2], MetricRule::Distribution { signal: "label".to_owned(), tolerance: 0.0 });
    assert_eq!(rules[3], MetricRule::Conversion { signal: "checkout".to_owned(), margin: 0.01 });
    let MetricRule::Prometheus(gpu) = &rules[4] else { panic!("prometheus") };
    assert_eq!((gpu.interval, gpu.failure_limit, gpu.count), (Duration::from_secs(30), 2, None));
    assert_eq!(gpu.failure_condition.as_ref().unwrap().text(), "result > 0.9");
}

#[test]
fn defaults() {
    assert_eq!(read(&json!({"metrics": []})).unwrap().false_abort, 0.01);
    let rate = metric(json!({"name": "f", "kind": "failureRate"}));
    assert_eq!(rate, Ok(MetricRule::FailureRate { ratio: 1.0, margin: 0.001 }));
    let latency = metric(json!({"name": "l", "kind": "latency"}));
    assert_eq!(latency, Ok(MetricRule::Latency { timing: Timing::Total, tolerances: [1.1; 9] }));
    let conversion = metric(json!({"name": "c", "kind": "conversion", "signal": "c"}));
    assert_eq!(conversion, Ok(MetricRule::Conversion { signal: "c".to_owned(), margin: 0.0 }));
}

#[test]
fn latency_of_a_timing_and_values_in_a_direction() {
    let rule = |text: &str| metric(serde_json::from_str(text).unwrap());
    let ttft = rule(r#"{"name": "t", "kind": "latency", "of": "ttfb", "quantiles": {"p50": 1.2}}"#);
    assert_eq!(ttft, Ok(MetricRule::Latency { timing: Timing::Ttfb, tolerances: [1.2; 9] }));
    let total = rule(r#"{"name": "t", "kind": "latency", "of": "total"}"#);
    assert_eq!(total, rule(r#"{"name": "t", "kind": "latency"}"#));
    let values = |more: &str| {
        rule(&format!(r#"{{"name": "v", "kind": "values", "signal": "tokens"{more}}}"#))
    };
    let expected =
        |tolerance, worse| Ok(MetricRule::Values { signal: "tokens".to_owned(), tolerance, worse });
    assert_eq!(values(""), expected(1.1, Worse::Both));
    assert_eq!(values(r#", "tolerance": 1, "worse": "lower""#), expected(1.0, Worse::Lower));
    assert_eq!(values(r#", "tolerance": 1.2, "worse": "higher""#), expected(1.2, Worse::Higher));
    for (more, fault) in [
        (r#", "worse": "more""#, "metrics[0].worse: expected one of higher, lower, both"),
        (r#", "worse": 1"#, "metrics[0].worse: expected one of higher, lower, both, found 1"),
        (r#", "tolerance": 0.9"#, "metrics[0].tolerance: expected a factor from 1 to 100"),
        (r#", "quantiles": {}"#, "metrics[0].quantiles: unknown field; known here: name, kind"),
    ] {
        let found = values(more).unwrap_err().join("|");
        assert!(found.starts_with(fault), "{found}");
    }
    let of = rule(r#"{"name": "t", "kind": "latency", "of": "first"}"#).unwrap_err();
    assert!(of[0].starts_with("metrics[0].of: expected one of total, ttfb, gap"), "{of:?}");
    let no_signal = rule(r#"{"name": "v", "kind": "values"}"#).unwrap_err();
    assert_eq!(no_signal, ["metrics[0].signal: required, but missing"]);
}

#[test]
fn the_split_check_has_a_budget_of_its_own() {
    let split = |value: Value| read(&json!({"falseSplit": value, "metrics": []}));
    assert_eq!(read(&json!({"metrics": []})).unwrap().false_split, 0.01);
    assert_eq!(split(json!("5%")).unwrap().false_split, 0.05);
    for wrong in [json!("0%"), json!("51%"), json!(0.01)] {
        let fault = split(wrong).unwrap_err().join("|");
        assert!(fault.starts_with("falseSplit: expected a percentage above 0%"), "{fault}");
    }
}

#[test]
fn a_named_quantile_holds_up_to_the_next() {
    let tolerances = |quantiles: Value| match metric(
        json!({"name": "l", "kind": "latency", "tolerance": 1.3, "quantiles": quantiles}),
    ) {
        Ok(MetricRule::Latency { tolerances, .. }) => tolerances,
        other => panic!("{other:?}"),
    };
    assert_eq!(tolerances(json!({"p99": 2})), [2.0; 9], "those below the first take the first's");
    let high = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 4.0];
    assert_eq!(tolerances(json!({"p99.95": 4, "p99.5": 3, "p50": 1})), high);
    let between = [1.5, 1.5, 1.5, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0];
    assert_eq!(tolerances(json!({"p90": 1.5, "p97": 2})), between, "a quantile between two");
    let all = metric(json!({"name": "l", "kind": "latency", "tolerance": 1.3}));
    assert_eq!(all, Ok(MetricRule::Latency { timing: Timing::Total, tolerances: [1.3; 9] }));
}

#[test]
fn shares_are_percentages() {
    for (text, share) in
        [("1%", 0.01), ("0.1%", 0.001), ("0%", 0.0), ("100%", 1.0), ("12.5%", 0.125)]
    {
        assert_eq!(percentage(text), Some(share), "{text}");
    }
    for text in ["1", "%", "-1%", "+1%", "1e0%", "nan%", "inf%", "101%", "1 %", "1.2.3%", ".%"] {
        assert_eq!(percentage(text), None, "{text}");
    }
    let margin =
        |margin: Value| metric(json!({"name": "f", "kind": "failureRate", "margin": margin}));
    assert_eq!(margin(json!(0)), Ok(MetricRule::FailureRate { ratio: 1.0, margin: 0.0 }));
    assert_eq!(
        margin(json!(0.5)).unwrap_err(),
        ["metrics[0].margin: expected a percentage below 100%, such as 0.1%, found 0.5"]
    );
}

#[test]
fn faults_are_named_by_path() {
    let faults = |value: Value| metric(value).unwrap_err().join("|");
    assert_eq!(
        faults(json!({"name": "x", "kind": "magic"})),
        "metrics[0].kind: expected one of failureRate, latency, distribution, values, conversion, prometheus, \
         found \"magic\""
    );
    assert!(faults(json!({"name": "x"})).starts_with("metrics[0].kind: required: one of"));
    assert_eq!(faults(json!(3)), "metrics[0]: expected an object, found 3");
    assert_eq!(faults(json!({"kind": "failureRate"})), "metrics[0].name: required, but missing");
    assert!(faults(json!({"name": "x", "kind": "failureRate", "tolerance": 1.1})).starts_with(
        "metrics[0].tolerance: unknown field; known here: name, kind, onFailure, ratio"
    ));
    assert!(
        faults(json!({"name": "x", "kind": "latency", "quantiles": {"p101": 2, "q5": 2}}))
            .contains("metrics[0].quantiles.q5: no quantile")
    );
    assert!(
        faults(json!({"name": "x", "kind": "latency", "tolerance": 0.9}))
            .contains("a factor from 1 to 100")
    );
    assert!(
        faults(json!({"name": "x", "kind": "distribution", "signal": "A"}))
            .starts_with("metrics[0].signal: expected a signal's name")
    );
    assert!(
        faults(json!({"name": "x", "kind": "conversion"}))
            .starts_with("metrics[0].signal: required")
    );
    let doubled = json!({"name": "x", "kind": "failureRate"});
    assert_eq!(
        read(&json!({"metrics": [doubled, doubled]})).unwrap_err(),
        ["metrics[1].name: \"x\" is the name of an earlier metric"]
    );
    assert!(
        read(&json!({"falseAbort": "60%", "metrics": []})).unwrap_err()[0].contains("at most 50%")
    );
    assert!(read(&json!({})).unwrap_err()[0].starts_with("metrics: required"));
}

#[test]
fn prometheus_faults() {
    let with = |field: &str, value: Value| {
        let mut metric = json!({"name": "g", "kind": "prometheus", "address": "http://p:9090",
            "query": "up", "failureCondition": "result > 0.9"});
        metric[field] = value;
        self::metric(metric).unwrap_err().join("|")
    };
    assert!(with("address", json!("prometheus:9090")).contains("begins with http://"));
    assert!(with("query", json!(" ")).contains("a PromQL query"));
    assert_eq!(
        with("interval", json!("100ms")),
        "metrics[0].interval: expected a duration of at least 1s, such as 30s or 5m, found \"100ms\""
    );
    assert!(with("failureLimit", json!(-1)).contains("a whole number from 0"));
    assert_eq!(
        with("failureCondition", json!("result >> 1")),
        "metrics[0].failureCondition: at character 9: expected a number, result, result[0] or \
         len(result), found \"result >> 1\""
    );
    assert!(
        with("failureCondition", Value::Null).contains("a successCondition or a failureCondition")
    );
}

#[test]
fn constant_conditions_are_named_by_their_field() {
    let warnings = |query: &str, success: &str, failure: &str| {
        let spec = json!([{"name": "gpu", "kind": "prometheus", "address": "http://p:9090",
            "query": query, "successCondition": success, "failureCondition": failure}]);
        let value = json!({"metrics": spec});
        let mut problems = ConfigErrors::default();
        let read = Analysis::read(&Node::root(&value), &mut problems);
        let analysis = problems.finish(read).unwrap();
        let MetricRule::Prometheus(spec) = &analysis.metrics[0].rule else { panic!("prometheus") };
        spec.condition_warnings()
    };
    assert_eq!(warnings("up", "result < 1", "result > 2"), []);
    let never = ConstantCondition::NeverHolds;
    assert_eq!(
        warnings("up", "result < 1", "result > 2 && result < 1"),
        [ConditionWarning { field: "failureCondition", constant: never }]
    );
    let second = |query| warnings(query, "result[1] < 1", "result[0] > 2");
    let unanswered = ConstantCondition::NeverAnswers;
    let warning = ConditionWarning { field: "successCondition", constant: unanswered };
    assert_eq!(second("scalar(sum(rate(x[5m])))"), [warning]);
    assert_eq!(second(" vector (1) "), [warning]);
    for query in ["sum by (a) (x)", "scalar(x) + on() y", "vector(1) or vector(2)", "scalars(x)"] {
        assert_eq!(second(query), [], "{query}");
    }
}

fn prometheus_with(access: Value) -> Value {
    let mut metric = json!({"name": "gpu", "kind": "prometheus", "address": "http://p:9090", "query": "up",
        "failureCondition": "result > 1"});
    metric.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
    metric
}

#[test]
fn what_a_query_is_sent_with_is_no_part_of_the_identity_and_never_shown() {
    let of = |access: Value| {
        let analysis = read(&json!({"metrics": [prometheus_with(access)]})).unwrap();
        (crate::fingerprint::canonical_json(&analysis), format!("{analysis:?}"))
    };
    let (plain, _) = of(json!({}));
    for access in [
        json!({"headers": {"X-Scope-OrgID": "hunter2", "authorization": "Bearer hunter2"}}),
        json!({"headers": {"X-Scope-OrgID": "hunter2"}, "tokenFile": "/run/token"}),
        json!({"usernameFile": "user", "passwordFile": "password"}),
    ] {
        let (canonical, debug) = of(access.clone());
        assert_eq!(canonical, plain, "{access}");
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}

#[test]
fn faults_of_headers_and_credentials_are_named_without_their_values() {
    let many: serde_json::Map<String, Value> =
        (0..33).map(|number| (format!("x-{number}"), json!("hunter2"))).collect();
    for (access, words) in [
        (json!({"headers": ["hunter2"]}), "headers: expected headers by name"),
        (json!({"headers": {"x y": "hunter2"}}), "headers.x y: not the name of a header"),
        (json!({"headers": {"Host": "hunter2"}}), "headers.Host: a header of the connection"),
        (json!({"headers": {"a": "hunter2", "A": "hunter2"}}), "the name of an earlier header"),
        (json!({"headers": {"a": "hunter2\n"}}), "headers.a: expected a text of visible ASCII"),
        (json!({"headers": {"a": 7}}), "headers.a: expected a text of visible ASCII"),
        (json!({"headers": many}), "33 headers"),
        (json!({"tokenFile": "t", "usernameFile": "u", "passwordFile": "p"}), "one of them"),
        (json!({"usernameFile": "u"}), "usernameFile needs a passwordFile"),
        (json!({"passwordFile": "p"}), "passwordFile needs a usernameFile"),
        (json!({"tokenFile": ""}), "tokenFile: expected the path of a file"),
        (json!({"tokenFile": "t", "headers": {"Authorization": "hunter2"}}), "given twice"),
        (json!({"tokenFile": "t", "address": "http://ann:hunter2@p:9090"}), "given twice"),
    ] {
        let said = metric(prometheus_with(access.clone())).unwrap_err().join("|");
        assert!(said.contains(words), "{access}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
