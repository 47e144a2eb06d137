//! Any plugin configuration: it is refused with a reason, or within every limit.
#![no_main]

use canary_dataplane::signal::bin_names;
use canary_model::config::{Config, MAX_ROLLOUTS};
use canary_model::names::{is_rollout_name, is_version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| match Config::parse(json) {
    Ok(config) => holds(&config),
    Err(problems) => {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
});

fn holds(config: &Config) {
    assert!(
        config.rollouts.len() <= MAX_ROLLOUTS && config.headers.route != config.headers.version
    );
    for (place, rollout) in config.rollouts.iter().enumerate() {
        assert!(is_rollout_name(&rollout.name));
        assert!(is_version(&rollout.stable.version) && is_version(&rollout.canary.version));
        assert!(rollout.stable.version != rollout.canary.version);
        assert!(!rollout.salt.is_empty() && rollout.affinity.len() <= 8);
        assert!(config.rollouts.iter().skip(place + 1).all(|other| other.name != rollout.name));
        for signal in &rollout.signals {
            let mut bins = bin_names(signal);
            let count = bins.len();
            bins.sort();
            bins.dedup();
            assert!(bins.len() == count && count <= 66, "a bin stands there twice, or too many");
        }
    }
}
