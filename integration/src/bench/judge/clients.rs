//! A population of clients that stick to a version, and what the proxies count of it.

use canary_judge::observation::{ClientCounts, Observation};
use rand::RngExt;
use rand_distr::weighted::WeightedAliasIndex;
use rand_distr::{Distribution, LogNormal};

use super::rig::{Rng, blank};

/// One client: its share of failures on stable and on the canary.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedClient {
    pub(super) stable: f64,
    pub(super) canary: f64,
}

/// Clients of log-normal activity, assigned by a place on the unit interval as the hash does it.
pub(super) struct Population {
    clients: Vec<(f64, SimulatedClient)>,
    active: WeightedAliasIndex<f64>,
    window: u64,
    seen: Vec<bool>,
    failed: Vec<bool>,
}

impl Population {
    pub(super) fn new(
        rng: &mut Rng,
        size: usize,
        mut client: impl FnMut(&mut Rng) -> SimulatedClient,
    ) -> Self {
        let activity = LogNormal::new(0.0, 1.0).expect("a distribution");
        let weights = (0..size).map(|_| activity.sample(rng)).collect();
        let clients = (0..size).map(|_| (rng.random(), client(rng))).collect();
        let active = WeightedAliasIndex::new(weights).expect("weights");
        Self { clients, active, window: 0, seen: vec![false; size], failed: vec![false; size] }
    }

    /// The line of a second's requests in a window; a new window forgets all clients.
    pub(super) fn line(
        &mut self,
        rng: &mut Rng,
        t: u64,
        weight: f64,
        window: u64,
        requests: u64,
    ) -> Observation {
        if window != self.window {
            self.window = window;
            self.seen.fill(false);
            self.failed.fill(false);
        }
        let mut counts = [[0u64; 5]; 2];
        for _ in 0..requests {
            let index = self.active.sample(rng);
            let (place, client) = self.clients[index];
            let canary = place < weight;
            let failed = rng.random_bool(if canary { client.canary } else { client.stable });
            let first = !std::mem::replace(&mut self.seen[index], true);
            let first_failed = failed && !std::mem::replace(&mut self.failed[index], true);
            let side = &mut counts[usize::from(canary)];
            side[0] += 1;
            side[1] += u64::from(failed);
            side[2] += u64::from(first);
            side[3] += u64::from(first_failed);
            side[4] += u64::from(failed && first);
        }
        line(blank(t, weight), window, counts)
    }
}

fn line(mut line: Observation, window: u64, counts: [[u64; 5]; 2]) -> Observation {
    line.window = Some(window);
    line.sticky = true;
    let roles = [&mut line.roles.stable, &mut line.roles.canary];
    for (role, [total, failure, seen, failed, first]) in roles.into_iter().zip(counts) {
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
