//! Any answer of Envoy's `/runtime`, several in a row: a weight in force never leaves its range,
//! what can't be read is told once, and what is read again changes nothing.
#![no_main]

use std::sync::LazyLock;

use canary_dataplane::control::Control;
use canary_model::config::{Config, Rollout};
use canary_model::runtime::{RolloutRuntime, RuntimeKey, Snapshot};
use canary_model::weight::PPM;
use libfuzzer_sys::fuzz_target;

static ROLLOUT: LazyLock<Rollout> = LazyLock::new(|| {
    let config = br#"{"rollouts": [{"name": "r",
        "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"}}]}"#;
    Config::parse(config).expect("the configuration is sound").rollouts.remove(0)
});

fuzz_target!(|data: &[u8]| {
    let mut control = Control::default();
    for (now, answer) in data.split(|byte| *byte == b'\n').enumerate() {
        let Ok(snapshot) = Snapshot::read(answer, |_| true) else {
            continue;
        };
        for rollout in snapshot.rollouts() {
            assert!(canary_model::names::is_rollout_name(rollout));
            let runtime = RolloutRuntime::new(&snapshot, rollout);
            for fault in control.apply(&runtime, &ROLLOUT, now as u64) {
                let key = RuntimeKey::new(rollout, fault.setting).to_string();
                assert!(RuntimeKey::parse(&key).is_some() && !fault.error.to_string().is_empty());
                assert!(fault.found.len() <= 3 * 257, "a value beyond its limit is kept");
            }
            let before = control.clone();
            assert!(control.apply(&runtime, &ROLLOUT, now as u64).is_empty(), "told twice");
            assert_eq!(control, before);
            let in_force = control.in_force(&ROLLOUT, now as u64);
            assert!(in_force.weight.ppm() <= PPM);
        }
    }
});
