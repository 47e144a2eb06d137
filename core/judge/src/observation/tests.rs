use proptest::prelude::*;

use super::*;
use canary_model::histogram::Bin;

fn problem(line: &str) -> String {
    Observation::read(line).unwrap_err().to_string()
}

const EXAMPLE: &str = r#"{"t": 12.0, "weight": 5, "window": 1, "stable": {"total": 950, "failure": 1,
    "rq_time_us": [[4500, 100, 31]]}, "canary": {"total": 50, "failure": 0,
    "rq_time_us": [[4600, 100, 2]]}, "signals": {"label": {"stable": {"cat": 500, "dog": 450},
    "canary": {"cat": 27, "dog": 23}}}}"#;

#[test]
fn reads_a_line() {
    let line = Observation::read(EXAMPLE).unwrap();
    assert_eq!((line.t, line.weight.ppm(), line.window), (12.0, 50_000, Some(1)));
    assert!(!line.sticky);
    assert_eq!((line.roles.stable.total, line.roles.stable.failure), (Some(950), Some(1)));
    let times = line.roles.canary.rq_time_us.as_ref().unwrap();
    assert_eq!(times.bins().collect::<Vec<_>>(), [(Bin::new(4600.0, 100.0).unwrap(), 2)]);
    assert_eq!(line.signals["label"].canary.as_ref().unwrap()["dog"], 23);
    assert_eq!(Observation::read(&line.to_line()).unwrap(), line);
}

#[test]
fn reads_clients() {
    let line = Observation::read(
        r#"{"t": 1, "weight": 0.25, "keyed": true,
            "stable": {"clients": {"total": 12, "failure": 1, "first_failure": 0},
                       "rq_time_first_us": [[1.5, 0.1, 3]], "signals_first": {"label": {"a": 2}}},
            "signals_first": {"label": {"canary": {"a": 1}}}}"#,
    )
    .unwrap();
    let clients = ClientCounts { total: Some(12), failure: Some(1), first_failure: Some(0) };
    assert_eq!(line.roles.stable.clients, Some(clients));
    assert_eq!(line.roles.canary, RoleCounts::default());
    let label = &line.signals_first["label"];
    assert_eq!(label.stable.as_ref().unwrap()["a"], 2, "a role's own part");
    assert_eq!(label.canary.as_ref().unwrap()["a"], 1, "the line's part");
    assert_eq!(Observation::read(&line.to_line()).unwrap(), line);
}

/// A line with every part, as it is written: what old and new versions of this software exchange.
const GOLDEN: &str = r#"{"t":12.0,"weight":5,"assigned_weight":25,"window":1,"keyed":true,"stable":{"total":950,"failure":1,"assigned":953,"unanswered":2,"rq_time_us":[[4500,100,31]],"rq_ttfb_us":[[300,10,30]],"rq_gap_us":[[25,1,29]],"clients":{"total":12,"failure":1,"first_failure":0},"rq_time_first_us":[[4500,100,8]],"rq_ttfb_first_us":[[300,10,7]],"rq_gap_first_us":[[25,1,6]]},"canary":{"total":50,"failure":0,"assigned":51,"unanswered":0},"signals":{"tokens":{"stable":{"unreadable":3}}},"signals_first":{"label":{"canary":{"cat":1}}},"values":{"tokens":{"stable":[[310,10,27]],"canary":[[0,0,1],[320,10,2]]}},"values_first":{"tokens":{"stable":[[310,10,4]]}}}"#;

#[test]
fn every_part_is_read_and_written() {
    let line = Observation::read(GOLDEN).unwrap();
    assert_eq!(line.to_line(), GOLDEN);
    assert_eq!((line.weight.ppm(), line.weight_in_force().ppm()), (50_000, 250_000));
    let stable = &line.roles.stable;
    assert_eq!((stable.assigned, stable.unanswered), (Some(953), Some(2)));
    let counts =
        |first| Timing::ALL.map(|timing| stable.durations(timing, first).map(Histogram::count));
    assert_eq!(counts(false), [Some(31), Some(30), Some(29)]);
    assert_eq!(counts(true), [Some(8), Some(7), Some(6)]);
    assert_eq!(line.roles.canary.durations(Timing::Ttfb, false), None);
    let tokens = &line.values["tokens"];
    assert_eq!(tokens.canary.as_ref().map(Histogram::count), Some(3));
    assert_eq!(line.values_first["tokens"], Pair { stable: Some(bins(310, 4)), canary: None });
    let own =
        r#"{"t":1,"weight":5,"keyed":true,"stable":{"values_first":{"tokens":[[310,10,4]]}}}"#;
    let own = Observation::read(own).unwrap();
    assert_eq!(own.values_first, line.values_first, "a role's own part");
}

fn bins(lower: u32, count: u64) -> Histogram {
    [(Bin::new(f64::from(lower), 10.0).unwrap(), count)].into_iter().collect()
}

#[test]
fn what_is_missing_is_unknown_not_zero() {
    let line = Observation::read(r#"{"t": 1, "weight": 5, "canary": {"total": 3}}"#).unwrap();
    assert_eq!(line.roles.canary.failure, None);
    assert_eq!(line.roles.stable, RoleCounts::default());
    assert_eq!(line.to_line(), r#"{"t":1.0,"weight":5,"canary":{"total":3}}"#);
}

#[test]
fn unknown_fields_are_passed_over_and_whole_floats_are_counts() {
    let line = r#"{"t": 1, "weight": 5, "later": [], "stable": {"total": 7.0, "rq_2xx": 6}}"#;
    assert_eq!(Observation::read(line).unwrap().roles.stable.total, Some(7));
}

#[test]
fn faults_are_named_by_path() {
    assert!(problem("nonsense").starts_with("expected"));
    assert!(problem("null").starts_with("invalid type: null, expected an object with t, weight"));
    assert!(problem(r#"{"weight": 5}"#).starts_with("missing field `t`"));
    assert!(problem(r#"{"t": 1}"#).starts_with("missing field `weight`"));
    let at = |part: &str| problem(&format!(r#"{{"t": 1, "weight": 5, {part}}}"#));
    for (part, start) in [
        (
            r#""stable": {"total": -1}"#,
            "stable.total: invalid type: integer `-1`, expected a whole",
        ),
        (r#""stable": {"total": 1.5}"#, "stable.total: invalid value: floating point `1.5`"),
        (r#""stable": 3"#, "stable: invalid type: integer `3`, expected an object with a role's"),
        (
            r#""canary": {"rq_time_us": [[1, 1, 1], [1, 1]]}"#,
            "canary.rq_time_us[1]: invalid length",
        ),
        (r#""canary": {"rq_time_us": [[-1, 1, 1]]}"#, "canary.rq_time_us: a bin's bounds"),
        (r#""canary": {"clients": 3}"#, "canary.clients: invalid type"),
        (r#""signals": {"s": {"stable": {"a": "x"}}}"#, "signals.s.stable.a: invalid type"),
        (r#""stable": {"assigned": -1}"#, "stable.assigned: invalid type: integer `-1`"),
        (r#""stable": {"unanswered": "2"}"#, "stable.unanswered: invalid type: string"),
        (r#""canary": {"rq_ttfb_us": 5}"#, "canary.rq_ttfb_us: invalid type: integer `5`"),
        (r#""canary": {"rq_gap_first_us": [[1, 1]]}"#, "canary.rq_gap_first_us[0]: invalid length"),
        (r#""values": {"t": 3}"#, "values.t: invalid type: integer `3`, expected an object with"),
        (r#""values": {"t": {"canary": [[1, -1, 1]]}}"#, "values.t.canary: a bin's bounds"),
        (r#""values_first": {"t": {"stable": {"a": 1}}}"#, "values_first.t.stable: invalid type"),
        (r#""assigned_weight": 101"#, "assigned_weight: a weight lies between 0 and 100 percent"),
        (r#""keyed": 1"#, "keyed: invalid type: integer `1`, expected a boolean"),
        (r#""measurements": {"gpu": "high"}"#, "measurements.gpu: expected a number, a list"),
    ] {
        assert!(at(part).starts_with(start), "{part}: {}", at(part));
    }
    let weight = problem(r#"{"t": 1, "weight": 101}"#);
    assert!(weight.starts_with("weight: a weight lies between 0 and 100 percent"), "{weight}");
}

#[test]
fn sizes_are_limited() {
    let many = |entry: &str, n: usize| {
        (0..n).map(|i| entry.replace('#', &i.to_string())).collect::<Vec<_>>().join(",")
    };
    let line = |part: String| format!(r#"{{"t": 1, "weight": 5, {part}}}"#);
    let classes =
        |n| line(format!(r#""signals": {{"s": {{"stable": {{{}}}}}}}"#, many(r##""c#": 1"##, n)));
    assert!(Observation::read(&classes(MAX_CLASSES)).is_ok());
    let problems = problem(&classes(MAX_CLASSES + 1));
    assert!(problems.starts_with("signals.s.stable: invalid length 257, expected"), "{problems}");
    let bins = |n| line(format!(r#""stable": {{"rq_time_us": [{}]}}"#, many("[#, 1, 1]", n)));
    assert!(Observation::read(&bins(4_096)).is_ok());
    assert!(problem(&bins(4_097)).starts_with("stable.rq_time_us: invalid length 4097"));
    let name = line(format!(r#""signals": {{"{}": {{}}}}"#, "x".repeat(129)));
    assert!(problem(&name).starts_with("signals: invalid length"));
    assert!(problem(&" ".repeat(MAX_LINE + 1)).contains("at most 1048576 are read"));
}

#[test]
fn recordings_are_read_as_far_as_asked_and_errors_name_the_line() {
    let text = "\n{\"t\": 1, \"weight\": 5}\n{\"t\": 2, \"weight\": 5}\nbroken\n{\"t\": 3, \"weight\": 5}\n";
    let mut lines = read_lines(text.lines());
    assert_eq!(lines.next().unwrap().unwrap().t, 1.0);
    assert_eq!(lines.next().unwrap().unwrap().t, 2.0);
    let error = lines.next().unwrap().unwrap_err();
    assert_eq!(error.line, 4);
    assert!(error.to_string().starts_with("line 4: expected"), "{error}");
    assert!(lines.next().is_none());
    let back =
        read_lines(["{\"t\": 2, \"weight\": 5}", "{\"t\": 1, \"weight\": 5}"]).last().unwrap();
    assert_eq!(back.unwrap_err().to_string(), "line 2: t: 1 lies before the 2 of the line before");
}

#[test]
fn measurements_keep_what_json_has_no_numbers_for() {
    let text = r#"{"t":1.0,"weight":5,"measurements":{"a":[0.5,"NaN","-Inf"],"b":{"error":"refused"},"c":[]}}"#;
    let line = Observation::read(text).unwrap();
    let Measurement::Values(values) = &line.measurements["a"] else { panic!("values") };
    assert!(values[0] == 0.5 && values[1].is_nan() && values[2] == f64::NEG_INFINITY);
    assert_eq!(line.measurements["b"], Measurement::Outage("refused".to_owned()));
    assert_eq!(line.to_line(), text);
    let single = Observation::read(r#"{"t": 1, "weight": 5, "measurements": {"a": 3}}"#).unwrap();
    assert_eq!(single.measurements["a"], Measurement::Values(vec![3.0]));
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(line in "\\PC*") {
        let _ = Observation::read(&line);
    }

    #[test]
    fn lines_read_back(
        t in 0.0..1e9f64, ppm in 0..=1_000_000u32, window in proptest::option::of(0..9u64),
        sticky: bool, counts in proptest::collection::vec(proptest::option::of(0..1u64 << 50), 4),
        bins in proptest::collection::vec((0..1_000_000u32, 1..1_000u32, 1..99u64), 0..9),
    ) {
        let mut line = Observation {
            t: (t * 1e3).round() / 1e3, weight: Weight::from_ppm(ppm).unwrap(), window, sticky,
            ..Observation::default()
        };
        line.roles.stable.total = counts[0];
        line.roles.stable.failure = counts[1];
        line.roles.canary.clients =
            Some(ClientCounts { total: counts[2], failure: counts[3], first_failure: None });
        line.roles.canary.rq_time_us = Some(
            bins.iter().map(|(l, w, n)| (Bin::new(f64::from(*l) / 10.0, f64::from(*w)).unwrap(), *n)).collect(),
        );
        let class = |n: u64| Some(ClassCounts::from([("a".to_owned(), n)]));
        line.signals_first.insert("s".to_owned(), Pair { stable: class(1), canary: None });
        prop_assert_eq!(Observation::read(&line.to_line()).unwrap(), line);
    }
}
