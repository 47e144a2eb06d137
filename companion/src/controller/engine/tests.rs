//! Journals of an earlier build go on: no decision is lost or made twice, and an ended one stays ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use canary_judge::observation::Observation;
use canary_rollout::HostClocks;
use canary_rollout::action::Action;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{EnvoyInput, EnvoyReading, Inputs, OperatorCommand};
use canary_rollout::state::Phase;
use serde_json::Value;

use super::{Effects, Engine};
use crate::controller::record::JournalRecord;
use crate::journal::{Journal, ReadRecord, leading_name};
use crate::rollout_file;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals").join(name)
}

/// Resumes a copy of a fixture's journal, twice: the second time it is one of this version.
fn resumed(name: &str) -> (Engine, Value) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scorer.jsonl");
    std::fs::copy(fixture(name).join("journal.jsonl"), &path).unwrap();
    let text = std::fs::read_to_string(fixture(name).join("rollout.yaml")).unwrap();
    let expected = std::fs::read_to_string(fixture(name).join("resumed.json")).unwrap();
    let go_on = || {
        let (journal, found) = Journal::open(&path).unwrap();
        let begin = found.unfinished.or(found.finished).unwrap();
        let spec = rollout_file::parse(&text, "rollout.yaml").unwrap_or_else(|_| panic!("{name}"));
        Engine::resume(spec, journal, begin).unwrap().0
    };
    let first = go_on();
    let (state, ended) = (first.state().clone(), first.has_ended());
    drop(first);
    let second = go_on();
    assert_eq!((second.state(), second.has_ended()), (&state, ended), "{name}");
    (second, serde_json::from_str(&expected).unwrap())
}

/// The next step after a restart: its Envoy still shows what the older version wrote.
fn next_step(engine: &mut Engine, then: &Value, commands: Vec<OperatorCommand>) -> Effects {
    let number = |value: &Value| value.as_u64();
    let target = &then["target"];
    let reading = EnvoyReading {
        weight: serde_json::from_value(target["weight"].clone()).unwrap(),
        enabled: target["enabled"].as_bool(),
        epoch: number(&then["epoch"]),
        window: number(&target["window"]),
        owner: target["owner"].as_str().map(str::to_owned),
        in_force: serde_json::from_value(target["weight"].clone()).unwrap(),
        epoch_in_force: number(&then["epoch"]),
        guard_tripped: Some(false),
        ..EnvoyReading::default()
    };
    let url = engine.spec().envoys[0].clone();
    let envoys = BTreeMap::from([(url, EnvoyInput::Reached(Box::new(reading)))]);
    let now = HostClocks { monotonic: Duration::from_secs(1 << 30), unix: 1_900_000_000 };
    let inputs =
        Inputs { commands, envoys, observation: Some(Observation::default()), ..Inputs::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.advance(inputs, now, None)).unwrap()
}

/// Journals are read by the names at the beginning of their lines; serde's way gives the same.
#[test]
fn a_record_is_the_same_however_it_is_read() {
    let folder = std::fs::read_dir(fixture("")).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    let folders = folder.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    for journal in folders.map(|folder| folder.join("journal.jsonl")) {
        for line in std::fs::read_to_string(journal).unwrap().lines() {
            let read = JournalRecord::read(line).map(|record| serde_json::to_string(&record));
            let tagged: Result<JournalRecord, _> = serde_json::from_str(line);
            match (read, tagged) {
                (Ok(read), Ok(tagged)) => {
                    assert_eq!(read.unwrap(), serde_json::to_string(&tagged).unwrap());
                    kinds.extend(leading_name(line).map(str::to_owned));
                }
                (read, tagged) => assert_eq!(read.is_err(), tagged.is_err(), "{line}"),
            }
        }
    }
    assert!(kinds.contains("observation") && kinds.contains("step"), "{kinds:?}");
}

#[test]
fn journals_of_an_older_version_go_on_in_a_new_epoch() {
    for name in ["in-a-step", "in-a-step-by-clients", "paused", "before-a-gate"] {
        let (engine, then) = resumed(name);
        let state = engine.state();
        assert_eq!(Value::from(state.phase().as_str()), then["phase"], "{name}");
        assert_eq!(state.step().map(Value::from), Some(then["step"].clone()), "{name}");
        let target = state.target().unwrap();
        assert_eq!(serde_json::to_value(target.weight).unwrap(), then["target"]["weight"]);
        assert!(Value::from(state.epoch()).as_u64() > then["epoch"].as_u64(), "{name}");
        assert!(!engine.has_ended());
    }
}

#[test]
fn an_older_rollback_goes_on_and_an_end_stays() {
    let (engine, then) = resumed("rolling-back");
    assert_eq!(engine.state().phase(), Phase::Aborting);
    assert_eq!(Value::from(engine.state().epoch()), then["epoch"]);
    for (name, phase) in
        [("ended-promoted", Phase::Healthy), ("ended-rolled-back", Phase::Degraded)]
    {
        let (engine, _) = resumed(name);
        assert!(engine.has_ended() && engine.state().phase() == phase, "{name}");
        assert_eq!(engine.state().target(), None, "{name}");
    }
}

/// The step, its pauses, its gates and its notifications are where they were: nothing begins again, is
/// told again, or is forgotten. The Envoy is written once more, with the same weight and the new epoch.
#[test]
fn no_decision_of_an_older_version_is_lost_or_made_again() {
    for name in ["in-a-step", "in-a-step-by-clients", "paused", "before-a-gate"] {
        let (mut engine, then) = resumed(name);
        assert_eq!(Value::from(engine.decisions()), then["decisions"], "{name}");
        assert_eq!(Value::from(engine.state().attempt()), then["attempt"], "{name}");
        let (epoch, undelivered) = (engine.state().epoch(), engine.state().undelivered().count());
        let effects = next_step(&mut engine, &then, Vec::new());
        assert_eq!(effects.events, [RolloutEvent::EpochRenewed { epoch }], "{name}");
        assert_eq!(Value::from(engine.state().phase().as_str()), then["phase"], "{name}");
        assert_eq!(engine.state().undelivered().count(), undelivered, "{name}");
        let written: Vec<_> = effects
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Write { target, .. } => Some(target),
                _ => None,
            })
            .collect();
        let [target] = written.as_slice() else { panic!("{name}: {:?}", effects.actions) };
        assert_eq!(
            serde_json::to_value(target.weight).unwrap(),
            then["target"]["weight"],
            "{name}"
        );
        assert_eq!((target.epoch, target.enabled), (epoch, true), "{name}");
        assert_eq!(target.version, engine.versions().canary, "{name}");
        // It is told once that the epoch is another.
        assert!(next_step(&mut engine, &then, Vec::new()).events.is_empty(), "{name}");
    }
    let (mut engine, then) = resumed("paused");
    let promoted = next_step(&mut engine, &then, vec![OperatorCommand::Promote]);
    assert_eq!(promoted.replies[0].refused, None);
    assert_eq!(engine.state().phase(), Phase::Progressing);
    let (mut engine, then) = resumed("rolling-back");
    let back = next_step(&mut engine, &then, Vec::new());
    let again = |event: &RolloutEvent| {
        matches!(event, RolloutEvent::Aborting { .. } | RolloutEvent::EpochRenewed { .. })
    };
    assert!(!back.events.iter().any(again), "{:?}", back.events);
}

/// Steps that the journal lacks can't be repeated. Whatever is written next, the state comes before it.
#[test]
fn an_end_that_is_written_back_comes_after_what_the_journal_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scorer.jsonl");
    std::fs::copy(fixture("ended-promoted").join("journal.jsonl"), &path).unwrap();
    let text = std::fs::read_to_string(fixture("ended-promoted").join("rollout.yaml")).unwrap();
    let (journal, found) = Journal::open(&path).unwrap();
    let spec = rollout_file::parse(&text, "rollout.yaml").unwrap_or_else(|_| panic!("the file"));
    let mut engine = Engine::resume(spec, journal, found.finished.unwrap()).unwrap().0;
    let ended_at = engine.to_write_back().unwrap().to_owned();
    let error = "the disk is full".to_owned();
    engine.missing = Some(super::UnwrittenRecords { error, records: Vec::new() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(engine.written_back(&ended_at));
    assert_eq!((engine.unwritten(), engine.to_write_back()), (None, None));
    let written = std::fs::read_to_string(&path).unwrap();
    let mut kinds = written.lines().rev().map(|line| {
        serde_json::from_str::<Value>(line).unwrap()["record"].as_str().unwrap().to_owned()
    });
    assert_eq!([kinds.next().unwrap(), kinds.next().unwrap()], ["writtenBack", "state"]);
}
