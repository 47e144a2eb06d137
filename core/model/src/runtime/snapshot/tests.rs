//! Answers as Envoy gives them, and answers that it never should.

use proptest::prelude::*;

use super::super::{Reading, RolloutRuntime, ValueError};
use super::*;

/// As Envoy 1.40 printed it: fields in any order, an empty text where a layer says nothing.
const ANSWER: &str = r#"{
 "entries": {
  "foo": {"final_value": "1e+06", "layer_values": ["1e+06", ""]},
  "canary.scorer.weight": {"layer_values": ["5", "0.25"], "final_value": "0.25"},
  "canary.scorer.lease": {"final_value": "", "layer_values": ["", ""]},
  "canary.scorer.owner": {"final_value": "a \"b\" é\n", "layer_values": []},
  "canary.scorer.unknown": {"final_value": "1"},
  "canary.other.epoch": {"final_value": "7", "later": {"deep": [1, {"x": null}]}}
 },
 "layers": ["base", "admin"],
 "later": 3
}"#;

#[test]
fn reads_what_envoy_prints() {
    let snapshot = Snapshot::read(ANSWER.as_bytes(), |_| true).unwrap();
    assert_eq!(snapshot.rollouts().collect::<Vec<_>>(), ["other", "scorer"]);
    assert_eq!(snapshot.get("scorer", Setting::Weight), Some("0.25"));
    assert_eq!(snapshot.get("scorer", Setting::Lease), None, "empty is absent");
    assert_eq!(snapshot.get("scorer", Setting::Owner), Some("a \"b\" é\n"));
    let scorer = RolloutRuntime::new(&snapshot, "scorer");
    assert_eq!(scorer.weight.value().map(|value| value.weight.ppm()), Some(2_500));
    assert_eq!(scorer.lease, Reading::Absent);
    assert_eq!(scorer.unreadable(), []);
    assert_eq!(RolloutRuntime::new(&snapshot, "other").epoch, Reading::Set(7));
}

#[test]
fn keeps_the_wanted_alone() {
    let snapshot = Snapshot::read(ANSWER.as_bytes(), |rollout| rollout == "other").unwrap();
    assert_eq!(snapshot.rollouts().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn malformed_answers_are_errors() {
    for answer in [
        "",
        "null",
        "[]",
        "{}",
        "no healthy upstream",
        r#"{"entries": []}"#,
        r#"{"entries": {}"#,
        r#"{"entries": {}} trailing"#,
        r#"{"entries": {}, "entries": {}}"#,
        r#"{"entries": {"canary.a.weight": {}}}"#,
        r#"{"entries": {"canary.a.weight": "5"}}"#,
        r#"{"entries": {"canary.a.weight": {"final_value": 5}}}"#,
        r#"{"entries": {"canary.a.weight": {"final_value": null}}}"#,
    ] {
        assert!(Snapshot::read(answer.as_bytes(), |_| true).is_err(), "{answer}");
    }
    let cut = ANSWER.len() - 20;
    assert!(Snapshot::read(&ANSWER.as_bytes()[..cut], |_| true).is_err());
    let deep = format!("{{\"entries\":{{}},\"x\":{}", "[".repeat(100_000));
    assert!(Snapshot::read(deep.as_bytes(), |_| true).is_err());
}

#[test]
fn foreign_bytes_do_not_spoil_the_answer() {
    let answer = b"{\"entries\":{\"foo\xff\":{\"final_value\":\"\xfe\"},\
        \"canary.a.weight\":{\"final_value\":\"5\"},\"canary.a.owner\":{\"final_value\":\"x\xff\"}}}";
    let snapshot = Snapshot::read(answer, |_| true).unwrap();
    assert_eq!(snapshot.get("a", Setting::Weight), Some("5"));
    assert_eq!(snapshot.get("a", Setting::Owner), Some("x\u{fffd}"));
}

#[test]
fn long_values_and_many_keys_are_bounded() {
    let long = "é".repeat(100_000);
    let answer = format!(r#"{{"entries":{{"canary.a.owner":{{"final_value":"{long}"}}}}}}"#);
    let snapshot = Snapshot::read(answer.as_bytes(), |_| true).unwrap();
    assert!(snapshot.get("a", Setting::Owner).unwrap().len() <= MAX_VALUE + 4);
    let owner = RolloutRuntime::new(&snapshot, "a").owner;
    assert!(matches!(owner, Reading::Unreadable(_, ValueError::TooLong)));

    let entry = |number| format!(r#""canary.r{number}.weight":{{"final_value":"1"}}"#);
    let many = |count| {
        let entries: Vec<String> = (0..count).map(entry).collect();
        format!(r#"{{"entries":{{{}}}}}"#, entries.join(","))
    };
    assert!(Snapshot::read(many(MAX_KEYS).as_bytes(), |_| true).is_ok());
    assert!(Snapshot::read(many(MAX_KEYS + 1).as_bytes(), |_| true).is_err());
    assert!(Snapshot::read(many(MAX_KEYS + 1).as_bytes(), |rollout| rollout == "r7").is_ok());
}

proptest! {
    /// Whatever bytes come, there is an answer or an error.
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Snapshot::read(&bytes, |_| true);
    }

    /// A damaged answer is never read as something that was not in it.
    #[test]
    fn a_cut_answer_is_an_error(cut in 0..ANSWER.len()) {
        prop_assert!(Snapshot::read(&ANSWER.as_bytes()[..cut], |_| true).is_err());
    }

    /// Any text that is set is read back as it is, whatever else the runtime holds.
    #[test]
    fn values_read_back(value in "\\PC{1,60}", foreign in "\\PC{0,60}", first in any::<bool>()) {
        let ours = ("canary.a.owner".to_owned(), serde_json::json!({"final_value": value}));
        let theirs = (format!("z{foreign}"), serde_json::json!({"final_value": foreign, "x": [1]}));
        let both = if first { [ours, theirs] } else { [theirs, ours] };
        let pairs: Vec<String> =
            both.iter().map(|(key, entry)| format!("{}:{entry}", serde_json::json!(key))).collect();
        let answer = format!(r#"{{"layers":[],"entries":{{{}}}}}"#, pairs.join(","));
        let snapshot = Snapshot::read(answer.as_bytes(), |_| true).unwrap();
        prop_assert_eq!(snapshot.get("a", Setting::Owner), Some(value.as_str()));
    }
}
