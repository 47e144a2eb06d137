//! The controller: looks at the fleet, lets core decide, writes it down, and does it.
//!
//! One pass of [`drive`]: [`crate::observe`] scrapes every Envoy; [`engine`] takes
//! core's step and journals it ([`record`]); [`clocks`] say what time it is, [`channels`] connect the loop with
//! everybody else, [`preflight`] looks before a rollout begins, [`orders`] is how commands come in, [`releases`]
//! is where a registry starts releases; [`act`] does what core says, with [`hooks`], [`deploy`] and
//! [`prometheus`] beside it; [`status`] and [`recent`] are what everybody else is shown (pure).

pub mod act;
pub mod channels;
pub mod clocks;
pub mod deploy;
pub mod distributions;
pub mod drive;
pub mod engine;
pub mod hooks;
pub mod orders;
pub mod preflight;
pub mod prometheus;
pub(crate) mod recent;
pub mod record;
pub mod releases;
pub mod status;
