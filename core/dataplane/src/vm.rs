//! What outlives a configuration in one VM.
//!
//! A pushed configuration gets a new worker in the same VM, beside the old one whose requests are
//! still running. Four things must pass from one to the other: which of them is the newest for a
//! rollout, which clients were seen in the window, the requests that haven't reached the age at which
//! they are judged, and the numbers of the metrics, which Envoy never frees.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::clients::SeenClients;
use crate::effect::Effect;
use crate::host::Host;
use crate::judged_counters::JudgedCounters;
use crate::metric_registry::MetricRegistry;

/// The state of one VM; created once, owned by the shell.
#[derive(Debug, Default)]
pub struct Vm {
    /// The generation of the last worker.
    last_generation: u64,
    /// The rollouts of the workers that are alive, each with its worker's generation.
    living: Vec<(String, u64)>,
    /// The clients seen in each rollout, for as long as any worker has it.
    clients: Vec<(String, Weak<RefCell<SeenClients>>)>,
    /// What workers that have ended left to be judged.
    left: Vec<JudgedCounters>,
    metrics: MetricRegistry,
}

impl Vm {
    /// Announces a new worker for these rollouts and returns its generation.
    pub(crate) fn begin<'a>(&mut self, rollouts: impl Iterator<Item = &'a str>) -> u64 {
        self.last_generation += 1;
        let generation = self.last_generation;
        self.living.extend(rollouts.map(|name| (name.to_owned(), generation)));
        generation
    }

    /// A worker has ended.
    pub(crate) fn end(&mut self, generation: u64) {
        self.living.retain(|(_, living)| *living != generation);
    }

    /// Whether no newer worker has this rollout. Only the newest polls for a rollout and shows its
    /// gauges: an older one would show the weight of a configuration that no longer holds. If the
    /// newer one ends first, the older one takes over again, because Envoy goes back to an older
    /// worker if its configuration returns while its requests still run.
    pub(crate) fn is_newest(&self, rollout: &str, generation: u64) -> bool {
        !self.living.iter().any(|(name, living)| *living > generation && name == rollout)
    }

    /// The clients seen in a rollout: those of an older worker if one is alive.
    pub(crate) fn seen_clients(&mut self, rollout: &str) -> Rc<RefCell<SeenClients>> {
        self.clients.retain(|(_, seen)| seen.strong_count() > 0);
        let known = self.clients.iter().find(|(name, _)| name == rollout);
        known.and_then(|(_, seen)| seen.upgrade()).unwrap_or_else(|| {
            let seen = Rc::default();
            self.clients.push((rollout.to_owned(), Rc::downgrade(&seen)));
            seen
        })
    }

    /// The metrics of this VM.
    pub(crate) fn metrics(&self) -> MetricRegistry {
        self.metrics.clone()
    }

    /// Takes over what a worker that ends hasn't counted yet.
    pub(crate) fn leave(&mut self, judged: JudgedCounters) {
        if !judged.requests.is_empty() {
            self.left.push(judged);
        }
    }

    /// Counts what workers that have ended left, as it reaches its age.
    pub(crate) fn tick(&mut self, now_ns: u64, host: &impl Host, effects: &mut Vec<Effect>) {
        for judged in &mut self.left {
            judged.tick_alone(now_ns, host);
            judged.flush(effects);
        }
        self.left.retain(|judged| !judged.requests.is_empty());
    }
}
