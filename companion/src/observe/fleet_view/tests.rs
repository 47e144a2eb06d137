//! The laws of summing, of the measured requests and of choosing a version.

use canary_model::histogram::Bin;
use canary_model::runtime::{RolloutRuntime, Snapshot};
use proptest::prelude::*;

use super::super::counters::RolloutCounters;
use super::super::{Configuration, Gauges};
use super::*;
use crate::envoy::ConfiguredRollout;

fn time() -> super::super::counters::Recorded {
    super::super::counters::Recorded { first: false, what: Quantity::Time(Timing::Total) }
}

fn scrape(counts: &[(Role, &str, u64)]) -> Scrape {
    let versions = counts.iter().map(|(role, version, requests)| {
        let time_us = std::iter::once((Bin::new(4_500.0, 100.0).unwrap(), *requests)).collect();
        let counters = VersionCounters {
            counts: [(Counter::Total, *requests), (Counter::Failure, requests / 10)].into(),
            histograms: [(time(), time_us)].into(),
        };
        ((*role, (*version).to_owned()), counters)
    });
    Scrape {
        gauges: Gauges::default(),
        counters: RolloutCounters { versions: versions.collect(), uptime: None },
        runtime: RolloutRuntime::new(&Snapshot::default(), "scorer"),
        configuration: Configuration::default(),
        endpoints: Pair::default(),
    }
}

fn configured(mut one: Scrape, canary: &str) -> Scrape {
    one.configuration.in_force = Some(ConfiguredRollout {
        name: "scorer".to_owned(),
        stable: "1".to_owned(),
        canary: canary.to_owned(),
        ..ConfiguredRollout::default()
    });
    one
}

fn fleet(members: impl IntoIterator<Item = Scrape>) -> Scrapes {
    members
        .into_iter()
        .enumerate()
        .map(|(index, one)| (format!("http://envoy-{index}"), one))
        .collect()
}

fn pair(stable: u64, canary: u64) -> Scrape {
    scrape(&[(Role::Stable, "1", stable), (Role::Canary, "2", canary)])
}

/// Its counters may be beyond the old ones by the next reading; its uptime says that it has restarted.
#[test]
fn a_restarted_envoy_that_has_caught_up_counts_from_its_start() {
    let reading = |stable, canary, uptime| {
        let mut one = pair(stable, canary);
        one.counters.uptime = Some(uptime);
        fleet([one])
    };
    let expected = Pair { stable: 30, canary: 40 };
    assert_eq!(requests_between(&reading(10, 10, 100), &reading(30, 40, 5)), expected);
}

#[test]
fn no_envoy_gives_an_empty_view() {
    let view = FleetView::new("scorer", &Scrapes::new(), None);
    assert_eq!((view.set, view.in_force, view.measured), (None, None, None));
    assert_eq!((view.guard_tripped, view.killed, view.warnings.len()), (None, false, 0));
    assert_eq!(view.canary, VersionView::default());
}

#[test]
fn the_majority_of_configurations_names_the_version_and_the_rest_is_told() {
    let old = || configured(scrape(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", 5)]), "2");
    let new = || configured(scrape(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", 5)]), "3");
    let view = FleetView::new("scorer", &fleet([old(), new(), new()]), None);
    assert_eq!(view.canary.version.as_deref(), Some("3"));
    assert_eq!(view.canary.counts.requests, 15);
    let told = "the Envoys differ in the canary version: 2, 3";
    assert!(view.warnings.iter().any(|warning| warning == told));
}

#[test]
fn a_configured_version_without_counts_is_shown_with_none() {
    let view = FleetView::new("scorer", &fleet([configured(pair(10, 10), "3")]), None);
    let expected = VersionView { version: Some("3".to_owned()), counts: VersionCounts::default() };
    assert_eq!(view.canary, expected);
}

#[test]
fn of_several_counted_versions_only_one_that_answers_is_current() {
    let at = |new| fleet([scrape(&[(Role::Canary, "2", 1_000), (Role::Canary, "3", new)])]);
    let once = FleetView::new("scorer", &at(5), None);
    assert_eq!(once.canary, VersionView::default(), "version 2 may not serve any more");
    assert_eq!(once.warnings.len(), 1);
    let watched = FleetView::new("scorer", &at(9), Some(&at(5)));
    assert_eq!(watched.canary.version.as_deref(), Some("3"));
}

#[test]
fn a_refused_configuration_is_named_with_its_envoy() {
    let mut one = pair(1, 1);
    one.configuration.refused = Some("bad weight".to_owned());
    let view = FleetView::new("scorer", &fleet([pair(1, 1), one]), None);
    assert_eq!(view.refused, [("http://envoy-1".to_owned(), "bad weight".to_owned())].into());
    assert!(view.warnings.contains(&"http://envoy-1: bad weight".to_owned()), "{view:?}");
}

proptest! {
    /// How requests are spread over Envoys changes nothing that is shown.
    #[test]
    fn a_fleet_is_the_sum_of_its_members(members in proptest::collection::vec((0u64..10_000, 0u64..10_000), 1..6)) {
        let spread = fleet(members.iter().map(|(stable, canary)| pair(*stable, *canary)));
        let spread = FleetView::new("scorer", &spread, None);
        let (stable, canary) = members.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        prop_assert_eq!((spread.stable.counts.requests, spread.canary.counts.requests), (stable, canary));
        prop_assert_eq!(spread.canary.counts.time_us.count(), canary);
    }

    /// Only new requests count; a restarted Envoy counts from its start.
    #[test]
    fn requests_between_two_readings(before in (0u64..10_000, 0u64..10_000), new in (0u64..10_000, 1u64..10_000), restarted in (0u64..10_000, 1u64..10_000)) {
        let earlier = fleet([pair(before.0, before.1), pair(20_000, 20_000)]);
        let now = fleet([pair(before.0 + new.0, before.1 + new.1), pair(restarted.0, restarted.1)]);
        let expected = Pair { stable: new.0 + restarted.0, canary: new.1 + restarted.1 };
        prop_assert_eq!(requests_between(&earlier, &now), expected);
    }
}
