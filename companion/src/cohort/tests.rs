use std::collections::BTreeMap;

use canary_model::config::Config;
use serde_json::{Value, json};

use super::*;

/// The vectors that pin the filter's cohorts, made with another implementation of the hash.
const GOLDEN: &str = include_str!("../../../core/dataplane/tests/golden/cohorts.txt");

fn rollout(salt: Option<&str>) -> Rollout {
    let mut rollout = json!({
        "name": "scorer",
        "stable": {"version": "3.1", "cluster": "a"},
        "canary": {"version": "3.2", "cluster": "b"},
        "affinity": [{"header": "x-user-id"}],
    });
    if let Some(salt) = salt {
        rollout["salt"] = json!(salt);
    }
    let config = json!({"rollouts": [rollout]}).to_string();
    Config::parse(config.as_bytes()).unwrap().rollouts.remove(0)
}

fn answered(keys: &[u8], format: CohortFormat) -> (Vec<u8>, Result<(), CohortError>) {
    let rollout = rollout(None);
    let mut out = Vec::new();
    let weight = Weight::parse_percent("50").unwrap();
    let result = Assigner::new(&rollout, weight).answer(keys, &mut out, format);
    (out, result)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Keys with the version that each must get.
type Expected<'v> = Vec<(Vec<u8>, &'v str)>;

/// Every vector that can be a line, through the command's own reader and writer.
#[test]
fn the_golden_vectors_of_the_filter() {
    // By salt and weight.
    let mut files: BTreeMap<(String, &str), Expected<'_>> = BTreeMap::new();
    for row in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [salt, key, weight, role] = row.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a row: {row}");
        };
        let (salt, key) = (String::from_utf8(bytes(salt)).unwrap(), bytes(key));
        if !salt.is_empty() && !key.is_empty() {
            let version = if role == "canary" { "3.2" } else { "3.1" };
            files.entry((salt, weight)).or_default().push((key, version));
        }
    }
    let rows: usize = files.values().map(Vec::len).sum();
    assert!(rows > 600, "{rows} rows");
    for ((salt, weight), keys) in files {
        let rollout = rollout(Some(&salt));
        let weight = Weight::parse_percent(weight).unwrap();
        let file: Vec<u8> = keys.iter().flat_map(|(key, _)| [&key[..], b"\r\n"].concat()).collect();
        let mut out = Vec::new();
        Assigner::new(&rollout, weight).answer(&file[..], &mut out, CohortFormat::Lines).unwrap();
        let line = |(key, version): &(Vec<u8>, &str)| {
            [&key[..], b"\t", version.as_bytes(), b"\n"].concat()
        };
        assert_eq!(out, keys.iter().flat_map(line).collect::<Vec<u8>>(), "{salt} at {weight:?}");
    }
}

/// Without a salt of its own, a rollout's cohorts follow the canary's version.
#[test]
fn the_default_salt_follows_the_canary_version() {
    let (own, default) = (rollout(Some("scorer/3.2")), rollout(None));
    let other = default.labeled("3.1", "4.0");
    let weight = Weight::parse_percent("50").unwrap();
    let keys: Vec<String> = (0..200).map(|number| format!("user-{number}")).collect();
    let canary = |rollout: &Rollout| {
        let assigner = Assigner::new(rollout, weight);
        keys.iter().filter(|key| assigner.version(key.as_bytes()) != "3.1").collect::<Vec<_>>()
    };
    assert_eq!(canary(&own), canary(&default));
    assert_ne!(canary(&default), canary(&other));
    assert!(Assigner::new(&other, Weight::parse_percent("100").unwrap()).version(b"a") == "4.0");
}

#[test]
fn lines_end_with_lf_or_cr_lf() {
    for file in [&b"ann\nbob\r\n"[..], b"ann\r\nbob", b"ann\nbob"] {
        let (out, result) = answered(file, CohortFormat::Lines);
        assert!(result.is_ok());
        assert_eq!(String::from_utf8(out).unwrap(), "ann\t3.2\nbob\t3.1\n", "{file:?}");
    }
    // A carriage return elsewhere, a tab and bytes that aren't text belong to the key.
    let (out, result) = answered(b"a\rb\tc\xff\n", CohortFormat::Lines);
    assert!(result.is_ok() && out.starts_with(b"a\rb\tc\xff\t3."), "{out:?}");
    assert!(answered(b"", CohortFormat::Lines).0.is_empty());
}

#[test]
fn an_empty_line_is_named() {
    for (file, number) in [(&b"\n"[..], 1), (b"ann\n\r\nbob\n", 2), (b"ann\nbob\n\n", 3)] {
        let (out, result) = answered(file, CohortFormat::Lines);
        assert!(
            matches!(result, Err(CohortError::EmptyLine(line)) if line == number),
            "{result:?}"
        );
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count() as u64, number - 1);
    }
}

#[test]
fn json_is_one_array() {
    let (out, result) = answered(b"ann\n\"q\"\r\n", CohortFormat::Json);
    assert!(result.is_ok());
    let found: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(found[0], json!({"key": "ann", "version": "3.2"}));
    assert_eq!(found[1]["key"], json!("\"q\""));
    let (out, _) = answered(b"", CohortFormat::Json);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), json!([]));
    let (_, result) = answered(b"ann\n\xff\n", CohortFormat::Json);
    assert!(matches!(result, Err(CohortError::NotText(2))), "{result:?}");
}
