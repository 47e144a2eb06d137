//! Figures worked out by hand, and the laws of summing, subtracting and interpolating.

use proptest::prelude::*;

use super::*;

fn histogram(bins: &[(f64, f64, u64)]) -> Histogram {
    bins.iter().map(|(lower, width, count)| (Bin::new(*lower, *width).unwrap(), *count)).collect()
}

/// The bin of a value, by the definition: two digits and a power of ten.
fn bin_of(value: u64) -> Bin {
    if value == 0 {
        return Bin::new(0.0, 0.0).unwrap();
    }
    let mut width = 0.1;
    while value as f64 >= width * 100.0 {
        width *= 10.0;
    }
    Bin::new((value as f64 / width).floor() * width, width).unwrap()
}

fn of_values(values: &[u64]) -> Histogram {
    values.iter().map(|value| (bin_of(*value), 1)).collect()
}

#[test]
fn quantiles_by_hand() {
    let one = histogram(&[(1_200.0, 100.0, 4)]);
    assert_eq!(one.quantile(0.0), Some(1_200.0));
    assert_eq!(one.quantile(0.5), Some(1_250.0));
    assert_eq!(one.quantile(1.0), Some(1_300.0));
    let two = histogram(&[(0.0, 0.0, 50), (4_500.0, 100.0, 40), (90_000.0, 1_000.0, 10)]);
    assert_eq!(two.quantile(0.25), Some(0.0));
    assert_eq!(two.quantile(0.5), Some(0.0));
    assert_eq!(two.quantile(0.7), Some(4_550.0));
    assert_eq!(two.quantile(0.95), Some(90_500.0));
    assert_eq!(Histogram::new().quantile(0.5), None);
    assert_eq!(one.quantile(-0.1), None);
    assert_eq!(one.quantile(1.1), None);
    assert_eq!(one.quantile(f64::NAN), None);
}

#[test]
fn a_restart_makes_everything_new() {
    let before = histogram(&[(1.0, 0.1, 5), (10.0, 1.0, 2)]);
    let after = histogram(&[(10.0, 1.0, 3)]);
    assert_eq!(after.since(&before), after);
    let grown = histogram(&[(1.0, 0.1, 5), (10.0, 1.0, 4), (20.0, 1.0, 1)]);
    assert_eq!(grown.since(&before), histogram(&[(10.0, 1.0, 2), (20.0, 1.0, 1)]));
}

#[test]
fn json() {
    let text = "[[0,0,1],[1,0.1,7],[4500,100,31]]";
    let read: Histogram = serde_json::from_str(text).unwrap();
    assert_eq!(read.count(), 39);
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    let floats: Histogram = serde_json::from_str("[[4.5e3, 100.0, 31]]").unwrap();
    assert_eq!(serde_json::to_string(&floats).unwrap(), "[[4500,100,31]]");
    for bad in ["{}", "[1]", "[[1,2]]", "[[1,2,-3]]", "[[-1,2,3]]", "[[1,2,0.5]]", "[[\"1\",2,3]]"]
    {
        assert!(serde_json::from_str::<Histogram>(bad).is_err(), "{bad}");
    }
    let many = format!("[{}]", vec!["[1,0.1,1]"; MAX_BINS + 1].join(","));
    assert!(serde_json::from_str::<Histogram>(&many).is_err());
}

#[test]
fn counts_saturate() {
    let mut full = histogram(&[(1.0, 0.1, u64::MAX), (2.0, 0.1, u64::MAX)]);
    full.add(Bin::new(1.0, 0.1).unwrap(), 1);
    assert_eq!(full.count(), u64::MAX);
    assert!(full.quantile(0.5).is_some());
}

proptest! {
    /// Summing loses nothing and knows no order; what was added can be taken away again.
    #[test]
    fn merge_and_since(a in proptest::collection::vec(0u64..10_000_000, 0..60), b in proptest::collection::vec(0u64..10_000_000, 0..60)) {
        let (first, second) = (of_values(&a), of_values(&b));
        let mut sum = first.clone();
        sum.merge(&second);
        let mut other_way = second.clone();
        other_way.merge(&first);
        prop_assert_eq!(&sum, &other_way);
        prop_assert_eq!(sum.count(), (a.len() + b.len()) as u64);
        prop_assert_eq!(sum.since(&first), second);
        let text = serde_json::to_string(&sum).unwrap();
        prop_assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), sum);
    }

    /// Quantiles grow with the share, and none is off by more than its bin is wide.
    #[test]
    fn quantiles_are_monotone_and_close(mut values in proptest::collection::vec(0u64..10_000_000, 1..200), shares in proptest::collection::vec(0.0f64..=1.0, 2..10)) {
        let histogram = of_values(&values);
        values.sort_unstable();
        let mut shares = shares;
        shares.sort_by(f64::total_cmp);
        let read: Vec<f64> = shares.iter().map(|share| histogram.quantile(*share).unwrap()).collect();
        prop_assert!(read.windows(2).all(|pair| pair[0] <= pair[1]));
        for (share, quantile) in shares.iter().zip(&read) {
            let rank = (share * values.len() as f64).ceil().max(1.0) as usize;
            let exact = values[rank - 1];
            let bin = bin_of(exact);
            prop_assert!((quantile - exact as f64).abs() <= bin.width() * 1.000_001, "{quantile} {exact}");
        }
    }
}
