//! What stands in a journal of the controller.
//!
//! Each step of core is a `step` record: what was seen, at what time, and what came of it. The line
//! of counts that was judged is a record of its own before it, so that a journal is also a recording
//! for `replay`. Core is a pure function, so from these records the same state comes again; a `state`
//! record now and then keeps that short.

use std::collections::BTreeMap;
use std::time::SystemTime;

use canary_judge::counts::Pair;
use canary_judge::observation::Observation;
use canary_judge::verdict::Verdict;
use canary_model::histogram::Histogram;
use canary_rollout::HostClocks;
use canary_rollout::action::Action;
use canary_rollout::event::{CommandReply, RolloutEvent};
use canary_rollout::inputs::Inputs;
use canary_rollout::state::Phase;
use canary_rollout::termination::TerminationReason;
use canary_rollout::versions::ReleaseVersions;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::deploy::RegistrySource;
use super::distributions::Distributions;
use crate::journal::{ReadRecord, leading_name, timestamp};
use crate::rollout_file::without_secrets;
use crate::sentences;

/// The version of what records mean. A journal of another one is resumed with a new epoch.
pub const FORMAT: u32 = 3;

/// The version of records that name none.
const fn first_format() -> u32 {
    1
}

/// A line of a controller's journal, by its `record` field.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase")]
pub enum JournalRecord {
    /// A rollout begins with this file.
    Start(Start),
    /// What was counted; belongs to the step record behind it.
    Observation(Box<Observation>),
    /// Core took a step.
    Step(Box<StepRecord>),
    /// Everything that the rollout knows.
    State(StateSnapshot),
    /// The rollout is over.
    End(End),
    /// The end was written back to the registry. It stands behind the end and begins nothing.
    WrittenBack(WrittenBack),
}

/// Nearly all of a long journal is observations and quiet steps. They are read straight into what they are;
/// serde takes any record whose name it has to look for apart twice.
impl ReadRecord for JournalRecord {
    fn read(line: &str) -> serde_json::Result<Self> {
        match leading_name(line) {
            Some("observation") => serde_json::from_str(line).map(Self::Observation),
            Some("step") => serde_json::from_str(line).map(Self::Step),
            _ => serde_json::from_str(line),
        }
    }
}

/// That an end was written back to where the release came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenBack {
    /// The time of day, for people; no decision reads it.
    pub at: String,
    /// The `at` of the end that was written back.
    pub ended_at: String,
}

/// How a rollout began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The version of the records' meaning; see [`FORMAT`].
    #[serde(default = "first_format")]
    pub format: u32,
    /// The time of day, for people; no decision reads it.
    pub at: String,
    /// The rollout's name, as in the file.
    pub rollout: String,
    /// The rollout file, as it was.
    pub file: String,
    /// As whom the controller writes.
    pub owner: String,
    /// Whether it takes the rollout from another owner.
    pub takeover: bool,
    /// The owner that Envoys may still show, of a controller that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// The version that this controller had released when this release began; it was stable then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_last: Option<String>,
    /// The version labels of both roles at the start.
    pub versions: Pair<Option<String>>,
    /// Those of them that somebody named: the command line, the file or a registry.
    #[serde(default, skip_serializing_if = "nothing_named")]
    pub named: Pair<Option<String>>,
    /// Where the new version comes from, if a registry knows.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub source: Option<RegistrySource>,
    /// Whether all traffic was in the canary's place already: `finish` of a release whose journal isn't here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
    /// The version of `canaryctl`.
    pub canaryctl: String,
}

impl Start {
    /// The start of a rollout of this file, now, that takes nothing over.
    pub fn new(rollout: &str, source: &str, owner: String, release: ReleaseVersions) -> Self {
        let ReleaseVersions { named, versions } = release;
        Self {
            format: FORMAT,
            at: timestamp(SystemTime::now()),
            rollout: rollout.to_owned(),
            // Journals are shown and shared: the file's secrets stay in the file.
            file: without_secrets(source),
            owner,
            named,
            versions,
            canaryctl: env!("CARGO_PKG_VERSION").to_owned(),
            ..Self::default()
        }
    }
}

/// For serde, which passes references.
fn nothing_named(named: &Pair<Option<String>>) -> bool {
    *named == Pair::default()
}

/// One step: what went in, and what came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// The time of day, for people; no decision reads it.
    pub at: String,
    /// The host's clocks, from which the step was taken.
    pub now: HostClocks,
    /// What was seen; the counts are in the record before this one if `counted` says so, and the
    /// Envoys are left out if they are as they were.
    pub seen: Inputs,
    /// Whether the counts are in the record before this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// Whether the Envoys are as in the last record that shows them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_envoys: bool,
    /// The phase after it.
    pub phase: Phase,
    /// The events of the step, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<RolloutEvent>,
    /// What is being done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// What became of commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<CommandReply>,
    /// Why the commands were given, in the words of whoever gave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The verdicts with their numbers, where something happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Value>,
}

/// Everything that the rollout knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSnapshot {
    /// The version of the records' meaning; see [`FORMAT`].
    #[serde(default = "first_format")]
    pub format: u32,
    /// Core's state (`canary_rollout::state::State`) as JSON.
    pub state: Value,
    /// Times since the rollout's start.
    pub times: Pair<Histogram>,
    /// Times to the first byte since then; journals of older versions have none, as of all that follows.
    #[serde(default)]
    pub ttfb: Pair<Histogram>,
    /// Mean times between chunks since then.
    #[serde(default)]
    pub gap: Pair<Histogram>,
    /// The values of each signal since then.
    #[serde(default)]
    pub values: Pair<BTreeMap<String, Histogram>>,
    /// Decisions since the rollout's start.
    pub decisions: u64,
}

/// How a rollout ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// The time of day, for people; no decision reads it.
    pub at: String,
    /// The last phase: Healthy or Degraded.
    pub phase: Phase,
    /// Why the rollout ended there.
    pub reason: Option<TerminationReason>,
}

impl StateSnapshot {
    /// A snapshot without a state, with what was recorded since the rollout's start.
    pub fn recorded(recorded: &Pair<Distributions>) -> Self {
        let of = |part: fn(&Distributions) -> &Histogram| Pair {
            stable: part(&recorded.stable).clone(),
            canary: part(&recorded.canary).clone(),
        };
        Self {
            format: FORMAT,
            state: Value::Null,
            times: of(|one| &one.time_us),
            ttfb: of(|one| &one.ttfb_us),
            gap: of(|one| &one.gap_us),
            values: Pair {
                stable: recorded.stable.values.clone(),
                canary: recorded.canary.values.clone(),
            },
            decisions: 0,
        }
    }

    /// What was recorded since the rollout's start.
    pub fn distributions(&self) -> Pair<Distributions> {
        Pair::ROLES.map(|role| Distributions {
            time_us: self.times.get(role).clone(),
            ttfb_us: self.ttfb.get(role).clone(),
            gap_us: self.gap.get(role).clone(),
            values: self.values.get(role).clone(),
        })
    }
}

impl StepRecord {
    /// A verdict with its numbers, and in a sentence.
    pub fn verdict(verdict: &Verdict) -> Value {
        // Numbers and texts: this cannot fail.
        let mut record = serde_json::to_value(verdict).unwrap_or_default();
        if let Some(fields) = record.as_object_mut() {
            fields.insert("reason".to_owned(), sentences::verdict(verdict).into());
        }
        record
    }
}
