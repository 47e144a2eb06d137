//! What a real Envoy's admin interface answers, recorded once, so that the simulated ones answer with
//! payloads of the same content and size. The figures that move in a living Envoy are left open.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{AdminAddress, EnvoyAdmin};

/// A statistic that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moving {
    /// The weight in force, in parts per million.
    Weight,
    /// The guard's epoch in force.
    Epoch,
    /// When the filter last ticked, in seconds since 1970.
    Heartbeat,
    /// How often the filter has asked for its runtime.
    Polls,
    /// For how many seconds the process has run.
    Uptime,
    /// Requests of stable (0) or canary (1).
    Requests(usize),
}

impl Moving {
    /// What a statistic with this name is, if it moves.
    fn from_name(name: &str) -> Option<Self> {
        let counted = |name: &str| {
            ["rq_total", "assigned_total", "judged_total"]
                .iter()
                .any(|metric| name.ends_with(metric))
        };
        Some(match name {
            "server.uptime" => Self::Uptime,
            "wasmcustom.canary.demo.weight_ppm" => Self::Weight,
            "wasmcustom.canary.demo.epoch" => Self::Epoch,
            "wasmcustom.canary.filter.heartbeat" => Self::Heartbeat,
            "wasmcustom.canary.filter.poll_success" => Self::Polls,
            _ if counted(name) && name.starts_with("wasmcustom.canary.demo.stable.") => {
                Self::Requests(0)
            }
            _ if counted(name) && name.starts_with("wasmcustom.canary.demo.canary.") => {
                Self::Requests(1)
            }
            _ => return None,
        })
    }
}

/// An answer of `/stats`: text, and between its pieces the statistics that move.
#[derive(Debug, Default)]
pub(super) struct StatsTemplate {
    pieces: Vec<(String, Moving)>,
    end: String,
}

impl StatsTemplate {
    fn new(answer: &Value) -> Self {
        let mut template = Self { pieces: Vec::new(), end: "{\"stats\":[".to_owned() };
        let stats = answer["stats"].as_array().expect("/stats answers with a list");
        for (number, stat) in stats.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let name = stat["name"].as_str().unwrap_or("");
            match Moving::from_name(name) {
                Some(moving) => {
                    let before = std::mem::take(&mut template.end);
                    let begin = format!("{before}{comma}{{\"name\":\"{name}\",\"value\":");
                    template.pieces.push((begin, moving));
                    template.end.push('}');
                }
                None => write!(template.end, "{comma}{stat}").expect("a string takes it"),
            }
        }
        template.end.push_str("]}");
        template
    }

    /// The answer with these figures.
    pub(super) fn fill(&self, figure: impl Fn(Moving) -> u64) -> String {
        let mut text = String::with_capacity(self.end.len() + 200 * self.pieces.len());
        for (piece, moving) in &self.pieces {
            write!(text, "{piece}{}", figure(*moving)).expect("a string takes it");
        }
        text.push_str(&self.end);
        text
    }
}

/// An answer, as a simulated Envoy gives it.
#[derive(Clone, Debug)]
pub(super) enum RecordedAnswer {
    /// The same every time.
    Fixed(u16, Bytes),
    /// An answer of `/stats`, with figures to fill in.
    Stats(Arc<StatsTemplate>),
    /// `/runtime` without the rollout's keys.
    Runtime(Arc<Value>),
}

/// The answers of one real Envoy, each asked for when it's first needed.
#[derive(Debug)]
pub(super) struct AdminRecording {
    real: EnvoyAdmin,
    answers: Mutex<BTreeMap<String, RecordedAnswer>>,
}

impl AdminRecording {
    /// A recording of the Envoy at this address.
    pub(super) fn new(real: AdminAddress) -> Self {
        Self { real: EnvoyAdmin::new(real), answers: Mutex::new(BTreeMap::new()) }
    }

    /// What is answered to a GET of this path with its query.
    pub(super) async fn answer(&self, path: &str) -> RecordedAnswer {
        let mut answers = self.answers.lock().await;
        if let Some(known) = answers.get(path) {
            return known.clone();
        }
        let (status, body) = self.real.get(path).await.expect("the real Envoy answers");
        let json = || serde_json::from_slice::<Value>(&body).expect("JSON");
        let recorded = if path.starts_with("/stats") {
            RecordedAnswer::Stats(Arc::new(StatsTemplate::new(&json())))
        } else if path.starts_with("/runtime") {
            let mut runtime = json();
            let entries = runtime["entries"].as_object_mut().expect("/runtime has entries");
            entries.retain(|key, _| !key.starts_with("canary."));
            RecordedAnswer::Runtime(Arc::new(runtime))
        } else {
            RecordedAnswer::Fixed(status, body)
        };
        answers.insert(path.to_owned(), recorded.clone());
        recorded
    }
}

/// `/runtime` with these keys in the admin layer, which comes last.
pub(super) fn runtime_with(recorded: &Value, keys: &BTreeMap<String, String>) -> String {
    let layers = recorded["layers"].as_array().map_or(1, Vec::len);
    let mut runtime = recorded.clone();
    for (key, value) in keys {
        let mut values = vec![""; layers];
        values[layers - 1] = value;
        runtime["entries"][key] = json!({"layer_values": values, "final_value": value});
    }
    runtime.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_keeps_all_but_what_moves() {
        let name = |name: &str| format!("wasmcustom.canary.{name}");
        let answer = json!({"stats": [
            {"name": name("demo.weight_ppm"), "value": 1},
            {"name": name("demo.guard_tripped"), "value": 0},
            {"name": name("demo.canary.1.1.0.judged_total"), "value": 7},
            {"name": "server.uptime", "value": 3},
            {"histograms": {"details": []}},
        ]});
        let filled = StatsTemplate::new(&answer).fill(|moving| match moving {
            Moving::Weight => 50_000,
            Moving::Requests(1) => 12,
            Moving::Uptime => 4,
            other => panic!("{other:?}"),
        });
        let mut expected = answer;
        for (number, value) in [(0, 50_000), (2, 12), (3, 4)] {
            expected["stats"][number]["value"] = value.into();
        }
        assert_eq!(serde_json::from_str::<Value>(&filled).unwrap(), expected);
    }

    #[test]
    fn a_runtime_shows_the_keys_in_its_last_layer() {
        let recorded = json!({"layers": ["base", "admin"], "entries": {"a": {}}});
        let keys = BTreeMap::from([("canary.demo.weight".to_owned(), "5".to_owned())]);
        let shown: Value = serde_json::from_str(&runtime_with(&recorded, &keys)).unwrap();
        let expected = json!({"layer_values": ["", "5"], "final_value": "5"});
        assert_eq!(shown["entries"]["canary.demo.weight"], expected);
        assert_eq!(shown["entries"]["a"], json!({}));
    }
}
