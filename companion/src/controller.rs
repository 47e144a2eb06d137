//! The controller: looks at the fleet, lets core decide, writes it down, and does it.
//!
//! [`counters`] and [`sum`] turn what Envoys count since their start into what happened since the
//! last look (pure); [`gather`] looks.

pub mod counters;
pub mod gather;
pub mod sum;
