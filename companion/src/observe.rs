//! What Envoys say about rollouts. One reader for everything that looks at Envoys: the commands and
//! the controller.
//!
//! [`observer`] looks at each Envoy once a tick for all rollouts on it: [`scan`] is one look, split by
//! rollout ([`split_stats`]). [`fleet`] puts the looks at one rollout's Envoys together, and [`scrape`]
//! asks one Envoy once. [`counters`] reads what was
//! counted, [`baseline`] compares it with the last reading, and [`aggregate`] sums the fleet for the
//! judge. [`configuration`] says what the filter's configuration is, [`fleet_view`] puts the Envoys
//! together for operators, [`in_force`] keeps the weights of
//! each Envoy, [`share`] measures the canary's share, and [`totals`]
//! counts on across restarts. Only [`scrape`], [`scan`], [`observer`] and [`fleet`]
//! do IO.

pub mod aggregate;
pub mod baseline;
pub mod configuration;
pub mod counters;
pub mod fleet;
pub mod fleet_view;
pub mod gauges;
pub mod in_force;
pub mod observer;
pub mod scan;
pub mod scrape;
pub mod share;
pub mod split_stats;
pub mod totals;

pub use baseline::CounterBaseline;
pub use configuration::Configuration;
pub use fleet::{FleetScrape, FleetScraper, SCRAPE_WITHIN, deadline_for};
pub use fleet_view::{FleetView, Scrapes, VersionView};
pub use gauges::{Gauges, filter_metric, gauges, rollouts};
pub use in_force::ExpectedWeights;
pub use observer::Observer;
pub use scrape::Scrape;
pub use share::MeasuredShare;
pub use totals::RequestTotals;
