//! The controller: looks at the fleet, lets core decide, writes it down, and does it.
//!
//! One pass of [`drive`]: [`gather`] looks at every Envoy and [`counters`] and [`sum`] make what was
//! counted since the last look of it (pure); [`engine`] takes core's step and journals it ([`record`]);
//! [`act`] does what core says, with [`hooks`] and [`prometheus`] beside it; [`status`] is what everybody
//! else is shown (pure).

pub mod act;
pub mod counters;
pub mod drive;
pub mod engine;
pub mod gather;
pub mod hooks;
pub mod prometheus;
pub mod record;
pub mod status;
pub mod sum;
