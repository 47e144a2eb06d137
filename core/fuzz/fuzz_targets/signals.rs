//! Any pointer, body and header: at most one reading per signal, and every reading has its bin or is a possible sample.
#![no_main]

use std::sync::LazyLock;

use canary_dataplane::json;
use canary_dataplane::signal::{
    SignalReading, SignalValue, bin_names, header_readings, json_readings,
};
use canary_model::config::{Config, Rollout};
use canary_model::pointer::Pointer;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"rollouts": [{"name": "r",
    "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"},
    "signals": [
      {"name": "each", "from": {"response_json": "/predictions/*/label"}, "categories": ["a", "b"]},
      {"name": "whole", "from": {"response_json": "", "max_body": "100B"}, "categories": ["0"]},
      {"name": "score", "from": {"response_json": "/s"}, "bins": [-1, 0, 0.5]},
      {"name": "done", "from": {"response_json": "/d"}, "conversion": true},
      {"name": "value", "from": {"response_json": "/s"}, "values": {"scale": 0.5}},
      {"name": "header", "from": {"response_header": "x-score"}, "bins": [0.2]}
    ]}]}"#;

static ROLLOUT: LazyLock<Rollout> = LazyLock::new(|| {
    let config = Config::parse(CONFIG.as_bytes()).expect("the configuration is sound");
    config.rollouts.into_iter().next().expect("it has a rollout")
});

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let [pointer, header, json] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let draw = (data.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if let (Ok(text), Ok(document)) = (std::str::from_utf8(pointer), serde_json::from_slice(json))
        && let Some(pointer) = Pointer::parse(text)
    {
        let _ = pointer.find(&document, draw);
    }
    let places: Vec<Pointer> =
        ["/predictions/*/label", "", "/s", "/d"].into_iter().filter_map(Pointer::parse).collect();
    let document = json::select(json, &places.iter().collect::<Vec<_>>());
    let fourth = json::select(json, &[&places[3]]);
    if let Ok(strict) = serde_json::from_slice::<serde_json::Value>(json) {
        assert_eq!(document.as_ref(), Some(&strict), "JSON reads as it is");
        let fourth = fourth.expect("it is JSON");
        assert_eq!(
            places[3].find(&fourth, draw),
            places[3].find(&strict, draw),
            "selected otherwise"
        );
    }
    let body = document.as_ref().map(|document| (document, json.len()));
    sound(&json_readings(&ROLLOUT, body, draw));
    sound(&header_readings(&ROLLOUT, |_| Some(header.to_vec())));
});

fn sound(readings: &[SignalReading]) {
    for (place, signal) in ROLLOUT.signals.iter().enumerate() {
        let of_signal = readings.iter().filter(|reading| reading.signal == place);
        let bins = bin_names(signal).len();
        assert!(of_signal.clone().count() <= 1);
        for reading in of_signal {
            match reading.value {
                SignalValue::Bin(bin) => assert!(bin < bins, "a reading without a bin"),
                SignalValue::Sample(value) => assert!(value <= 1 << 53),
            }
        }
    }
}
