//! The counts of a whole fleet between two looks, as the judge takes them. Pure.

use canary_judge::counts::Pair;
use canary_judge::observation::{ClientCounts, Observation, RoleCounts, SignalCounts};
use canary_model::role::Role;

use super::counters::{Count, Counters};

/// The judge's line of some counts; its time, weight and window are the rollout's to fill in. What no
/// Envoy counts is not known, which is another thing than zero.
pub fn observation(counters: &Counters) -> Observation {
    let count = |role, count| counters.counts.get(&(role, count)).copied();
    let role = |role| RoleCounts {
        total: count(role, Count::Total),
        failure: count(role, Count::Failure),
        rq_time_us: counters.times.get(&(role, false)).cloned(),
        clients: count(role, Count::Clients).map(|total| ClientCounts {
            total: Some(total),
            failure: count(role, Count::ClientFailures),
            first_failure: count(role, Count::FirstFailures),
        }),
        rq_time_first_us: counters.times.get(&(role, true)).cloned(),
    };
    let mut line = Observation {
        // The filter counts clients in rollouts with affinity alone.
        sticky: counters.counts.keys().any(|(_, count)| *count == Count::Clients),
        roles: Pair { stable: role(Role::Stable), canary: role(Role::Canary) },
        ..Observation::default()
    };
    for ((role, count), value) in &counters.counts {
        if let Count::Signal { first, signal, class } = count {
            let signals = if *first { &mut line.signals_first } else { &mut line.signals };
            let signal: &mut SignalCounts = signals.entry(signal.clone()).or_default();
            signal.get_mut(*role).get_or_insert_default().insert(class.clone(), *value);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(Role, Count, u64)]) -> Counters {
        let counts = counts.iter().map(|(role, count, n)| ((*role, count.clone()), *n));
        Counters { counts: counts.collect(), ..Counters::default() }
    }

    #[test]
    fn what_is_not_counted_is_not_known() {
        let line = observation(&counters(&[(Role::Stable, Count::Total, 0)]));
        assert_eq!((line.roles.stable.total, line.roles.canary.total), (Some(0), None));
        assert_eq!((line.sticky, line.roles.stable.clients), (false, None));
    }

    #[test]
    fn clients_and_signals() {
        let signal =
            |first| Count::Signal { first, signal: "label".to_owned(), class: "cat".to_owned() };
        let line = observation(&counters(&[
            (Role::Canary, Count::Clients, 3),
            (Role::Canary, Count::ClientFailures, 2),
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
