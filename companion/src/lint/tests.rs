use super::*;

fn errors(file: &CheckedFile) -> Vec<(u64, &str)> {
    let errors = file.findings.iter().filter(|finding| finding.level == Level::Error);
    errors.map(|finding| (finding.line, finding.path.as_str())).collect()
}

fn warnings(file: &CheckedFile) -> Vec<(u64, &str)> {
    let warnings = file.findings.iter().filter(|finding| finding.level == Level::Warning);
    warnings.map(|finding| (finding.line, finding.path.as_str())).collect()
}

const BACKENDS: &str =
    r#""stable": {"version": "1", "cluster": "a"}, "canary": {"version": "2", "cluster": "b"}"#;

fn plugin(rollouts: &[(&str, &str)]) -> String {
    let rollouts: Vec<String> = rollouts
        .iter()
        .map(|(name, rest)| format!("{{\"name\": \"{name}\", {rest}{BACKENDS}}}"))
        .collect();
    format!("{{\"rollouts\": [\n{}\n]}}", rollouts.join(",\n"))
}

#[test]
fn a_plugin_configuration_passes_exactly_if_the_filter_accepts_it() {
    let good = plugin(&[("r", "")]);
    assert_eq!(check("f", &good).errors(), 0, "{good}");
    for (bad, line) in [
        (good.replace("\n]}", ",\n]}"), 3),
        (good.replace("\"name\": \"r\"", "name: r"), 2),
        (good.replace("{\"rollouts\"", "# comment\n{\"rollouts\""), 1),
        (good.replace("\"name\"", "\"weight\": 0x0A, \"name\""), 2),
        (good.replace("\"name\"", "\"weight\": 010, \"name\""), 2),
        (good.replace("\"name\"", "\"weight\": .5, \"name\""), 2),
        (good.replace("\"name\"", "'weight': 5, \"name\""), 2),
        ("rollouts:\n  - name: r\n".to_owned(), 1),
    ] {
        assert!(Config::parse(bad.as_bytes()).is_err(), "the filter accepts {bad}");
        let checked = check("f", &bad);
        assert_eq!(errors(&checked), [(line, "")], "{bad}: {checked:?}");
        assert!(checked.findings[0].message.contains("JSON, not YAML"), "{checked:?}");
    }
}

#[test]
fn a_shadowed_rollout_is_a_warning() {
    let host = |host: &str, path: &str| {
        format!("\"match\": {{\"authorities\": [\"{host}\"], \"path_prefixes\": [\"{path}\"]}}, ")
    };
    let find = |first: &str, second: &str| {
        let text = plugin(&[("a", first), ("b", second)]);
        let checked = check("f", &text);
        assert_eq!(checked.errors(), 0, "{text}: {checked:?}");
        let shadows = |(_, path): &(u64, &str)| !path.contains("overdue");
        let found: Vec<_> = warnings(&checked).into_iter().filter(shadows).collect();
        found == [(3, "rollouts[1]")]
    };
    assert!(find("", &host("x.com", "/")));
    assert!(find(&host("*.x.com", "/a"), &host("b.x.com", "/a/b")));
    assert!(find(&host("*.x.com", "/"), &host("*.b.x.com", "/a")));
    assert!(!find(&host("x.com", "/"), ""), "the later one has other hosts, too");
    assert!(!find(&host("*.x.com", "/"), &host("x.com", "/")), "the bare suffix");
    assert!(!find(&host("x.com", "/a/b"), &host("x.com", "/a")), "the usual order");
    assert!(!find(&host("*.b.x.com", "/"), &host("*.x.com", "/")));
}

fn rollout_with(condition: &str) -> String {
    format!(
        "rollout: r\nsteps: [{{setWeight: 5}}]\nanalysis:\n  metrics:\n    - name: gpu\n      \
         kind: prometheus\n      address: http://p\n      query: q\n      {condition}\n"
    )
}

#[test]
fn a_condition_that_no_result_meets_is_a_warning() {
    for (condition, can_hold) in [
        ("result > 0.9", true),
        ("result > 1 && result < 0", false),
        ("result > 1 && result < 2", true),
        ("result > 1 and result <= 1", false),
        ("result == 1 && result != 1", false),
        ("result < 0", true),
        ("!(result >= 0 || result < 0)", false),
        ("isNaN(result) && result > 1", false),
        ("result[0] > result[1] && result[1] > result[0]", false),
        ("result[0] > result[1] && result[1] > 3 && result[0] < 4", true),
        ("len(result) > 3", true),
        ("len(result) < 0", false),
        ("len(result) == 1 && result[1] > 0", false),
    ] {
        let checked = check("f", &rollout_with(&format!("failureCondition: \"{condition}\"")));
        assert_eq!(checked.errors(), 0, "{condition}: {checked:?}");
        let expected: &[_] =
            if can_hold { &[] } else { &[(9, "analysis.metrics[0].failureCondition")] };
        assert_eq!(warnings(&checked), expected, "{condition}: {checked:?}");
    }
    let checked = check("f", &rollout_with("successCondition: result > 1 && result < 0"));
    assert!(checked.findings[0].message.ends_with("always fails"), "{checked:?}");
    let checked = check("f", &rollout_with("failureCondition: result >= 0 || result < 0"));
    assert!(checked.findings[0].message.starts_with("every result meets"), "{checked:?}");
}

#[test]
fn an_envoy_that_run_refuses_is_an_error() {
    for (url, fine) in [
        ("http://127.0.0.1:9901", true),
        ("unix:///run/envoy.sock", true),
        ("http://127.0.0.1:99010", false),
        ("http://user:pw@127.0.0.1:9901", false),
        ("http://127.0.0.1:9901/stats", false),
        ("https://127.0.0.1:9901", false),
    ] {
        let text =
            format!("rollout: r\nmanual: true\nsteps: [{{setWeight: 5}}]\nenvoys:\n  - {url}\n");
        let checked = check("f", &text);
        let expected: &[_] = if fine { &[] } else { &[(5, "envoys[0]")] };
        assert_eq!(errors(&checked), expected, "{url}: {checked:?}");
    }
}

#[test]
fn metrics_that_can_abort_are_listed() {
    let text = "rollout: r\nsteps: [{setWeight: 5}]\nanalysis: {metrics: [{name: f, kind: failureRate}]}\n";
    let rollout = |can_abort: &[&str], manual| {
        let can_abort = can_abort.iter().map(|name| (*name).to_owned()).collect();
        Some(Content::Rollout { can_abort, manual })
    };
    assert_eq!(check("f", text).content, rollout(&["f"], false));
    let text = "rollout: r\nmanual: true\nsteps: [{setWeight: 5}]\n";
    assert_eq!(check("f", text).content, rollout(&[], true));
    assert_eq!(check("f", "rollout: r\n").content, None);
}

/// A message names the value that it refuses, and one fault hides no other.
#[test]
fn unknown_values_are_named() {
    let text = "rollout: scorer\nlease: 5x\nsteps:\n  - setWeight: 5\n  - pause: {duration: soon}\nanalysis:\n  \
                falseAbort: lots\n  metrics:\n    - {name: failures, kind: errorRate}\n    \
                - {name: p, kind: prometheus, address: \"http://p\", query: q, failureCondition: \"result >> 5\"}\n\
                notify: [{on: [finished], url: \"http://a/\"}]\n";
    let checked = check("f", text);
    for (line, value) in [
        (2, "5x"),
        (5, "soon"),
        (7, "lots"),
        (9, "errorRate"),
        (10, "result >> 5"),
        (11, "finished"),
    ] {
        let mut of_line = checked.findings.iter().filter(|finding| finding.line == line);
        assert!(
            of_line.any(|finding| finding.message.contains(value)),
            "{line} {value}: {checked:#?}"
        );
    }
    let plugin = plugin(&[("r", "\"failure\": {\"grpc\": [\"FOO\"], \"http\": [\"6xx\"]}, ")]);
    let messages: Vec<String> =
        check("f", &plugin).findings.into_iter().map(|finding| finding.message).collect();
    assert!(messages[0].contains("6xx") && messages[1].contains("FOO"), "{messages:?}");
}

/// What a rollout's deadlines and age are warned of: the last parts of the paths.
fn outcome_warnings(rest: &str) -> Vec<String> {
    let text = plugin(&[("r", rest)]);
    let checked = check("f", &text);
    assert_eq!(checked.errors(), 0, "{text}: {checked:?}");
    let paths = warnings(&checked).into_iter().map(|(line, path)| {
        assert_eq!(line, 2, "{checked:?}");
        path.trim_start_matches("rollouts[0].").to_owned()
    });
    paths.collect()
}

#[test]
fn a_version_that_could_hang_unjudged_is_a_warning() {
    let overdue = |parts: &str, rest: &str| {
        outcome_warnings(&format!("\"failure\": {{\"overdue\": {{{parts}}}}}, {rest}"))
    };
    let none: [&str; 0] = [];
    assert_eq!(outcome_warnings(""), ["failure.overdue"]);
    assert_eq!(outcome_warnings("\"failure\": {\"http\": [\"5xx\"]}, "), ["failure.overdue"]);
    assert_eq!(overdue(r#""answer": "10s""#, ""), none, "the default age is longer");
    assert_eq!(overdue(r#""first_byte": "5s""#, ""), none);
    assert_eq!(overdue(r#""idle": "5s""#, r#""outcome_age": "1m", "#), ["failure.overdue"]);
    for (age, found) in [("11s", true), ("12s", false)] {
        let age = format!("\"outcome_age\": \"{age}\", ");
        let expected: &[&str] = if found { &["outcome_age"] } else { &[] };
        assert_eq!(overdue(r#""answer": "10s""#, &age), expected, "{age}");
        assert_eq!(overdue(r#""answer": "1s", "first_byte": "10s""#, &age), expected, "{age}");
    }
    assert_eq!(overdue(r#""answer": "5s", "idle": "10s""#, ""), ["outcome_age"], "not set");
    assert_eq!(overdue(r#""answer": "5s", "idle": "10s""#, r#""outcome_age": "2m", "#), none);
}

#[test]
fn a_stream_without_a_deadline_for_its_first_token_is_a_warning() {
    let none: [&str; 0] = [];
    let timings = r#""timings": ["ttfb"], "#;
    let answer = r#""failure": {"overdue": {"answer": "5s"}}, "#;
    let first_byte = r#""failure": {"overdue": {"first_byte": "5s"}}, "#;
    assert_eq!(outcome_warnings(&format!("{answer}{timings}")), ["failure.overdue.first_byte"]);
    assert_eq!(outcome_warnings(&format!("{first_byte}{timings}")), none);
    let sse = r#""failure": {"sse": {"done": "[DONE]"}, "overdue": {"answer": "5s"}}, "#;
    assert_eq!(outcome_warnings(sse), ["failure.overdue.first_byte", "outcome_age"]);
}

#[test]
fn versions_of_a_rollout_whose_salt_follows_them_are_a_warning() {
    let rollout = "rollout: r\nmanual: true\nversions: {canary: \"3\"}\nsteps: [{setWeight: 5}]\n";
    let sticky = "\"affinity\": [{\"header\": \"x-user\"}], ";
    let find = |name: &str, rest: &str| {
        let files = [("rollout", rollout.to_owned()), ("filter", plugin(&[(name, rest)]))];
        let files = files.map(|(name, text)| (name.to_owned(), text));
        let checked = check_all(&files);
        assert_eq!(checked.iter().map(CheckedFile::errors).sum::<usize>(), 0, "{checked:?}");
        warnings(&checked[0]).into_iter().filter(|(_, path)| *path == "versions").count()
    };
    let salted = format!("{sticky}\"salt\": \"s\", ");
    assert_eq!(find("r", sticky), 1);
    assert_eq!((find("r", ""), find("r", &salted), find("other", sticky)), (0, 0, 0));
}

/// An Envoy configuration with a filter for rollout `r` and routes to its two places, `a` and `b`.
fn envoy(rest: &str, stable: &str, canary: &str) -> String {
    let plugin = plugin(&[("r", rest)]).replace('\n', "\n            ");
    format!(
        "static_resources:
  listeners:
  - filter_chains:
    - filters:
      - typed_config:
          route_config:
            virtual_hosts:
            - routes:
              - match: {{prefix: /, headers: [{{name: x-canary-route}}]}}
                route: {{cluster: b{canary}}}
              - match: {{prefix: /}}
                route: {{cluster: a{stable}}}
              - match: {{prefix: /other}}
                route: {{cluster: c, timeout: 900s}}
              - match: {{prefix: /gone}}
                redirect: {{path_redirect: /}}
      - config:
          vm_config: {{}}
          configuration:
            value: |
              {}
",
        plugin.replace("\n            ", "\n              ")
    )
}

const ANSWER: &str = "\"failure\": {\"overdue\": {\"answer\": \"5s\"}}, ";

/// What the routes are warned of: lines and the last parts of the paths, by the message's beginning.
fn route_warnings(rest: &str, stable: &str, canary: &str) -> Vec<(u64, String)> {
    let files = [("envoy.yaml".to_owned(), envoy(rest, stable, canary))];
    let checked = check_all(&files).remove(0);
    assert_eq!(checked.errors(), 0, "{}: {checked:?}", files[0].1);
    let content = Content::Envoy { rollouts: vec!["r".to_owned()], routes: 3 };
    assert_eq!(checked.content, Some(content));
    let last = |path: &str| {
        let inner = path.split_once(".value.rollouts[0].").map(|(_, inner)| inner.to_owned());
        inner.unwrap_or_else(|| path[path.find("routes").unwrap()..].to_owned())
    };
    warnings(&checked).into_iter().map(|(line, path)| (line, last(path))).collect()
}

#[test]
fn a_route_that_ends_requests_after_their_age_is_a_warning() {
    let age = |age: &str| format!("{ANSWER}\"outcome_age\": \"{age}\", ");
    let both = |age: &str, timeout: &str| route_warnings(age, timeout, timeout);
    let found = [(22, "outcome_age".to_owned())];
    assert_eq!(both(&age("16s"), ""), found, "Envoy's default is 15 s");
    assert_eq!(both(&age("17s"), ""), []);
    assert_eq!(both(ANSWER, ""), [], "the filter's default is 20 s");
    assert_eq!(both(ANSWER, ", timeout: 60s"), found);
    assert_eq!(both(&age("62s"), ", timeout: 60s"), []);
    assert_eq!(route_warnings(ANSWER, ", timeout: 60s", ", timeout: 10s"), found, "either place");
    assert_eq!(both(&age("7s"), ", timeout: 0s"), [], "no limit");
    let per_try = ", timeout: 0s, retry_policy: {per_try_timeout: 30s}";
    assert_eq!((both(ANSWER, per_try), both(&age("32s"), per_try)), (found.to_vec(), vec![]));
}

#[test]
fn a_deadline_behind_the_end_of_the_route_is_a_warning() {
    let overdue = |parts: &str| format!("\"failure\": {{\"overdue\": {{{parts}}}}}, ");
    let answer = [(22, "failure.overdue.answer".to_owned())];
    let long = overdue("\"answer\": \"15s\"");
    assert_eq!(route_warnings(&long, "", ", timeout: 0s"), answer);
    assert_eq!(route_warnings(&long, ", timeout: 16s", ", timeout: 16.5s"), []);
    let first_byte = overdue("\"first_byte\": \"4s\"");
    let found = route_warnings(&first_byte, ", timeout: 0.5s", ", timeout: 5s");
    assert_eq!(found, [(22, "failure.overdue.first_byte".to_owned())]);
}

#[test]
fn a_route_that_cuts_off_streams_is_a_warning() {
    let sse = "\"failure\": {\"sse\": {\"done\": \"[DONE]\"}, \"overdue\": {\"first_byte\": \"5s\"}}, \
               \"outcome_age\": \"3m\", ";
    let timings = "\"failure\": {\"overdue\": {\"first_byte\": \"5s\"}}, \"timings\": [\"ttfb\"], ";
    for streams in [sse, timings] {
        let found = route_warnings(streams, "", ", timeout: 0s");
        assert_eq!(found, [(12, "routes[1].route.timeout".to_owned())], "Envoy's default");
        let found = route_warnings(streams, ", timeout: 0s", ", timeout: 15s");
        assert_eq!(found, [(10, "routes[0].route.timeout".to_owned())]);
        assert_eq!(route_warnings(streams, ", timeout: 0s", ", timeout: 0s"), []);
    }
    assert_eq!(route_warnings(ANSWER, "", ""), [], "no streams");
}

/// The filter may be in one file and the routes in another, and its fields may be the file's own.
#[test]
fn a_filter_and_its_routes_may_come_in_two_files() {
    let age = format!("{ANSWER}\"outcome_age\": \"9s\", ");
    let routes = envoy("", "", "").replace("vm_config", "other");
    let plugin = plugin(&[("r", &age)]);
    let as_struct = format!(
        "resources:\n- typed_config:\n    config:\n      vm_config: {{}}\n      configuration:\n        \
         value: {}\n",
        plugin.replace('\n', "\n          ")
    );
    for (filter, line) in [(plugin, 2), (as_struct, 7)] {
        let files = [("envoy.yaml".to_owned(), routes.clone()), ("filter".to_owned(), filter)];
        let checked = check_all(&files);
        assert_eq!(checked.iter().map(CheckedFile::errors).sum::<usize>(), 0, "{checked:?}");
        let [found] = checked[1].findings.as_slice() else { panic!("{checked:?}") };
        assert_eq!(found.line, line, "{found:?}");
        assert!(found.path.ends_with("rollouts[0].outcome_age"), "{found:?}");
        assert!(
            found.message.contains("the timeout of 15s of the route at envoy.yaml:1"),
            "{found:?}"
        );
        assert!(checked[0].findings.is_empty(), "{checked:?}");
    }
}

#[test]
fn a_fault_of_a_filter_in_an_envoy_configuration_has_its_line() {
    let text = envoy("\"weight\": 500, ", "", "");
    let checked = check("f", &text);
    let [(line, path)] = errors(&checked)[..] else { panic!("{checked:?}") };
    assert_eq!(line, 22, "{text}");
    assert!(path.ends_with("configuration.value.rollouts[0].weight"), "{path}");
    assert_eq!(checked.content, None);
}

/// The shipped files say what they mean: nothing about their routes is to be warned of.
#[test]
fn the_shipped_envoy_files_pass() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/");
    for names in [
        &["envoy.yaml", "ecds.yaml"][..],
        &["rescue.yaml", "ecds.yaml"],
        &["kubernetes/envoy.yaml", "kubernetes/ecds.yaml"],
    ] {
        let read = |name: &&str| {
            ((*name).to_owned(), std::fs::read_to_string(format!("{root}{name}")).unwrap())
        };
        let files: Vec<(String, String)> = names.iter().map(read).collect();
        for checked in check_all(&files) {
            let Some(Content::Envoy { rollouts, routes }) = &checked.content else {
                panic!("{checked:?}")
            };
            assert!(rollouts.len() + routes > 0, "{checked:?}");
            let known = |path: &str| path.ends_with("failure.overdue");
            assert!(warnings(&checked).iter().all(|(_, path)| known(path)), "{checked:?}");
        }
    }
}
