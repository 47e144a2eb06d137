//! One release after the other, of versions in turn, each from its start to its end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::{SoakExtent, VERSIONS};
use crate::bench::running_controller::RunningController;
use crate::{read_journal, wait_limit};

/// Between two looks at a release.
const LOOK: Duration = Duration::from_millis(250);
/// No release takes longer.
const LONGEST: Duration = Duration::from_secs(120);

/// A release that is over, or that nobody waits for any longer.
#[derive(Clone, Debug)]
pub(super) struct EndedRelease {
    /// The version that was released.
    pub(super) version: &'static str,
    /// From its start to its end.
    pub(super) took: Duration,
    /// How it ended, if it isn't Healthy: the phase with its reason.
    pub(super) otherwise: Option<String>,
    /// The guard's epochs that were set in it, and the windows.
    pub(super) epochs_and_windows: BTreeSet<(u64, u64)>,
}

/// Starts a release in every slot until the run's end. One that takes longer than its slot delays the next
/// one, which then begins at once; after one that doesn't end there is none.
pub(super) async fn in_turn(
    controller: &RunningController,
    state: &Path,
    extent: &SoakExtent,
) -> Vec<EndedRelease> {
    let (begin, mut ended) = (Instant::now(), Vec::new());
    for number in 0..extent.releases() {
        let due = begin + extent.slot * number;
        sleep_until(due).await;
        if begin.elapsed() >= extent.time {
            break;
        }
        // The first version is stable's when the run begins.
        let version = VERSIONS[(number as usize + 1) % VERSIONS.len()];
        let release = release(controller, version, state).await;
        let stuck = release.otherwise.as_ref().is_some_and(|phase| !phase.starts_with("Degraded"));
        ended.push(release);
        if stuck {
            return ended;
        }
    }
    sleep_until(begin + extent.time).await;
    ended
}

async fn release(
    controller: &RunningController,
    version: &'static str,
    state: &Path,
) -> EndedRelease {
    let (begin, longest) = (Instant::now(), wait_limit(LONGEST));
    let mut refusal = controller.release(version).await.err();
    while refusal.is_some() && begin.elapsed() < longest {
        sleep(LOOK).await;
        refusal = controller.release(version).await.err();
    }
    let begin = if refusal.is_none() { Instant::now() } else { begin };
    let otherwise = loop {
        if refusal.is_some() {
            break refusal;
        }
        sleep(LOOK).await;
        let status = controller.status().await.unwrap_or_default();
        let phase = status["phase"].as_str().unwrap_or("no answer").to_owned();
        let has_both = ["stable", "canary"].iter().all(|role| status[role]["version"] == version);
        match phase.as_str() {
            "Healthy" if has_both => break None,
            "Paused" | "Degraded" => break Some(format!("{phase}: {}", reason(&status))),
            _ if begin.elapsed() > longest => {
                break Some(format!("{phase} after {longest:?}: {}", reason(&status)));
            }
            _ => {}
        }
    };
    let took = begin.elapsed();
    let journal = state.join("demo.jsonl");
    // A release that was refused at its start has none.
    let records = if journal.exists() { read_journal(&journal) } else { Vec::new() };
    EndedRelease { version, took, otherwise, epochs_and_windows: epochs_and_windows(&records) }
}

fn reason(status: &Value) -> String {
    let text = |field: &str| status[field].as_str().map(str::to_owned);
    text("reason").or_else(|| text("waits_for")).unwrap_or_else(|| "no reason".to_owned())
}

/// What a release's journal says was written to Envoy.
fn epochs_and_windows(records: &[Value]) -> BTreeSet<(u64, u64)> {
    let mut found = BTreeSet::new();
    for record in records {
        for action in record["actions"].as_array().into_iter().flatten() {
            let target = &action["target"];
            found.extend(target["epoch"].as_u64().zip(target["window"].as_u64()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn epochs_and_windows_are_those_that_were_written() {
        let write =
            |window: u32| json!({"action": "write", "target": {"epoch": 3, "window": window}});
        let records = [
            json!({"record": "start"}),
            json!({"record": "step", "actions": [write(1)]}),
            json!({"record": "step", "actions": [{"action": "notify"}, write(2)]}),
        ];
        assert_eq!(epochs_and_windows(&records), BTreeSet::from([(3, 1), (3, 2)]));
    }

    #[test]
    fn a_reason_is_the_rollouts_own() {
        assert_eq!(reason(&json!({"reason": "a", "waits_for": "b"})), "a");
        assert_eq!(reason(&json!({"waits_for": "b"})), "b");
        assert_eq!(reason(&Value::Null), "no reason");
    }
}
