//! Envoy's runtime as the wire between `canaryctl` and the filter.
//!
//! `canaryctl` writes keys with `POST /runtime_modify` ([`Update`]); Envoy merges them with its other
//! layers; the filter's poller and `canaryctl` read the merged answer of `GET /runtime`
//! ([`Snapshot`]). Envoy keeps every value as the text that was written and understands none of it
//! but `enabled`, so both ends share this one grammar.

mod key;
mod snapshot;
mod update;
mod value;
mod version_label;
mod weight_value;

pub use key::{RuntimeKey, Setting};
pub use snapshot::{MAX_KEYS, ReadError, Snapshot};
pub use update::{BODY_LIMIT, Unconfirmed, Update, UpdateError};
pub use value::{
    Lease, MAX_LEASE_SECONDS, MAX_NONCE, MAX_VALUE, Reading, RolloutRuntime, ValueError,
    check_owner, parse_count, parse_enabled,
};
pub use version_label::VersionLabel;
pub use weight_value::WeightValue;
