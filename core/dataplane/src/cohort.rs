//! Cohorts: which bucket a key falls into.
//!
//! A client with a key always falls into the same one of a million buckets, and the buckets below the
//! weight go to the canary. So growth is monotone (a client on the canary at 5 % is still on it at
//! 10 %), all proxies agree without talking to each other, and changing the salt reshuffles which
//! clients see the canary.

use xxhash_rust::xxh64::Xxh64;

use canary_model::weight::{PPM, Weight};

/// The hash of a client's key under a rollout's salt: xxh64, seed 0, of salt ‖ 0x00 ‖ key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

/// One of a million buckets, 0 to 999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket(u32);

impl KeyHash {
    /// Hashes a client's key under a salt.
    pub fn new(salt: &str, key: &[u8]) -> Self {
        let mut hasher = Xxh64::new(0);
        hasher.update(salt.as_bytes());
        hasher.update(&[0]);
        hasher.update(key);
        Self(hasher.digest())
    }

    /// The key's bucket, from the hash's high bits.
    pub fn bucket(self) -> Bucket {
        Bucket::from_uniform(self.0)
    }

    /// The key's place among 65,536 remembered clients, from the hash's low bits. The high bits
    /// decide the cohort, so within one role they are far from uniform.
    pub fn client(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl KeyHash {
    /// The key's place in a table of `places`.
    pub(crate) fn place(self, places: usize) -> usize {
        (self.0 & 0xffff) as usize % places.max(1)
    }

    /// The hash's high half: the tag that distinguishes clients at the same place.
    pub(crate) fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The whole hash, which identifies the client.
    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

impl Bucket {
    /// A bucket from a uniformly random number, as for a request without a key.
    pub fn from_uniform(random: u64) -> Self {
        // The product's high half is below PPM, so the cast keeps it all.
        Self(((u128::from(random) * u128::from(PPM)) >> 64) as u32)
    }

    /// Whether this bucket goes to the canary at a weight: none at 0, all at 100 %.
    pub fn on_canary(self, weight: Weight) -> bool {
        self.0 < weight.ppm()
    }
}
