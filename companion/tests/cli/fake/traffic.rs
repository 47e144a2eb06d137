//! Requests through a fake Envoy: as many as time allows, split as its filter would, with a lease
//! that runs out as the filter's does.

use std::time::{Duration, Instant};

use super::Envoy;

/// Steady traffic through one fake Envoy.
pub(crate) struct Traffic {
    per_second: f64,
    /// How many of a hundred of each version's requests fail.
    pub(crate) stable_fails: u64,
    pub(crate) canary_fails: u64,
    /// Whether the canary answers; if not, all its clients leave.
    pub(crate) canary_answers: bool,
    last: Instant,
    /// Requests of each version since the start of the process.
    stable: f64,
    canary: f64,
    /// The labels under which stable's and the canary's requests are counted.
    labels: [String; 2],
    lease: Option<(String, Instant)>,
}

impl Traffic {
    pub(crate) fn new(per_second: f64, canary_fails: u64) -> Self {
        Self {
            per_second,
            stable_fails: 0,
            canary_fails,
            canary_answers: true,
            last: Instant::now(),
            stable: 0.0,
            canary: 0.0,
            labels: ["3.1", "3.2"].map(str::to_owned),
            lease: None,
        }
    }

    /// As after a restart of the process.
    pub(crate) fn restart(&mut self) {
        (self.stable, self.canary, self.lease) = (0.0, 0.0, None);
    }
}

/// Lets pass what came since the last time.
pub(super) fn flow(envoy: &mut Envoy) {
    if let Some(mut traffic) = envoy.traffic.take() {
        flow_of(envoy, "scorer", &mut traffic);
        envoy.traffic = Some(traffic);
    }
    let mut others = std::mem::take(&mut envoy.others);
    for (rollout, traffic) in &mut others {
        flow_of(envoy, rollout, traffic);
    }
    envoy.others = others;
}

fn flow_of(envoy: &mut Envoy, rollout: &str, traffic: &mut Traffic) {
    let gauge = |name: &str| format!("wasmcustom.canary.{rollout}.{name}");
    let key = |name: &str| format!("canary.{rollout}.{name}");
    let runtime = envoy.merged();
    let lease = runtime.get(&key("lease"));
    if lease != traffic.lease.as_ref().map(|(text, _)| text) {
        traffic.lease = lease.map(|text| (text.clone(), Instant::now()));
    }
    let expired = traffic.lease.as_ref().is_some_and(|(text, since)| {
        let seconds: u64 = text.split(':').next().unwrap().parse().unwrap();
        since.elapsed() > Duration::from_secs(seconds)
    });
    envoy.numbers.insert(gauge("lease_expired"), expired.into());
    if expired {
        envoy.numbers.insert(gauge("weight_ppm"), 0);
    }
    let off = runtime.get(&key("enabled")).is_some_and(|enabled| enabled == "0");
    let weight = if off { 0.0 } else { envoy.numbers[&gauge("weight_ppm")] as f64 / 1e6 };
    let requests = traffic.per_second * traffic.last.elapsed().as_secs_f64();
    traffic.last = Instant::now();
    traffic.stable += requests * (1.0 - weight);
    traffic.canary += requests * weight;
    // Another label has counters of its own, which begin at 0.
    let label = |role: &str, configured: &str| {
        let label = runtime.get(&key(role)).and_then(|label| label.split_once('='));
        let label = label.filter(|(of, _)| *of == configured).map(|(_, label)| label);
        label.unwrap_or(configured).to_owned()
    };
    let labels = [label("stable_version", "3.1"), label("canary_version", "3.2")];
    if labels[0] != traffic.labels[0] {
        traffic.stable = 0.0;
    }
    if labels[1] != traffic.labels[1] {
        traffic.canary = 0.0;
    }
    traffic.labels = labels;
    let (stable, canary) = (traffic.stable as u64, traffic.canary as u64);
    let [stable_label, canary_label] = &traffic.labels;
    envoy.version(rollout, "stable", stable_label, stable, stable * traffic.stable_fails / 100);
    envoy.version(rollout, "canary", canary_label, canary, canary * traffic.canary_fails / 100);
    let name = |metric: &str| format!("wasmcustom.canary.{rollout}.canary.{canary_label}.{metric}");
    let abandoned = if traffic.canary_answers { 0 } else { canary };
    envoy.numbers.insert(name("rq_abandoned"), abandoned);
    if !traffic.canary_answers {
        envoy.numbers.insert(name("judged_total"), 0);
        envoy.numbers.insert(name("judged_failure"), 0);
        envoy.numbers.insert(name("judged_unanswered"), canary);
    }
}
