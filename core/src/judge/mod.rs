//! The judge: the statistics that compare the canary with the stable version.
//!
//! Lines of counts come in ([`observation`]), checked settings say what is tolerated ([`spec`]), and
//! verdicts with all their numbers come out ([`verdict`]).

pub mod counts;
pub mod observation;
pub mod prometheus;
pub mod spec;
pub mod verdict;
