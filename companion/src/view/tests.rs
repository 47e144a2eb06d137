//! The laws of summing, of the measured share and of choosing a version.

use canary_model::histogram::Bin;
use canary_model::runtime::{RolloutRuntime, Snapshot};
use proptest::prelude::*;

use super::*;
use crate::envoy::ConfiguredRollout;
use crate::observe::Gauges;

fn observation(counts: &[(Role, &str, u64)]) -> Observation {
    let versions = counts.iter().map(|(role, version, requests)| {
        let time_us = std::iter::once((Bin::new(4_500.0, 100.0).unwrap(), *requests)).collect();
        (
            (*role, (*version).to_owned()),
            Counts { requests: *requests, failures: requests / 10, time_us },
        )
    });
    Observation {
        gauges: Gauges::default(),
        versions: versions.collect(),
        runtime: RolloutRuntime::of(&Snapshot::default(), "scorer"),
        configured: None,
    }
}

fn configured(mut one: Observation, canary: &str) -> Observation {
    one.configured = Some(ConfiguredRollout {
        push: None,
        name: "scorer".to_owned(),
        stable: "1".to_owned(),
        canary: canary.to_owned(),
        weight: Weight::ZERO,
    });
    one
}

fn fleet(members: impl IntoIterator<Item = Observation>) -> Observed {
    members
        .into_iter()
        .enumerate()
        .map(|(index, one)| (format!("http://envoy-{index}"), one))
        .collect()
}

fn pair(stable: u64, canary: u64) -> Observation {
    observation(&[(Role::Stable, "1", stable), (Role::Canary, "2", canary)])
}

#[test]
fn nobody_is_seen_as_nothing() {
    let view = View::of("scorer", &Observed::new(), None);
    assert_eq!((view.set, view.in_force, view.measured), (None, None, None));
    assert_eq!((view.guard_tripped, view.killed, view.remarks.len()), (None, false, 0));
    assert_eq!(view.canary, Side::default());
}

#[test]
fn the_majority_of_configurations_names_the_version_and_the_rest_is_told() {
    let old =
        || configured(observation(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", 5)]), "2");
    let new =
        || configured(observation(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", 5)]), "3");
    let view = View::of("scorer", &fleet([old(), new(), new()]), None);
    assert_eq!(view.canary.version.as_deref(), Some("3"));
    assert_eq!(view.canary.counts.requests, 15);
    assert!(
        view.remarks.iter().any(|remark| remark == "the Envoys differ in the canary version: 2, 3")
    );
}

#[test]
fn a_configured_version_without_counts_is_shown_with_none() {
    let view = View::of("scorer", &fleet([configured(pair(10, 10), "3")]), None);
    assert_eq!(view.canary, Side { version: Some("3".to_owned()), counts: Counts::default() });
    assert_eq!(view.measured, Some(0.0));
}

#[test]
fn of_several_counted_versions_the_one_that_moves_is_current() {
    let at = |new| fleet([observation(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", new)])]);
    let once = View::of("scorer", &at(5), None);
    assert_eq!(once.canary.version.as_deref(), Some("2"));
    assert_eq!(once.remarks.len(), 1);
    let watched = View::of("scorer", &at(9), Some(&at(5)));
    assert_eq!(watched.canary.version.as_deref(), Some("3"));
}

proptest! {
    /// How requests are spread over Envoys changes nothing that is shown.
    #[test]
    fn a_fleet_is_the_sum_of_its_members(members in proptest::collection::vec((0u64..10_000, 0u64..10_000), 1..6)) {
        let spread = View::of("scorer", &fleet(members.iter().map(|(stable, canary)| pair(*stable, *canary))), None);
        let (stable, canary) = members.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        prop_assert_eq!((spread.stable.counts.requests, spread.canary.counts.requests), (stable, canary));
        prop_assert_eq!(spread.canary.counts.time_us.count(), canary);
        let expected = (stable + canary > 0).then(|| canary as f64 / (stable + canary) as f64);
        prop_assert_eq!(spread.measured, expected);
    }

    /// Between two looks the share is that of the new requests alone; a restarted Envoy counts anew.
    #[test]
    fn measured_between_two_looks(before in (0u64..10_000, 0u64..10_000), new in (0u64..10_000, 1u64..10_000), restarted in (0u64..10_000, 1u64..10_000)) {
        let earlier = fleet([pair(before.0, before.1), pair(20_000, 20_000)]);
        let now = fleet([pair(before.0 + new.0, before.1 + new.1), pair(restarted.0, restarted.1)]);
        let (stable, canary) = (new.0 + restarted.0, new.1 + restarted.1);
        let measured = View::of("scorer", &now, Some(&earlier)).measured;
        prop_assert_eq!(measured, Some(canary as f64 / (stable + canary) as f64));
    }
}
