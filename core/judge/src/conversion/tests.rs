use super::*;
use crate::blocks::{BlockUpdate, Change, STILL, TickContext};
use crate::failure_abort::Tolerated;
use crate::observation::ClassCounts;
use crate::rate::Rate;
use crate::verdict::{FindingUnit, Findings};

fn read(text: &str) -> Observation {
    Observation::read(&format!("{{\"t\": 1, \"weight\": 10, {text}}}")).unwrap()
}

fn conversions() -> Events {
    Events::Conversions("checkout".to_owned())
}

fn trials(trials: u64, events: u64) -> Trials {
    Trials { trials, events }
}

#[test]
fn a_role_with_a_total_but_no_failure_count_is_dropped() {
    let line = read(r#""stable": {"total": 90, "failure": 2}, "canary": {"total": 10}"#);
    let counts = Events::Failures.of_requests(&line);
    assert_eq!(counts, Pair { stable: trials(90, 2), canary: trials(0, 0) });
    let line = read(r#""stable": {"total": 90}, "canary": {"total": 10, "failure": 10}"#);
    assert_eq!(Events::Failures.of_requests(&line).stable, trials(0, 0), "so the line is left out");
}

#[test]
fn conversions_come_from_their_signal() {
    let line = read(
        r#""stable": {"total": 90, "failure": 0}, "canary": {"total": 10, "failure": 0},
           "signals": {"checkout": {"stable": {"converted": 3}, "canary": {}}}"#,
    );
    let counts = conversions().of_requests(&line);
    assert_eq!(counts, Pair { stable: trials(90, 3), canary: trials(10, 0) });
    assert_eq!(conversions().sides(counts).treatment, trials(90, 3), "stable is the treatment");
    assert_eq!(conversions().roles(conversions().sides(counts)), counts);
    let unknown = read(r#""stable": {"total": 90}, "canary": {"total": 10}"#);
    assert_eq!(conversions().of_requests(&unknown), Pair::default());
}

#[test]
fn a_line_of_clients_without_one_roles_part_is_dropped_whole() {
    let line = read(
        r#""keyed": true, "stable": {"total": 90, "clients": {"total": 20, "failure": 2}},
           "canary": {"total": 10, "clients": {"total": 3, "failure": 1, "first_failure": 0}}"#,
    );
    let tick = Events::Failures.of_clients(&line, line.requests()).unwrap();
    assert_eq!((tick.seen.treatment, tick.events.control, tick.requests.control), (3, 2, 90));
    assert!(
        Events::Failures.of_first_requests(&line, line.requests()).is_none(),
        "stable's is missing"
    );
    let half = read(r#""keyed": true, "canary": {"clients": {"total": 3, "failure": 1}}"#);
    assert!(Events::Failures.of_clients(&half, half.requests()).is_none());
}

#[test]
fn the_nominal_split_is_suspect_to_reference() {
    assert!((Events::Failures.nominal_split(0.2) - 0.25).abs() < 1e-12);
    assert!((conversions().nominal_split(0.2) - 4.0).abs() < 1e-12);
    assert_eq!(Events::Failures.nominal_split(1.0), f64::INFINITY);
}

fn shop(canary: u64, stable: u64) -> Observation {
    let mut line = read(r#""stable": {"total": 900}, "canary": {"total": 100}"#);
    let converted = |count| Some(ClassCounts::from([(CONVERTED.to_owned(), count)]));
    let counts = Pair { stable: converted(stable), canary: converted(canary) };
    line.signals.insert("checkout".to_owned(), counts);
    line
}

fn judge(margin: f64, line: &Observation, times: usize) -> Rate {
    let mut test = Rate::new(conversions(), Tolerated { ratio: 1.0, margin }, 100);
    for _ in 0..times {
        test.observe(&STILL, line);
    }
    test
}

#[test]
fn fewer_conversions_are_worse_and_more_are_not() {
    assert!(judge(0.0, &shop(5, 90), 10).log_e() > 4.6, "half of stable's");
    assert!(judge(0.0, &shop(10, 90), 10).log_e() < 0.0, "the same");
    assert!(judge(0.0, &shop(20, 90), 10).log_e() < 0.0, "twice as many");
    assert!(judge(0.06, &shop(5, 90), 10).log_e() < 0.0, "five points less, six are tolerated");
}

#[test]
fn the_same_conversions_are_certified_and_fewer_are_not() {
    assert!(judge(0.05, &shop(10, 90), 10).certified());
    assert!(!judge(0.05, &shop(5, 90), 10).certified());
    assert!(!judge(0.0, &shop(10, 90), 10).certified(), "without a margin equality proves nothing");
}

#[test]
fn a_budget_of_failures_is_not_one_of_conversions() {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.05 };
    let margin = |events| {
        let mut test = Rate::new(events, tolerated, 1);
        test.begin_step(Some(0.02));
        test.non_inferiority().margin
    };
    assert_eq!((margin(Events::Failures), margin(conversions())), (0.02, 0.05));
}

#[test]
fn the_figures_are_those_of_the_window() {
    let mut test = Rate::new(Events::Failures, Tolerated { ratio: 1.0, margin: 0.0 }, 1);
    test.count_clients();
    let line = read(
        r#""keyed": true, "stable": {"total": 90, "clients": {"total": 20, "failure": 2}},
           "canary": {"total": 10, "clients": {"total": 3, "failure": 1}}"#,
    );
    let sticky = TickContext { sticky: true, ..STILL };
    assert_eq!(test.observe(&sticky, &line), BlockUpdate::Closed { both: true });
    let Findings::Shares { unit, counts, .. } = test.findings() else { panic!("shares") };
    assert_eq!(
        (unit, counts.canary, counts.stable),
        (FindingUnit::Clients, trials(3, 1), trials(20, 2))
    );
    test.observe(&TickContext { change: Some(Change::Window), ..sticky }, &line);
    let Findings::Shares { counts, .. } = test.findings() else { panic!("shares") };
    assert_eq!(counts, Pair::default());
}
