//! What goes on beside the faults: the weights of the rollout without a controller are set, counters and
//! runtime are read once a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::clients::ChaosRollout;
use super::excuses::STORM_STABLE;
use super::journals::RuntimeView;
use super::plan::{LABELS, PlannedWeight};
use super::reconcile::CounterReading;
use super::timeline::Span;
use crate::EnvoyAdmin;
use crate::harness::stats::{FilterStats, QUERY};

/// How long an Envoy under fire may take for an answer of its admin.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sets each weight when it is due; gives how many Envoy took.
pub(super) async fn set_weights(
    admin: EnvoyAdmin,
    weights: Vec<PlannedWeight>,
    start: Instant,
) -> u64 {
    let mut taken = 0;
    for planned in weights {
        tokio::time::sleep_until((start + planned.at).into()).await;
        let path = update(planned.percent, planned.label);
        let answer = tokio::time::timeout(PATIENCE, admin.post(&path)).await;
        taken += u64::from(matches!(answer, Ok(Ok((200, _)))));
    }
    taken
}

/// The update of the runtime that sets a weight for a version label.
fn update(percent: u32, label: &str) -> String {
    let name = ChaosRollout::Storm.name();
    let configured = LABELS[0];
    // Without its key, the configured label holds.
    let key = if label == configured { String::new() } else { format!("{configured}%3D{label}") };
    format!(
        "/runtime_modify?canary.{name}.weight={percent}%40{label}&canary.{name}.canary_version={key}"
    )
}

/// What the watchers have seen.
#[derive(Debug, Default)]
pub(super) struct EnvoyRecord {
    /// All readings of the counters, in order of time.
    pub(super) readings: Vec<CounterReading>,
    /// What the runtime showed of the controller's rollout, with the time in seconds since the beginning
    /// and in UTC.
    pub(super) runtime: Vec<(f64, String, RuntimeView)>,
}

/// Reads counters and runtime of one Envoy, whatever becomes of its process.
#[derive(Clone, Debug)]
pub(super) struct EnvoyWatcher {
    admin: EnvoyAdmin,
    start: Instant,
    watched: Arc<Mutex<EnvoyRecord>>,
}

impl EnvoyWatcher {
    pub(super) fn new(admin: EnvoyAdmin, start: Instant) -> Self {
        Self { admin, start, watched: Arc::default() }
    }

    /// Reads both once a second.
    pub(super) async fn watch(self) {
        loop {
            self.read_counters().await;
            self.read_runtime().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Reads the counters; `None` while Envoy doesn't answer.
    pub(super) async fn read_counters(&self) -> Option<CounterReading> {
        let begin = self.start.elapsed().as_secs_f64();
        let answer = self.json(QUERY).await?;
        let span = Span { begin, end: self.start.elapsed().as_secs_f64() };
        let reading = CounterReading { span, values: FilterStats::parse(&answer).values };
        self.lock().readings.push(reading.clone());
        Some(reading)
    }

    /// Reads the runtime; `None` while Envoy doesn't answer.
    pub(super) async fn read_runtime(&self) -> Option<RuntimeView> {
        let runtime = self.json("/runtime").await?;
        let view = RuntimeView::of_runtime(&runtime, ChaosRollout::Demo.name());
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let seconds = self.start.elapsed().as_secs_f64();
        self.lock().runtime.push((seconds, now, view.clone()));
        Some(view)
    }

    /// Everything that was read so far.
    pub(super) fn take(&self) -> EnvoyRecord {
        let mut watched = std::mem::take(&mut *self.lock());
        watched.readings.sort_by(|one, other| one.span.begin.total_cmp(&other.span.begin));
        watched
    }

    async fn json(&self, path: &str) -> Option<Value> {
        let answer = tokio::time::timeout(PATIENCE, self.admin.get(path)).await.ok()?;
        answer.ok().and_then(|(_, body)| serde_json::from_slice(&body).ok())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, EnvoyRecord> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The versions of the rollout without a controller, as the filter is configured with them.
pub(super) const STORM_VERSIONS: [&str; 2] = [STORM_STABLE, LABELS[0]];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_names_its_version_and_the_configured_label_has_no_key() {
        let path = "/runtime_modify?canary.storm.weight=7%401.3.0&canary.storm.canary_version=1.1.0%3D1.3.0";
        assert_eq!(update(7, "1.3.0"), path);
        assert!(update(7, "1.1.0").ends_with("weight=7%401.1.0&canary.storm.canary_version="));
    }
}
