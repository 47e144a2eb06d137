use proptest::prelude::*;

use super::*;
use crate::counts::Trials;
use crate::failure_abort::RequestAbort;
use crate::laws::{ONE, mean};

const PLAIN: Tolerated = Tolerated { ratio: 1.0, margin: 0.0 };

/// A line that closes a block by its requests.
fn tick(seen: [u64; 2], events: [u64; 2]) -> ClientTick {
    let sides = |[treatment, control]: [u64; 2]| Sides { treatment, control };
    ClientTick { requests: sides([15, 15]), seen: sides(seen), events: sides(events) }
}

fn run(tolerated: Tolerated, ticks: &[ClientTick]) -> ClientAbort {
    let mut test = ClientAbort::new(tolerated);
    for tick in ticks {
        test.observe(Some(*tick), None, false);
    }
    test
}

#[test]
fn the_first_block_is_the_test_of_requests_with_clients() {
    let sticky = run(PLAIN, &[tick([20, 380], [3, 1])]).log_e();
    let mut requests = RequestAbort::new(PLAIN, 1);
    let trials = |trials, events| Trials { trials, events };
    requests.observe(Sides { treatment: trials(20, 3), control: trials(380, 1) }, false);
    assert!((sticky - requests.log_e()).abs() < 1e-9);
}

#[test]
fn the_margin_is_charged_once_for_each_canary_client() {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.01 };
    let mut test = run(tolerated, &[tick([20, 380], [0, 0])]);
    let charged = RATIOS.map(|rho| -0.01 * 20.0 * (rho - 1.0));
    for (log, charge) in test.mixture.logs().iter().zip(charged) {
        assert!((log - charge).abs() < 1e-9);
    }
    test.observe(Some(tick([0, 50], [0, 0])), None, false);
    assert_eq!(test.mixture.logs()[0], charged[0], "no new canary client, no charge");
}

#[test]
fn who_has_failed_is_no_longer_at_risk() {
    let mut test = run(PLAIN, &[tick([20, 380], [5, 80])]);
    assert_eq!(test.at_risk, Sides { treatment: 15, control: 300 });
    test.observe(Some(tick([1, 0], [0, 0])), None, false);
    assert_eq!(test.at_risk, Sides { treatment: 16, control: 300 });
}

#[test]
fn what_is_left_out_is_at_risk_and_charged() {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.01 };
    let mut test = ClientAbort::new(tolerated);
    let small = |seen, events| ClientTick {
        requests: Sides { treatment: 1, control: 9 },
        ..tick(seen, events)
    };
    assert_eq!(test.observe(Some(small([4, 40], [1, 2])), None, false).0, BlockUpdate::Open);
    // The weight changes: the open block and this line are not compared.
    let (update, _) = test.observe(Some(small([6, 60], [0, 5])), Some(Change::Weight), false);
    assert_eq!(update, BlockUpdate::LeftOut);
    assert_eq!(test.at_risk, Sides { treatment: 9, control: 93 });
    assert!((test.mixture.logs()[12] + 0.01 * 10.0 * 999.0).abs() < 1e-9);
    // No stable request: the same.
    test.observe(Some(tick([2, 0], [2, 0])), None, true);
    assert_eq!(test.at_risk, Sides { treatment: 9, control: 93 });
    assert!((test.mixture.logs()[12] + 0.01 * 12.0 * 999.0).abs() < 1e-9);
    // A window starts again, with the clients of its first line at risk.
    test.observe(Some(small([3, 30], [0, 0])), Some(Change::Window), false);
    assert_eq!(test.at_risk, Sides { treatment: 3, control: 30 });
    assert!((test.mixture.logs()[12] + 0.01 * 3.0 * 999.0).abs() < 1e-9);
}

#[test]
fn a_dropped_line_is_as_if_it_did_not_exist() {
    let mut test = run(PLAIN, &[tick([20, 380], [5, 80])]);
    let before = test.clone();
    assert_eq!(test.observe(None, None, false).0, BlockUpdate::Dropped);
    assert_eq!(test, before);
    test.observe(None, Some(Change::Window), false);
    assert_eq!(test, ClientAbort::new(PLAIN), "but a new window is a new window");
}

#[test]
fn failures_of_clients_whose_first_line_was_dropped_are_no_alarm() {
    // Ten of a hundred unseen clients fail on each side: without a floor the canary would have had none
    // at risk, and each of its failures would be a miracle.
    let lost = run(PLAIN, &[tick([0, 3], [10, 10])]);
    assert!(lost.log_e() < 0.5, "{}", lost.log_e());
}

#[test]
fn the_mean_is_at_most_one_over_two_blocks_whatever_the_shared_hazards() {
    for [first, second] in [[0.02, 0.5], [0.5, 0.02], [0.3, 0.3], [0.9, 0.9]] {
        let fair = mean([(4, first), (9, first)], |ec, es| {
            mean([(4 - ec, second), (9 - es, second)], |fc, fs| {
                run(PLAIN, &[tick([4, 9], [ec, es]), tick([0, 0], [fc, fs])]).log_e().exp()
            })
        });
        assert!(fair <= ONE, "{first} {second}: {fair}");
    }
}

#[test]
fn the_mean_is_at_most_one_at_the_margin() {
    let tolerated = Tolerated { ratio: 1.0, margin: 0.1 };
    for p_s in [0.0, 0.1, 0.4] {
        // The canary's clients fail 10 points more often, some in the first block, some in the second.
        let fair = mean([(5, p_s + 0.07), (12, p_s)], |ec, es| {
            let late = 0.03 / (1.0 - p_s - 0.07);
            mean([(5 - ec, late), (12 - es, 0.0)], |fc, fs| {
                run(tolerated, &[tick([5, 12], [ec, es]), tick([0, 0], [fc, fs])]).log_e().exp()
            })
        });
        assert!(fair <= ONE, "{p_s}: {fair}");
    }
}

proptest! {
    #[test]
    fn dropping_whole_lines_touches_nothing(
        lines in proptest::collection::vec((0..9u64, 0..99u64, 0..3u64, 0..3u64, any::<bool>()), 1..30),
    ) {
        let (mut with, mut without) = (ClientAbort::new(PLAIN), ClientAbort::new(PLAIN));
        for (nc, ns, ec, es, kept) in lines {
            let line = kept.then(|| tick([nc, ns], [ec, es]));
            with.observe(line, None, false);
            if kept {
                without.observe(line, None, false);
            }
        }
        prop_assert_eq!(with, without);
    }
}
