use super::*;

fn percent(text: &str) -> Weight {
    Weight::parse_percent(text).unwrap()
}

/// Failures of as many clients until the guard trips, from the given beginning.
fn failures_to_trip(guard: &mut Guard, weight: Weight) -> usize {
    let trips = (1..1000).find(|_| guard.observe(0, weight, &[GuardEvent::CanaryFailure(None)]));
    trips.unwrap_or(usize::MAX)
}

#[test]
fn the_constants_are_those_of_the_study() {
    for (share, canary_failure, canary_success, stable_failure) in [
        (0.01, 3513, -679, -399),
        (0.02, 3228, -674, -684),
        (0.05, 2673, -659, -1239),
        (0.10, 2137, -633, -1775),
        (0.25, 1328, -552, -2584),
        (0.50, 673, -399, -3239),
    ] {
        let expected = Steps { canary_failure, canary_success, stable_failure };
        assert_eq!(Steps::new(share, 0.01), expected, "{share}");
    }
}

#[test]
fn a_canary_that_fails_everything_is_stopped_after_a_handful() {
    for (weight, from_start, after_health) in
        [("1", 4, 8), ("5", 6, 11), ("10", 7, 13), ("25", 11, 21), ("50", 21, 42)]
    {
        let weight = percent(weight);
        assert_eq!(failures_to_trip(&mut Guard::new(0), weight), from_start, "{weight} %");
        let mut healthy = Guard::new(0);
        healthy.observe(0, weight, &[GuardEvent::CanarySuccess; 200]);
        assert_eq!(failures_to_trip(&mut healthy, weight), after_health, "{weight} %");
    }
}

#[test]
fn two_clients_alone_never_trip_it_and_a_third_does() {
    let mut guard = Guard::new(0);
    let client =
        |number: u32| GuardEvent::CanaryFailure(Some(KeyHash::new("s", &number.to_le_bytes())));
    for _ in 0..500 {
        assert!(!guard.observe(0, percent("5"), &[client(1), client(2)]));
    }
    assert!(guard.observe(0, percent("5"), &[client(3)]));
}

#[test]
fn a_run_begins_anew_at_zero() {
    let mut guard = Guard::new(0);
    let client =
        |number: u32| GuardEvent::CanaryFailure(Some(KeyHash::new("s", &number.to_le_bytes())));
    guard.observe(0, percent("5"), &[client(1), client(2)]);
    guard.observe(0, percent("5"), &[GuardEvent::CanarySuccess; 100]);
    assert!(guard.run.is_empty() && guard.score == 0);
}

#[test]
fn epochs() {
    let mut guard = Guard::new(7);
    guard.observe(7, percent("5"), &[GuardEvent::CanaryFailure(None); 3]);
    let before = guard.clone();
    assert!(!guard.observe(6, percent("5"), &[GuardEvent::CanaryFailure(None); 99]));
    assert_eq!(guard, before, "a worker that is behind changes nothing");
    guard.observe(8, percent("5"), &[]);
    assert_eq!(guard, Guard::new(8));
}

#[test]
fn a_shared_outage_does_not_trip_it() {
    let mut guard = Guard::new(0);
    for _ in 0..10_000 {
        let mut outage = vec![GuardEvent::StableFailure; 19];
        outage.push(GuardEvent::CanaryFailure(None));
        assert!(!guard.observe(0, percent("5"), &outage));
    }
}

#[test]
fn a_larger_measured_share_is_believed() {
    let mut guard = Guard::new(0);
    guard.observe(0, percent("5"), &[GuardEvent::StableSuccesses(700)]);
    guard.observe(0, percent("5"), &[GuardEvent::CanarySuccess; 300]);
    assert_eq!(guard.steps(percent("5")), Steps::new(1.1 * 0.3, 0.01));
    assert_eq!(guard.steps(percent("50")), Steps::new(0.5, 0.01));
}

/// The mean of the factor that one request multiplies the score's exponential by, where both
/// versions fail with probability `p` and the canary's true share is `share`.
fn mean_factor(steps: Steps, share: f64, p: f64) -> f64 {
    let factor = |step: i64| (step as f64 / 1000.0).exp();
    let canary = p * factor(steps.canary_failure) + (1.0 - p) * factor(steps.canary_success);
    let stable = p * factor(steps.stable_failure) + (1.0 - p);
    share * canary + (1.0 - share) * stable
}

const RATES: [f64; 11] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 0.999];
const SHARES: [f64; 6] = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5];

#[test]
fn no_shared_failure_rate_favours_a_trip_whatever_the_true_share_up_to_the_nominal() {
    for nominal in SHARES {
        for q0 in [0.01, 0.03, 0.1, 0.25] {
            for p in RATES {
                for true_share in [1.0, 0.99, 0.7, 0.3, 0.05, 0.0].map(|part| part * nominal) {
                    let mean = mean_factor(Steps::new(nominal, q0), true_share, p);
                    assert!(mean <= 1.0 + 1e-12, "{nominal} {q0} {p} {true_share}: {mean}");
                }
            }
        }
    }
}

/// The probability that a million requests trip the guard, where both versions fail with probability
/// `p`. The score is a Markov chain on whole numbers; `hits[s]` is the probability that it reaches the
/// threshold from `s` before it falls to zero, solved by Gauss–Seidel from above (the e-variable's own
/// bound, so that every iterate bounds the truth). Then: the head start's run, and one run for
/// each canary failure at zero.
fn false_trip(steps: Steps, share: f64, p: f64) -> f64 {
    const REQUESTS: f64 = 1e6;
    let moves = [
        (steps.canary_failure, share * p),
        (steps.canary_success, share * (1.0 - p)),
        (steps.stable_failure, (1.0 - share) * p),
    ];
    let moving: f64 = moves.iter().map(|(_, chance)| chance).sum();
    let mut hits: Vec<f64> =
        (0..THRESHOLD).map(|score| ((score - THRESHOLD) as f64 / 1000.0).exp()).collect();
    hits[0] = 0.0;
    loop {
        let mut change: f64 = 0.0;
        for score in (1..THRESHOLD).rev() {
            let after = |step: i64| match score + step {
                reached if reached >= THRESHOLD => 1.0,
                fallen if fallen <= 0 => 0.0,
                on_the_way => hits[on_the_way as usize],
            };
            let chance: f64 = moves.iter().map(|(step, chance)| chance * after(*step)).sum();
            let place = &mut hits[score as usize];
            let chance = chance / moving;
            change = change.max(if *place > 1e-30 { (*place - chance) / *place } else { 0.0 });
            *place = chance;
        }
        if change < 1e-3 {
            break;
        }
    }
    let from_zero = hits.get(steps.canary_failure as usize).copied().unwrap_or(1.0);
    hits[HEAD_START as usize] + REQUESTS * share * p * from_zero
}

#[test]
fn exact_false_trips_stay_below_two_in_a_million() {
    let mut worst: f64 = 0.0;
    for nominal in SHARES {
        for p in RATES {
            let q0 = (2.0 * p).clamp(0.01, 0.25);
            for true_share in [nominal, 0.5 * nominal] {
                let chance = false_trip(Steps::new(nominal, q0), true_share, p);
                assert!(chance <= 2e-6, "weight {nominal}, true {true_share}, rate {p}: {chance}");
                worst = worst.max(chance);
            }
        }
    }
    assert!(worst > 1e-8, "the computation must not be vacuous: {worst}");
}
