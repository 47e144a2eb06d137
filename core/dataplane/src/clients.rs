//! The memory of clients: those counted in the window, and those that failed a moment ago.
//!
//! A sticky rollout assigns whole clients, and a broken client fails again and again on one version.
//! So the judge counts a client once a window, and the guard at most once in ten seconds. Both
//! memories have a fixed size and err in one direction only: two clients that share a place lose an
//! observation, on both versions alike.

use serde::{Deserialize, Serialize};

use crate::cohort::KeyHash;
use crate::shared::SharedRecord;

/// Remembered places: 65,536 bits, 8 KiB.
const BYTES: usize = 8192;

/// A set of clients in one window, by the low 16 bits of their hash. As a shared record it survives a
/// pushed configuration; any worker writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSet {
    window: u32,
    #[serde(with = "serde_bytes")]
    bits: Vec<u8>,
}

impl ClientSet {
    /// A shared record of the clients of a sticky rollout to which something has happened in the
    /// window: `assigned`, `judged` or `failed`.
    pub fn record(kind: &str, rollout: &str) -> SharedRecord<Self> {
        SharedRecord::new(kind, rollout)
    }

    /// Adds a client and returns whether it is new in the window. A newer window empties the set; in
    /// a window older than the set's, no client is new.
    pub fn insert(&mut self, window: u32, client: KeyHash) -> bool {
        if is_newer(window, self.window) {
            self.window = window;
            self.bits.clear();
        } else if window != self.window {
            return false;
        }
        self.bits.resize(BYTES, 0);
        let place = usize::from(client.client());
        let bit = 1 << (place % 8);
        let Some(byte) = self.bits.get_mut(place / 8) else {
            return false;
        };
        let new = *byte & bit == 0;
        *byte |= bit;
        new
    }

    /// Removes a client that was inserted in this window, so that it is new again.
    pub fn remove(&mut self, window: u32, client: KeyHash) {
        let place = usize::from(client.client());
        if window == self.window
            && let Some(byte) = self.bits.get_mut(place / 8)
        {
            *byte &= !(1 << (place % 8));
        }
    }

    /// Whether a client is in the set.
    pub fn contains(&self, window: u32, client: KeyHash) -> bool {
        let place = usize::from(client.client());
        let byte = self.bits.get(place / 8).copied().unwrap_or(0);
        window == self.window && byte & (1 << (place % 8)) != 0
    }
}

/// The clients that one VM has seen in a rollout's window.
#[derive(Debug, Default)]
pub struct SeenClients {
    /// Clients whose first observation was begun: times and signals count it once in each VM.
    pub(crate) observed: ClientSet,
    /// Clients that were assigned. All that is counted of clients is counted once in the process; these
    /// sets only save the VM from asking the shared records for each request.
    pub(crate) assigned: ClientSet,
    /// Clients with an answered request, judged already or waiting to be.
    pub(crate) answered: ClientSet,
    /// Clients with a failed request, counted already or waiting to be.
    pub(crate) failed: ClientSet,
}

/// Whether generation `a` comes after generation `b`. Generations count up and wrap, so the shorter
/// distance decides.
pub(crate) fn is_newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// How long the guard doesn't count a client's further failures, in nanoseconds: ten seconds.
const QUIET_NS: u64 = 10_000_000_000;
/// Remembered failures: 1,024 places of eight bytes.
const PLACES: usize = 1024;

/// The clients of a sticky rollout that failed in the last ten seconds. A shared record: it survives a
/// pushed configuration, and any worker's guard writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFailures {
    /// Each place: the client's hash without its low bits, and the time in tenths of a second.
    #[serde(with = "serde_bytes")]
    places: Vec<u8>,
}

impl RecentFailures {
    /// The shared record of a sticky rollout.
    pub fn record(rollout: &str) -> SharedRecord<Self> {
        SharedRecord::new("recent", rollout)
    }

    /// Whether a client's failure counts: not if another one counted in the ten seconds before. A
    /// failure that counts is remembered, in place of any other client's there.
    pub fn counts(&mut self, client: KeyHash, now_ns: u64) -> bool {
        self.places.resize(PLACES * 8, 0);
        let (place, tag) = (client.place(PLACES), client.tag());
        let now = deciseconds(now_ns);
        let Some(slot) = self.places.get_mut(place * 8..place * 8 + 8) else {
            return true;
        };
        let Ok(old) = <[u8; 8]>::try_from(&*slot) else {
            return true;
        };
        let [a, b, c, d, e, f, g, h] = old;
        let (old_tag, old_time) =
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let quiet = now.wrapping_sub(old_time) < deciseconds(QUIET_NS);
        if old_time != 0 && old_tag == tag && quiet {
            return false;
        }
        slot.copy_from_slice(&((u64::from(now) << 32) | u64::from(tag)).to_le_bytes());
        true
    }
}

/// Tenths of a second, never 0, which marks an empty place.
fn deciseconds(ns: u64) -> u32 {
    ((ns / 100_000_000) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> KeyHash {
        KeyHash::new("salt", &number.to_le_bytes())
    }

    #[test]
    fn a_client_is_new_once_a_window() {
        let mut set = ClientSet::default();
        assert!(set.insert(0, client(1)) && !set.insert(0, client(1)) && set.insert(0, client(2)));
        assert!(
            set.contains(0, client(1))
                && !set.contains(0, client(3))
                && !set.contains(1, client(1))
        );
        assert!(set.insert(1, client(1)) && !set.insert(1, client(1)));
        assert!(
            !set.insert(0, client(9)),
            "a worker that is late does not bring the old window back"
        );
        assert!(!set.insert(1, client(1)));
        set.remove(0, client(1));
        assert!(!set.insert(1, client(1)), "another window's removal changes nothing");
        set.remove(1, client(1));
        assert!(set.insert(1, client(1)));
    }

    #[test]
    fn generations_wrap() {
        let mut set = ClientSet { window: u32::MAX, bits: Vec::new() };
        assert!(
            set.insert(u32::MAX, client(1))
                && set.insert(0, client(1))
                && !set.insert(u32::MAX, client(2))
        );
    }

    #[test]
    fn few_of_many_clients_share_a_place() {
        let mut set = ClientSet::default();
        let new = (0..10_000).filter(|number| set.insert(0, client(*number))).count();
        // Of 10,000 in 65,536 places 9,280 are expected to have one of their own or to be its first.
        assert!((9_200..9_360).contains(&new), "{new}");
    }

    #[test]
    fn a_failure_counts_again_after_ten_seconds() {
        let second = 1_000_000_000;
        let mut recent = RecentFailures::default();
        for (at, counts) in [(0, true), (1, false), (9, false), (10, true), (19, false), (20, true)]
        {
            assert_eq!(recent.counts(client(1), at * second + second / 2), counts, "{at}");
        }
        assert!(recent.counts(client(2), 20 * second));
    }
}
