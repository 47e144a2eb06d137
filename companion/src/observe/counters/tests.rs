use canary_model::histogram::Bin;
use proptest::prelude::*;

use super::*;

fn stats(numbers: &[(&str, u64)], times: &[(&str, u64)]) -> Stats {
    let name = |metric: &str| format!("wasmcustom.canary.scorer.{metric}");
    let bins = |count| std::iter::once((Bin::new(10.0, 1.0).unwrap(), count)).collect();
    Stats {
        numbers: numbers.iter().map(|(metric, value)| (name(metric), *value)).collect(),
        histograms: times.iter().map(|(metric, count)| (name(metric), bins(*count))).collect(),
        ..Stats::default()
    }
}

fn of(numbers: &[(&str, u64)]) -> RolloutCounters {
    RolloutCounters::read(&stats(numbers, &[]), "scorer")
}

fn total(counters: &RolloutCounters, role: Role) -> u64 {
    counters.role(role).count(&Counter::Total)
}

#[test]
fn reads_both_roles_and_all_versions() {
    let stats = stats(
        &[
            ("stable.3.1.rq_total", 90),
            ("canary.3.1.rq_total", 4),
            ("canary.3.2.rq_total", 6),
            ("canary.3.2.signal.label.cat", 5),
            ("canary.3.2.rq_5xx", 1),
            ("canary.3.2.judged_total", 5),
            ("canary.3.2.judged_failure", 2),
            ("canary.3.2.judged_unanswered", 1),
            ("canary.3.2.rq_broken", 1),
            ("canary.3.2.rq_overdue", 3),
            ("canary.other.assigned_total", 7),
            ("weight_ppm", 50_000),
        ],
        &[
            ("canary.3.2.rq_time_us", 6),
            ("canary.3.2.rq_time_first_us", 2),
            ("canary.3.2.rq_ttfb_us", 5),
            ("canary.3.2.rq_gap_first_us", 1),
            ("canary.3.2.value.tokens", 3),
            ("canary.other.value_first.tokens", 4),
        ],
    );
    let counters = RolloutCounters::read(&stats, "scorer");
    assert_eq!((total(&counters, Role::Stable), total(&counters, Role::Canary)), (90, 10));
    let signal = |class: &str| Counter::Signal {
        first: false,
        signal: "label".to_owned(),
        class: class.to_owned(),
    };
    assert_eq!(counters.role(Role::Canary).count(&signal("cat")), 5);
    let canary = counters.role(Role::Canary);
    let counts = [
        (Counter::Judged, 5),
        (Counter::JudgedFailures, 2),
        (Counter::Unanswered, 1),
        (Counter::Broken, 1),
        (Counter::Overdue, 3),
        (Counter::Assigned, 7),
    ];
    for (counter, count) in counts {
        assert_eq!(canary.count(&counter), count, "{counter:?}");
    }
    let (all, first) = (|what| canary.all(what).unwrap().count(), |what| canary.first(what));
    let tokens = || Quantity::Value("tokens".to_owned());
    assert_eq!(all(Quantity::Time(Timing::Total)), 6);
    assert_eq!(all(Quantity::Time(Timing::Ttfb)), 5);
    assert_eq!(all(tokens()), 3);
    assert_eq!(first(Quantity::Time(Timing::Total)).unwrap().count(), 2);
    assert_eq!(first(Quantity::Time(Timing::Gap)).unwrap().count(), 1);
    assert_eq!(first(tokens()).unwrap().count(), 4, "versions beyond the first 32");
    assert_eq!(first(Quantity::Time(Timing::Ttfb)), None);
    let versions: Vec<_> = counters.versions.keys().map(|(_, version)| version.as_str()).collect();
    assert_eq!(versions, ["3.1", "3.1", "3.2", "other"], "no version is made of a bin's name");
    assert_eq!(RolloutCounters::read(&stats, "other"), RolloutCounters::default());
}

#[test]
fn a_client_that_left_and_the_total_come_together() {
    let counted = |total, abandoned| {
        of(&[("canary.2.rq_total", total), ("canary.2.rq_abandoned", abandoned)])
    };
    assert_eq!(counted(10, 7).since(&counted(10, 6)), Difference::Inconsistent, "its other half");
}

#[test]
fn a_restart_shows_in_any_counter_and_makes_all_of_them_new() {
    let before = of(&[("stable.1.rq_total", 100), ("canary.2.rq_total", 3)]);
    let after = of(&[("stable.1.rq_total", 7), ("canary.2.rq_total", 5)]);
    let Difference::Restarted(delta) = after.since(&before) else { panic!("it restarted") };
    assert_eq!((total(&delta, Role::Stable), total(&delta, Role::Canary)), (7, 5));
    let gone = of(&[("stable.1.rq_total", 200)]);
    assert!(matches!(gone.since(&before), Difference::Restarted(_)), "a counter is missing");
    let uptime = |seconds| RolloutCounters {
        uptime: Some(seconds),
        ..of(&[("stable.1.rq_total", seconds)])
    };
    assert!(matches!(uptime(5).since(&uptime(5)), Difference::Counted(_)));
    let busy = RolloutCounters { uptime: Some(1), ..of(&[("stable.1.rq_total", 1_000)]) };
    assert!(matches!(busy.since(&uptime(900)), Difference::Restarted(_)), "its uptime says so");
    let times =
        |count| RolloutCounters::read(&stats(&[], &[("stable.1.rq_time_us", count)]), "scorer");
    assert!(matches!(times(3).since(&times(4)), Difference::Restarted(_)));
}

#[test]
fn a_reading_in_the_middle_of_an_update_waits() {
    let before = of(&[("canary.2.rq_total", 10), ("canary.2.rq_failure", 0)]);
    let half = of(&[("canary.2.rq_total", 10), ("canary.2.rq_failure", 1)]);
    let whole = of(&[("canary.2.rq_total", 11), ("canary.2.rq_failure", 1)]);
    assert_eq!(half.since(&before), Difference::Inconsistent);
    assert!(matches!(whole.since(&before), Difference::Counted(_)));
    for (part, whole) in [
        ("judged_failure", "judged_total"),
        ("rq_broken", "rq_failure"),
        ("rq_overdue", "rq_failure"),
        ("client_first_failure", "client_total"),
    ] {
        let of = |of_part, of_whole| {
            let name = |metric: &str| format!("canary.2.{metric}");
            let counts = [(name(part), of_part), (name(whole), of_whole), (name("rq_total"), 99)];
            self::of(&counts.each_ref().map(|(name, count)| (name.as_str(), *count)))
        };
        let before = of(0, 10);
        assert_eq!(of(1, 10).since(&before), Difference::Inconsistent, "{part}");
    }
}

proptest! {
    /// Whatever is read in between, restarts included, the differences sum up to what was counted.
    #[test]
    fn differences_lose_and_repeat_nothing(
        lives in prop::collection::vec(prop::collection::vec(0u64..50, 1..6), 1..5)
    ) {
        let (mut sum, mut counted) = (0, 0);
        let mut earlier = of(&[("canary.2.rq_total", 0)]);
        for (life, growth) in lives.iter().enumerate() {
            let mut now = 0;
            for more in growth {
                now += more;
                counted += more;
                let uptime = Some(1_000 - life as u64);
                let reading = RolloutCounters { uptime, ..of(&[("canary.2.rq_total", now)]) };
                match reading.since(&earlier) {
                    Difference::Counted(delta) | Difference::Restarted(delta) => {
                        sum += total(&delta, Role::Canary);
                    }
                    Difference::Inconsistent => panic!("nothing failed"),
                }
                earlier = reading;
            }
        }
        prop_assert_eq!(sum, counted);
    }
}
