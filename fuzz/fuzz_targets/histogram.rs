//! Any recorded histogram: what is read writes itself so that it reads back alike, and its quantiles
//! rise.
#![no_main]

use canary_core::histogram::Histogram;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(read) = serde_json::from_slice::<Histogram>(json) else {
        return;
    };
    let written = serde_json::to_vec(&read).expect("a histogram can be written");
    let again: Histogram = serde_json::from_slice(&written).expect("and read back");
    assert_eq!(again.count(), read.count());
    // serde_json reads a float of more than 15 digits to within one unit in the last place, which can
    // make one bin of two.
    for ((bin, _), (twin, _)) in read.bins().zip(again.bins()).filter(|_| alike(&read, &again)) {
        assert!(close(bin.lower(), twin.lower()) && close(bin.width(), twin.width()));
    }
    assert!(read.since(&read).is_empty());
    let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| read.quantile(share));
    assert_eq!(quantiles[0].is_none(), read.is_empty());
    // Only bins that lie apart have an order to keep, as Envoy's do.
    let apart = read
        .bins()
        .zip(read.bins().skip(1))
        .all(|((low, _), (high, _))| low.lower() + low.width() <= high.lower());
    assert!(!apart || quantiles.is_sorted(), "{quantiles:?}");
});

fn alike(one: &Histogram, other: &Histogram) -> bool {
    one.bins().count() == other.bins().count()
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= one * 4.0 * f64::EPSILON
}
