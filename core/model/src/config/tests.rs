use serde_json::{Value, json};

use super::*;

mod requests;

fn minimal() -> Value {
    json!({"rollouts": [{
        "name": "scorer",
        "stable": {"version": "3.1", "cluster": "scorer-stable"},
        "canary": {"version": "3.2", "cluster": "scorer-canary"},
    }]})
}

fn parse(value: &Value) -> Result<Config, Vec<String>> {
    Config::parse(value.to_string().as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The minimal configuration with one value changed, at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut config = minimal();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value);
    config
}

#[test]
fn defaults() {
    let config = parse(&minimal()).unwrap();
    let rollout = &config.rollouts[0];
    assert_eq!(rollout.weight, Weight::ZERO);
    assert_eq!(rollout.salt, "scorer/3.2");
    assert_eq!(rollout.matches, Match::default());
    assert!(rollout.guard && !rollout.inherit && !rollout.propagate && !rollout.sticky());
    assert!(rollout.failure.http(500) && rollout.failure.http(599) && !rollout.failure.http(499));
    let grpc: Vec<u32> = (0..=17).filter(|code| rollout.failure.grpc(*code)).collect();
    assert_eq!(grpc, [2, 4, 13, 14, 15, 17]);
    assert!(rollout.failure.broken && !rollout.failure.overdue.is_set());
    assert_eq!(config.headers.route, "x-canary-route");
    assert_eq!(config.headers.version, "x-canary-version");
    assert_eq!(config.runtime.cluster, "envoy_admin");
    assert_eq!(config.runtime.interval, Duration::from_millis(250));
}

#[test]
fn the_outcome_age() {
    let age = |value: Value| parse(&with("/rollouts/0/outcome_age", value));
    let of = |config: Config| config.rollouts[0].outcome_age;
    assert_eq!(of(parse(&minimal()).unwrap()), Duration::from_secs(20));
    for (text, millis) in [("1s", 1_000), ("1s1ms", 1_001), ("10m", 600_000), ("35s", 35_000)] {
        assert_eq!(of(age(json!(text)).unwrap()), Duration::from_millis(millis), "{text}");
    }
    for value in [json!("999ms"), json!("10m1ms"), json!("20"), json!(20)] {
        let found = age(value.clone()).unwrap_err();
        let expected =
            "rollouts[0].outcome_age: expected a duration from 1s to 10m, such as 20s, found";
        assert!(found[0].starts_with(expected), "{value} {found:?}");
    }
}

/// The versions that the runtime names go where the configuration's went, and so does the salt unless
/// the configuration sets one.
#[test]
fn a_labeled_rollout() {
    let labeled = |config: &Value| parse(config).unwrap().rollouts[0].labeled("3.2", "3.3");
    let rollout = labeled(&minimal());
    assert_eq!((&*rollout.stable.version, &*rollout.canary.version), ("3.2", "3.3"));
    assert_eq!(rollout.salt, "scorer/3.3");
    assert_eq!(labeled(&with("/rollouts/0/salt", json!("scorer/3.2"))).salt, "scorer/3.2");
    assert_eq!(parse(&minimal()).unwrap().rollouts[0].labeled("3.1", "3.2"), {
        parse(&minimal()).unwrap().rollouts[0].clone()
    });
}

#[test]
fn the_whole_of_it() {
    let config = parse(&json!({
        "rollouts": [{
            "name": "scorer",
            "match": {"authorities": ["scorer.example.com"], "path_prefixes": ["/v2/models/scorer"]},
            "stable": {"version": "3.1", "cluster": "scorer-stable"},
            "canary": {"version": "3.2", "cluster": "scorer-canary"},
            "weight": 0.25,
            "salt": "s",
            "affinity": [{"header": "X-User-Id"}, {"cookie": "canary-cohort", "max_age": "12h"}],
            "override": {"header": "x-canary", "cookie": "canary",
                         "token": {"header": "x-canary-token", "value": "secret"}},
            "failure": {"http": ["5xx", "429", "410-412", 408], "grpc": ["UNAVAILABLE"],
                        "broken": false,
                        "overdue": {"answer": "30s", "first_byte": "1ms", "idle": "9m"}},
            "guard": {"enabled": false},
            "signals": [
                {"name": "label", "from": {"response_json": "/predictions/*/label", "max_body": "1KiB"},
                 "categories": ["cat", {"value": "a dog", "bin": "dog"}]},
                {"name": "score", "from": {"response_header": "x-model-score"}, "bins": [0.2, 0.4]},
                {"name": "checkout", "from": {"request": {"method": "POST", "path_prefix": "/orders"}},
                 "conversion": true},
            ],
            "inherit": true,
            "propagate": true,
        }],
        "headers": {"route": "X-R", "version": "x-v"},
        "runtime": {"cluster": "prometheus_stats", "interval": "1s"},
    }))
    .unwrap();
    let rollout = &config.rollouts[0];
    assert_eq!(rollout.weight.ppm(), 2_500);
    assert_eq!(rollout.affinity[0], Affinity::Header("x-user-id".into()));
    let failures: Vec<u16> = (400..=599).filter(|code| rollout.failure.http(*code)).collect();
    assert_eq!(failures[..5], [408, 410, 411, 412, 429]);
    let deadline = |millis| Some(Duration::from_millis(millis));
    let overdue =
        Overdue { answer: deadline(30_000), first_byte: deadline(1), idle: deadline(9 * 60_000) };
    assert_eq!((rollout.failure.broken, rollout.failure.overdue), (false, overdue));
    assert!(rollout.reads_response_bodies() && rollout.sticky());
    assert_eq!(config.headers.route, "x-r");
}

#[test]
fn every_problem_names_its_path() {
    let rollout = "/rollouts/0";
    let cases = [
        ("/rollot", json!([]), "rollot: unknown field"),
        (&format!("{rollout}/wieght"), json!(5), "rollouts[0].wieght: unknown field"),
        (&format!("{rollout}/name"), json!("Scorer"), "rollouts[0].name: expected a name"),
        (&format!("{rollout}/name"), json!("filter"), "rollouts[0].name: expected a name"),
        (&format!("{rollout}/weight"), json!(101), "rollouts[0].weight: a weight lies between"),
        (&format!("{rollout}/weight"), json!("5"), "rollouts[0].weight: expected a percentage"),
        (&format!("{rollout}/weight"), json!(0.00001), "rollouts[0].weight: a weight is"),
        (
            &format!("{rollout}/canary"),
            json!({"version": "3.2"}),
            "rollouts[0].canary.cluster: required",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("3.1"),
            "rollouts[0].canary.version: must differ from stable's version, or responses",
        ),
        (
            &format!("{rollout}/canary/cluster"),
            json!("scorer-stable"),
            "rollouts[0].canary.cluster: must differ from stable's cluster",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("a b"),
            "rollouts[0].canary.version: expected a version",
        ),
        (
            &format!("{rollout}/match"),
            json!({"authorities": []}),
            "rollouts[0].match.authorities: an empty list",
        ),
        (
            &format!("{rollout}/match"),
            json!({"path_prefixes": ["x"]}),
            "rollouts[0].match.path_prefixes[0]: expected a path",
        ),
        (
            &format!("{rollout}/affinity"),
            json!([{"header": "a", "cookie": "b"}]),
            "rollouts[0].affinity[0]: expected exactly one of `header`, `query`",
        ),
        (
            &format!("{rollout}/affinity"),
            json!([{"cookie": "b", "max_age": "1"}]),
            "rollouts[0].affinity[0].max_age: expected a duration",
        ),
        (
            &format!("{rollout}/affinity"),
            json!([{"cookie": "b", "max_age": "250ms"}]),
            "rollouts[0].affinity[0].max_age: expected a duration in whole seconds",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("1.signal.2"),
            "rollouts[0].canary.version: expected a version",
        ),
        (
            &format!("{rollout}/canary/version"),
            json!("other"),
            "rollouts[0].canary.version: expected a version",
        ),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"},
                    "categories": [{"value": "x", "bin": "rq_total"}]}]),
            "rollouts[0].signals[0].categories[0].bin: expected 1 to 63",
        ),
        (
            &format!("{rollout}/override"),
            json!({}),
            "rollouts[0].override: expected `header`, `cookie` or both",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"http": ["6xx"]}),
            "rollouts[0].failure.http[0]: expected a class",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"grpc": ["OK"]}),
            "rollouts[0].failure.grpc[0]: expected a gRPC",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"broken": "no"}),
            "rollouts[0].failure.broken: expected true or false",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"overdue": "30s"}),
            "rollouts[0].failure.overdue: expected an object",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"overdue": {"answers": "30s"}}),
            "rollouts[0].failure.overdue.answers: unknown field",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"overdue": {"answer": "0s"}}),
            "rollouts[0].failure.overdue.answer: expected a duration above 0 and at most 9m",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"overdue": {"first_byte": 10}}),
            "rollouts[0].failure.overdue.first_byte: expected a duration above 0",
        ),
        (
            &format!("{rollout}/failure"),
            json!({"overdue": {"idle": "9m1ms"}}),
            "rollouts[0].failure.overdue.idle: expected a duration above 0 and at most 9m",
        ),
        (&format!("{rollout}/guard"), json!(true), "rollouts[0].guard: expected an object"),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}}]),
            "rollouts[0].signals[0]: expected exactly one of `categories`",
        ),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}, "bins": [1, 1]}]),
            "rollouts[0].signals[0].bins[1]: expected a limit above",
        ),
        (
            &format!("{rollout}/signals"),
            json!([{"name": "a", "from": {"response_header": "h"}, "categories": ["other"]}]),
            "rollouts[0].signals[0].categories[0]: expected 1 to 63",
        ),
        ("/headers", json!({"route": "x-canary-version"}), "headers: route and version"),
        ("/runtime", json!({"interval": "1ms"}), "runtime.interval: expected a duration from 10ms"),
        ("/rollouts", json!({}), "rollouts: expected a list, found an object"),
    ];
    for (pointer, value, expected) in cases {
        let problems = parse(&with(pointer, value)).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
    }
}

#[test]
fn what_a_stream_must_hold() {
    let rule = |sse: Value| {
        let config = parse(&with("/rollouts/0/failure", json!({"sse": sse}))).unwrap();
        config.rollouts[0].failure.sse.clone().unwrap()
    };
    let pointer = |text| Pointer::parse(text).unwrap();
    assert_eq!(rule(json!({})), SseRule::default());
    let whole = json!({"done": "[DONE]", "error": "/error", "content": ["/a/0", "/b"]});
    let expected = SseRule {
        done: Some("[DONE]".to_owned()),
        error: Some(pointer("/error")),
        content: vec![pointer("/a/0"), pointer("/b")],
    };
    assert_eq!(rule(whole), expected);
    assert_eq!(rule(json!({"content": "/a"})).content, [pointer("/a")]);
    assert_eq!(parse(&minimal()).unwrap().rollouts[0].failure.sse, None);
    for (sse, expected) in [
        (json!("[DONE]"), "failure.sse: expected an object"),
        (json!({"dnoe": "x"}), "failure.sse.dnoe: unknown field"),
        (json!({"done": ""}), "failure.sse.done: expected an event's data"),
        (json!({"done": 1}), "failure.sse.done: expected an event's data"),
        (json!({"done": "x".repeat(257)}), "failure.sse.done: expected an event's data"),
        (json!({"error": "error"}), "failure.sse.error: expected a JSON pointer"),
        (json!({"error": "/*/error"}), "failure.sse.error: expected a JSON pointer"),
        (json!({"content": []}), "failure.sse.content: an empty list"),
        (json!({"content": ["/a", "/*"]}), "failure.sse.content[1]: expected a JSON pointer"),
        (json!({"content": vec!["/a"; 17]}), "failure.sse.content: at most 16"),
    ] {
        let found = parse(&with("/rollouts/0/failure", json!({ "sse": sse }))).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("rollouts[0].{expected}")), "{found:?}");
    }
}

#[test]
fn what_is_timed() {
    let timings = |list: Value| parse(&with("/rollouts/0/timings", list));
    for (list, ttfb, gap) in [
        (json!([]), false, false),
        (json!(["ttfb"]), true, false),
        (json!(["gap", "ttfb"]), true, true),
    ] {
        assert_eq!(timings(list).unwrap().rollouts[0].timings, Timings { ttfb, gap });
    }
    assert_eq!(parse(&minimal()).unwrap().rollouts[0].timings, Timings::default());
    for (list, expected) in [
        (json!("ttfb"), "timings: expected a list"),
        (json!(["total"]), "timings[0]: expected a timing"),
        (json!(["gap", "gap"]), "timings[1]: duplicate entry"),
    ] {
        let found = timings(list).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("rollouts[0].{expected}")), "{found:?}");
    }
}

#[test]
fn signals_of_events_and_values() {
    let read = |from: Value, what: Value| {
        let mut signal = json!({"name": "a", "from": from});
        signal.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let config = parse(&with("/rollouts/0/signals", json!([signal])));
        config.map(|config| config.rollouts[0].signals[0].clone())
    };
    let (sse, values) = (json!({"response_sse": "/a"}), json!({"values": {}}));
    let pointer = Pointer::parse("/a").unwrap();
    for (from, event, max_body) in [
        (sse.clone(), SseEvent::Last, 65_536),
        (json!({"response_sse": "/a", "event": "last", "max_body": "1KiB"}), SseEvent::Last, 1_024),
        (json!({"response_sse": "/a", "event": "first"}), SseEvent::First, 65_536),
    ] {
        let signal = read(from, values.clone()).unwrap();
        let expected = Source::ResponseSse { pointer: pointer.clone(), event, max_body };
        assert_eq!((signal.source, signal.bins), (expected, SignalBins::Values { scale: 1.0 }));
    }
    for from in [json!({"response_json": "/*"}), json!({"response_header": "h"}), sse.clone()] {
        let signal = read(from, json!({"values": {"scale": 0.5}})).unwrap();
        assert_eq!(signal.bins, SignalBins::Values { scale: 0.5 });
    }
    let scale = |scale: Value| json!({"values": {"scale": scale}});
    let json = json!({"response_json": "/a"});
    let event = json!({"response_json": "/a", "event": "first"});
    let both = json!({"response_json": "/a", "response_sse": "/a"});
    let size = json!({"response_header": "h", "max_body": "1B"});
    for (from, what, expected) in [
        (&sse, scale(json!(0)), ".values.scale: expected a number above 0, found 0"),
        (&sse, scale(json!(-1)), ".values.scale: expected a number above 0"),
        (&sse, scale(json!("1")), ".values.scale: expected a number above 0"),
        (&sse, json!({"values": 1}), ".values: expected an object"),
        (&sse, json!({"values": {"size": 1}}), ".values.size: unknown field"),
        (&sse, json!({"values": {}, "bins": [1]}), ": expected exactly one of `categories`"),
        (&sse, json!({"values": {}, "conversion": true}), ": expected exactly one of"),
        (&json!({"response_sse": "a"}), values.clone(), ".from.response_sse: expected a JSON"),
        (&json!({"response_sse": "/a", "event": "all"}), values.clone(), ".from.event: expected"),
        (&event, values.clone(), ".from.event: only `response_sse` has an event"),
        (&size, values.clone(), ".from.max_body: only `response_json` and"),
        (&both, values.clone(), ".from: expected exactly one of `response_json`, `response_sse`"),
        (&json!({"request": {"method": "GET"}}), values.clone(), ": a signal from the request"),
        (&json, json!({"conversion": false}), ": expected exactly one of"),
    ] {
        let found = read(from.clone(), what).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("rollouts[0].signals[0]{expected}")), "{found:?}");
    }
}

#[test]
fn all_problems_at_once() {
    let mut config = with("/rollouts/0/weight", json!(-1));
    config["runtime"] = json!({"interval": 5});
    config["rollouts"].as_array_mut().unwrap().push(json!({"name": "b"}));
    assert_eq!(parse(&config).unwrap_err().len(), 4, "{:?}", parse(&config));
}

#[test]
fn limits() {
    let rollout = |index: usize| {
        let mut rollout = minimal()["rollouts"][0].clone();
        rollout["name"] = json!(format!("r{index}"));
        rollout
    };
    let many = |count| json!({"rollouts": (0..count).map(rollout).collect::<Vec<_>>()});
    assert_eq!(parse(&many(32)).unwrap().rollouts.len(), 32);
    assert!(parse(&many(33)).unwrap_err()[0].starts_with("rollouts: at most 32"));
    let twice = json!({"rollouts": [rollout(1), rollout(1)]});
    assert_eq!(
        parse(&twice).unwrap_err(),
        ["rollouts[1].name: duplicate entry: another rollout is named `r1`"]
    );
    assert!(parse(&json!({"rollouts": []})).unwrap().rollouts.is_empty());
}

#[test]
fn what_is_no_json() {
    let problems = Config::parse(b"{\"rollouts\": [").unwrap_err();
    assert!(problems[0].message.starts_with("not valid JSON"), "{problems:?}");
}

/// The problems of a configuration with these overrides of a rollout's fields and of `headers`.
fn problems(fields: &Value, headers: &Value) -> Vec<String> {
    let mut config = with("/headers", headers.clone());
    for (field, value) in fields.as_object().unwrap() {
        config["rollouts"][0][field] = value.clone();
    }
    parse(&config).err().unwrap_or_default()
}

#[test]
fn headers_that_others_need_are_refused() {
    for name in [
        "host",
        "Cookie",
        "set-cookie",
        "content-length",
        "Content-Type",
        "authorization",
        "proxy-authorization",
        "connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-envoy-retry-on",
        "x-forwarded-for",
        "x-request-id",
        "grpc-status",
        "accept",
        "accept-encoding",
        "traceparent",
    ] {
        let lower = name.to_ascii_lowercase();
        let because = format!(": `{lower}` has a meaning of its own");
        for field in ["route", "version"] {
            let found = problems(&json!({}), &json!({ field: name }));
            assert_eq!(found.len(), 1, "{name} {found:?}");
            assert!(found[0].starts_with(&format!("headers.{field}{because}")), "{found:?}");
        }
        let token = json!({"override": {"header": "x", "token": {"header": name, "value": "s"}}});
        let found = problems(&token, &json!({}));
        assert_eq!(found.len(), 1, "{name} {found:?}");
        assert!(found[0].starts_with(&format!("rollouts[0].override.token.header{because}")));
    }
    for name in [":path", ":authority", "", "a b"] {
        let found = problems(&json!({}), &json!({"route": name}));
        assert!(found[0].starts_with("headers.route: expected a header's name"), "{found:?}");
    }
    for name in ["x-canary-route", "x-acme-version", "acme-contents", "accepted"] {
        assert!(problems(&json!({}), &json!({"route": name})).is_empty(), "{name}");
    }
    let host = json!({"affinity": [{"header": "Host"}], "override": {"header": "host"}});
    assert_eq!(problems(&host, &json!({})).len(), 2);
}

#[test]
fn uses_of_a_header_that_exclude_one_another_are_refused() {
    let by = |fields: Value, headers: Value, expected: &[&str]| {
        let found = problems(&fields, &headers);
        let begin = found.iter().zip(expected).all(|(found, begin)| found.starts_with(begin));
        assert!(found.len() == expected.len() && begin, "{found:?} {expected:?}");
    };
    let token =
        |header: &str| json!({"header": "x-canary", "token": {"header": header, "value": "s"}});
    by(
        json!({"affinity": [{"cookie": "c"}, {"header": "X-R"}], "override": {"header": "x-v"}}),
        json!({"route": "x-r", "version": "X-V"}),
        &[
            "rollouts[0].affinity[1].header: headers.route",
            "rollouts[0].override.header: headers.version",
        ],
    );
    by(
        json!({"override": token("x-canary-version")}),
        json!({}),
        &["rollouts[0].override.token.header: headers.version"],
    );
    by(
        json!({"override": token("x-canary")}),
        json!({}),
        &["rollouts[0].override.token.header: override.header"],
    );
    by(
        json!({"affinity": [{"header": "x-user"}], "override": token("X-User")}),
        json!({}),
        &["rollouts[0].affinity[0].header: rollouts[0].override.token.header"],
    );
    by(
        json!({"signals": [{"name": "a", "from": {"response_header": "X-Canary-Version"},
                            "categories": ["b"]}]}),
        json!({}),
        &["rollouts[0].signals[0].from.response_header: the filter itself"],
    );
    by(
        json!({"affinity": [{"header": "x-user"}], "override": token("x-token")}),
        json!({"route": "x-r"}),
        &[],
    );
}

/// The examples in a message: what follows `such as`, up to the value that was found.
fn examples(message: &str) -> Vec<String> {
    let Some((_, examples)) = message.split_once("such as ") else {
        return Vec::new();
    };
    let examples = examples.split_once(", found ").map_or(examples, |(examples, _)| examples);
    let examples =
        examples.replace(", a code such as ", ", ").replace(" or a range such as ", ", ");
    examples.replace(" or ", ", ").split(", ").map(str::to_owned).collect()
}

#[test]
fn every_example_in_a_message_is_accepted() {
    let signal = |from: Value| json!([{"name": "a", "from": from, "conversion": true}]);
    let nothing = json!("\u{1}");
    let of = |field: &str, wrap: &dyn Fn(Value) -> Value| {
        let problem = |value: Value| {
            let found = parse(&with(field, wrap(value.clone()))).err().unwrap_or_default();
            assert!(found.len() <= 1, "{found:?}");
            found.into_iter().next()
        };
        let message = problem(nothing.clone()).unwrap();
        let examples = examples(&message);
        assert!(!examples.is_empty(), "no example: {message}");
        for example in examples {
            let number = example.parse::<f64>().ok().filter(|_| field.ends_with("weight"));
            let value = number.map_or_else(|| json!(example), |number| json!(number));
            assert_eq!(problem(value), None, "an example of: {message}");
        }
    };
    let rollout = |field: &str| format!("/rollouts/0/{field}");
    of("/headers", &|value| json!({"route": value}));
    of("/headers", &|value| json!({"version": value}));
    of("/runtime", &|value| json!({"interval": value}));
    of(&rollout("match"), &|value| json!({"authorities": [value]}));
    of(&rollout("match"), &|value| json!({"path_prefixes": [value]}));
    of(&rollout("match"), &|value| json!({"headers": [{"name": value, "present": true}]}));
    of(&rollout("match"), &|value| json!({"headers": [{"name": "a", "values": [value]}]}));
    of(&rollout("match"), &|value| json!({"headers": [{"name": "a", "prefix": value}]}));
    let body = |pointer: Value, value: Value, size: Value| json!({"request_json": {"pointer": pointer, "values": [value], "max_body": size}});
    of(&rollout("match"), &|value| body(value, json!("a"), json!("1KiB")));
    let long = |value: Value| if value == nothing { json!(1) } else { value };
    of(&rollout("match"), &|value| body(json!("/a"), long(value), json!("1KiB")));
    of(&rollout("match"), &|value| body(json!("/a"), json!("a"), value));
    of(&rollout("weight"), &|value| value);
    of(&rollout("affinity"), &|value| json!([{"header": value}]));
    of(&rollout("affinity"), &|value| json!([{"cookie": value}]));
    of(
        &rollout("affinity"),
        &|value| json!([{"query": if value == nothing { json!("") } else { value }}]),
    );
    of(&rollout("affinity"), &|value| json!([{"request_json": value}]));
    of(&rollout("affinity"), &|value| json!([{"cookie": "c", "domain": value}]));
    of(&rollout("affinity"), &|value| json!([{"cookie": "c", "path": value}]));
    of(&rollout("affinity"), &|value| json!([{"cookie": "c", "max_age": value}]));
    of(&rollout("failure"), &|value| json!({"http": [value]}));
    of(&rollout("failure"), &|value| json!({"grpc": [value]}));
    of(&rollout("failure"), &|value| json!({"overdue": {"answer": value}}));
    of(&rollout("signals"), &|value| signal(json!({"response_json": value})));
    of(&rollout("signals"), &|value| signal(json!({"response_json": "/a", "max_body": value})));
    of(&rollout("signals"), &|value| signal(json!({"response_sse": value})));
    of(&rollout("signals"), &|value| signal(json!({"response_sse": "/a", "event": value})));
    of(&rollout("failure"), &|value| json!({"sse": {"error": value}}));
    of(&rollout("failure"), &|value| json!({"sse": {"content": [value]}}));
    of(&rollout("timings"), &|value| json!([value]));
    of(&rollout("signals"), &|value| signal(json!({"response_header": value})));
    of(&rollout("signals"), &|value| signal(json!({"request": {"method": value}})));
    of(&rollout("signals"), &|value| signal(json!({"request": {"path_prefix": value}})));
}

#[test]
fn the_same_reader_with_lines() {
    let text = "{\n\"rollouts\": [\n {\"name\": \"r\",\n  \"weight\": 101,\n  \"stable\": {}}\n]}";
    let found = Config::parse_text(text).unwrap_err();
    let lines: Vec<(u64, &str)> =
        found.iter().map(|(line, one)| (*line, one.path.as_str())).collect();
    assert_eq!(
        lines,
        [
            (5, "rollouts[0].stable.version"),
            (5, "rollouts[0].stable.cluster"),
            (3, "rollouts[0].canary"),
            (4, "rollouts[0].weight"),
        ]
    );
    let plain = Config::parse(text.as_bytes()).unwrap_err();
    assert_eq!(plain, found.into_iter().map(|(_, error)| error).collect::<Vec<_>>());
    for (text, line) in
        [("{\n\"rollouts\": [],\n}", 3), ("", 1), ("{\"runtime\": {}, \"runtime\": {}}", 1)]
    {
        let found = Config::parse_text(text).unwrap_err();
        assert_eq!((found.len(), found[0].0), (1, line), "{found:?}");
        assert!(found[0].1.message.starts_with("not valid JSON: "), "{found:?}");
    }
    assert!(Config::parse_text(&minimal().to_string()).is_ok());
}
