//! Any recorded histogram: what is read writes itself so that it reads back alike, and its quantiles
//! rise.
#![no_main]

use canary_model::histogram::Histogram;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(read) = serde_json::from_slice::<Histogram>(json) else {
        return;
    };
    let written = serde_json::to_vec(&read).expect("a histogram can be written");
    let again: Histogram = serde_json::from_slice(&written).expect("and read back");
    assert_eq!(again.count(), read.count());
    if read.bins().all(|(bin, _)| exact(bin.lower()) && exact(bin.width())) {
        assert_eq!(again, read);
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

/// Whether a bound is what Envoy's are: a whole number below 2^53. Of a float with more than 15 digits
/// serde_json reads back a close neighbour.
fn exact(bound: f64) -> bool {
    bound.fract() == 0.0 && bound < 9_007_199_254_740_992.0
}
