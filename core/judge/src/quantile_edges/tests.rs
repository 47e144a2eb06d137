use super::*;

fn bins(bins: &[(f64, u64)]) -> Histogram {
    bins.iter().map(|(lower, count)| (Bin::new(*lower, 100.0).unwrap(), *count)).collect()
}

/// 1,000 stable requests: 500 of 1 to 1.1 ms, 400 of 2, 90 of 3, 9 of 4, one of 5.
const STABLE: [(f64, u64); 5] =
    [(1_000.0, 500), (2_000.0, 400), (3_000.0, 90), (4_000.0, 9), (5_000.0, 1)];

#[test]
fn edges_are_the_bins_nearest_the_quantiles() {
    let (n, edges) = edges(&bins(&STABLE));
    assert_eq!(n, 1_000);
    // Shares below the bounds: 0, .5, .9, .99, .999, and 1 below the last bin's upper bound.
    let bounds = edges.map(|edge| edge.bound);
    // .75 lies nearer .9 than .5, .95 nearer .99 or .9? .05 and .04: .99.
    assert_eq!(
        bounds,
        [2_000.0, 3_000.0, 3_000.0, 4_000.0, 4_000.0, 4_000.0, 5_000.0, 5_000.0, 5_000.0]
    );
    assert_eq!(edges.map(|edge| edge.tail), [500, 100, 100, 10, 10, 10, 1, 1, 1]);
    // All in one bin: half of it lies nearer either bound, of which the lower counts.
    let [median, rest @ ..] = super::edges(&bins(&[(700.0, 9)])).1;
    assert_eq!(median, Edge { bound: 700.0, from: 700.0, tail: 9 });
    assert_eq!(rest, [Edge { bound: 800.0, from: 800.0, tail: 0 }; 8]);
    assert_eq!(super::edges(&Histogram::new()), (0, [Edge::default(); 9]));
}

#[test]
fn bins_of_one_bound_are_one_edge() {
    let mut history = bins(&[(1_000.0, 60)]);
    history.add(Bin::new(2_000.0, 10.0).unwrap(), 20);
    history.add(Bin::new(2_000.0, 100.0).unwrap(), 20);
    assert_eq!(edges(&history).1[0], Edge { bound: 2_000.0, from: 2_000.0, tail: 40 });
}

#[test]
fn the_tail_counts_bins_at_or_above_tolerance_times_the_edge() {
    let canary = bins(&[(3_200.0, 1), (3_300.0, 2), (3_400.0, 4)]);
    assert_eq!(Tails::new(&canary).at_or_above(1.1 * 3_000.0), Trials { trials: 7, events: 6 });
    assert_eq!(
        Tails::new(&bins(&[(110.0, 1)])).at_or_above(1.1 * 100.0).events,
        1,
        "rounding hides no bin"
    );
    assert_eq!(Tails::new(&canary).at_or_above(3_300.1).events, 4);
}

#[test]
fn a_bound_beyond_all_floats_is_no_edge() {
    let mut history = Histogram::new();
    history.add(Bin::new(f64::MAX, f64::MAX).unwrap(), 100);
    assert_eq!(edges(&history).1[8].bound, f64::MAX);
}

#[test]
fn lower_edges_are_lower_bounds_nearest_the_mirrored_quantiles() {
    let (n, lower) = lower_edges(&bins(&STABLE));
    assert_eq!(n, 1_000);
    // Shares below the bounds: 0, .5, .9, .99, .999. From .25 on all are nearer 0 or equally near .5.
    let bounds = lower.map(|edge| edge.bound);
    assert_eq!(bounds, [2e3, 2e3, 1e3, 1e3, 1e3, 1e3, 1e3, 1e3, 1e3]);
    assert_eq!(lower.map(|edge| edge.tail), [500, 500, 0, 0, 0, 0, 0, 0, 0]);
    // .001 and 0 are equally near .0005: the one with something below it.
    let rare = bins(&[(100.0, 1), (1_000.0, 999)]);
    let (.., [.., last]) = lower_edges(&rare);
    assert_eq!((last.bound, last.tail), (1_000.0, 1));
    // One bin has no upper edge here: nothing lies below its own.
    let (.., one) = lower_edges(&bins(&[(700.0, 9)]));
    assert_eq!(one, [Edge { bound: 700.0, from: 700.0, tail: 0 }; 9]);
    assert_eq!(lower_edges(&Histogram::new()), (0, [Edge::default(); 9]));
}

#[test]
fn below_count_whole_bins_and_what_is_exactly_the_bound_is_not_below_it() {
    let canary = bins(&[(800.0, 1), (900.0, 2), (1_000.0, 4)]);
    assert_eq!(wholly_below(&canary, 1_000.0), Trials { trials: 7, events: 3 });
    assert_eq!(wholly_below(&canary, 999.0).events, 1, "the bin from 900 isn't wholly below");
    assert_eq!(wholly_below(&canary, 1_100.0 / 1.1).events, 3, "rounding hides no bin");
    assert_eq!(Tails::new(&canary).below(1_000.0), Trials { trials: 7, events: 3 });
    let zeros: Histogram = [(Bin::new(0.0, 0.0).unwrap(), 5)].into_iter().collect();
    assert_eq!(wholly_below(&zeros, 0.0).events, 0, "zero isn't below zero");
    assert_eq!(wholly_below(&zeros, 1.0).events, 5);
    assert_eq!(Tails::new(&zeros).below(0.0).events, 0);
}
