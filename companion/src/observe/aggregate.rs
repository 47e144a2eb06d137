//! A fleet's counts between two readings as the judge takes them. Pure.

use canary_judge::counts::Pair;
use canary_judge::observation::{ClientCounts, Observation, RoleCounts, SignalCounts};
use canary_model::role::Role;

use super::counters::{Counter, Quantity, Recorded, RolloutCounters, VersionCounters};
use canary_judge::timing::Timing;

/// The judge's line for some counts. The rollout fills in its time, weight and window. A count that no
/// Envoy reports is unknown, not zero.
pub fn observation(counters: &RolloutCounters) -> Observation {
    let roles = Pair::ROLES.map(|role| counters.role(role));
    let clients = |role: &VersionCounters| role.counts.contains_key(&Counter::Clients);
    let mut line = Observation {
        // The filter counts clients in rollouts with affinity only.
        sticky: clients(&roles.stable) || clients(&roles.canary),
        roles: Pair { stable: role_counts(&roles.stable), canary: role_counts(&roles.canary) },
        ..Observation::default()
    };
    for role in Role::ALL {
        for (Recorded { first, what }, histogram) in &roles.get(role).histograms {
            if let Quantity::Value(signal) = what {
                let values = if *first { &mut line.values_first } else { &mut line.values };
                let signal = values.entry(signal.clone()).or_default();
                *signal.get_mut(role) = Some(histogram.clone());
            }
        }
        for (count, value) in &roles.get(role).counts {
            if let Counter::Signal { first, signal, class } = count {
                let signals = if *first { &mut line.signals_first } else { &mut line.signals };
                let signal: &mut SignalCounts = signals.entry(signal.clone()).or_default();
                signal.get_mut(role).get_or_insert_default().insert(class.clone(), *value);
            }
        }
    }
    line
}

fn role_counts(role: &VersionCounters) -> RoleCounts {
    let count = |count| role.counts.get(&count).copied();
    let all = |timing| role.all(Quantity::Time(timing)).cloned();
    let first = |timing| role.first(Quantity::Time(timing)).cloned();
    RoleCounts {
        total: count(Counter::Judged),
        failure: count(Counter::JudgedFailures),
        assigned: count(Counter::Assigned),
        unanswered: count(Counter::Unanswered),
        rq_time_us: all(Timing::Total),
        rq_ttfb_us: all(Timing::Ttfb),
        rq_gap_us: all(Timing::Gap),
        clients: count(Counter::Clients).map(|total| ClientCounts {
            total: Some(total),
            failure: count(Counter::ClientFailures),
            first_failure: count(Counter::FirstFailures),
        }),
        rq_time_first_us: first(Timing::Total),
        rq_ttfb_first_us: first(Timing::Ttfb),
        rq_gap_first_us: first(Timing::Gap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(Role, Counter, u64)]) -> RolloutCounters {
        let mut counters = RolloutCounters::default();
        for (role, count, value) in counts {
            let version = counters.versions.entry((*role, "1".to_owned())).or_default();
            version.counts.insert(count.clone(), *value);
        }
        counters
    }

    #[test]
    fn what_is_not_counted_is_not_known() {
        let line = observation(&counters(&[(Role::Stable, Counter::Judged, 0)]));
        assert_eq!((line.roles.stable.total, line.roles.canary.total), (Some(0), None));
        assert_eq!((line.sticky, line.roles.stable.clients), (false, None));
    }

    #[test]
    fn outcomes_are_those_at_the_age_whatever_ended() {
        let line = observation(&counters(&[
            (Role::Canary, Counter::Total, 40),
            (Role::Canary, Counter::Abandoned, 30),
            (Role::Canary, Counter::Failure, 9),
            (Role::Canary, Counter::Judged, 7),
            (Role::Canary, Counter::JudgedFailures, 2),
            (Role::Canary, Counter::Assigned, 50),
            (Role::Canary, Counter::Unanswered, 31),
        ]));
        let canary = &line.roles.canary;
        assert_eq!((canary.total, canary.failure), (Some(7), Some(2)));
        assert_eq!((canary.assigned, canary.unanswered), (Some(50), Some(31)));
        let ended = observation(&counters(&[(Role::Canary, Counter::Total, 40)]));
        assert_eq!(ended.roles.canary.total, None, "a filter that counts at no age");
    }

    #[test]
    fn times_and_values_are_told_apart() {
        let mut counters = RolloutCounters::default();
        let version = counters.versions.entry((Role::Canary, "1".to_owned())).or_default();
        let bins = |count| {
            std::iter::once((canary_model::histogram::Bin::new(10.0, 1.0).unwrap(), count))
                .collect()
        };
        let kinds = [Timing::Total, Timing::Ttfb, Timing::Gap].map(Quantity::Time);
        let kinds = kinds.into_iter().chain([Quantity::Value("tokens".to_owned())]);
        for (number, what) in kinds.enumerate() {
            for first in [false, true] {
                let count = 2 * number as u64 + u64::from(first) + 1;
                version.histograms.insert(Recorded { first, what: what.clone() }, bins(count));
            }
        }
        let line = observation(&counters);
        let count = |timing, first| line.roles.canary.durations(timing, first).unwrap().count();
        let counts = Timing::ALL.map(|timing| (count(timing, false), count(timing, true)));
        assert_eq!(counts, [(1, 2), (3, 4), (5, 6)]);
        assert_eq!(line.values["tokens"].canary.as_ref().unwrap().count(), 7);
        assert_eq!(line.values_first["tokens"].canary.as_ref().unwrap().count(), 8);
        assert_eq!(line.values["tokens"].stable, None);
    }

    #[test]
    fn clients_and_signals() {
        let signal =
            |first| Counter::Signal { first, signal: "label".to_owned(), class: "cat".to_owned() };
        let line = observation(&counters(&[
            (Role::Canary, Counter::Clients, 3),
            (Role::Canary, Counter::ClientFailures, 2),
            (Role::Canary, signal(false), 5),
            (Role::Stable, signal(true), 4),
        ]));
        assert!(line.sticky);
        let clients = line.roles.canary.clients.unwrap();
        assert_eq!(
            (clients.total, clients.failure, clients.first_failure),
            (Some(3), Some(2), None)
        );
        assert_eq!(line.signals["label"].canary.as_ref().unwrap()["cat"], 5);
        assert_eq!(line.signals["label"].stable, None);
        assert_eq!(line.signals_first["label"].stable.as_ref().unwrap()["cat"], 4);
    }
}
