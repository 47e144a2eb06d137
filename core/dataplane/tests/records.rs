//! The bytes of the records that workers share. An old and a new module run side by side during an
//! upgrade, so a record whose bytes change needs another key: a new `shared::LAYOUT`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use canary_dataplane::clients::{ClientSet, RecentFailures};
use canary_dataplane::cohort::KeyHash;
use canary_dataplane::control::Control;
use canary_dataplane::guard::{Guard, GuardEvent};
use canary_dataplane::poll::{PollStep, Poller, Term};
use canary_dataplane::shared::LAYOUT;
use canary_dataplane::versions::CountedVersions;
use canary_model::config::{Config, Rollout};
use canary_model::role::Role;
use canary_model::runtime::{RolloutRuntime, Snapshot};
use canary_model::weight::Weight;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: &str = include_str!("golden/records.txt");
const SECOND: u64 = 1_000_000_000;

/// A record's name and its bytes, in the golden file's notation.
type Bytes = (String, String);

fn runtime(settings: &[(&str, &str)]) -> RolloutRuntime {
    let entry =
        |(key, value): &(&str, &str)| (format!("canary.r.{key}"), json!({"final_value": value}));
    let entries: serde_json::Map<_, _> = settings.iter().map(entry).collect();
    let answer = json!({"layers": [], "entries": entries}).to_string();
    RolloutRuntime::new(&Snapshot::read(answer.as_bytes(), |_| true).unwrap(), "r")
}

fn client(number: u32) -> KeyHash {
    KeyHash::new("salt", &number.to_le_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if zeros >= 16 {
            text.push_str(&format!("[00*{zeros}]"));
            rest = &rest[zeros..];
        } else {
            text.push_str(&format!("{first:02x}"));
            rest = &rest[1..];
        }
    }
    text
}

/// Writes a record, and checks that it reads back.
fn written<T: Serialize + DeserializeOwned + PartialEq>(name: &str, record: &T) -> Bytes {
    let bytes = postcard::to_allocvec(record).unwrap();
    assert!(postcard::from_bytes::<T>(&bytes).unwrap() == *record, "{name} doesn't read back");
    (name.to_owned(), hex(&bytes))
}

fn rollout() -> Rollout {
    let config = json!({"rollouts": [{"name": "r",
        "stable": {"version": "3.1", "cluster": "s"},
        "canary": {"version": "3.2", "cluster": "c"}}]});
    Config::parse(config.to_string().as_bytes()).unwrap().rollouts.remove(0)
}

fn controls() -> Vec<Bytes> {
    let mut full = Control::default();
    let set = [
        ("weight", "12.5"),
        ("lease", "30:n-1"),
        ("epoch", "7"),
        ("window", "3"),
        ("stable_version", "3.1=3.2"),
        ("canary_version", "3.2=3.3"),
        ("enabled", "1"),
    ];
    full.apply(&runtime(&set), &rollout(), 5 * SECOND);
    assert!(full.trip(full.epoch_generation()));
    let unreadable = [
        ("weight", "05"),
        ("lease", "x"),
        ("epoch", "-1"),
        ("window", "1.5"),
        ("stable_version", "3.2"),
        ("canary_version", "a=b=c"),
        ("enabled", "maybe"),
    ];
    full.apply(&runtime(&unreadable), &rollout(), 9 * SECOND);
    let mut leased = Control::default();
    leased.apply(&runtime(&[("weight", "5"), ("lease", "10:a")]), &rollout(), SECOND);
    let mut versioned = Control::default();
    versioned.apply(&runtime(&[("weight", "5@3.2")]), &rollout(), SECOND);
    vec![
        written("control-empty", &Control::default()),
        written("control-full", &full),
        written("control-weight-and-lease", &leased),
        written("control-version", &versioned),
    ]
}

fn guards() -> Vec<Bytes> {
    let mut guard = Guard::new(2);
    let events = [
        GuardEvent::StableSuccesses(950),
        GuardEvent::StableFailure,
        GuardEvent::CanarySuccess,
        GuardEvent::CanaryFailure(Some(client(1))),
        GuardEvent::CanaryFailure(Some(client(2))),
        GuardEvent::CanaryFailure(None),
    ];
    guard.observe(2, Weight::parse_percent("5").unwrap(), &events);
    vec![written("guard-new", &Guard::new(4)), written("guard-run", &guard)]
}

fn clients() -> Vec<Bytes> {
    let mut failed = ClientSet::default();
    (1..=3).for_each(|number| assert!(failed.insert(300, client(number))));
    let mut recent = RecentFailures::default();
    (1..=2).for_each(|number| assert!(recent.counts(client(number), 20 * SECOND)));
    vec![
        written("clients-none", &ClientSet::default()),
        written("clients-three", &failed),
        written("recent-none", &RecentFailures::default()),
        written("recent-two", &recent),
    ]
}

fn versions() -> Bytes {
    let mut versions = CountedVersions::default();
    for (role, version) in [(Role::Stable, "3.1"), (Role::Canary, "3.2"), (Role::Stable, "3.2")] {
        assert!(versions.add(role, version));
    }
    written("versions-three", &versions)
}

fn term() -> Bytes {
    let step = Poller::new(0x0123_4567_89ab_cdef, SECOND / 4).tick(100 * SECOND, None);
    let PollStep::Claim(term) = step else { panic!("{step:?}") };
    written("term", &term)
}

/// The records as this build writes them.
fn current() -> Vec<Bytes> {
    [controls(), guards(), clients(), vec![versions(), term()]].concat()
}

/// The records of a layout in the golden file.
fn golden(layout: &str) -> Vec<Bytes> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields[0] == layout)
        .map(|fields| (fields[1].to_owned(), fields[2].to_owned()))
        .collect()
}

/// Whether these records may be stored under keys of this layout.
fn check(layout: &str, records: &[Bytes]) -> Result<(), String> {
    let expected = golden(layout);
    if expected.is_empty() {
        return Err(format!("add the bytes of layout {layout} to the golden file"));
    }
    let wrong = records.iter().filter(|record| !expected.contains(record));
    let wrong: Vec<_> = wrong.map(|(name, bytes)| format!("{layout} {name} {bytes}")).collect();
    match (wrong.is_empty(), records.len() == expected.len()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("layout {layout} has other records than the golden file")),
        (false, _) => Err(format!("bytes changed: raise shared::LAYOUT\n{}", wrong.join("\n"))),
    }
}

#[test]
fn every_shared_record_has_the_bytes_of_its_layout() {
    check(LAYOUT, &current()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_changed_layout_needs_a_new_version_in_its_keys() {
    let records = current();
    assert!(check("v1", &records).unwrap_err().contains("raise shared::LAYOUT"), "v1 is another");
    assert!(check("v4", &records).unwrap_err().contains("add the bytes"));
    let mut longer = records.clone();
    longer[0].1.push_str("00");
    assert!(check(LAYOUT, &longer).unwrap_err().contains("raise shared::LAYOUT"));
    assert!(check(LAYOUT, &records[1..]).unwrap_err().contains("other records"));
    let keys = [
        Control::record("r").key().to_owned(),
        Guard::record("r").key().to_owned(),
        RecentFailures::record("r").key().to_owned(),
        ClientSet::record("assigned", "r").key().to_owned(),
        ClientSet::record("judged", "r").key().to_owned(),
        ClientSet::record("failed", "r").key().to_owned(),
        CountedVersions::record("r").key().to_owned(),
        Term::record(["r", "s"].into_iter()).key().to_owned(),
    ];
    let expected = [
        "control.r",
        "guard.r",
        "recent.r",
        "assigned.r",
        "judged.r",
        "failed.r",
        "versions.r",
        "term.r.s",
    ];
    assert_eq!(keys, expected.map(|key| format!("canary.{LAYOUT}.{key}")));
}
