use serde_json::{Value, json};

use super::*;

/// A sound file with some of its fields replaced.
fn with(fields: Value) -> Value {
    let mut file = json!({"rollout": "r",
        "steps": [{"setWeight": 5}, {"pause": {"untilConfident": true}}],
        "analysis": {"metrics": [{"name": "f", "kind": "failureRate"}]}});
    for (name, value) in fields.as_object().unwrap() {
        file[name] = value.clone();
    }
    file
}

/// A file with this metric beside one of failures.
fn with_metric(metric: Value, field: &str, value: Value) -> Value {
    let mut metric = metric;
    metric["name"] = json!("m");
    metric[field] = value;
    with(json!({"analysis": {"metrics": [{"name": "f", "kind": "failureRate"}, metric]}}))
}

/// What stands behind `such as`: up to the value that was found, or a closing brace, or a comma of prose.
fn examples(message: &str) -> Vec<Value> {
    let (_, examples) = message.split_once("such as ").unwrap_or_else(|| panic!("{message}"));
    if let Some((fields, _)) = examples.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return vec![object(fields)];
    }
    let examples = examples.split_once(", found ").map_or(examples, |(examples, _)| examples);
    examples.replace(" or ", ", ").split(", ").map(value).collect()
}

fn object(fields: &str) -> Value {
    let field = |field: &str| {
        let (name, text) = field.split_once(": ").unwrap();
        (name.to_owned(), value(text))
    };
    fields.split(", ").map(field).collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Whoever copies an example out of a message gets a file that is accepted.
#[test]
fn every_example_in_a_message_is_accepted() {
    let of = |wrong: Value, file: &dyn Fn(Value) -> Value| {
        let problems = Spec::read(&file(wrong)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        for example in examples(&problems[0].message) {
            let read = Spec::read(&file(example));
            assert!(read.is_ok(), "an example of {:?}: {read:?}", problems[0].message);
        }
    };
    let nothing = || json!("\u{1}");
    let in_pause = |field: &'static str| {
        move |value| {
            let mut pause = json!({"minRequests": 1, "untilConfident": true});
            pause[field] = value;
            with(json!({"steps": [{"setWeight": 5}, {"pause": pause}]}))
        }
    };
    of(nothing(), &|lease| with(json!({"lease": lease})));
    of(nothing(), &|budget| with(json!({"harmBudget": budget})));
    of(nothing(), &in_pause("duration"));
    of(nothing(), &in_pause("timeout"));
    of(nothing(), &|weight| with(json!({"steps": [{"setWeight": weight}]})));
    of(json!({"setWeight": 100}), &|first| with(json!({"steps": [first]})));
    of(json!({"pause": {}}), &|first| with(json!({"steps": [first]})));
    of(json!(null), &|metric| {
        let metrics = if metric.is_null() { json!([]) } else { json!([metric]) };
        with(json!({"analysis": {"metrics": metrics}}))
    });
    of(nothing(), &|timeout| {
        with(json!({"gates": [{"before": 5, "url": "http://gate", "timeout": timeout}]}))
    });
    of(json!("steps: auto"), &|field| {
        let mut fields = object(field.as_str().unwrap());
        fields["steps"] = json!("auto");
        with(fields)
    });
}

#[test]
fn every_example_in_a_message_about_a_metric_is_accepted() {
    let of = |metric: Value, field: &str, wrong: Value, wrap: &dyn Fn(Value) -> Value| {
        let read = |value| Spec::read(&with_metric(metric.clone(), field, wrap(value)));
        let problems = read(wrong).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        for example in examples(&problems[0].message) {
            let read = read(example);
            assert!(read.is_ok(), "an example of {:?}: {read:?}", problems[0].message);
        }
    };
    let nothing = || json!("\u{1}");
    let plain = |value: Value| value;
    let failures = || json!({"kind": "failureRate"});
    let latency = || json!({"kind": "latency"});
    let gpu = || {
        json!({"kind": "prometheus", "address": "http://p:9090", "query": "up",
            "failureCondition": "result > 1"})
    };
    of(failures(), "margin", nothing(), &plain);
    of(failures(), "ratio", json!(0), &plain);
    of(latency(), "tolerance", json!(0), &plain);
    of(latency(), "quantiles", nothing(), &plain);
    of(latency(), "quantiles", json!(0), &|factor| json!({"p50": factor}));
    of(latency(), "quantiles", json!("q5"), &|name| json!({(name.as_str().unwrap()): 1.1}));
    of(json!({"kind": "distribution", "signal": "s"}), "tolerance", nothing(), &plain);
    of(json!({"kind": "conversion", "signal": "s"}), "margin", nothing(), &plain);
    of(gpu(), "interval", nothing(), &plain);
    of(gpu(), "interval", json!("250ms"), &plain);
    of(gpu(), "initialDelay", nothing(), &plain);
    of(gpu(), "failureCondition", json!("x"), &|index| {
        let index = index.as_str().map_or_else(|| index.to_string(), str::to_owned);
        json!(format!("result[{index}] > 1"))
    });
}

#[test]
fn the_example_of_a_false_abort_rate_is_accepted() {
    let read = |rate: Value| {
        let metrics = json!([{"name": "f", "kind": "failureRate"}]);
        Spec::read(&with(json!({"analysis": {"falseAbort": rate, "metrics": metrics}})))
    };
    let problems = read(json!("60%")).unwrap_err();
    for example in examples(&problems[0].message) {
        assert!(read(example).is_ok());
    }
}

#[test]
fn the_fields_of_a_release() {
    let read = |fields: Value| Spec::read(&with(fields)).unwrap();
    let plain = read(json!({}));
    assert_eq!((plain.deploy_hook(), plain.handover_requests()), (None, HANDOVER_REQUESTS));
    let fifty = read(json!({"deploy": {"minRequests": 50}}));
    assert_eq!((fifty.deploy_hook(), fifty.handover_requests()), (None, 50));
    let command = read(json!({"deploy": {"command": ["./deploy.sh", "now"], "timeout": "30s"}}));
    let deploy = command.deploy.unwrap();
    assert_eq!(
        deploy.hook,
        Some(DeployHook::Command(vec!["./deploy.sh".to_owned(), "now".to_owned()]))
    );
    assert_eq!((deploy.timeout, deploy.min_requests), (Duration::from_secs(30), 500));
    let url = read(json!({"deploy": {"url": "https://d.example/hook"}})).deploy.unwrap();
    assert_eq!(url.hook, Some(DeployHook::Url("https://d.example/hook".to_owned())));
    assert_eq!(url.timeout, Duration::from_secs(600));
    let versions = read(json!({"versions": {"canary": "3.2"}})).versions;
    assert_eq!((versions.stable, versions.canary.as_deref()), (None, Some("3.2")));
    let mlflow = json!({"mlflow": {"uri": "http://127.0.0.1:5000", "model": "scorer"}});
    let registry = read(json!({"registry": mlflow})).registry.unwrap();
    assert_eq!(
        (registry.candidate.as_str(), registry.champion.as_str()),
        ("challenger", "champion")
    );
    assert_eq!(registry.poll, Duration::from_secs(5));
}

#[test]
fn faults_of_a_release_say_where_and_what_to_do() {
    let mlflow = |field: &str, value: &str| {
        let mut mlflow = json!({"uri": "http://r:5000", "model": "scorer"});
        mlflow[field] = json!(value);
        json!({"registry": {"mlflow": mlflow}})
    };
    for (fields, path, says) in [
        (json!({"versions": {}}), "versions", "at least one version"),
        (json!({"versions": {"canary": 3.1}}), "versions.canary", "in quotes"),
        (json!({"versions": {"canary": "a b"}}), "versions.canary", "a version of at most 63"),
        (json!({"versions": {"stable": "3", "canary": "3"}}), "versions", "both 3"),
        (json!({"deploy": {}}), "deploy", "says nothing"),
        (json!({"deploy": {"timeout": "1m", "minRequests": 5}}), "deploy", "needs a `command`"),
        (json!({"deploy": {"command": ["a"], "url": "http://b/"}}), "deploy", "not both"),
        (json!({"deploy": {"command": "./deploy.sh now"}}), "deploy.command", "no shell"),
        (json!({"deploy": {"command": []}}), "deploy.command", "name a program"),
        (json!({"deploy": {"command": ["a"], "timeout": "25h"}}), "deploy.timeout", "at most 24h"),
        (json!({"deploy": {"minRequests": 0}}), "deploy.minRequests", "1"),
        (json!({"registry": {}}), "registry.mlflow", "required"),
        (mlflow("candidate", "champion"), "registry.mlflow", "one alias starts"),
        (mlflow("uri", "http://bob:pw@r/"), "registry.mlflow.uri", "without credentials"),
        (mlflow("model", "a/b"), "registry.mlflow.model", "without `/`"),
        (mlflow("poll", "0s"), "registry.mlflow.poll", "from 1s to 1h"),
    ] {
        let problems = Spec::read(&with(fields)).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].path.starts_with(path), "{problems:?}");
        assert!(problems[0].message.contains(says), "{says}: {problems:?}");
    }
}

/// A sound file that measures, with some of its fields replaced.
fn measuring(fields: Value) -> Result<Spec, Vec<ConfigError>> {
    let mut file = with(json!({"goal": "measure"}));
    for (name, value) in fields.as_object().unwrap() {
        file[name] = value.clone();
    }
    Spec::read(&file)
}

#[test]
fn a_measurement_ends_on_stable_unless_the_file_keeps_the_weight() {
    assert_eq!(Spec::read(&with(json!({}))).unwrap().goal, Goal::Promote);
    assert_eq!(Spec::read(&with(json!({"goal": "promote"}))).unwrap().goal, Goal::Promote);
    assert_eq!(measuring(json!({})).unwrap().goal, Goal::Measure(Afterwards::Stable));
    let keep = measuring(json!({"afterwards": "keep"})).unwrap();
    assert!(keep.goal.is_measure() && keep.goal.keeps_weight());
    let hook = json!({"deploy": {"command": ["./deploy.sh"]}, "gates": [{"before": 5, "url": "http://gate/"}]});
    assert!(measuring(hook).is_ok(), "what comes before a step makes sense");
    // The margin of the last step's certificate goes by its own weight: none comes after it.
    let budget = measuring(json!({"harmBudget": "0.1%"})).unwrap();
    assert_eq!(budget.certificate_margin(0), Some(0.001 / 0.05));
}

#[test]
fn what_is_about_a_promotion_is_refused_in_a_measurement() {
    let full = json!([{"setWeight": 5}, {"setWeight": 100}]);
    let signal = json!({"name": "label", "kind": "distribution", "signal": "label"});
    for (fields, path, words) in [
        (
            json!({"gates": [{"before": "promotion", "url": "http://g/"}]}),
            "gates[0].before",
            "never promotes",
        ),
        (json!({"deploy": {"minRequests": 50}}), "deploy.minRequests", "never promotes"),
        (json!({"steps": "auto", "harmBudget": "0.2%"}), "steps", "ladder to 100 %"),
        (json!({"steps": full}), "steps[1].setWeight", "no stable traffic"),
        (json!({"goal": "win"}), "goal", "promote or measure"),
        (json!({"goal": "promote", "afterwards": "keep"}), "afterwards", "goal: measure"),
        (json!({"afterwards": "win"}), "afterwards", "stable"),
        (
            json!({"analysis": {"metrics": [signal]}, "steps": [{"setWeight": 5}, {"pause": {}}]}),
            "analysis.metrics",
            "nothing to measure",
        ),
        (
            json!({"analysis": null, "manual": true, "steps": [{"setWeight": 5}, {"pause": {}}]}),
            "analysis.metrics",
            "nothing to measure",
        ),
    ] {
        let problems = measuring(fields.clone()).unwrap_err();
        let found = problems.iter().any(|one| one.path == path && one.message.contains(words));
        assert!(found && problems.len() == 1, "{fields}: {problems:?}");
    }
}
