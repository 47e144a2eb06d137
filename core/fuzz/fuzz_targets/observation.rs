//! Any recording: what is read of it writes itself so that it reads back alike, keeps its limits, and
//! a judge takes it, whatever it says; one that is stopped and resumed in the middle says the same.
#![no_main]

use std::sync::LazyLock;

use canary_judge::{
    Judge,
    observation::{MAX_CLASSES, MAX_SIGNALS, Observation, SignalCounts, read_lines},
    spec::Analysis,
};
use canary_model::weight::PPM;
use canary_rollout::spec::Spec;
use libfuzzer_sys::fuzz_target;

const FILE: &str = r#"{"rollout": "r", "steps": [{"setWeight": 5}, {"pause": {"duration": "1m"}}],
    "analysis": {"metrics": [
      {"name": "f", "kind": "failureRate"},
      {"name": "l", "kind": "latency"},
      {"name": "d", "kind": "distribution", "signal": "d"},
      {"name": "c", "kind": "conversion", "signal": "c", "margin": "1%"},
      {"name": "p", "kind": "prometheus", "address": "http://p", "query": "q",
       "failureCondition": "result > 1", "interval": "1s"}]}}"#;
const SECONDS: u64 = 60;
/// Enough to close blocks, and few enough to be fast.
const LINES: usize = 40;

static ANALYSIS: LazyLock<Analysis> = LazyLock::new(|| {
    let value = serde_json::from_str(FILE).expect("the file is JSON");
    Spec::read(&value).expect("the file is sound").analysis
});

fuzz_target!(|text: &str| {
    let mut lines = Vec::new();
    for line in read_lines(text.lines()).take(LINES) {
        match line {
            Ok(line) => lines.push(line),
            Err(error) => assert!(!error.problem.message.is_empty() && error.line > 0),
        }
    }
    lines.iter().for_each(sound);
    assert!(lines.is_sorted_by(|a, b| a.t <= b.t), "time runs backwards");
    let mut judge = Judge::new(&ANALYSIS, SECONDS);
    let mut stopped = judge.clone();
    for line in &lines {
        stopped = resumed(&stopped);
        let verdicts = judge.observe(line);
        assert_eq!(verdicts.len(), ANALYSIS.metrics.len());
        stopped.observe(line);
    }
    assert_eq!(stopped.waiting_for_data(), judge.waiting_for_data());
    assert_eq!(stopped.abort().is_some(), judge.abort().is_some());
});

fn resumed(judge: &Judge) -> Judge {
    let state = serde_json::to_string(judge).expect("a judge can be written");
    Judge::resume(&state, &ANALYSIS, SECONDS).expect("and read back")
}

fn sound(line: &Observation) {
    assert!(line.t.is_finite() && line.weight.ppm() <= PPM);
    for signals in [&line.signals, &line.signals_first] {
        let classes = |signal: &SignalCounts| {
            let roles = [&signal.stable, &signal.canary];
            roles.into_iter().flatten().map(|classes| classes.len()).max().unwrap_or(0)
        };
        // A role's own part can bring as many names again.
        assert!(signals.len() <= 3 * MAX_SIGNALS);
        assert!(signals.values().all(|signal| classes(signal) <= MAX_CLASSES));
    }
    let again = Observation::read(&line.to_line()).expect("what was written is read");
    let counts = |line: &Observation| {
        let of =
            |role: &canary_judge::observation::RoleCounts| (role.total, role.failure, role.clients);
        (of(&line.roles.stable), of(&line.roles.canary), line.window, line.sticky)
    };
    assert_eq!(counts(&again), counts(line));
    assert_eq!((&again.signals, again.weight), (&line.signals, line.weight));
}
