use super::super::plan::ChaosPlace;
use super::super::upstreams::UpstreamDeed;
use super::*;

fn request(id: u64, begun: f64, status: u16, end: AnswerEnd) -> ChaosRequest {
    ChaosRequest {
        id,
        rollout: ChaosRollout::Storm,
        stream: false,
        begun,
        answered: Some(begun + 0.1),
        ended: begun + 0.2,
        status: Some(status),
        version: Some("1.2.0".to_owned()),
        end,
    }
}

fn without_answer(id: u64, begun: f64) -> ChaosRequest {
    let end = AnswerEnd::NoHeaders("gone".to_owned());
    ChaosRequest { status: None, version: None, answered: None, ..request(id, begun, 0, end) }
}

fn reading(at: f64, values: &[(&str, u64)]) -> CounterReading {
    let name = |name: &str| format!("storm.canary.1.2.0.{name}");
    let values = values.iter().map(|(metric, value)| (name(metric), *value)).collect();
    CounterReading { span: Span { begin: at, end: at + 0.01 }, values }
}

/// Three requests: one good, one with an error, one that broke off.
fn three() -> Vec<ChaosRequest> {
    vec![
        request(1, 1.0, 200, AnswerEnd::Whole),
        request(2, 2.0, 500, AnswerEnd::Whole),
        request(3, 3.0, 200, AnswerEnd::BrokenOff("reset".to_owned())),
    ]
}

const RIGHT: [(&str, u64); 7] = [
    ("rq_total", 3),
    ("rq_failure", 2),
    ("rq_broken", 1),
    ("rq_2xx", 2),
    ("rq_5xx", 1),
    ("judged_total", 3),
    ("judged_failure", 2),
];

fn check(
    requests: &[ChaosRequest],
    notes: &HashMap<u64, UpstreamNote>,
    reading: &CounterReading,
    quiet: bool,
) -> Vec<String> {
    let requests = requests.iter().collect();
    let log = LifeLog { shared_until: 0.5, requests, notes, outcome_age: 2.0 };
    let result = log.check(reading, if quiet { 0.0 } else { 1.0 });
    assert!(result.exact <= result.compared);
    assert!(result.compared >= 7);
    result.disagreements.into_iter().map(|Disagreement(text)| text).collect()
}

#[test]
fn at_rest_every_counter_must_be_exact() {
    let none = HashMap::new();
    assert!(check(&three(), &none, &reading(100.0, &RIGHT), true).is_empty());
    for at in 0..RIGHT.len() {
        for wrong in [RIGHT[at].1 + 1, RIGHT[at].1 - 1] {
            let mut values = RIGHT;
            values[at].1 = wrong;
            let found = check(&three(), &none, &reading(100.0, &values), true);
            // What is judged counts twice: by itself, and as examined.
            let expected = if RIGHT[at].0 == "judged_total" { 2 } else { 1 };
            assert_eq!(found.len(), expected, "{values:?}: {found:?}");
            assert!(found.iter().all(|text| text.contains(RIGHT[at].0)), "{found:?}");
        }
    }
}

#[test]
fn a_counter_of_a_version_that_no_client_saw_disagrees() {
    let found = check(&[], &HashMap::new(), &reading(100.0, &[("rq_total", 1)]), true);
    assert_eq!(found, ["at 100.0 s storm.1.2.0.rq_total is 1; by the clients' log it is 0 to 0"]);
}

/// What was over for less than a second may be missing, and what has begun may be counted.
#[test]
fn before_a_kill_the_last_second_is_uncertain_and_no_more() {
    let (requests, none) = (three(), HashMap::new());
    let total = |at: f64, value: u64| {
        let found = check(&requests, &none, &reading(at, &[("rq_total", value)]), false);
        !found.iter().any(|text| text.contains("rq_total"))
    };
    assert_eq!([0, 1, 2, 3].map(|value| total(2.1, value)), [true, true, true, false]);
    assert_eq!([0, 1, 2, 3].map(|value| total(3.3, value)), [false, false, true, true]);
    assert_eq!([0, 1, 2, 3].map(|value| total(4.3, value)), [false, false, false, true]);
    // Judged at their age, plus that second.
    let judged = |at: f64, value: u64| {
        let found = check(&requests, &none, &reading(at, &[("judged_total", value)]), false);
        !found.iter().any(|text| text.contains("judged_total is"))
    };
    assert_eq!([0, 1, 2].map(|value| judged(2.9, value)), [true, false, false]);
    assert_eq!([0, 1, 2].map(|value| judged(4.1, value)), [false, true, true]);
}

#[test]
fn a_request_without_an_answer_may_count_for_any_version() {
    let mut requests = three();
    requests.push(without_answer(4, 3.5));
    let none = HashMap::new();
    let with_total = |value| {
        let mut values = RIGHT;
        values[0].1 = value;
        check(&requests, &none, &reading(100.0, &values), true).is_empty()
    };
    assert_eq!([2, 3, 4, 5].map(with_total), [false, true, true, false]);
}

/// One whose connection was refused wasn't counted by anybody.
#[test]
fn a_refused_connection_leaves_the_log_exact() {
    let mut requests = three();
    requests.push(ChaosRequest { end: AnswerEnd::Refused, ..without_answer(4, 3.5) });
    let none = HashMap::new();
    let log = LifeLog {
        shared_until: 0.5,
        requests: requests.iter().collect(),
        notes: &none,
        outcome_age: 2.0,
    };
    let result = log.check(&reading(100.0, &RIGHT), 0.0);
    assert_eq!((result.exact, result.disagreements.len()), (result.compared, 0));
    // Where a reading comes too early to have anything, only too much is a mistake.
    assert!(log.check(&reading(100.0, &[]), f64::INFINITY).disagreements.is_empty());
    let mut values = RIGHT;
    values[0].1 = 4;
    assert_eq!(log.check(&reading(100.0, &values), f64::INFINITY).disagreements.len(), 1);
}

#[test]
fn a_diverted_request_is_not_counted() {
    let note = |diverted| {
        let (place, deed) = (ChaosPlace::Stable, UpstreamDeed::Answered);
        HashMap::from([(1, UpstreamNote { arrived: 1.0, place, deed, diverted })])
    };
    let one = [request(1, 1.0, 200, AnswerEnd::Whole)];
    let counted = reading(100.0, &[("rq_total", 1), ("rq_2xx", 1), ("judged_total", 1)]);
    let uncounted = reading(100.0, &[]);
    assert!(check(&one, &note(false), &counted, true).is_empty());
    assert!(!check(&one, &note(true), &counted, true).is_empty());
    assert!(check(&one, &note(true), &uncounted, true).is_empty());
    assert!(!check(&one, &note(false), &uncounted, true).is_empty());
}

/// A failure that came about when the request was judged may be judged or not; one that came later isn't. A request
/// that was long on its way to Envoy is as much younger there.
#[test]
fn failures_after_the_age_are_not_judged() {
    let allowed = |seconds: f64, underway: f64| {
        let end = AnswerEnd::BrokenOff("reset".to_owned());
        let failed = ChaosRequest { ended: 1.0 + seconds, ..request(1, 1.0, 200, end) };
        let (place, deed) = (ChaosPlace::Storm, UpstreamDeed::CutOff);
        let note = UpstreamNote { arrived: 1.0 + underway, place, deed, diverted: false };
        [0, 1].map(|value| {
            let mut values =
                [("rq_total", 1), ("rq_failure", 1), ("rq_broken", 1), ("rq_2xx", 1)].to_vec();
            values.extend([("judged_total", 1), ("judged_failure", value)]);
            let (failed, notes) = (std::slice::from_ref(&failed), HashMap::from([(1, note)]));
            check(failed, &notes, &reading(100.0, &values), true).is_empty()
        })
    };
    assert_eq!(allowed(0.5, 0.0), [false, true]);
    assert_eq!(allowed(1.9, 0.0), [false, true]);
    assert_eq!(allowed(2.1, 0.0), [true, true]);
    assert_eq!(allowed(2.9, 0.0), [true, true], "looked at late");
    assert_eq!(allowed(3.1, 0.0), [true, false]);
    assert_eq!(allowed(3.1, 0.2), [true, true], "perhaps 2.9 s old when it failed");
    assert_eq!(allowed(3.3, 0.2), [true, false]);
}

/// An answer that came about when the request was examined may be judged or not, but the request is in one
/// of the two counters.
#[test]
fn every_request_is_judged_or_was_without_an_answer() {
    let late = ChaosRequest { answered: Some(3.0), ..request(1, 1.0, 200, AnswerEnd::Whole) };
    let allowed = |judged, unanswered| {
        let values = [
            ("rq_total", 1),
            ("rq_2xx", 1),
            ("judged_total", judged),
            ("judged_unanswered", unanswered),
        ];
        check(std::slice::from_ref(&late), &HashMap::new(), &reading(100.0, &values), true)
            .is_empty()
    };
    assert!(allowed(1, 0) && allowed(0, 1));
    assert!(!allowed(0, 0) && !allowed(1, 1));
}

#[test]
fn a_counter_that_falls_is_found_and_a_gauge_may_fall() {
    let mut before = reading(1.0, &[("rq_total", 5), ("judged_total", 3)]);
    let mut after = reading(2.0, &[("rq_total", 4), ("judged_total", 3)]);
    before.values.insert("storm.weight_ppm".to_owned(), 7);
    after.values.insert("storm.weight_ppm".to_owned(), 0);
    let found = fallen(&[&before, &after]).disagreements;
    let expected = "at 2.0 s storm.canary.1.2.0.rq_total is 4; before it was 5";
    assert_eq!(found, [Disagreement(expected.to_owned())]);
    assert!(fallen(&[&before, &before]).disagreements.is_empty());
}
