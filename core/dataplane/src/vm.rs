//! What outlives a configuration in one VM.
//!
//! A pushed configuration gets a new worker in the same VM, beside the old one whose requests are
//! still running. Three things must pass from one to the other: which of them is the newest for a
//! rollout, which clients were seen in the window, and the numbers of the metrics, which Envoy never
//! frees.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use canary_model::stat_name::StatName;

use crate::clients::ClientSet;
use crate::host::{Host, HostMetricKind, MetricId};

/// The state of one VM; created once, owned by the shell.
#[derive(Debug, Default)]
pub struct Vm {
    /// The generation of the last worker.
    last_generation: u64,
    /// The rollouts of the workers that are alive, each with its worker's generation.
    living: Vec<(String, u64)>,
    /// The clients seen in each rollout, for as long as any worker has it.
    clients: Vec<(String, Weak<RefCell<SeenClients>>)>,
    /// The metrics that this VM has defined, in order of name and kind. (A tree would be four
    /// kilobytes of code.)
    metrics: Vec<DefinedMetric>,
}

/// The clients that one VM has seen in a rollout's window.
#[derive(Debug, Default)]
pub struct SeenClients {
    /// Clients that were counted. Each VM counts a client once, which errs on the side of waiting.
    pub(crate) counted: ClientSet,
    /// Clients that are known to have failed, so that the VM need not ask the shared record again.
    pub(crate) failed: ClientSet,
}

/// A metric that the host knows, and its number.
#[derive(Debug)]
struct DefinedMetric {
    name: String,
    kind: HostMetricKind,
    id: MetricId,
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

    /// The host's number for a metric. `None` if the host refuses it: then it isn't counted, and
    /// requests go on.
    pub(crate) fn define(
        &mut self,
        host: &impl Host,
        kind: HostMetricKind,
        name: &StatName<'_>,
    ) -> Option<MetricId> {
        let name = name.defined();
        let order =
            |known: &DefinedMetric| (known.name.as_str(), known.kind).cmp(&(name.as_str(), kind));
        match self.metrics.binary_search_by(order) {
            Ok(place) => self.metrics.get(place).map(|known| known.id),
            Err(place) => {
                let id = host.define_metric(kind, &name)?;
                self.metrics.insert(place, DefinedMetric { name, kind, id });
                Some(id)
            }
        }
    }
}
