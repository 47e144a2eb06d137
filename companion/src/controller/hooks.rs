//! Web hooks: gates, which are asked, and notifications, which are told. Both with the payload that
//! Flagger sends (`CanaryWebhookPayload`), so that what answers Flagger answers here.

use std::time::{Duration, SystemTime};

use canary_rollout::action::Notification;
use canary_rollout::event::RolloutEvent;
use canary_rollout::inputs::{DeliveryReport, GateAnswer};
use canary_rollout::spec::{Gate, Spec};
use canary_rollout::state::{Phase, State};
use reqwest::Client;
use serde::Serialize;
use serde_json::Value;

use crate::http::{post_json, proxy};

/// The longest that telling a hook may take.
const TELL_WITHIN: Duration = Duration::from_secs(10);
/// Flagger's field for what has no namespace here.
const NAMESPACE: &str = "default";

/// What a hook is sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    name: String,
    namespace: &'static str,
    phase: Phase,
    checksum: String,
    canary_weight: f64,
    metadata: serde_json::Map<String, Value>,
}

impl Payload {
    /// What every hook is sent of a rollout.
    fn new(spec: &Spec, state: &State) -> Self {
        let weight = state.target().map_or(0.0, |target| target.weight.percent());
        Self {
            name: spec.rollout.clone(),
            namespace: NAMESPACE,
            phase: state.phase(),
            checksum: format!("{}-{}", state.epoch(), state.attempt()),
            canary_weight: weight,
            metadata: serde_json::Map::new(),
        }
    }

    /// What a gate is asked with.
    pub fn of_gate(spec: &Spec, state: &State, gate: usize, attempt: u32) -> Self {
        let mut payload = Self::new(spec, state);
        payload.put("gate", gate.to_string());
        payload.put("attempt", attempt.to_string());
        payload
    }

    /// What a hook is told: the fields of Flagger's event hook, and the event as data.
    pub fn of_notice(spec: &Spec, state: &State, notice: &Notification, message: &str) -> Self {
        let mut payload = Self::new(spec, state);
        let bad =
            matches!(notice.event, RolloutEvent::Aborting { .. } | RolloutEvent::Degraded { .. });
        payload.put("eventType", if bad { "Warning" } else { "Normal" }.to_owned());
        payload.put("eventMessage", message.to_owned());
        payload.put("topic", notice.topic.as_str().to_owned());
        payload.put("notice", notice.number.to_string());
        let millis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        payload.put("timestamp", millis.unwrap_or_default().as_millis().to_string());
        payload
    }

    /// Flagger's metadata are texts.
    fn put(&mut self, name: &str, value: String) {
        self.metadata.insert(name.to_owned(), Value::String(value));
    }
}

/// Asks a gate: any 2xx lets the rollout pass.
pub async fn ask(http: &Client, index: usize, gate: &Gate, payload: &Payload) -> GateAnswer {
    let (passed, said) = match post_json(http, &gate.url, gate.timeout, payload).await {
        Ok(answer) => (answer.status().is_success(), answer.status().to_string()),
        Err(why) => (false, why),
    };
    let through = if passed { String::new() } else { proxy::through(&gate.url) };
    GateAnswer { gate: index, passed, said: said + &through }
}

/// Sends a notification; any 2xx counts as delivered.
pub async fn tell(http: &Client, number: u64, url: &str, payload: &Payload) -> DeliveryReport {
    let answer = post_json(http, url, TELL_WITHIN, payload).await;
    let delivered = answer.is_ok_and(|answer| answer.status().is_success());
    DeliveryReport { notice: number, delivered }
}
