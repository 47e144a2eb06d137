//! The golden file of cohorts, checked natively and, in Node, as WebAssembly: the host and the proxy
//! must agree on who goes to the canary, and no later version may draw other people.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use canary_dataplane::cohort::KeyHash;
use canary_model::weight::Weight;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: &str = include_str!("golden/cohorts.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn cohorts() {
    let mut rows = 0;
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [salt, key, weight, role] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a row: {line}");
        };
        let salt = String::from_utf8(bytes(salt)).unwrap();
        let bucket = KeyHash::new(&salt, &bytes(key)).bucket();
        let canary = bucket.on_canary(Weight::parse_percent(weight).unwrap());
        assert_eq!(canary, role == "canary", "{line}");
        rows += 1;
    }
    assert!(rows > 700, "{rows} rows");
}
