//! Any pointer, body and header: at most 64 values, every reading has its bin, and chunks don't
//! matter.
#![no_main]

use std::sync::LazyLock;

use canary_model::config::{Config, Rollout};
use canary_model::pointer::{MAX_VALUES, Pointer};
use canary_dataplane::signal::{Body, Reading, bin_names, of_body, of_headers};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"rollouts": [{"name": "r",
    "stable": {"version": "1", "cluster": "s"}, "canary": {"version": "2", "cluster": "c"},
    "signals": [
      {"name": "each", "from": {"response_json": "/predictions/*/label"}, "categories": ["a", "b"]},
      {"name": "whole", "from": {"response_json": "", "max_body": "100B"}, "categories": ["0"]},
      {"name": "score", "from": {"response_json": "/s"}, "bins": [-1, 0, 0.5]},
      {"name": "done", "from": {"response_json": "/d"}, "conversion": true},
      {"name": "header", "from": {"response_header": "x-score"}, "bins": [0.2]}
    ]}]}"#;

static ROLLOUT: LazyLock<Rollout> = LazyLock::new(|| {
    let config = Config::parse(CONFIG.as_bytes()).expect("the configuration is sound");
    config.rollouts.into_iter().next().expect("it has a rollout")
});

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let [pointer, header, json] = [(); 3].map(|()| parts.next().unwrap_or_default());
    if let (Ok(text), Ok(document)) = (std::str::from_utf8(pointer), serde_json::from_slice(json))
        && let Some(pointer) = Pointer::parse(text)
    {
        assert!(pointer.values(&document).len() <= MAX_VALUES);
    }
    let whole = read(&[json]);
    assert_eq!(whole, read(&json.chunks(7).collect::<Vec<_>>()), "chunks matter");
    sound(&whole);
    sound(&of_headers(&ROLLOUT, |_| Some(header.to_vec())));
});

fn read(chunks: &[&[u8]]) -> Vec<Reading> {
    let mut body = Body::wanted(&ROLLOUT, None).expect("a body signal is configured");
    chunks.iter().for_each(|chunk| body.push(chunk));
    of_body(&ROLLOUT, &body)
}

fn sound(readings: &[Reading]) {
    for (place, signal) in ROLLOUT.signals.iter().enumerate() {
        let of_signal = readings.iter().filter(|reading| reading.signal == place);
        let bins = bin_names(signal).len();
        assert!(of_signal.clone().count() <= MAX_VALUES);
        assert!(of_signal.clone().all(|reading| reading.bin < bins), "a reading without a bin");
    }
}
