//! Any statistic's name: what is read writes itself as it stood there.
#![no_main]

use canary_model::stat_name::{Metric, StatName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    if let Some(read) = StatName::parse(name) {
        assert_eq!(read.to_string(), name);
        if let StatName::Role { rollout, role, version, metric } = read {
            assert_eq!(Metric::of_version(name, rollout, role, version), Some(metric));
        }
    }
    if let Some(metric) = Metric::parse(name) {
        assert_eq!(metric.to_string(), name);
    }
});
