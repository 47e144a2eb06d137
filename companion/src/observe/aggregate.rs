//! A fleet's counts between two readings as the judge takes them. Pure.

use canary_judge::counts::Pair;
use canary_judge::observation::{ClientCounts, Observation, RoleCounts, SignalCounts};
use canary_model::role::Role;

use super::counters::{Counter, RolloutCounters, Times, VersionCounters};

/// The judge's line for some counts. The rollout fills in its time, weight and window. A count that no
/// Envoy reports is unknown, not zero.
pub fn observation(counters: &RolloutCounters) -> Observation {
    let roles = Pair { stable: Role::Stable, canary: Role::Canary };
    let roles = roles.map(|role| counters.role(role));
    let clients = |role: &VersionCounters| role.counts.contains_key(&Counter::Clients);
    let mut line = Observation {
        // The filter counts clients in rollouts with affinity only.
        sticky: clients(&roles.stable) || clients(&roles.canary),
        roles: Pair { stable: role_counts(&roles.stable), canary: role_counts(&roles.canary) },
        ..Observation::default()
    };
    for role in Role::ALL {
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
    RoleCounts {
        total: count(Counter::Total).map(|_| role.judged()),
        failure: count(Counter::Failure),
        rq_time_us: role.times.get(&Times::All).cloned(),
        clients: count(Counter::Clients).map(|total| ClientCounts {
            total: Some(total),
            failure: count(Counter::ClientFailures),
            first_failure: count(Counter::FirstFailures),
        }),
        rq_time_first_us: role.times.get(&Times::First).cloned(),
        ..RoleCounts::default()
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
        let line = observation(&counters(&[(Role::Stable, Counter::Total, 0)]));
        assert_eq!((line.roles.stable.total, line.roles.canary.total), (Some(0), None));
        assert_eq!((line.sticky, line.roles.stable.clients), (false, None));
    }

    #[test]
    fn a_request_whose_client_left_is_not_a_trial() {
        let line = observation(&counters(&[
            (Role::Canary, Counter::Total, 40),
            (Role::Canary, Counter::Abandoned, 38),
            (Role::Canary, Counter::Failure, 1),
        ]));
        assert_eq!((line.roles.canary.total, line.roles.canary.failure), (Some(2), Some(1)));
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
