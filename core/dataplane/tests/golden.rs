//! The golden files of cohorts and keys, checked natively and, in Node, as WebAssembly: the host and the
//! proxy must agree on who goes to the canary, and no later version may draw other people.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use canary_dataplane::affinity_key;
use canary_dataplane::cohort::KeyHash;
use canary_dataplane::request_body::{BodyValue, RequestBody};
use canary_model::pointer::Pointer;
use canary_model::weight::Weight;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: &str = include_str!("golden/cohorts.txt");
const KEYS: &str = include_str!("golden/keys.txt");

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

/// The key in a JSON body, which must not depend on how the body is split.
fn json_key(pointer: &str, body: &[u8]) -> Option<Vec<u8>> {
    let pointer = Pointer::parse(pointer).unwrap();
    let read = |size| {
        let mut reading = RequestBody::reading([(&pointer, 65_536)].into_iter());
        for chunk in body.chunks(size) {
            reading.push(chunk);
        }
        reading.end();
        match reading.value(&pointer, 65_536) {
            BodyValue::Found(found) if !found.boolean => Some(found.text.clone().into_bytes()),
            BodyValue::Pending | BodyValue::Found(_) | BodyValue::Absent => None,
        }
    };
    assert_eq!(read(1), read(body.len()));
    read(1).filter(|key| !key.is_empty())
}

#[test]
fn keys() {
    let mut rows = 0;
    for line in KEYS.lines().filter(|line| !line.starts_with('#')) {
        let [source, name, sent, key] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a row: {line}");
        };
        let (name, sent) = (String::from_utf8(bytes(name)).unwrap(), bytes(sent));
        let found = match source {
            "query" => affinity_key::query(&sent, &name),
            "address" => affinity_key::source_address(&sent),
            "json" => json_key(&name, &sent),
            _ => panic!("not a source: {source}"),
        };
        assert_eq!(found.unwrap_or_default(), bytes(key), "{line}");
        rows += 1;
    }
    assert!(rows > 200, "{rows} rows");
}
