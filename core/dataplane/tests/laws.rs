//! The laws of cohorts, for arbitrary keys, salts and weights.
#![cfg(not(target_arch = "wasm32"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use canary_dataplane::cohort::{Bucket, KeyHash};
use canary_model::weight::{PPM, Weight};
use proptest::prelude::*;

fn weight(ppm: u32) -> Weight {
    Weight::from_ppm(ppm).unwrap()
}

proptest! {
    #[test]
    fn growth_is_monotone(salt in ".{0,20}", key in prop::collection::vec(any::<u8>(), 0..64), low in 0..=PPM, high in 0..=PPM) {
        let (low, high) = (low.min(high), low.max(high));
        let bucket = KeyHash::new(&salt, &key).bucket();
        prop_assert!(!bucket.on_canary(weight(low)) || bucket.on_canary(weight(high)));
    }

    #[test]
    fn nothing_and_everything_are_exact(salt in ".{0,20}", key in prop::collection::vec(any::<u8>(), 0..64), roll: u64) {
        for bucket in [KeyHash::new(&salt, &key).bucket(), Bucket::from_uniform(roll)] {
            prop_assert!(!bucket.on_canary(Weight::ZERO));
            prop_assert!(bucket.on_canary(Weight::FULL));
        }
    }

    /// The share of a thousand weights' worth of sequential user ids, for any salt: within 4.9
    /// standard deviations, which one run in a million misses.
    #[test]
    fn the_share_is_within_binomial_bounds(salt in ".{1,20}", ppm in 0..=PPM, first in 0..1_000_000_u32) {
        const USERS: u32 = 20_000;
        let on_canary = (first..first + USERS)
            .filter(|user| KeyHash::new(&salt, format!("user-{user}").as_bytes()).bucket().on_canary(weight(ppm)))
            .count() as f64;
        let share = weight(ppm).fraction();
        let (mean, sd) = (f64::from(USERS) * share, (f64::from(USERS) * share * (1.0 - share)).sqrt());
        prop_assert!((on_canary - mean).abs() <= 4.9 * sd + 1.0, "{on_canary} of {USERS} at {share}");
    }

    /// Under another salt a client's place is independent of the old one: of those on the canary
    /// under one salt, a weight's share is on it under the other.
    #[test]
    fn a_changed_salt_reshuffles(a in "[a-z]{1,8}", b in "[A-Z]{1,8}", ppm in 100_000..900_000_u32) {
        const USERS: u32 = 20_000;
        let on = |salt: &str, user: u32| KeyHash::new(salt, &user.to_le_bytes()).bucket().on_canary(weight(ppm));
        let first: Vec<_> = (0..USERS).filter(|user| on(&a, *user)).collect();
        let both = first.iter().filter(|user| on(&b, **user)).count() as f64;
        let share = weight(ppm).fraction();
        let (mean, sd) = (first.len() as f64 * share, (first.len() as f64 * share * (1.0 - share)).sqrt());
        prop_assert!((both - mean).abs() <= 4.9 * sd + 1.0, "{both} of {}", first.len());
    }

    /// The remembered place of a client tells nothing about its cohort.
    #[test]
    fn remembered_places_are_uniform_within_a_cohort(salt in "[a-z]{1,8}") {
        let canary: Vec<_> = (0..40_000_u32)
            .map(|user| KeyHash::new(&salt, &user.to_le_bytes()))
            .filter(|hash| hash.bucket().on_canary(weight(50_000)))
            .collect();
        let lower = canary.iter().filter(|hash| hash.client() < 1 << 15).count() as f64;
        let (mean, sd) = (canary.len() as f64 / 2.0, (canary.len() as f64).sqrt() / 2.0);
        prop_assert!((lower - mean).abs() <= 4.9 * sd);
    }
}
