//! A population of clients that stick to a version, and what the proxies count of it.

use std::collections::BTreeSet;

use canary_judge::observation::{ClientCounts, Observation};
use canary_model::weight::Weight;
use rand::RngExt;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, LogNormal};

use crate::rig::Rng;

/// One client: its share of failures on stable and on the canary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) stable: f64,
    pub(crate) canary: f64,
}

/// Clients of log-normal activity, assigned by a place on the unit interval as the hash does it.
pub(crate) struct Population {
    clients: Vec<(f64, Client)>,
    active: WeightedAliasIndex<f64>,
    window: u64,
    seen: BTreeSet<usize>,
    failed: BTreeSet<usize>,
}

impl Population {
    pub(crate) fn new(
        rng: &mut Rng,
        size: usize,
        mut client: impl FnMut(&mut Rng) -> Client,
    ) -> Self {
        let activity = LogNormal::new(0.0, 1.0).unwrap();
        let weights = (0..size).map(|_| activity.sample(rng)).collect();
        let clients = (0..size).map(|_| (rng.random(), client(rng))).collect();
        let active = WeightedAliasIndex::new(weights).unwrap();
        Self { clients, active, window: 0, seen: BTreeSet::new(), failed: BTreeSet::new() }
    }

    /// From now on every request fails, whoever sends it and whichever version gets it.
    pub(crate) fn break_everybody(&mut self) {
        for (_, client) in &mut self.clients {
            *client = Client { stable: 1.0, canary: 1.0 };
        }
    }

    /// The line of `requests` requests in a window; a new window forgets all clients.
    pub(crate) fn line(
        &mut self,
        rng: &mut Rng,
        t: u64,
        weight: f64,
        window: u64,
        requests: u64,
    ) -> Observation {
        if window != self.window {
            self.window = window;
            self.seen.clear();
            self.failed.clear();
        }
        let mut counts = [[0u64; 5]; 2];
        for _ in 0..requests {
            let index = self.active.sample(rng);
            let (place, client) = self.clients[index];
            let canary = place < weight;
            let failed = rng.random_bool(if canary { client.canary } else { client.stable });
            let first = self.seen.insert(index);
            let side = &mut counts[usize::from(canary)];
            side[0] += 1;
            side[1] += u64::from(failed);
            side[2] += u64::from(first);
            side[3] += u64::from(failed && self.failed.insert(index));
            side[4] += u64::from(failed && first);
        }
        let weight = Weight::from_ppm((weight * 1e6).round() as u32).unwrap();
        let mut line = Observation {
            t: t as f64,
            weight,
            window: Some(window),
            sticky: true,
            ..Observation::default()
        };
        for (role, [total, failure, seen, failed, first]) in
            [&mut line.roles.stable, &mut line.roles.canary].into_iter().zip(counts)
        {
            role.total = Some(total);
            role.failure = Some(failure);
            role.clients = Some(ClientCounts {
                total: Some(seen),
                failure: Some(failed),
                first_failure: Some(first),
            });
        }
        line
    }
}
