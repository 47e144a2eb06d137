//! What Envoys say about rollouts. One reader for everything that looks at Envoys: the commands and
//! the controller.
//!
//! [`scrape`] asks one Envoy and [`fleet`] all of them, again and again. [`counters`] reads what was
//! counted, [`baseline`] compares it with the last reading, and [`aggregate`] sums the fleet for the
//! judge. [`configuration`] says what the filter's configuration is, [`fleet_view`] puts the Envoys
//! together for operators, [`in_force`] keeps the weights of
//! each Envoy, [`share`] measures the canary's share, and [`totals`]
//! counts on across restarts. Only [`scrape`] and [`fleet`]
//! do IO.

pub mod aggregate;
pub mod baseline;
pub mod configuration;
pub mod counters;
pub mod fleet;
pub mod fleet_view;
pub mod gauges;
pub mod in_force;
pub mod scrape;
pub mod share;
pub mod totals;

pub use baseline::CounterBaseline;
pub use configuration::Configuration;
pub use fleet::{FleetScrape, FleetScraper};
pub use fleet_view::{FleetView, Scrapes, VersionView};
pub use gauges::{Gauges, filter_metric, gauges, rollouts};
pub use in_force::ExpectedWeights;
pub use scrape::Scrape;
pub use share::MeasuredShare;
pub use totals::RequestTotals;
